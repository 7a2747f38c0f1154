//! The network that is part of the crate is as good as its card says.

use std::{env, path::PathBuf};

use rayon::prelude::*;
use residual_data::{Corrupt, DataSpec, EMOTIONS, Split};
use residual_emotions::{Card, FaceFinder, VIEWS, classifier};
use residual_model::Picture;

#[test]
fn the_card_is_about_this_network_and_adds_up() {
    let (card, network) = (Card::new(), classifier());
    assert_eq!(card.model, network.model().net.config().name);
    assert_eq!(card.tta, VIEWS.to_string());
    assert_eq!(network.model().classes, EMOTIONS);
    assert!(card.classes.iter().map(|class| &*class.name).eq(EMOTIONS));
    // PublicTest.
    let supports: Vec<u64> = card.classes.iter().map(|class| class.support).collect();
    assert_eq!((card.samples, &supports[..]), (3589, &[467, 56, 496, 895, 653, 415, 607][..]));
    let right: f64 = card.classes.iter().map(|class| class.recall * class.support as f64).sum();
    assert!((right - card.accuracy * 3589.0).abs() < 1e-6, "{right}");
}

#[test]
fn a_smile_is_happy() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/astronaut.jpg");
    let photo = Picture::open(path).unwrap();
    let face = FaceFinder::new().find(&photo)[0];
    let network = classifier();
    let seen = network.predict(&face.picture(&photo).unwrap()).unwrap().top(1).remove(0);
    assert!(seen.class == "happy" && seen.probability > 0.8, "{seen:?}");
    // It looks at both sides.
    let mirrored = photo.crop(0, 0, 256, 256).unwrap();
    let mut pixels = Vec::new();
    for line in mirrored.pixels().chunks_exact(3 * 256) {
        pixels.extend(line.chunks_exact(3).rev().flatten());
    }
    let mirrored = Picture::new(mirrored.shape(), pixels).unwrap();
    let answers =
        [&photo, &mirrored].map(|picture| network.predict(picture).unwrap().probabilities().to_vec());
    let furthest = answers[0].iter().zip(&answers[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(furthest < 1e-4, "{answers:?}");
}

/// Of every fifth picture of PublicTest, so many are right: as `residual eval emotions --tta ten-crop:2` counts them in
/// a folder of these pictures. It counts those of the card in the whole.
const RIGHT: [usize; 2] = [508, 718];

/// The network is as good as when it was measured, where FER2013 is at hand.
#[test]
fn the_accuracy_is_that_which_was_measured() {
    let root = env::var_os("RESIDUAL_DATA").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/residual-data")
    });
    let path = root.join("fer2013");
    if !path.exists() {
        println!(
            "not covered: {} does not exist; RESIDUAL_DATA names the folder with fer2013",
            path.display()
        );
        return;
    }
    let spec: DataSpec = format!("fer2013:{}", path.display()).parse().unwrap();
    let data = spec.open(Split::Val, Corrupt::Refuse).unwrap();
    let network = classifier();
    let indices: Vec<usize> = (0..data.len()).step_by(5).collect();
    let right: usize = indices
        .par_chunks(64)
        .map(|indices| {
            let samples: Vec<_> = indices.iter().map(|&index| data.get(index).unwrap()).collect();
            let pictures: Vec<_> = samples.iter().map(|sample| sample.image.clone()).collect();
            let answers = network.predict_batch(&pictures).unwrap();
            answers
                .iter()
                .zip(&samples)
                .filter(|(answer, sample)| answer.top(1)[0].index == sample.label)
                .count()
        })
        .sum();
    // Machines add in different orders, and an answer may lie between two emotions.
    let [expected, of] = RIGHT;
    assert!(indices.len() == of && right.abs_diff(expected) <= 1, "{right} of {} are right", indices.len());
}
