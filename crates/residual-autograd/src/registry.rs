//! What is listed of an operation: its name, and how a random use of it is drawn.
//!
//! Not here: the list, which is in `operation/table.rs`.

use std::ops::RangeInclusive;

use residual_kernels::Axes;
use residual_tensor::{Generator, IntoShape, Tensor};

use crate::{Result, Var};

/// An operation that can be sampled.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name that [`Operation::name`](crate::Operation::name) gives.
    pub name: &'static str,
    draw: fn(&mut Draw) -> Sample,
}

impl Entry {
    pub(crate) fn new(name: &'static str, draw: fn(&mut Draw) -> Sample) -> Self {
        Self { name, draw }
    }

    /// A random use of the operation: shapes, geometry and inputs.
    pub fn sample(&self, generator: Generator) -> Sample {
        (self.draw)(&mut Draw(generator))
    }
}

type Apply = dyn Fn(&[Var<f64>]) -> Result<Var<f64>>;

/// One use of an operation.
pub struct Sample {
    /// What is special about it: geometry and attributes.
    pub case: String,
    /// The differentiable inputs.
    pub inputs: Vec<Tensor<f64>>,
    apply: Box<Apply>,
}

impl Sample {
    pub(crate) fn new(
        case: impl Into<String>,
        inputs: Vec<Tensor<f64>>,
        apply: impl Fn(&[Var<f64>]) -> Result<Var<f64>> + 'static,
    ) -> Self {
        Self { case: case.into(), inputs, apply: Box::new(apply) }
    }

    /// Runs the operation on variables of the inputs' shapes.
    ///
    /// # Errors
    /// What the operation reports.
    pub fn apply(&self, inputs: &[Var<f64>]) -> Result<Var<f64>> {
        (self.apply)(inputs)
    }
}

/// Draws the shapes and numbers of a sample.
pub(crate) struct Draw(Generator);

impl Draw {
    pub(crate) fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        range.start() + self.0.below(range.end() - range.start() + 1)
    }

    /// Small `[n, c, h, w]`: odd, even, not square, batch 1.
    pub(crate) fn shape4(&mut self) -> [usize; 4] {
        [self.within(1..=3), self.within(1..=4), self.within(2..=6), self.within(2..=6)]
    }

    /// One to four axes, some of length 1.
    pub(crate) fn shape(&mut self) -> Vec<usize> {
        (0..self.within(1..=4)).map(|_| self.within(1..=4)).collect()
    }

    /// A shape, and one of its axes.
    pub(crate) fn shape_and_axis(&mut self) -> (Vec<usize>, usize) {
        let shape = self.shape();
        let axis = self.within(0..=shape.len() - 1);
        (shape, axis)
    }

    /// A shape, and axes to reduce: some, all, or none, kept or not.
    pub(crate) fn reduction(&mut self) -> (Vec<usize>, Axes) {
        let shape = self.shape();
        let chosen: Vec<usize> = (0..shape.len()).filter(|_| self.within(0..=1) == 1).collect();
        let axes = if self.within(0..=3) == 0 { Axes::from(..) } else { Axes::from(chosen) };
        (shape, if self.within(0..=1) == 1 { axes.kept() } else { axes })
    }

    /// Two shapes that broadcast: some axes of either are 1, and one may lack axes in front.
    pub(crate) fn broadcast(&mut self) -> [Vec<usize>; 2] {
        let shape = self.shape();
        let mut part = || -> Vec<usize> {
            let missing = self.within(0..=shape.len()).saturating_sub(1);
            shape[missing..].iter().map(|&n| if self.within(0..=2) == 0 { 1 } else { n }).collect()
        };
        [part(), part()]
    }

    /// The numbers below `n` in random order.
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        self.0.permutation(n)
    }

    /// Numbers from 0.3 on.
    pub(crate) fn positive(&mut self, shape: impl IntoShape) -> Tensor<f64> {
        self.normal(shape).map(|x| x.abs() + 0.3)
    }

    /// Numbers of both signs, at least 0.3 from zero.
    pub(crate) fn away_from_zero(&mut self, shape: impl IntoShape) -> Tensor<f64> {
        self.normal(shape).map(|x| x + 0.3f64.copysign(x))
    }

    pub(crate) fn normal(&mut self, shape: impl IntoShape) -> Tensor<f64> {
        self.0.normal_tensor(shape, 1.0)
    }

    /// Values that differ from each other and from zero by far more than a difference quotient
    /// moves them: for operations with kinks.
    pub(crate) fn distinct(&mut self, shape: impl IntoShape) -> Tensor<f64> {
        let shape = shape.into_shape().expect("a small shape");
        let n = shape.elements();
        let values = self.0.permutation(n).into_iter().map(|rank| (rank as f64 + 0.5) / n as f64 * 4.0 - 2.0);
        let mut values = values.map(|x| x + 0.01);
        Tensor::from_fn(shape, || values.next().expect("as many values as elements"))
    }
}
