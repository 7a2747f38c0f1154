//! The network that is part of this crate, and how good it is.

use std::fmt;

use residual_model::{Classifier, OpenOptions, Views};
use residual_weights::{Weights, safetensors};
use serde::{Deserialize, Serialize};

/// What `residual train --recipe fer2013` made, in half precision.
const FILE: &[u8] = include_bytes!("../model/emotions.safetensors");
/// What `residual eval` measured of the file: its `--json`.
const EVALUATION: &str = include_str!("../model/evaluation.json");

/// What the network's file holds: weights, names of classes, preprocessing.
pub fn weights() -> Weights {
    safetensors::read_bytes(FILE).expect("the file is complete")
}

/// How the network looks at a picture of a face: ten parts of it, each a little smaller than the whole.
pub const VIEWS: Views = Views::TenCrop { margin: 2 };

/// The network, which takes pictures of faces and gives the probability of each emotion: the mean over [`VIEWS`],
/// as it was when [`Card::accuracy`] was measured.
pub fn classifier() -> Classifier {
    let opened = OpenOptions::new().build(weights(), "emotions.safetensors");
    let model =
        opened.and_then(|opened| opened.model("emotions.safetensors")).expect("the file says everything");
    Classifier::new(model).with_views(VIEWS).expect("the network can have them")
}

/// What the network of [`classifier`] is good for, measured on the 3,589 pictures of FER2013's PublicTest. It was not
/// trained on them, but they chose the epoch that is shipped, so the figures are slightly optimistic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The network's name.
    pub model: String,
    /// The views of a picture that its answer is the mean over.
    pub tta: String,
    /// The share of pictures whose emotion it names as people did.
    pub accuracy: f64,
    /// How many pictures that is measured on.
    pub samples: u64,
    /// Each emotion by itself.
    pub classes: Vec<Recall>,
}

/// How well an emotion is recognized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    /// The emotion.
    pub name: String,
    /// The share of its pictures that are recognized.
    pub recall: f64,
    /// The share of the pictures taken for it that show it.
    pub precision: f64,
    /// How many pictures show it.
    pub support: u64,
}

impl Card {
    /// What the network learned from.
    pub const TRAINED_ON: &str = "FER2013's 28,709 training pictures";
    /// What it cannot do.
    pub const LIMITS: &str = "It works on faces from the front, cut out as grey 48×48, with labels on which people \
         agree about two times in three. It classifies expressions, which may be posed; they do not show what a \
         person feels. Not for decisions about people.";

    /// The card of the network that is part of this crate.
    pub fn new() -> Self {
        serde_json::from_str(EVALUATION).expect("what `residual eval` wrote")
    }
}

impl Default for Card {
    fn default() -> Self {
        Self::new()
    }
}

/// In a few sentences.
impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accuracy, samples, .. } = self;
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_by(|a, b| b.recall.total_cmp(&a.recall));
        let each: Vec<String> =
            classes.iter().map(|class| format!("{} {:.0}", class.name, 100.0 * class.recall)).collect();
        let share = 100.0 * accuracy;
        write!(
            f,
            "trained on {}; right for {share:.1} % of the {samples} pictures of its PublicTest ({}). {}",
            Self::TRAINED_ON,
            each.join(", "),
            Self::LIMITS
        )
    }
}
