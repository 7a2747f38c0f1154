//! Kaggle's table: a row for each face, with its emotion, its pixels as numbers in text, and its split.

use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder};

use super::{EMOTIONS, SHAPE};
use crate::{DataError, InMemory, Result, Split};

/// What the table's column `Usage` says of a split.
fn usage(split: Split) -> &'static str {
    match split {
        Split::Train => "Training",
        Split::Val => "PublicTest",
        Split::Test => "PrivateTest",
    }
}

/// Where the table has what.
struct Columns {
    emotion: usize,
    pixels: usize,
    usage: usize,
}

/// The rows of a split.
pub(super) fn read(path: &Path, split: Split) -> Result<InMemory> {
    let at_line = |line: u64| {
        move |reason: String| DataError::Format {
            path: PathBuf::from(path),
            place: format!("line {line}"),
            reason,
        }
    };
    let mut reader =
        ReaderBuilder::new().flexible(true).from_path(path).map_err(|e| at_line(1)(e.to_string()))?;
    let header = reader.byte_headers().map_err(|e| at_line(1)(e.to_string()))?;
    let columns = find_columns(header).map_err(at_line(1))?;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let mut record = ByteRecord::new();
    loop {
        let line = reader.position().line();
        if !reader.read_byte_record(&mut record).map_err(|e| at_line(line)(e.to_string()))? {
            break;
        }
        let line = record.position().map_or(line, csv::Position::line);
        if let Some(label) = read_row(&record, &columns, split, &mut pixels).map_err(at_line(line))? {
            labels.push(label);
        }
    }
    if labels.is_empty() {
        let expected = format!("rows whose Usage is {}", usage(split));
        return Err(DataError::NoSplit { path: path.into(), split, expected });
    }
    InMemory::new(format!("fer2013 {split}"), &EMOTIONS, SHAPE, pixels, labels)
}

fn find_columns(header: &ByteRecord) -> std::result::Result<Columns, String> {
    let names: Vec<String> =
        header.iter().map(|name| String::from_utf8_lossy(name).trim().to_lowercase()).collect();
    let find = |wanted: &str| {
        names.iter().position(|name| name == wanted).ok_or_else(|| {
            format!("no column `{wanted}`: expected emotion, pixels and Usage, as in Kaggle's fer2013.csv")
        })
    };
    Ok(Columns { emotion: find("emotion")?, pixels: find("pixels")?, usage: find("usage")? })
}

/// Appends the row's pixels and returns its label, if it belongs to the split.
fn read_row(
    record: &ByteRecord,
    columns: &Columns,
    split: Split,
    pixels: &mut Vec<u8>,
) -> std::result::Result<Option<u8>, String> {
    let field = |column: usize, name: &str| {
        record.get(column).map(<[u8]>::trim_ascii).ok_or_else(|| format!("no {name}: the row is cut short"))
    };
    let row_usage = field(columns.usage, "Usage")?;
    if row_usage != usage(split).as_bytes() {
        let known = [Split::Train, Split::Val, Split::Test].map(usage);
        if known.iter().any(|name| name.as_bytes() == row_usage) {
            return Ok(None);
        }
        return Err(format!("Usage `{}` is none of {}", excerpt(row_usage), known.join(", ")));
    }
    let emotion = field(columns.emotion, "emotion")?;
    let label = byte(emotion).filter(|&label| usize::from(label) < EMOTIONS.len());
    let label = label.ok_or_else(|| format!("emotion `{}` is not one of 0 to 6", excerpt(emotion)))?;
    let row = field(columns.pixels, "pixels")?;
    let start = pixels.len();
    for number in row.split(u8::is_ascii_whitespace).filter(|number| !number.is_empty()) {
        pixels
            .push(byte(number).ok_or_else(|| format!("pixel `{}` is not one of 0 to 255", excerpt(number)))?);
    }
    let count = pixels.len() - start;
    if count != SHAPE.elements() {
        return Err(format!("{count} pixels, but a face has 48×48 = {}", SHAPE.elements()));
    }
    Ok(Some(label))
}

fn byte(text: &[u8]) -> Option<u8> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The beginning of a field, fit for an error message.
fn excerpt(field: &[u8]) -> String {
    String::from_utf8_lossy(field).chars().filter(|c| !c.is_control()).take(20).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Corrupt, fer2013};

    fn row(emotion: &str, count: usize, usage: &str) -> String {
        let pixels: Vec<String> = (0..count).map(|i| (i % 256).to_string()).collect();
        format!("{emotion},{},{usage}\n", pixels.join(" "))
    }

    fn table(rows: &[String]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fer2013.csv");
        fs::write(&path, format!("emotion,pixels,Usage\n{}", rows.concat())).unwrap();
        (folder, path)
    }

    #[test]
    fn each_part_of_the_table_is_a_split() {
        let rows = [row("6", 2304, "Training"), row("0", 2304, "PublicTest"), row("3", 2304, "PrivateTest")];
        let (folder, path) = table(&rows);
        for (split, label) in [(Split::Train, 6), (Split::Val, 0), (Split::Test, 3)] {
            for place in [path.as_path(), folder.path()] {
                let data = fer2013(place, split, Corrupt::Refuse).unwrap();
                assert_eq!((data.len(), data.label(0).unwrap()), (1, label));
                assert_eq!(data.get(0).unwrap().image.pixels()[255..258], [255, 0, 1]);
            }
        }
    }

    #[test]
    fn faults_name_file_and_line() {
        for (bad, expected) in [
            (row("2", 2303, "Training"), "fer2013.csv, line 3: 2303 pixels"),
            (row("7", 2304, "Training"), "line 3: emotion `7`"),
            (row("1", 2304, "Trainin"), "line 3: Usage `Trainin`"),
            ("1,0 256,Training\n".into(), "line 3: pixel `256`"),
            ("1\n".into(), "line 3: no Usage"),
        ] {
            let (_folder, path) = table(&[row("1", 2304, "Training"), bad]);
            let message = fer2013(&path, Split::Train, Corrupt::Refuse).err().unwrap().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
