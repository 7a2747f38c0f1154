//! Every reader of the workspace, with the files that its damage begins with. A reader is given
//! bytes, or finds them in a file of its own, and whatever it returns is looked at, so that what is
//! read is known to be of use.

use std::{
    fs,
    hint::black_box,
    path::{Component, Path, PathBuf},
};

use residual_data::{
    Corrupt, DataSpec, Dataset, Image, ImageFolder, ImageShape, Preprocess, Split, cifar10, cifar100,
    fer2013, idx,
};
use residual_nn::Module;
use residual_tensor::{Generator, Shape};
use residual_train::{Checkpoint, ModelSpec, Plan, TrainConfig};
use residual_weights::{Entry, Weights, load_bytes, npy, pth, safetensors};

use crate::Failure;

/// A reader, and what is expected of it.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) name: &'static str,
    /// The crate whose tests have its corpus.
    pub(super) home: &'static str,
    /// Further files in the crate's `tests/data`: those that end like this, and begin like that.
    pub(super) data: Option<(&'static str, &'static [u8])>,
    /// Reads the bytes; says why not. The folder is there to put files into.
    pub(super) read: fn(&[u8], &Path) -> Result<(), String>,
    /// Restores what would have the damage refused at once: lengths, checksums.
    pub(super) repair: fn(&mut [u8]),
    /// The most memory that reading a file of this length may take at once.
    pub(super) most_memory: fn(usize) -> u64,
}

/// Weights: the budgets of the readers, and what growing collections hold besides.
fn few_times_the_file(length: usize) -> u64 {
    64 * length as u64 + (8 << 20)
}

/// Pictures: what the decoder is granted, and the picture in 8 bits beside it.
fn a_large_picture(_: usize) -> u64 {
    768 << 20
}

/// Networks of up to some thousand layers, and small ones that are built.
fn a_small_network(_: usize) -> u64 {
    64 << 20
}

const PLAIN: Target = Target {
    name: "",
    home: "",
    data: None,
    read: |_, _| Ok(()),
    repair: |_| (),
    most_memory: few_times_the_file,
};

const WEIGHTS: Target = Target { home: "residual-weights", ..PLAIN };
const DATA: Target = Target { home: "residual-data", ..PLAIN };

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "safetensors",
        data: Some((".safetensors", b"")),
        read: |bytes, _| weights(safetensors::read_bytes(bytes)),
        repair: header_length,
        ..WEIGHTS
    },
    Target {
        name: "pth-zip",
        data: Some((".pth", b"PK")),
        read: |bytes, _| weights(pth::read_bytes(bytes)),
        ..WEIGHTS
    },
    Target {
        name: "pth-legacy",
        data: Some(("legacy.pth", b"\x80")),
        read: |bytes, _| weights(pth::read_bytes(bytes)),
        ..WEIGHTS
    },
    Target {
        name: "weights",
        data: Some((".pth", b"")),
        read: |bytes, _| weights(load_bytes(bytes)),
        repair: header_length,
        ..WEIGHTS
    },
    Target {
        name: "npy",
        data: Some((".npy", b"")),
        read: |bytes, _| npy::read_bytes(bytes).map(look_at_entry).map_err(say),
        ..WEIGHTS
    },
    Target { name: "cifar10", read: |bytes, place| cifar(bytes, place, "test_batch.bin"), ..DATA },
    Target { name: "cifar100", read: |bytes, place| cifar(bytes, place, "test.bin"), ..DATA },
    Target {
        name: "idx-images",
        read: |bytes, place| pair(place, bytes, &[0, 0, 8, 1, 0, 0, 0, 2, 1, 0]),
        ..DATA
    },
    Target {
        name: "idx-labels",
        read: |bytes, place| {
            pair(place, &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8, 7, 6], bytes)
        },
        ..DATA
    },
    Target {
        name: "fer2013",
        read: |bytes, place| {
            let path = put(place, "fer2013.csv", bytes);
            fer2013(path, Split::Train, Corrupt::Refuse).map_err(say).and_then(|data| look_at_data(&*data))
        },
        ..DATA
    },
    Target { name: "png", read: picture, repair: png_checksums, most_memory: a_large_picture, ..DATA },
    Target { name: "jpeg", read: picture, most_memory: a_large_picture, ..DATA },
    Target { name: "folder", read: folder, ..DATA },
    Target { name: "data-spec", read: data_spec, ..DATA },
    Target { name: "checkpoint", home: "residual-train", read: checkpoint, repair: header_length, ..PLAIN },
    Target { name: "config", home: "residual-train", read: config, ..PLAIN },
    Target { name: "network", home: "residual-zoo", read: network, most_memory: a_small_network, ..PLAIN },
];

impl Target {
    /// The folder of its own files.
    pub(super) fn corpus(&self, root: &Path) -> PathBuf {
        root.join("crates").join(self.home).join("tests/corpus").join(self.name)
    }

    /// The files that damage begins with, smallest first.
    pub(super) fn files(&self, root: &Path) -> Result<Vec<Vec<u8>>, Failure> {
        let corpus = self.corpus(root);
        let mut files = if corpus.is_dir() { files_in(&corpus, "", b"")? } else { Vec::new() };
        if let Some((end, start)) = self.data {
            let data = root.join("crates").join(self.home).join("tests/data");
            files.extend(files_in(&data, end, start)?);
        }
        if files.is_empty() {
            return Err(format!("there are no files in {}", corpus.display()).into());
        }
        files.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        Ok(files)
    }
}

/// The files of a folder that end and begin like this.
fn files_in(folder: &Path, end: &str, start: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(end) {
            let bytes = fs::read(entry.path())?;
            files.extend(bytes.starts_with(start).then_some(bytes));
        }
    }
    Ok(files)
}

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Writes a file for readers that want one.
fn put(place: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = place.join(name);
    fs::create_dir_all(place).and_then(|()| fs::write(&path, bytes)).expect("a folder to write to");
    path
}

fn weights(read: Result<Weights, residual_weights::FormatError>) -> Result<(), String> {
    let weights = read.map_err(say)?;
    weights.iter().for_each(|(_, entry)| look_at_entry(entry.clone()));
    let _ = black_box(weights.check([("fc.weight", Shape::new([10, 64]).map_err(say)?)]));
    Ok(())
}

fn look_at_entry(entry: Entry) {
    // Goes through shape, strides and elements.
    black_box((entry == entry.clone(), entry.to_float::<f32>().to_vec().len()));
}

fn look_at_data(data: &dyn Dataset) -> Result<(), String> {
    for index in 0..data.len() {
        let sample = data.get(index).map_err(say)?;
        assert!(sample.label < data.classes().len() && sample.label == data.label(index).map_err(say)?);
    }
    Ok(())
}

fn cifar(bytes: &[u8], place: &Path, name: &str) -> Result<(), String> {
    put(place, name, bytes);
    let data = if name == "test.bin" { cifar100(place, Split::Test) } else { cifar10(place, Split::Test) };
    look_at_data(&data.map_err(say)?)
}

fn pair(place: &Path, images: &[u8], labels: &[u8]) -> Result<(), String> {
    put(place, "train-images-idx3-ubyte", images);
    put(place, "train-labels-idx1-ubyte", labels);
    look_at_data(&idx(place, Split::Train).map_err(say)?)
}

fn picture(bytes: &[u8], place: &Path) -> Result<(), String> {
    let image = Image::load(put(place, "picture", bytes)).map_err(say)?;
    black_box(Preprocess::new(ImageShape::new(3, 8, 8)).apply(image).map_err(say)?);
    Ok(())
}

/// A folder as text: a line says where something is and what, `train/cat/1.png png`.
fn folder(bytes: &[u8], place: &Path) -> Result<(), String> {
    let place = place.join("tree");
    let _ = fs::remove_dir_all(&place);
    for line in bytes.split(|&byte| byte == b'\n').take(12) {
        let at = line.iter().rposition(|&byte| byte == b' ').unwrap_or(line.len());
        let (path, what) = (relative(&line[..at]), &line[at..]);
        let path = place.join(path);
        // What the file system does not take is not there.
        let _ = path.parent().map(fs::create_dir_all);
        let _ = match what {
            b" png" => {
                fs::write(path, Image::new(ImageShape::new(1, 1, 2), vec![1, 2]).map_err(say)?.to_png())
            }
            b" empty" => fs::create_dir(path),
            #[cfg(unix)]
            b" link" => std::os::unix::fs::symlink(".", path),
            _ => fs::write(path, what),
        };
    }
    let open = |corrupt| ImageFolder::open(&place, Split::Val, corrupt).map_err(say);
    look_at_data(&open(Corrupt::Skip)?)?;
    look_at_data(&open(Corrupt::Refuse)?)
}

/// The path in these bytes, if it stays inside.
fn relative(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes);
    #[cfg(not(unix))]
    let path = String::from_utf8_lossy(bytes).into_owned();
    Path::new(&path).components().filter(|part| matches!(part, Component::Normal(_))).take(8).collect()
}

fn data_spec(bytes: &[u8], _: &Path) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let spec: DataSpec = text.lines().next().unwrap_or_default().parse().map_err(say)?;
    assert_eq!(spec.to_string().parse::<DataSpec>().map_err(say)?, spec);
    Ok(())
}

fn checkpoint(bytes: &[u8], place: &Path) -> Result<(), String> {
    let checkpoint = Checkpoint::<f32>::open(put(place, "checkpoint", bytes)).map_err(say)?;
    let training = &checkpoint.training;
    black_box((training.best(), training.position.iterations(), training.config.to_toml()));
    Ok(())
}

fn config(bytes: &[u8], _: &Path) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let config = TrainConfig::from_toml(&text, "config.toml").map_err(say)?;
    assert_eq!(TrainConfig::from_toml(&config.to_toml(), "again.toml").map_err(say)?, config);
    let plan = Plan { per_epoch: 100, iterations: config.length.iterations(100) };
    for iteration in [0, 1, plan.iterations / 2, plan.iterations] {
        let factor = config.schedule.factor(iteration, &plan);
        assert!(factor.is_finite(), "the factor {factor} at iteration {iteration}");
    }
    black_box((config.run_name(), plan.epochs()));
    Ok(())
}

fn network(bytes: &[u8], place: &Path) -> Result<(), String> {
    let path = put(place, "network.toml", bytes);
    let config = ModelSpec::open(&path.to_string_lossy()).and_then(|model| model.config()).map_err(say)?;
    black_box((config.layers(), config.features(), config.native_size()));
    let width = config.width_per_group * config.groups / 16 + config.stem_channels() + config.input_channels;
    if width + config.widths.iter().sum::<usize>() < 64 && config.depths.iter().sum::<usize>() < 16 {
        let net = config.classes(3).build::<f32>(&mut Generator::new(0)).map_err(say)?;
        black_box(net.parameter_count());
    }
    Ok(())
}

/// Safetensors begin with the length of their header, which is JSON.
fn header_length(bytes: &mut [u8]) {
    let Some(json) = bytes.get(8..) else { return };
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<serde::de::IgnoredAny>();
    if let Some(Ok(_)) = values.next() {
        let spaces = json[values.byte_offset()..].iter().take_while(|&&byte| byte == b' ').count();
        let length = (values.byte_offset() + spaces) as u64;
        bytes[..8].copy_from_slice(&length.to_le_bytes());
    }
}

/// The chunks of a PNG file end with their checksums.
fn png_checksums(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let end = at + 8 + length;
        let Some(chunk) = bytes.get(at + 4..end) else { return };
        let checksum = crc32(chunk);
        if let Some(place) = bytes.get_mut(end..end + 4) {
            place.copy_from_slice(&checksum.to_be_bytes());
        }
        at = end + 4;
    }
}

/// ISO 3309.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_can_be_repaired() {
        let mut file = Image::new(ImageShape::new(3, 4, 5), vec![7; 60]).unwrap().to_png();
        let intact = file.clone();
        file[29] ^= 1; // the first checksum
        png_checksums(&mut file);
        assert_eq!(file, intact);
        let mut file = b"\x01\0\0\0\0\0\0\0{\"a\":1}  data".to_vec();
        header_length(&mut file);
        assert_eq!(file[..8], 9u64.to_le_bytes());
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(relative(b"/a/../../b/./c"), Path::new("a/b/c"));
    }
}
