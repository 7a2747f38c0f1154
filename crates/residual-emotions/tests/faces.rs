//! Faces are found where they are, and nothing that looks like a picture stops the finder.
//!
//! `data/astronaut.jpg` is the middle of NASA's portrait of Eileen Collins, which is in the public domain.

use proptest::prelude::*;
use residual_data::{ImageShape, Interpolation, Picture};
use residual_emotions::FaceFinder;

const PORTRAIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/astronaut.jpg");

fn portrait() -> Picture {
    Picture::open(PORTRAIT).unwrap()
}

#[test]
fn a_face_is_found_where_it_is_at_any_size() {
    let (finder, portrait) = (FaceFinder::new(), portrait());
    for side in [128, 256, 700, 2400] {
        let faces = finder.find(&portrait.resize(side, side, Interpolation::Bilinear).unwrap());
        let [face] = faces[..] else { panic!("one face at {side}: {faces:?}") };
        // The eyes are at 115 and 149, 76 of 256×256, the chin at 110.
        let [top, left, length] =
            [face.top as f64, face.left as f64, face.side as f64].map(|at| at * 256.0 / side as f64);
        assert!(left < 100.0 && left + length > 155.0, "{side}: {face}");
        assert!(top < 66.0 && top + length > 105.0, "{side}: {face}");
        assert!((60.0..95.0).contains(&length), "{side}: {face}");
    }
}

#[test]
fn grey_and_several_faces_are_found_the_largest_first() {
    let portrait = portrait().with_channels(1).unwrap();
    // One of them smaller, at the left of the other.
    let small = portrait.resize(160, 160, Interpolation::Bilinear).unwrap();
    let (wide, high) = (160 + 256, 256);
    let mut pixels = vec![0; wide * high];
    for (picture, column) in [(&small, 0), (&portrait, 160)] {
        for (row, line) in picture.pixels().chunks_exact(picture.width()).enumerate() {
            pixels[row * wide + column..][..line.len()].copy_from_slice(line);
        }
    }
    let both = Picture::new(ImageShape::new(1, high, wide), pixels).unwrap();
    let faces = FaceFinder::new().find(&both);
    assert_eq!(faces.len(), 2, "{faces:?}");
    assert!(faces[0].side > faces[1].side && faces[0].left > 160 && faces[1].left < 160, "{faces:?}");
}

#[test]
fn the_picture_of_a_face_repeats_the_edge_of_the_photo() {
    let portrait = portrait();
    let mut face = FaceFinder::new().find(&portrait)[0];
    assert_eq!(face.picture(&portrait).unwrap().width(), (face.side as f64 / 0.911).round() as usize);
    (face.top, face.left) = (-1000, -1000);
    let beyond = face.picture(&portrait).unwrap();
    assert!(beyond.pixels().chunks_exact(3).all(|pixel| pixel == &portrait.pixels()[..3]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Of any size, with parts of faces at its edges, which is where a window can be moved out of the picture.
    #[test]
    fn any_picture_can_be_looked_through(
        height in 1usize..150,
        width in 1usize..150,
        side in 20usize..200,
        top in -100isize..150,
        left in -100isize..150,
        noise in any::<u8>(),
    ) {
        let face = portrait().crop(30, 80, 90, 90).unwrap().resize(side, side, Interpolation::Bilinear).unwrap();
        let part = face.crop(-top, -left, height, width).unwrap();
        let pixels = part.pixels().iter().enumerate().map(|(at, pixel)| pixel ^ (at * 37) as u8 & noise);
        let picture = Picture::new(part.shape(), pixels.collect()).unwrap();
        for face in FaceFinder::new().find(&picture) {
            prop_assert!(face.score >= FaceFinder::LEAST_SCORE);
            prop_assert!(face.picture(&picture).is_ok());
        }
    }
}

#[test]
fn there_are_no_faces_in_what_is_too_small_or_flat() {
    let flat = |height, width| {
        Picture::new(ImageShape::new(3, height, width), vec![128; 3 * height * width]).unwrap()
    };
    let finder = FaceFinder::new();
    for (height, width) in [(1, 1), (39, 400), (40, 40), (16_384, 2), (300, 200)] {
        assert_eq!(finder.find(&flat(height, width)), []);
    }
}
