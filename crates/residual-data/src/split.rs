//! Which pictures of a folder belong to which split: the folders of the splits, or a rule for folders that have
//! none.

use std::path::{Path, PathBuf};

use residual_tensor::Generator;

use crate::{DataError, Result, Split, files::folders_in};

/// Names that the folder of a split goes by, in lower case.
fn names(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train", "training"],
        Split::Val => &["val", "valid", "validation", "publictest"],
        Split::Test => &["test", "privatetest"],
    }
}

/// A folder of class folders, and which of its pictures belong to a split.
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) share: Share,
    asked: Split,
    found: Split,
}

/// How much of a folder belongs to a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    All,
    /// What is left to learn from.
    FourFifths,
    /// What is held out for validation.
    Fifth,
}

impl Part {
    /// The part that a split of a data set is in. A set without validation pictures is validated on
    /// its test pictures or, if it has none either, on a fifth of those that it has.
    pub(crate) fn find(dir: &Path, split: Split) -> Result<Self> {
        if !dir.is_dir() {
            let expected = "a folder of class folders, or one with train, val and test folders of them";
            return Err(DataError::Missing { path: dir.into(), expected: expected.into() });
        }
        let folders = folders_in(dir)?;
        let folder_of = |split: Split| {
            let is_name = |name: &str| names(split).contains(&name.to_lowercase().as_str());
            folders.iter().find(|(name, _)| is_name(name)).map(|(_, path)| path.clone())
        };
        let [train, val, test] = [Split::Train, Split::Val, Split::Test].map(folder_of);
        let is_divided = val.is_some() || test.is_some();
        let part = |found: Split, path: PathBuf, share: Share| Ok(Self { path, share, asked: split, found });
        match (split, train, val, test) {
            (Split::Train, Some(path), _, _) if is_divided => part(Split::Train, path, Share::All),
            (Split::Val, _, Some(path), _) => part(Split::Val, path, Share::All),
            (Split::Val | Split::Test, _, _, Some(path)) => part(Split::Test, path, Share::All),
            (Split::Train, train, _, _) if !is_divided => {
                part(split, train.unwrap_or_else(|| dir.into()), Share::FourFifths)
            }
            (Split::Val, train, None, None) => part(split, train.unwrap_or_else(|| dir.into()), Share::Fifth),
            _ => {
                let expected = match is_divided {
                    true => String::new(),
                    false => ", or look at its val split, a fifth of the pictures".to_owned(),
                };
                let names = names(split).join(" or ");
                let expected = format!("a folder named {names}, with a folder for each class{expected}");
                Err(DataError::NoSplit { path: dir.into(), split, expected })
            }
        }
    }

    pub(crate) fn title(&self, kind: &str) -> String {
        let Self { asked, found, share, .. } = self;
        match share {
            Share::All if asked == found => format!("{kind} {asked}"),
            Share::All => format!("{kind} {asked} (the {found} folder)"),
            Share::FourFifths => format!("{kind} {asked} (four fifths of each class)"),
            Share::Fifth => format!("{kind} {asked} (a fifth of each class)"),
        }
    }
}

impl Share {
    /// The files of a class folder that belong to this share, in their order.
    ///
    /// A draw that follows from a file's name alone ranks the files of a class; the first fifth is
    /// held out. So a picture that is added or removed moves at most one other picture of its class
    /// from one share to the other.
    pub(crate) fn of(self, class_folder: &Path, files: Vec<PathBuf>) -> Vec<PathBuf> {
        if self == Self::All {
            return files;
        }
        let draws = Generator::new(0).split("held out for validation");
        let rank = |path: &PathBuf| {
            let name = path.strip_prefix(class_folder).unwrap_or(path).to_string_lossy().replace('\\', "/");
            draws.split(name.as_str()).uniform()
        };
        let mut ranks: Vec<f64> = files.iter().map(rank).collect();
        let own = ranks.clone();
        ranks.sort_by(f64::total_cmp);
        // Of one picture nothing is held out, of two or more at least one is.
        let held_out = match files.len() {
            0 | 1 => 0,
            several => (several / 5).max(1),
        };
        let last = held_out.checked_sub(1).map(|last| ranks[last]);
        let belongs = |rank: f64| last.is_some_and(|last| rank <= last) == (self == Self::Fifth);
        files.into_iter().zip(own).filter(|&(_, rank)| belongs(rank)).map(|(path, _)| path).collect()
    }
}
