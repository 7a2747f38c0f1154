//! Claims of the papers as experiments: each file here measures one, says what was and what was not
//! reproduced, and leaves a page, drawings and tables.
//!
//! An experiment is a row of [`ALL`] with a function that measures. What it says follows from its numbers:
//! every sentence is made of them, and whether a claim holds is a comparison, never a fixed text.

mod algorithms;
mod batch_norm;
mod batch_size;
mod bias;
mod bottleneck;
mod degradation;
mod depth_1000;
mod findings;
mod gradients;
mod learning;
mod shortcuts;
mod stack;

use std::path::PathBuf;

use residual_data::DataSpec;
use serde::Serialize;

use crate::Result;

pub use findings::{Claim, Findings, Part, Statement};

/// How much an experiment does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Small networks and few pictures: less than two minutes on two cores.
    #[default]
    Quick,
    /// The networks of the papers, and all pictures: hours.
    Full,
}

impl Effort {
    /// `quick` or `full`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }

    /// One of two values.
    pub(crate) fn pick<V>(self, quick: V, full: V) -> V {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What an experiment is run with. The same setting gives the same numbers, but for times.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// How much it does.
    pub effort: Effort,
    /// The pictures, for experiments that need some.
    pub data: DataSpec,
    /// What weights and the order of pictures follow from.
    pub seed: u64,
    /// The folder in which each training is kept, if any: an experiment that was interrupted and is run again
    /// with the same setting goes on from there, and ends with the same numbers.
    pub trainings: Option<PathBuf>,
}

/// Is told what an experiment is doing.
pub type Watch<'a> = &'a mut dyn FnMut(&str);

/// An experiment.
pub struct Experiment {
    /// What it is called on the command line and in folders.
    pub name: &'static str,
    /// The heading of its page.
    pub title: &'static str,
    /// What it is about, in one line.
    pub about: &'static str,
    /// What it is held against.
    pub claims: &'static [Claim],
    measure: fn(&Setting, Watch<'_>) -> Result<Findings>,
}

impl Experiment {
    /// The experiment of this name, if there is one.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|experiment| experiment.name == name)
    }

    /// Measures. `watch` is told what is being done.
    ///
    /// ```
    /// use residual_report::experiment::{Experiment, Setting};
    ///
    /// let experiment = Experiment::named("bias").unwrap();
    /// let findings = experiment.run(&Setting::default(), &mut |_| ())?;
    /// assert!(findings.statements.iter().all(|statement| statement.holds != Some(false)));
    /// # Ok::<(), residual_report::ReportError>(())
    /// ```
    ///
    /// # Errors
    /// If the data cannot be read.
    pub fn run(&self, setting: &Setting, watch: Watch<'_>) -> Result<Findings> {
        (self.measure)(setting, watch)
    }
}

/// All experiments, in the order in which the papers come to them.
pub const ALL: &[Experiment] = &[
    gradients::EXPERIMENT,
    degradation::EXPERIMENT,
    batch_norm::EXPERIMENT,
    batch_size::EXPERIMENT,
    bias::EXPERIMENT,
    bottleneck::EXPERIMENT,
    shortcuts::EXPERIMENT,
    depth_1000::EXPERIMENT,
    algorithms::EXPERIMENT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_experiment_each() {
        for experiment in ALL {
            assert_eq!(Experiment::named(experiment.name).unwrap().title, experiment.title);
            assert!(!experiment.claims.is_empty() && !experiment.about.contains('\n'), "{}", experiment.name);
        }
        assert!(Experiment::named("none").is_none());
    }
}
