//! Folders of pictures as people have them: splits by other names, corrupt files, empty classes.

use std::{fs, path::Path};

use residual_data::{Corrupt, DataError, Dataset, Image, ImageFolder, ImageShape, Split, class_counts};

fn picture(path: impl AsRef<Path>, shape: ImageShape, value: u8) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    Image::new(shape, vec![value; shape.elements()]).unwrap().save_png(path).unwrap();
}

const SMALL: ImageShape = ImageShape::new(3, 4, 6);

/// Two classes in train and test, one of them also in `valid`.
fn pets() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, value) in [("dog/b", 1), ("dog/a", 2), ("cat/z", 3)] {
        picture(dir.path().join("train").join(file).with_extension("png"), SMALL, value);
    }
    picture(dir.path().join("test/dog/1.png"), SMALL, 4);
    dir
}

fn open(dir: &tempfile::TempDir, split: Split) -> Result<ImageFolder, DataError> {
    ImageFolder::open(dir.path(), split, Corrupt::Refuse)
}

#[test]
fn classes_and_files_are_in_the_order_of_their_names() {
    let dir = pets();
    fs::write(dir.path().join("train/dog/notes.txt"), "not a picture").unwrap();
    fs::write(dir.path().join("train/dog/.hidden.png"), "not a picture").unwrap();
    let train = open(&dir, Split::Train).unwrap();
    assert_eq!(train.classes(), ["cat", "dog"]);
    assert_eq!(class_counts(&train).unwrap(), [1, 2]);
    let values: Vec<u8> = (0..3).map(|index| train.get(index).unwrap().image.pixels()[0]).collect();
    assert_eq!(values, [3, 2, 1]);
    assert_eq!(train.shape(), Some(SMALL));
    assert!(train.path(1).unwrap().ends_with("train/dog/a.png"));
}

#[test]
fn the_training_folder_decides_on_the_classes() {
    let dir = pets();
    let test = open(&dir, Split::Test).unwrap();
    assert_eq!((test.classes().len(), test.label(0).unwrap()), (2, 1));
    picture(dir.path().join("test/fish/1.png"), SMALL, 5);
    let message = open(&dir, Split::Test).unwrap_err().to_string();
    assert!(message.contains("fish is none of the 2 classes cat, dog"), "{message}");
}

#[test]
fn validation_goes_by_other_names_and_falls_back_to_test() {
    let dir = pets();
    assert_eq!(open(&dir, Split::Val).unwrap().name(), "folder val (the test folder)");
    picture(dir.path().join("Validation/cat/1.png"), SMALL, 5);
    let val = open(&dir, Split::Val).unwrap();
    assert_eq!((val.name(), val.label(0).unwrap()), ("folder val", 0));
    fs::remove_dir_all(dir.path().join("test")).unwrap();
    let message = open(&dir, Split::Test).unwrap_err().to_string();
    assert!(message.contains("has no test split"), "{message}");
}

#[test]
fn what_is_missing_or_empty_is_said() {
    let dir = pets();
    let missing = ImageFolder::open(dir.path().join("nowhere"), Split::Train, Corrupt::Refuse).unwrap_err();
    assert!(matches!(missing, DataError::Missing { .. }), "{missing}");
    fs::create_dir(dir.path().join("train/bird")).unwrap();
    let empty = open(&dir, Split::Train).unwrap_err();
    assert!(matches!(&empty, DataError::EmptyClass { path } if path.ends_with("train/bird")), "{empty}");
    fs::create_dir(dir.path().join("val")).unwrap();
    assert!(matches!(open(&dir, Split::Val), Err(DataError::NoClasses { .. })));
}

#[test]
fn a_corrupt_picture_is_named_or_skipped_and_listed() {
    let dir = pets();
    let bad = dir.path().join("train/dog/c.png");
    let whole = fs::read(dir.path().join("train/dog/a.png")).unwrap();
    fs::write(&bad, &whole[..whole.len() / 2]).unwrap();
    let train = open(&dir, Split::Train).unwrap();
    let message = train.get(3).unwrap_err().to_string();
    assert!(message.contains("c.png") && !message.contains('\n'), "{message}");
    let train = ImageFolder::open(dir.path(), Split::Train, Corrupt::Skip).unwrap();
    assert_eq!((train.len(), train.skipped()), (3, &[bad][..]));
    assert_eq!(train.shape(), Some(SMALL));
}

#[test]
fn pictures_in_other_formats_are_not_left_out_in_silence() {
    let dir = pets();
    let other = dir.path().join("train/dog/c.webp");
    fs::write(&other, "RIFF").unwrap();
    let message = open(&dir, Split::Train).unwrap_err().to_string();
    assert!(message.contains("c.webp: only PNG and JPEG are read;"), "{message}");
    let train = ImageFolder::open(dir.path(), Split::Train, Corrupt::Skip).unwrap();
    assert_eq!(train.skipped(), [other]);
}

#[test]
fn a_class_of_nothing_but_corrupt_pictures_is_empty() {
    let dir = pets();
    fs::write(dir.path().join("train/cat/z.png"), "gone").unwrap();
    assert!(matches!(open(&dir, Split::Train), Err(DataError::Picture { .. })));
    let skipping = ImageFolder::open(dir.path(), Split::Train, Corrupt::Skip).unwrap_err();
    assert!(matches!(skipping, DataError::EmptyClass { .. }), "{skipping}");
}

#[test]
fn pictures_may_differ_in_shape() {
    let dir = pets();
    picture(dir.path().join("train/cat/a.png"), ImageShape::new(1, 9, 9), 1);
    assert_eq!(open(&dir, Split::Train).unwrap().shape(), None);
}
