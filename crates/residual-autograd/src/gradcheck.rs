//! Gradients against difference quotients.

use residual_tensor::{Generator, Layout, Tensor};

use crate::{Result, Tape, Var};

/// When an analytic and a numeric derivative count as equal: `|a − n| ≤ absolute + relative·|n|`.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Half the distance of the difference quotient.
    pub step: f64,
    /// Absolute part.
    pub absolute: f64,
    /// Part relative to the numeric derivative.
    pub relative: f64,
}

impl Default for Tolerance {
    /// Those of PyTorch's `gradcheck`, but a hundred times tighter: this is all f64 and small.
    fn default() -> Self {
        Self { step: 1e-6, absolute: 1e-7, relative: 1e-5 }
    }
}

/// The element with the largest excess over its tolerance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorstElement {
    /// Which input.
    pub input: usize,
    /// Which element of it, in row-major order.
    pub element: usize,
    /// From backward.
    pub analytic: f64,
    /// From the difference quotient.
    pub numeric: f64,
    /// `|analytic − numeric|` over what the tolerance allows; above 1 is a failure.
    pub ratio: f64,
}

/// The result of a gradient check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradCheck {
    /// How many derivatives were compared.
    pub compared: usize,
    /// How many of them were not zero: a check of zeros proves nothing.
    pub nonzero: usize,
    /// The worst of them.
    pub worst: WorstElement,
}

impl GradCheck {
    /// Compares the gradient of `f` with respect to every element of `inputs` with central
    /// differences, under a random (not constant) upstream gradient: a sum after batch
    /// normalization, for one, has gradient zero, and a backward that returns zeros would pass.
    ///
    /// `f` must be smooth at `inputs`, and give the same result each time; its tapes have the same
    /// [generator](Tape::with_generator).
    ///
    /// # Errors
    /// What `f` reports.
    pub fn run(
        inputs: &[Tensor<f64>],
        f: impl Fn(&[Var<f64>]) -> Result<Var<f64>>,
        generator: &mut Generator,
        tolerance: Tolerance,
    ) -> Result<Self> {
        let tape = Tape::new().with_generator(Generator::new(0));
        let leaves: Vec<_> = inputs.iter().map(|x| tape.leaf(x.clone())).collect();
        let output = f(&leaves)?;
        let upstream = generator.normal_tensor::<f64>(output.shape(), 1.0);
        let gradients = output.backward_with(upstream.clone())?;

        // <f(x), upstream>, whose gradient backward has computed.
        let projected = |inputs: &[Tensor<f64>]| -> Result<f64> {
            let tape = Tape::without_recording().with_generator(Generator::new(0));
            let constants: Vec<_> = inputs.iter().map(|x| tape.input(x.clone())).collect();
            let value = f(&constants)?.value().to_vec();
            Ok(value.iter().zip(upstream.as_slice()).map(|(y, u)| y * u).sum())
        };

        let mut check = Self {
            compared: 0,
            nonzero: 0,
            worst: WorstElement { input: 0, element: 0, analytic: 0.0, numeric: 0.0, ratio: 0.0 },
        };
        let mut inputs: Vec<_> = inputs.iter().map(|x| x.to_layout(Layout::Contiguous)).collect();
        for (input, leaf) in leaves.iter().enumerate() {
            let analytic = match gradients.of(leaf) {
                Some(gradient) => gradient.to_vec(),
                None => vec![0.0; leaf.value().len()],
            };
            for (element, &analytic) in analytic.iter().enumerate() {
                let x = inputs[input].as_slice()[element];
                let mut at = |x: f64| {
                    inputs[input].as_mut_slice()[element] = x;
                    projected(&inputs)
                };
                let numeric = (at(x + tolerance.step)? - at(x - tolerance.step)?) / (2.0 * tolerance.step);
                at(x)?;
                let allowed = tolerance.absolute + tolerance.relative * numeric.abs();
                let ratio = (analytic - numeric).abs() / allowed;
                check.compared += 1;
                check.nonzero += usize::from(analytic != 0.0);
                if ratio.is_nan() || ratio > check.worst.ratio {
                    check.worst = WorstElement { input, element, analytic, numeric, ratio };
                }
            }
        }
        Ok(check)
    }

    /// Whether every derivative agreed, and at least one was not zero.
    pub fn passed(&self) -> bool {
        self.worst.ratio <= 1.0 && self.nonzero > 0
    }
}
