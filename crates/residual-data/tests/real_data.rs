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
    println!("skipped: {} does not exist; set RESIDUAL_DATA", path.display());
    None
}

#[test]
fn cifar10_has_60000_pictures_in_either_form() {
    for (kind, folder) in [("cifar10", "cifar10-bin"), ("folder", "cifar10")] {
        let Some(spec) = at_hand(kind, folder) else { continue };
        for (split, per_class) in [(Split::Train, 5000), (Split::Val, 1000), (Split::Test, 1000)] {
            let data = spec.open(split, Corrupt::Refuse).unwrap();
            assert_eq!(class_counts(&*data).unwrap(), [per_class; 10]);
            assert_eq!(data.classes()[3], "cat");
        }
    }
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
