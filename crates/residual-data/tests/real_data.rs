//! The published sizes of real data sets, if they are at hand: in the folder that the variable
//! `RESIDUAL_DATA` names, or in `~/.cache/residual-data`.

use std::{env, path::PathBuf};

use residual_data::{Corrupt, DataSpec, EMOTIONS, Split, class_counts};

/// The spec of a data set in that folder, if it is there.
fn at_hand(kind: &str, folder: &str) -> Option<DataSpec> {
    let root = env::var_os("RESIDUAL_DATA")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/residual-data")))?;
    let path = root.join(folder);
    if path.exists() {
        return Some(format!("{kind}:{}", path.display()).parse().unwrap());
    }
    println!("not covered: {} does not exist; RESIDUAL_DATA names the folder with {folder}", path.display());
    None
}

fn cifar10_is_complete(kind: &str, folder: &str) {
    let Some(spec) = at_hand(kind, folder) else { return };
    for (split, per_class) in [(Split::Train, 5000), (Split::Val, 1000), (Split::Test, 1000)] {
        let data = spec.open(split, Corrupt::Refuse).unwrap();
        assert_eq!(class_counts(&*data).unwrap(), [per_class; 10]);
        assert_eq!(data.classes()[3], "cat");
    }
}

#[test]
fn cifar10_has_60000_pictures_in_its_binary_form() {
    cifar10_is_complete("cifar10", "cifar10-bin");
}

#[test]
fn cifar10_has_60000_pictures_in_folders() {
    cifar10_is_complete("folder", "cifar10");
}

#[test]
fn fer2013_has_its_published_counts() {
    let Some(spec) = at_hand("fer2013", "fer2013") else { return };
    let train = spec.open(Split::Train, Corrupt::Refuse).unwrap();
    // Goodfellow et al. 2013; in the order angry, disgust, fear, happy, sad, surprise, neutral.
    assert_eq!(class_counts(&*train).unwrap(), [3995, 436, 4097, 7215, 4830, 3171, 4965]);
    assert_eq!(train.classes(), EMOTIONS);
    let val = spec.open(Split::Val, Corrupt::Refuse).unwrap();
    assert_eq!(class_counts(&*val).unwrap(), [467, 56, 496, 895, 653, 415, 607]);
}
