//! Random variation of training pictures: shifts and mirror images.

use residual_tensor::Generator;
use serde::{Deserialize, Serialize};

/// How training pictures are varied. The default varies nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Pads the normalised picture with this many zeros on each side and crops it back at
    /// random. Where resizing left a margin around the crop, the margin comes before zeros.
    pub pad_and_crop: u16,
    /// Mirrors half of the pictures.
    pub flip: bool,
}

impl Augment {
    /// Pad by 4 and crop, mirror half: what ResNets are trained with on CIFAR-10.
    pub const CIFAR: Self = Self { pad_and_crop: 4, flip: true };

    /// One variation.
    pub fn draw(&self, generator: &mut Generator) -> Placement {
        let reach = usize::from(self.pad_and_crop);
        let mut shift = || generator.below(2 * reach + 1) as isize - reach as isize;
        let (down, right) = (shift(), shift());
        Placement { down, right, flip: self.flip && generator.chance(0.5) }
    }
}

/// Where the crop lies relative to the middle of the picture, and whether it is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placement {
    /// Rows by which the crop is moved down.
    pub down: isize,
    /// Columns by which the crop is moved right.
    pub right: isize,
    /// Whether left and right of the crop are exchanged.
    pub flip: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shift_and_both_sides_occur() {
        let mut generator = Generator::new(1);
        let drawn: Vec<Placement> = (0..2000).map(|_| Augment::CIFAR.draw(&mut generator)).collect();
        for shift in -4..=4 {
            assert!(drawn.iter().any(|p| p.down == shift) && drawn.iter().any(|p| p.right == shift));
        }
        assert!(drawn.iter().all(|p| p.down.abs() <= 4 && p.right.abs() <= 4));
        let mirrored = drawn.iter().filter(|p| p.flip).count();
        assert!((900..1100).contains(&mirrored), "{mirrored} of 2000");
        assert_eq!(Augment::default().draw(&mut generator), Placement::default());
    }
}
