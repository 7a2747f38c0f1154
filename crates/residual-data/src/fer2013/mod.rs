//! FER2013 (Goodfellow et al. 2013), 48×48 grey faces in seven emotions: Kaggle's table
//! `fer2013.csv`, or folders of pictures. Its parts are Training (train), PublicTest (val) and
//! PrivateTest (test).

#[cfg(feature = "csv")]
mod table;

use std::{path::Path, sync::Arc};

use crate::{Corrupt, DataError, Dataset, ImageFolder, Result, Split, dataset::owned};

/// The seven emotions in FER2013's order, which is the order of its labels.
pub const EMOTIONS: [&str; 7] = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];

#[cfg(any(test, feature = "csv"))]
const SHAPE: crate::ImageShape = crate::ImageShape::new(1, 48, 48);

/// FER2013 from Kaggle's table (a file, or a folder that holds `fer2013.csv`), or from class
/// folders in `train`, `val` and `test`.
///
/// The label of a class folder follows from its name, whatever the order of the names:
/// `neutral`, `Neutral` and `6` are all class 6.
///
/// The table is read by the feature `csv`.
///
/// # Errors
/// [`DataError`] saying which files were expected, which line is wrong, or which picture is
/// corrupt.
pub fn fer2013(path: impl AsRef<Path>, split: Split, corrupt: Corrupt) -> Result<Arc<dyn Dataset>> {
    let path = path.as_ref();
    let tables = [path.to_path_buf(), path.join("fer2013.csv"), path.join("fer2013").join("fer2013.csv")];
    if let Some(table) = tables.iter().find(|table| table.is_file()) {
        return read_table(table, split);
    }
    if !path.is_dir() {
        let expected = "fer2013.csv, or a folder with train, val and test folders, each of class folders";
        return Err(DataError::Missing { path: path.into(), expected: expected.into() });
    }
    let folder = ImageFolder::with_classes("fer2013", path, split, &owned(&EMOTIONS), emotion, corrupt)?;
    Ok(Arc::new(folder))
}

#[cfg(feature = "csv")]
fn read_table(path: &Path, split: Split) -> Result<Arc<dyn Dataset>> {
    Ok(Arc::new(table::read(path, split)?))
}

#[cfg(not(feature = "csv"))]
fn read_table(path: &Path, _split: Split) -> Result<Arc<dyn Dataset>> {
    Err(DataError::Feature { path: path.into(), feature: "csv" })
}

/// The label of a class folder's name.
fn emotion(folder: &str) -> Option<usize> {
    Some(match folder.to_lowercase().as_str() {
        "angry" | "anger" | "0" => 0,
        "disgust" | "disgusted" | "1" => 1,
        "fear" | "fearful" | "2" => 2,
        "happy" | "happiness" | "3" => 3,
        "sad" | "sadness" | "4" => 4,
        "surprise" | "surprised" | "5" => 5,
        "neutral" | "6" => 6,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn folders_have_the_tables_labels() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["Neutral", "angry", "Sadness"] {
            let class = folder.path().join("train").join(name);
            fs::create_dir_all(&class).unwrap();
            crate::Picture::new(SHAPE, vec![7; 2304]).unwrap().save_png(class.join("a.png")).unwrap();
        }
        let data = fer2013(folder.path(), Split::Train, Corrupt::Refuse).unwrap();
        assert_eq!([0, 1, 2].map(|index| data.label(index).unwrap()), [0, 4, 6]);
        assert_eq!(data.shape(), Some(SHAPE));
        assert_eq!(data.classes().len(), 7);
    }
}
