//! A file per command, and how they read the arguments that several of them have.

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod data;
pub(crate) mod eval;
pub(crate) mod experiment;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod man;
mod opening;
pub(crate) mod predict;
pub(crate) mod recipes;
pub(crate) mod run;
pub(crate) mod summary;
pub(crate) mod train;
mod trial;

use residual_data::Split;

/// A part of a data set by its name.
fn split(text: &str) -> Result<Split, String> {
    let splits = [Split::Train, Split::Val, Split::Test];
    splits.into_iter().find(|split| split.name() == text).ok_or_else(|| "write train, val or test".to_owned())
}

/// Channels, height and width: `3x224x224`.
fn shape(text: &str) -> Result<[usize; 3], String> {
    numbers(text).ok_or_else(|| "write channels, height and width like 3x224x224".to_owned())
}

/// Height and width: `48x48`.
fn size(text: &str) -> Result<[usize; 2], String> {
    numbers(text).ok_or_else(|| "write height and width like 48x48".to_owned())
}

fn numbers<const N: usize>(text: &str) -> Option<[usize; N]> {
    let parts: Option<Vec<usize>> = text.split(['x', '×']).map(|part| part.parse().ok()).collect();
    parts?.try_into().ok().filter(|numbers: &[usize; N]| numbers.iter().all(|n| (1..=65_535).contains(n)))
}
