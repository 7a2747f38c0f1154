//! The faces in a photo, and which of seven emotions each shows: anger, disgust, fear, happiness, sadness,
//! surprise, or none.
//!
//! - [`FaceFinder`] finds faces.
//! - [`classifier`] is a residual network of 0.7 million parameters that was trained on FER2013 and is part
//!   of this crate. What it is good for, and what not, is measured: [`Card`].
//!
//! Any other network that was trained on faces can take its place.
//!
//! **Decision.** Faces are found by `rustface`, which is pure Rust and whose model may be passed on. A face is
//! given to the network with as much around it as the training pictures show; how much that is was measured
//! with `examples/framing.rs`.
//!
//! **Limit.** `rustface` 0.1.7 copies the pixels of a window by raw pointers, and does not check whether the window
//! has been moved beyond the right or lower edge of the picture altogether. That did not happen in 5,317 composed
//! pictures, with faces across all edges, under the address sanitizer. A service that is given pictures by strangers
//! should run the finder in a process of its own.
//!
//! **Not here.** Training (`residual train --recipe fer2013`), and who somebody is.
//!
//! ```no_run
//! use residual_emotions::{FaceFinder, Picture, classifier};
//!
//! let (finder, emotions) = (FaceFinder::new(), classifier());
//! let photo = Picture::open("people.jpg")?;
//! for face in finder.find(&photo) {
//!     let [emotion] = &emotions.predict(&face.picture(&photo)?)?.top(1)[..] else { unreachable!("seven classes") };
//!     println!("{face}: {} ({:.0} %)", emotion.class, 100.0 * emotion.probability);
//! }
//! # Ok::<(), residual_emotions::ModelError>(())
//! ```
#![forbid(unsafe_code)]

mod finder;
mod network;

// What a program needs that depends on this crate alone.
pub use residual_model::{Classifier, ModelError, Picture};

pub use finder::{Face, FaceFinder};
pub use network::{Card, Recall, VIEWS, classifier, weights};

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
