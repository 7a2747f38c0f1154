//! Files as a whole: recognizing their format, opening them, replacing them. What is in them is
//! the formats' business.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Cursor, Read, Seek, Write},
    path::Path,
};

use crate::{FormatError, Result, Weights, WeightsError, inspect::Format, npy, onnx, pth, safetensors};

/// Reads weights of any format, which is recognized by the file's first bytes, not by its name.
///
/// # Errors
/// [`WeightsError`] with the path, if the file cannot be opened, is of no known format, or is
/// malformed.
pub fn load(path: impl AsRef<Path>) -> Result<Weights> {
    read(path.as_ref(), load_from)
}

/// Reads weights of any format from a file in memory.
///
/// # Errors
/// [`FormatError`] if the format is not known or the file is malformed.
pub fn load_bytes(bytes: &[u8]) -> std::result::Result<Weights, FormatError> {
    load_from(&mut Cursor::new(bytes), bytes.len() as u64)
}

/// Writes weights in the format that the extension names: `.safetensors` or `.pth`.
///
/// The file is replaced only when the new one is complete.
///
/// # Errors
/// [`WeightsError`] with the path, if the extension is another or the file cannot be written.
pub fn save(path: impl AsRef<Path>, weights: &Weights) -> Result<()> {
    let path = path.as_ref();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => safetensors::write(path, weights),
        Some("pth" | "pt" | "th") => pth::write(path, weights),
        _ => Err(WeightsError::Extension { path: path.into() }),
    }
}

fn load_from<R: Read + Seek>(from: &mut R, length: u64) -> std::result::Result<Weights, FormatError> {
    let format = recognize(from)?;
    log::debug!("{length} bytes, recognized as {}", format.name());
    match format {
        Format::Safetensors => safetensors::read_from(from, length),
        Format::PthZip | Format::PthStream => pth::read_from(from, length),
        Format::Npy => Err(FormatError::Nameless),
        Format::Onnx => Err(FormatError::Onnx),
    }
}

/// The format of a file by its first bytes; the next read begins with the first of them again.
pub(crate) fn recognize<R: Read + Seek>(from: &mut R) -> std::result::Result<Format, FormatError> {
    let mut start = Vec::new();
    from.take(32).read_to_end(&mut start)?;
    from.rewind()?;
    Ok(match *start {
        // The header's length, and the brace that opens it.
        [_, _, _, _, _, 0, 0, 0, b'{', ..] => Format::Safetensors,
        [b'P', b'K', 3, 4, ..] => Format::PthZip,
        _ if pth::is_stream(&start) => Format::PthStream,
        _ if start.starts_with(&npy::MAGIC) => Format::Npy,
        _ if onnx::is_recognized(&start) => Format::Onnx,
        _ => return Err(FormatError::Unknown),
    })
}

/// Opens a file and has it read, given its length.
pub(crate) fn read<T>(
    path: &Path,
    read: impl FnOnce(&mut BufReader<File>, u64) -> std::result::Result<T, FormatError>,
) -> Result<T> {
    let open = || {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((BufReader::new(file), length))
    };
    let (mut file, length) = open().map_err(|source| WeightsError::Open { path: path.into(), source })?;
    read(&mut file, length).map_err(|source| WeightsError::Read { path: path.into(), source })
}

/// Writes a file so that a reader finds either what stood there before or all of the new one, also
/// after a crash: as [`save`] does it, for the files that stand beside weights.
///
/// # Errors
/// [`WeightsError::Write`] with the path.
pub fn replace_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    replace(path.as_ref(), |file| file.write_all(bytes))
}

/// How a file is called while it is written: what is before and behind random letters.
const PARTIAL: (&str, &str) = (".residual-", ".partial");

/// Removes what programs left half written in a folder when they were killed. Not for a folder that
/// another program may be writing to.
///
/// # Errors
/// If the folder cannot be listed, or such a file not removed.
pub fn remove_partial(folder: impl AsRef<Path>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let partial = |name: &str| name.starts_with(PARTIAL.0) && name.ends_with(PARTIAL.1);
        if entry.file_name().to_str().is_some_and(partial) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What the system said, without the name of the temporary file that `tempfile` puts before it.
fn of_system(error: io::Error) -> io::Error {
    match error.to_string().rsplit_once(" at path ") {
        Some((said, _)) => io::Error::new(error.kind(), said),
        None => error,
    }
}

/// Writes a file so that a reader finds either what stood there before or all of the new one,
/// also after a crash: a temporary file in the same folder, synced, renamed, the folder synced. Of a link, the file
/// that it leads to is replaced; what is no file, such as a device or a pipe, is written to.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    let refuse = |source| WeightsError::Write { path: path.into(), source };
    let target = path.canonicalize().unwrap_or_else(|_| path.into());
    if fs::metadata(&target).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let write_to = || {
            let file = File::options().write(true).open(&target)?;
            let mut writer = BufWriter::new(&file);
            write(&mut writer)?;
            writer.flush()
        };
        return write_to().map_err(refuse);
    }
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let replace = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PARTIAL.0).suffix(PARTIAL.1);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask
        let temporary = builder.tempfile_in(folder).map_err(of_system)?;
        let mut writer = BufWriter::new(temporary.as_file());
        write(&mut writer)?;
        writer.flush()?;
        drop(writer);
        temporary.as_file().sync_all()?;
        temporary.persist(&target).map_err(|error| error.error)?;
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        Ok(())
    };
    replace().map_err(refuse)
}
