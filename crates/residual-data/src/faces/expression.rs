//! What an emotion does to a face, as a table. Shapes only: who shows it is
//! [`Subject`](super::subject::Subject).
//!
//! Lengths are in units of half a head's height. Heights count upwards from where a neutral
//! face has the part.

use residual_tensor::Generator;

use super::between;

/// The parts of a face that an emotion moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expression {
    /// Height of the brows' ends beside the nose.
    pub(super) brow_inner: f32,
    /// Height of the brows' outer ends.
    pub(super) brow_outer: f32,
    /// How far the middle of a brow rises above the line between its ends.
    pub(super) brow_arch: f32,
    /// How far the upper lids are open.
    pub(super) upper_lid: f32,
    /// How far the lower lids are open.
    pub(super) lower_lid: f32,
    /// Half of the mouth's width.
    pub(super) mouth_width: f32,
    /// Height of the corners of the mouth over its middle.
    pub(super) mouth_lift: f32,
    /// Half of the height of the open mouth.
    pub(super) mouth_open: f32,
    /// How far the upper teeth show, from 0 (not) to 1 (clenched: nothing but teeth).
    pub(super) teeth: f32,
    /// How far the upper lip is drawn up to the nose.
    pub(super) sneer: f32,
    /// How deep the wrinkles beside the nose are, from 0 to 1.
    pub(super) wrinkles: f32,
}

/// Ways of showing each emotion, in the order of [`EMOTIONS`](crate::EMOTIONS).
#[rustfmt::skip]
const WAYS: [&[[f32; 11]]; 7] = [
    // brow: inner, outer, arch; lid: upper, lower; mouth: width, lift, open, teeth; sneer, wrinkles
    &[[-0.16,  0.09, 0.00,  0.12, 0.07,  0.26, -0.04, 0.00, 0.0,  0.00, 0.0],   // angry: lips pressed
      [-0.16,  0.09, 0.00,  0.15, 0.07,  0.30, -0.02, 0.11, 1.0,  0.00, 0.0]],  //        teeth clenched
    &[[-0.07, -0.05, 0.02,  0.07, 0.02,  0.27, -0.10, 0.00, 0.0,  0.10, 1.0],   // disgust: mouth shut
      [-0.08, -0.05, 0.02,  0.07, 0.02,  0.27, -0.10, 0.07, 0.4,  0.10, 1.0]],  //        mouth open
    &[[ 0.17,  0.06, 0.00,  0.22, 0.14,  0.32, -0.05, 0.09, 0.5,  0.00, 0.0],   // fear: mouth drawn wide
      [ 0.18,  0.07, 0.00,  0.23, 0.14,  0.26, -0.07, 0.13, 0.0,  0.00, 0.0]],  //        mouth dark
    &[[ 0.03,  0.02, 0.08,  0.13, 0.04,  0.36,  0.15, 0.00, 0.0,  0.00, 0.0],   // happy: a smile
      [ 0.04,  0.02, 0.08,  0.13, 0.03,  0.38,  0.15, 0.13, 0.4,  0.00, 0.0]],  //        a laugh
    &[[ 0.15, -0.09, 0.00,  0.10, 0.08,  0.25, -0.12, 0.00, 0.0,  0.00, 0.0],   // sad: mouth shut
      [ 0.14, -0.10, 0.00,  0.09, 0.07,  0.25, -0.13, 0.04, 0.0,  0.00, 0.0]],  //        lips parted
    &[[ 0.15,  0.14, 0.09,  0.22, 0.13,  0.17,  0.00, 0.22, 0.0,  0.00, 0.0],   // surprise: mouth wide open
      [ 0.17,  0.16, 0.09,  0.22, 0.13,  0.14,  0.00, 0.16, 0.2,  0.00, 0.0]],  //        mouth round
    &[[ 0.00,  0.00, 0.05,  0.14, 0.09,  0.27,  0.00, 0.00, 0.0,  0.00, 0.0]],  // neutral
];

impl Expression {
    /// An expression of the emotion with this label.
    pub(super) fn draw(label: usize, generator: &mut Generator) -> Self {
        let ways = WAYS[label];
        let way = ways[generator.below(ways.len())];
        let neutral = WAYS[6][0];
        let degree = between(generator, 0.7, 1.2);
        let mut vary = |at: usize, scatter: f32| {
            let value = neutral[at] + degree * (way[at] - neutral[at]);
            value + scatter * between(generator, -1.0, 1.0)
        };
        Self {
            brow_inner: vary(0, 0.025),
            brow_outer: vary(1, 0.025),
            brow_arch: vary(2, 0.02),
            upper_lid: vary(3, 0.015).max(0.03),
            lower_lid: vary(4, 0.015).max(0.015),
            mouth_width: vary(5, 0.03),
            mouth_lift: vary(6, 0.02),
            mouth_open: vary(7, 0.01).max(0.0),
            teeth: vary(8, 0.1).clamp(0.0, 1.0),
            sneer: vary(9, 0.01).max(0.0),
            wrinkles: vary(10, 0.0),
        }
    }
}
