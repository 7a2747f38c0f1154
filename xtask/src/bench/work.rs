//! What is measured: networks, batches, inference or training.

use std::{fmt, str::FromStr};

use clap::ValueEnum;
use residual_tensor::Generator;
use residual_zoo::{NetworkConfig, Summary};
use serde::Serialize;

use crate::Failure;

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Task {
    /// A forward pass in evaluation mode
    Infer,
    /// Forward, loss, backward and a step of the optimizer
    Train,
}

impl Task {
    /// As the contenders' command lines have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Train => "train",
        }
    }
}

/// What is measured if nothing is selected.
const WORKS: [(Task, &str, usize); 13] = [
    (Task::Infer, "resnet18", 1),
    (Task::Infer, "resnet18", 16),
    (Task::Infer, "resnet34", 1),
    (Task::Infer, "resnet34", 16),
    (Task::Infer, "resnet50", 1),
    (Task::Infer, "resnet50", 16),
    (Task::Infer, "resnext50_32x4d", 1),
    (Task::Infer, "resnext50_32x4d", 16),
    (Task::Train, "resnet18", 32),
    (Task::Train, "resnet50", 16),
    (Task::Train, "resnext50_32x4d", 16),
    (Task::Train, "cifar_resnet20", 128),
    (Task::Train, "cifar_resnet56", 128),
];

/// A step of a network.
pub(super) struct Work {
    pub(super) task: Task,
    pub(super) model: String,
    pub(super) batch: usize,
    /// The network's input, batch first.
    pub(super) input: [usize; 4],
    /// Operations of a step by the network's definition: 2 for each multiply-add forward, and
    /// twice that for the two gradients of a training step.
    pub(super) operations: f64,
}

impl Work {
    fn new(task: Task, model: &str, batch: usize) -> Result<Self, Failure> {
        let config = NetworkConfig::named(model)?;
        let [height, width] = config.native_size();
        let input = [batch, config.input_channels, height, width];
        let cost = Summary::of(&config.build::<f32>(&mut Generator::new(0))?, input)?;
        let factor = match task {
            Task::Infer => 2,
            Task::Train => 6,
        };
        let operations = (factor * cost.multiply_adds) as f64;
        Ok(Self { task, model: model.to_owned(), batch, input, operations })
    }

    /// The number in `cifar_resnet20`, if it is one of those.
    pub(super) fn cifar_depth(&self) -> Option<&str> {
        self.model.strip_prefix("cifar_resnet")
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = match self.task {
            Task::Infer => "inference",
            Task::Train => "training step",
        };
        write!(f, "{} {task}, batch {}", self.model, self.batch)
    }
}

/// `MODEL` or `MODEL:BATCH`.
#[derive(Clone)]
pub(super) struct Wanted {
    model: String,
    batch: Option<usize>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((model, batch)) = text.split_once(':') else {
            return Ok(Self { model: text.to_owned(), batch: None });
        };
        let batch = batch.parse().ok().filter(|&batch: &usize| batch > 0);
        let batch = batch.ok_or_else(|| "write a batch like resnet18:16".to_owned())?;
        Ok(Self { model: model.to_owned(), batch: Some(batch) })
    }
}

/// The works of the table that are wanted, and those with a batch of their own.
pub(super) fn selected(wanted: &[Wanted], only: Option<Task>) -> Result<Vec<Work>, Failure> {
    let mut works = Vec::new();
    let is_selected = |task: Task| only.is_none_or(|only| only == task);
    for (task, model, batch) in WORKS {
        let by_model = |wanted: &Wanted| wanted.model == model && wanted.batch.is_none();
        if is_selected(task) && (wanted.is_empty() || wanted.iter().any(by_model)) {
            works.push(Work::new(task, model, batch)?);
        }
    }
    for Wanted { model, batch } in wanted {
        for task in [Task::Infer, Task::Train].into_iter().filter(|&task| is_selected(task)) {
            if let Some(batch) = *batch {
                works.push(Work::new(task, model, batch)?);
            }
        }
    }
    if works.is_empty() {
        return Err(
            "nothing is selected; networks that are not in the table need a batch: resnet101:8".into()
        );
    }
    Ok(works)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wanted: &[&str], only: Option<Task>) -> Vec<String> {
        let wanted: Vec<Wanted> = wanted.iter().map(|text| text.parse().unwrap()).collect();
        selected(&wanted, only).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn works_are_selected_by_model_batch_and_task() {
        assert_eq!(names(&[], None).len(), WORKS.len());
        assert_eq!(names(&["cifar_resnet20"], None), ["cifar_resnet20 training step, batch 128"]);
        assert_eq!(names(&["cifar_resnet8:3"], Some(Task::Infer)), ["cifar_resnet8 inference, batch 3"]);
        assert!("resnet18:0".parse::<Wanted>().is_err());
        assert!(selected(&["cifar_resnet20".parse().unwrap()], Some(Task::Infer)).is_err());
    }

    #[test]
    fn operations_follow_from_the_definition() {
        // He et al. 2015, table 6 and section 3.4: 40.55 million multiply-adds.
        let work = Work::new(Task::Train, "cifar_resnet20", 128).unwrap();
        assert_eq!(work.operations, 6.0 * 128.0 * 40_551_040.0);
    }
}
