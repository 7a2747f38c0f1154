//! Folders of pictures as people have them: splits by other names, corrupt files, empty classes.

use std::{fs, path::Path};

use residual_data::{Corrupt, DataError, Dataset, ImageFolder, ImageShape, Picture, Split, class_counts};

fn picture(path: impl AsRef<Path>, shape: ImageShape, value: u8) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    Picture::new(shape, vec![value; shape.elements()]).unwrap().save_png(path).unwrap();
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

/// The files of a split, without the folder that they are in.
fn names(dir: &tempfile::TempDir, split: Split) -> Vec<String> {
    let data = open(dir, split).unwrap();
    let name = |index| data.path(index).unwrap().strip_prefix(dir.path()).unwrap().display().to_string();
    (0..data.len()).map(name).collect()
}

#[test]
fn a_folder_without_splits_is_divided_by_the_names_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    for (class, pictures) in [("cat", 20), ("dog", 10), ("fish", 2), ("newt", 1)] {
        for number in 0..pictures {
            picture(dir.path().join(format!("{class}/{number}.png")), SMALL, 1);
        }
    }
    let [train, val] = [Split::Train, Split::Val].map(|split| open(&dir, split).unwrap());
    assert_eq!(class_counts(&train).unwrap(), [16, 8, 1, 1]);
    assert_eq!(class_counts(&val).unwrap(), [4, 2, 1, 0]);
    assert_eq!(train.name(), "folder train (four fifths of each class)");
    assert_eq!(val.name(), "folder val (a fifth of each class)");
    let (train, val) = (names(&dir, Split::Train), names(&dir, Split::Val));
    assert!(train.iter().all(|name| !val.contains(name)));
    // Some draw of its own, and not the first or last ones.
    assert_eq!(val[..4], ["cat/14.png", "cat/19.png", "cat/2.png", "cat/7.png"]);
    let message = open(&dir, Split::Test).unwrap_err().to_string();
    assert!(message.contains("its val split, a fifth of the pictures"), "{message}");

    // Five more cats: one more is held out, and no others change sides but for one.
    for number in 100..105 {
        picture(dir.path().join(format!("cat/{number}.png")), SMALL, 1);
    }
    let after = names(&dir, Split::Val);
    assert_eq!(after.iter().filter(|name| name.starts_with("cat")).count(), 5);
    assert!(val.iter().filter(|name| !after.contains(name)).count() <= 1, "{val:?} {after:?}");
}

#[test]
fn a_folder_with_nothing_but_train_is_divided_too() {
    let dir = pets();
    fs::remove_dir_all(dir.path().join("test")).unwrap();
    assert_eq!(names(&dir, Split::Train).len() + names(&dir, Split::Val).len(), 3);
    assert_eq!(open(&dir, Split::Val).unwrap().name(), "folder val (a fifth of each class)");
}

#[test]
fn pictures_of_a_class_may_be_in_folders_and_what_is_hidden_does_not_count() {
    let dir = pets();
    picture(dir.path().join("train/cat/indoors/1.png"), SMALL, 3);
    for hidden in
        ["train/cat/._z.png", "train/cat/.cache/z.png", "train/__MACOSX/z.png", "train/cat/Thumbs.db"]
    {
        fs::create_dir_all(dir.path().join(hidden).parent().unwrap()).unwrap();
        fs::write(dir.path().join(hidden), "not a picture").unwrap();
    }
    let train = ["train/cat/indoors/1.png", "train/cat/z.png", "train/dog/a.png", "train/dog/b.png"];
    assert_eq!(names(&dir, Split::Train), train);
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_a_circle() {
    use std::os::unix::fs::symlink;
    let dir = pets();
    let elsewhere = tempfile::tempdir().unwrap();
    picture(elsewhere.path().join("1.png"), SMALL, 9);
    symlink(elsewhere.path(), dir.path().join("train/cat/more")).unwrap();
    symlink("..", dir.path().join("train/cat/up")).unwrap();
    symlink(".", dir.path().join("train/again")).unwrap();
    symlink("nowhere.png", dir.path().join("train/dog/lost.png")).unwrap();
    symlink("nowhere", dir.path().join("train/cat/lost")).unwrap();
    let train = [
        "train/cat/more/1.png",
        "train/cat/z.png",
        "train/dog/a.png",
        "train/dog/b.png",
        "train/dog/lost.png",
    ];
    assert_eq!(names(&dir, Split::Train), train);
    let message = open(&dir, Split::Train).unwrap().get(4).unwrap_err().to_string();
    assert!(message.contains("lost.png"), "{message}");
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
