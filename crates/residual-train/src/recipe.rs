//! Recipes: configurations that have a name. Each is a TOML file in `recipes/`, which says what differs from
//! the quick one, and why.

use std::{fmt, str::FromStr};

use crate::{Result, TrainError};

/// Makes the table: a recipe is a row.
macro_rules! recipes {
    ($($(#[$doc:meta])* $recipe:ident: $name:literal, $about:literal;)*) => {
        /// A configuration that has a name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum Recipe {
            $($(#[$doc])* $recipe,)*
        }

        impl Recipe {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$recipe),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$recipe => $name,)*
                }
            }

            /// What it is for, in a line.
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$recipe => $about,)*
                }
            }

            /// The file: what differs from the quick recipe.
            pub fn toml(self) -> &'static str {
                match self {
                    $(Self::$recipe => include_str!(concat!("../recipes/", $name, ".toml")),)*
                }
            }
        }
    };
}

recipes! {
    /// A small network, few epochs, warm-up and cosine.
    #[default]
    Quick: "quick", "a small network in a minute or two, for a first look at any pictures";
    /// He et al. 2015, section 4.2: ResNet-20 on CIFAR-10, 64k iterations.
    CifarPaper: "cifar-paper", "He et al. 2015 on CIFAR-10, to the letter: 64,000 iterations of ResNet-20";
    /// The same for ResNet-110, which begins at a smaller rate.
    CifarPaper110: "cifar-paper-110", "the same for ResNet-110, which begins at a tenth of the rate";
    /// A small residual network by the recipe of Jordan 2024, with which a plain one reaches 94 %.
    CifarSpeed: "cifar-speed", "CIFAR-10 in a dozen epochs: 94 % in half an hour on two cores";
    /// Emotions from small grey pictures.
    Fer2013: "fer2013", "emotions from grey pictures of 48×48, with a network small enough to ship";
    /// A small folder of photos, from nothing.
    Photos: "photos", "a few thousand photos in a folder, with a new network";
    /// A network that was trained before, on other pictures.
    FineTune: "fine-tune", "weights that were trained on other pictures (init.weights), for a small folder";
    /// ResNet-50 on a folder like ImageNet.
    ImageNet: "imagenet", "ResNet-50 on a folder of many photos, by torchvision's second recipe, shortened";
    /// The built-in faces.
    Faces: "faces", "the built-in faces, longer and with more variation than quick";
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Recipe {
    type Err = TrainError;

    /// A recipe by its name; `paper` is what `cifar-paper` was called.
    fn from_str(text: &str) -> Result<Self> {
        let name = if text == "paper" { "cifar-paper" } else { text };
        let found = Self::ALL.iter().copied().find(|recipe| recipe.name() == name);
        found.ok_or_else(|| TrainError::Recipe {
            name: text.to_owned(),
            known: Self::ALL.iter().map(|recipe| recipe.name()).collect::<Vec<_>>().join(", "),
        })
    }
}
