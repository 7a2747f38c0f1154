//! Every layer and block with sample configurations: what generic checks go over.

use residual_autograd::{Result, State, Tape, Var};
use residual_tensor::{Generator, Shape, Tensor};

use crate::{Mode, Module, Shortcut, layers::entries};

/// A layer or block that can be sampled.
#[derive(Debug, Clone, Copy)]
pub struct LayerEntry {
    /// Its name.
    pub name: &'static str,
    draw: fn(&mut Generator) -> Result<Drawn>,
}

/// A layer, and the shape of an input that fits it.
type Drawn = (Box<dyn Module<f64>>, Shape);

/// What has a random configuration.
pub(crate) trait Sample: Sized {
    /// A small one, and the shape of an input that fits it.
    fn sample(g: &mut Generator) -> Result<(Self, Shape)>;
}

/// The entry of a layer or block.
pub(crate) fn entry<S: Sample + Module<f64> + 'static>(name: &'static str) -> LayerEntry {
    let draw = |g: &mut Generator| -> Result<Drawn> {
        let (module, shape) = S::sample(g)?;
        Ok((Box::new(module), shape))
    };
    LayerEntry { name, draw }
}

/// One configuration of a layer, with an input.
pub struct LayerSample {
    /// The layer.
    pub module: Box<dyn Module<f64>>,
    /// An input that fits it.
    pub input: Tensor<f64>,
}

impl LayerEntry {
    /// A random configuration with random states and input.
    pub fn sample(&self, generator: &mut Generator) -> LayerSample {
        let (module, shape) = (self.draw)(generator).expect("a layer of a few channels");
        let input = generator.normal_tensor(shape, 1.0);
        LayerSample { module, input }
    }
}

impl LayerSample {
    /// The input and all parameters: what gradients are checked for.
    pub fn differentiable(&self) -> Vec<Tensor<f64>> {
        let parameters = self.module.parameters().into_iter().map(|(_, state)| state.value());
        std::iter::once(self.input.clone()).chain(parameters).collect()
    }

    /// Runs the layer with the given values in place of the input and the parameters.
    ///
    /// # Errors
    /// What the layer reports.
    pub fn apply(&self, values: &[Var<f64>], mode: Mode) -> Result<Var<f64>> {
        let (x, parameters) = values.split_first().expect("the input and the parameters");
        let states: Vec<(String, State<f64>)> = self.module.parameters();
        for ((_, state), value) in states.iter().zip(parameters) {
            x.tape().substitute(state, value)?;
        }
        self.module.forward(x, mode)
    }

    /// The output's shape after a real run, and as worked out.
    ///
    /// # Errors
    /// What either reports.
    pub fn shapes(&self, mode: Mode) -> Result<[Shape; 2]> {
        let tape = Tape::without_recording().with_generator(Generator::new(0));
        let executed = self.module.forward(&tape.input(self.input.clone()), mode)?.shape().clone();
        Ok([executed, self.module.trace(self.input.shape())?.output().clone()])
    }
}

/// All layers and blocks.
pub fn layers() -> Vec<LayerEntry> {
    let blocks = [entry::<Box<dyn Module<f64>>>("Block"), entry::<Shortcut<f64>>("Shortcut")];
    entries().into_iter().chain(blocks).collect()
}

/// Sizes of samples.
pub(crate) mod draw {
    use residual_autograd::Result;
    use residual_kernels::Pool2dGeometry;
    use residual_tensor::{Generator, Shape};

    /// A window of two rows and three columns.
    pub(crate) fn window(g: &mut Generator) -> Pool2dGeometry {
        let window = Pool2dGeometry::new(2, 3).stride(1 + g.below(2)).padding([g.below(2), g.below(2)]);
        window.ceil_mode(g.chance(0.3))
    }

    /// `[n, c, h, w]`, small, odd, even and not square.
    pub(crate) fn shape(g: &mut Generator, least_batch: usize) -> Result<Shape> {
        Ok(Shape::new([least_batch + g.below(2), 1 + g.below(4), 4 + g.below(3), 4 + g.below(3)])?)
    }
}
