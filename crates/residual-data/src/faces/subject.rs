//! Who is drawn: everything about a face that no emotion changes. Lengths are in units of half
//! a head's height, shades from 0 (black) to 1 (white).

use residual_tensor::Generator;

use super::between;

#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    /// Half of the head's width.
    pub(super) head_width: f32,
    /// How square the jaw is, from 0 (pointed) to 1.
    pub(super) jaw: f32,
    pub(super) skin: f32,
    pub(super) hair: f32,
    pub(super) hair_style: HairStyle,
    /// Height of the hairline above the middle of the head.
    pub(super) hairline: f32,
    pub(super) lips: f32,
    pub(super) iris: f32,
    /// Distance of each eye from the middle.
    pub(super) eye_distance: f32,
    /// Half of an eye's width.
    pub(super) eye_width: f32,
    pub(super) brow_thickness: f32,
    pub(super) nose_length: f32,
    pub(super) nose_width: f32,
    pub(super) glasses: Option<Glasses>,
    /// How dark a beard is, from 0 (none) to 1.
    pub(super) beard: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HairStyle {
    Bald,
    Short,
    /// Combed over the forehead to one side.
    Fringe,
    Long,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Glasses {
    pub(super) radius: f32,
    pub(super) frame: f32,
    /// How much of what is behind a lens is lost in a reflection.
    pub(super) glare: f32,
}

impl Subject {
    pub(super) fn draw(generator: &mut Generator) -> Self {
        let skin = between(generator, 0.4, 0.9);
        // Hair is darker than skin, or lighter, but never like it.
        let fair = generator.chance(0.3);
        let hair = if fair {
            (skin + between(generator, 0.22, 0.45)).min(1.0)
        } else {
            (skin - between(generator, 0.28, 0.7)).max(0.03)
        };
        let hair = if (hair - skin).abs() < 0.18 { skin - 0.25 } else { hair };
        let styles =
            [HairStyle::Bald, HairStyle::Short, HairStyle::Short, HairStyle::Fringe, HairStyle::Long];
        let glasses = Glasses {
            radius: between(generator, 0.23, 0.29),
            frame: between(generator, 0.0, 1.0),
            glare: between(generator, 0.0, 0.3),
        };
        Self {
            head_width: between(generator, 0.68, 0.9),
            jaw: between(generator, 0.0, 1.0),
            skin,
            hair,
            hair_style: styles[generator.below(styles.len())],
            hairline: between(generator, 0.55, 0.75),
            lips: skin * between(generator, 0.35, 0.65),
            iris: between(generator, 0.05, 0.5),
            eye_distance: between(generator, 0.31, 0.37),
            eye_width: between(generator, 0.17, 0.22),
            brow_thickness: between(generator, 0.05, 0.08),
            nose_length: between(generator, 0.2, 0.32),
            nose_width: between(generator, 0.08, 0.15),
            glasses: generator.chance(0.2).then_some(glasses),
            beard: if generator.chance(0.2) { between(generator, 0.2, 0.8) } else { 0.0 },
        }
    }
}
