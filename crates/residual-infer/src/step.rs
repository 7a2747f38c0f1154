//! One step of a session: what it computes, from where in the arena to where.

use std::{ops::Range, sync::Arc};

use residual_kernels::{
    KernelError,
    fused::{self, Epilogue},
};
use residual_nn::{Graph, Operation, Result, Value};
use residual_tensor::Shape;

use crate::{fuse::Kind, packed::Packed};

/// Where a tensor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is what the session was given.
    Images,
    /// In the arena.
    Arena(Range<usize>),
}

/// What is added to the results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Addend {
    None,
    Other(Place),
    /// What is at the place of the results already.
    InPlace,
}

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) path: String,
    pub(crate) task: Task,
    /// What it reads, and the shapes of that.
    pub(crate) inputs: Vec<(Place, Shape)>,
    pub(crate) addend: Addend,
    pub(crate) relu: bool,
    pub(crate) y: Range<usize>,
    /// From the results for one part of a batch to those for the next, if all of them are kept.
    pub(crate) advance: usize,
    /// The shape of the results.
    pub(crate) shape: Shape,
}

/// A [`Kind`] with all its sizes.
#[derive(Debug)]
pub(crate) enum Task {
    Conv2d(Packed),
    Affine { scale: Arc<[f32]>, shift: Arc<[f32]> },
    Identity,
    Other(Arc<dyn Operation<f32>>),
}

impl Kind {
    /// The shape of the output for those of the inputs.
    pub(crate) fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        let x = inputs[0];
        Ok(match self {
            Self::Conv2d(convolution) => {
                let shape = convolution.geometry.resolve(&pixels(x)?, &convolution.weight)?;
                if x.rank() == 2 { Shape::new([shape.batch(), shape.out_channels()])? } else { shape.y() }
            }
            Self::Affine { scale, .. } => {
                let [_, channels, _, _] = x.dims("batch_norm")?;
                if channels != scale.len() {
                    let weight = Shape::new([scale.len()])?;
                    let rule = "axis 1 of x must be as long as weight";
                    return Err(KernelError::mismatch("batch_norm", ("x", x), ("weight", &weight), rule))?;
                }
                x.clone()
            }
            Self::Identity => x.clone(),
            Self::Other(operation) => operation.output(inputs)?,
        })
    }
}

/// What a linear layer takes for a picture of one pixel; other shapes as they are.
fn pixels(x: &Shape) -> Result<Shape> {
    Ok(match **x {
        [n, features] => Shape::new([n, features, 1, 1])?,
        _ => x.clone(),
    })
}

impl Task {
    /// For an input.
    pub(crate) fn new(graph: &Graph<f32>, kind: &Kind, x: &Shape) -> Result<Self> {
        Ok(match kind {
            Kind::Conv2d(convolution) => {
                let shape = convolution.geometry.resolve(&pixels(x)?, &convolution.weight)?;
                Self::Conv2d(convolution.packed(graph, &shape)?)
            }
            Kind::Affine { scale, shift } => Self::Affine { scale: scale.clone(), shift: shift.clone() },
            Kind::Identity => Self::Identity,
            Kind::Other(operation) => Self::Other(operation.clone()),
        })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Conv2d(packed) => {
                let geometry = &packed.weight.shape().geometry();
                let [height, width] = geometry.kernel;
                let mut name = format!("conv {height}×{width}");
                if geometry.stride != [1, 1] {
                    name += &format!(" /{}", geometry.stride[0]);
                }
                if geometry.groups != 1 {
                    name += &format!(" in {}", geometry.groups);
                }
                name
            }
            Self::Affine { .. } => "scale, shift".into(),
            Self::Identity => "pass".into(),
            Self::Other(operation) => [operation.name(), &operation.detail()].join(" ").trim_end().into(),
        }
    }

    /// Multiplications, each with an addition.
    pub(crate) fn multiply_adds(&self) -> u64 {
        match self {
            Self::Conv2d(packed) => packed.weight.shape().multiply_adds(),
            _ => 0,
        }
    }
}

impl Step {
    /// Runs the step for a part of the batch, whose `images` are in channels-last memory or have been
    /// `converted` to it.
    pub(crate) fn run(
        &self,
        part: usize,
        images: &[f32],
        converted: Option<&Range<usize>>,
        arena: &mut [f32],
    ) -> Result<()> {
        let start = self.y.start + part * self.advance;
        let end = start + self.y.len();
        let (before, rest) = arena.split_at_mut(start);
        let (y, after) = rest.split_at_mut(self.y.len());
        let at = |place: &Place| match (place, converted) {
            (Place::Images, None) => images,
            (Place::Arena(range), _) | (Place::Images, Some(range)) => {
                if range.end <= start {
                    &before[range.clone()]
                } else {
                    &after[range.start - end..range.end - end]
                }
            }
        };
        let x = at(&self.inputs[0].0);
        let addend = match &self.addend {
            Addend::Other(place) => Some(at(place)),
            Addend::None | Addend::InPlace => None,
        };
        let (relu, accumulate) = (self.relu, self.addend == Addend::InPlace);
        match &self.task {
            Task::Conv2d(Packed { weight, bias }) => {
                weight.run(x, y, &Epilogue { bias: Some(bias), addend, accumulate, relu })?;
            }
            Task::Affine { scale, shift } => fused::affine_into(x, y, scale, shift, relu)?,
            Task::Identity => fused::sum_into(x, addend, y, accumulate, relu)?,
            Task::Other(operation) => {
                let inputs = &self.inputs;
                let value = |i: usize| Value { elements: at(&inputs[i].0), shape: &inputs[i].1 };
                match inputs.len() {
                    1 => operation.compute(&[value(0)], y)?,
                    2 => operation.compute(&[value(0), value(1)], y)?,
                    n => operation.compute(&(0..n).map(value).collect::<Vec<_>>(), y)?,
                }
            }
        }
        Ok(())
    }
}
