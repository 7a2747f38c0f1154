//! Files and folders of pictures, read. What a picture is made to is the data crate's own business
//! and tested there; here every sample only has to be there.

use std::{
    fs,
    hint::black_box,
    path::{Component, Path, PathBuf},
};

use residual_data::{
    Corrupt, Dataset, ImageFolder, ImageShape, Picture, Preprocess, Split, cifar10, cifar100, fer2013, idx,
};

use crate::{Target, few_times_the_file, say};

/// The binary files of CIFAR.
pub(crate) const CIFAR: Target = Target {
    name: "cifar",
    about: "a binary file of CIFAR-10, and of CIFAR-100, is read",
    run: |bytes, place| {
        put(place, "test_batch.bin", bytes);
        put(place, "test.bin", bytes);
        let ten = cifar10(place, Split::Test).map_err(say).and_then(|data| look_at(&data));
        let hundred = cifar100(place, Split::Test).map_err(say).and_then(|data| look_at(&data));
        ten.or(hundred)
    },
    seeds: || [3073, 3074].map(|length| (0..length).map(|i| (i % 10) as u8).collect()).to_vec(),
    fixtures: None,
    most_memory: few_times_the_file,
};

/// MNIST's format.
pub(crate) const IDX: Target = Target {
    name: "idx",
    about: "an IDX file is read, as pictures and as labels",
    run: |bytes, place| {
        let pair = |images: &[u8], labels: &[u8]| {
            put(place, "train-images-idx3-ubyte", images);
            put(place, "train-labels-idx1-ubyte", labels);
            look_at(&idx(place, Split::Train).map_err(say)?)
        };
        let two_pictures = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8, 7, 6];
        let two_labels = [0, 0, 8, 1, 0, 0, 0, 2, 1, 0];
        let as_labels = pair(&two_pictures, bytes);
        pair(bytes, &two_labels).or(as_labels)
    },
    seeds: Vec::new,
    fixtures: None,
    most_memory: few_times_the_file,
};

/// The table of FER2013.
pub(crate) const FER2013: Target = Target {
    name: "fer2013",
    about: "a table of FER2013 is read",
    run: |bytes, place| {
        let path = put(place, "fer2013.csv", bytes);
        look_at(&*fer2013(path, Split::Train, Corrupt::Refuse).map_err(say)?)
    },
    seeds: Vec::new,
    fixtures: None,
    most_memory: few_times_the_file,
};

/// PNG and JPEG.
pub(crate) const PICTURE: Target = Target {
    name: "picture",
    about: "a PNG or JPEG file is decoded and prepared for a network",
    run: |bytes, place| {
        let read = |bytes: &[u8]| {
            let image = Picture::open(put(place, "picture", bytes)).map_err(say)?;
            black_box(Preprocess::new(ImageShape::new(3, 8, 8)).apply(image).map_err(say)?);
            Ok(())
        };
        let mut repaired = bytes.to_vec();
        png_checksums(&mut repaired);
        let plain = read(bytes);
        if plain.is_err() && repaired != bytes { read(&repaired) } else { plain }
    },
    seeds: || {
        let shapes = [(1, 1, 1), (3, 4, 5), (1, 9, 2)];
        let image = |(channels, height, width): (usize, usize, usize)| {
            let pixels = (0..channels * height * width).map(|i| (i * 37) as u8).collect();
            Picture::new(ImageShape::new(channels, height, width), pixels).expect("all pixels").to_png()
        };
        shapes.map(image).to_vec()
    },
    fixtures: None,
    // What the decoder is granted, and the picture in 8 bits beside it.
    most_memory: |_| 768 << 20,
};

/// Class folders. The bytes are text: a line says where something is and what,
/// `train/cat/1.png png`.
pub(crate) const FOLDER: Target = Target {
    name: "folder",
    about: "a folder of pictures, of whatever is in it, is read",
    run: folder,
    seeds: Vec::new,
    fixtures: None,
    most_memory: few_times_the_file,
};

/// Writes a file for readers that want one.
pub(crate) fn put(place: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = place.join(name);
    fs::write(&path, bytes).expect("a folder to write to");
    path
}

fn look_at(data: &dyn Dataset) -> Result<(), String> {
    for index in 0..data.len() {
        let sample = data.get(index).map_err(say)?;
        assert!(sample.label < data.classes().len() && sample.label == data.label(index).map_err(say)?);
    }
    Ok(())
}

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
                fs::write(path, Picture::new(ImageShape::new(1, 1, 2), vec![1, 2]).map_err(say)?.to_png())
            }
            b" empty" => fs::create_dir(path),
            #[cfg(unix)]
            b" link" => std::os::unix::fs::symlink(".", path),
            _ => fs::write(path, what),
        };
    }
    let open = |corrupt| ImageFolder::open(&place, Split::Val, corrupt).map_err(say);
    look_at(&open(Corrupt::Skip)?)?;
    look_at(&open(Corrupt::Refuse)?)
}

/// The path in these bytes, if it stays inside.
fn relative(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes);
    #[cfg(not(unix))]
    let path = String::from_utf8_lossy(bytes).into_owned();
    Path::new(&path).components().filter(|part| matches!(part, Component::Normal(_))).take(8).collect()
}

/// The chunks of a PNG file end with their checksums, which have damage refused at once.
fn png_checksums(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let end = at + 8 + length;
        let Some(chunk) = bytes.get(at + 4..end) else { return };
        let mut checksum = flate2::Crc::new();
        checksum.update(chunk);
        if let Some(place) = bytes.get_mut(end..end + 4) {
            place.copy_from_slice(&checksum.sum().to_be_bytes());
        }
        at = end + 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_encoder() {
        let mut file = Picture::new(ImageShape::new(3, 4, 5), vec![7; 60]).unwrap().to_png();
        let intact = file.clone();
        file[29] ^= 1; // the first checksum
        png_checksums(&mut file);
        assert_eq!(file, intact);
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(relative(b"/a/../../b/./c"), Path::new("a/b/c"));
    }
}
