//! The fast convolutions: which algorithm for which geometry, and how to run it.
//!
//! A [`Plan`] is everything about a convolution that does not depend on its elements. Plans are
//! cheap to make and are made for every call; weights that stay the same are better packed once
//! ([`PackedConv2d`]).

use residual_macros::compiled_here;
use residual_tensor::{Float, Layout, Tensor};

use super::{
    Algorithm, Conv2dGeometry, Conv2dShape,
    blocked::Blocking,
    correlation::Correlation,
    cost,
    epilogue::Epilogue,
    grouped::Grouped,
    is_empty,
    source::Source,
    winograd::{TileSize, Winograd, WinogradGradient},
};
use crate::{
    BatchStatistics, KernelError, Result,
    engine::{
        caches::Caches,
        isa::{self, Isa},
    },
    error::check_length,
};

/// A forward convolution, or its gradient with respect to the data.
#[derive(Debug, Clone)]
pub(super) struct Plan<T: Float> {
    /// What has to be computed one after the other: the gradient of a strided convolution falls
    /// into several correlations.
    parts: Vec<Part<T>>,
}

#[derive(Debug, Clone)]
enum Part<T: Float> {
    Blocked(Blocking<T>),
    Grouped(Grouped<T>),
    Winograd(Winograd<T>),
}

/// Whose code runs.
enum Kind {
    Blocked,
    Grouped,
    Winograd(TileSize),
}

impl Kind {
    /// That of one of the fast algorithms.
    fn of(algorithm: Algorithm, correlation: &Correlation) -> Self {
        match algorithm {
            // Where there is nothing to sum, there are no taps either, and no tiles.
            Algorithm::Winograd2 | Algorithm::Winograd4 if correlation.terms() == 0 => Self::Blocked,
            Algorithm::Winograd2 => Self::Winograd(TileSize::Two),
            Algorithm::Winograd4 => Self::Winograd(TileSize::Four),
            Algorithm::Grouped => Self::Grouped,
            Algorithm::Blocked => Self::Blocked,
            Algorithm::Reference | Algorithm::Im2col => unreachable!("{algorithm:?} has no plan"),
        }
    }
}

/// Whether Winograd's algorithm can compute a convolution and its gradients.
pub(super) fn suits_winograd(shape: &Conv2dShape) -> bool {
    let Conv2dGeometry { kernel, stride, dilation, .. } = shape.geometry;
    (kernel, stride, dilation) == ([3; 2], [1; 2], [1; 2])
}

/// Whether blocks can compute a convolution and its gradients. Their scratch holds, of all that the
/// windows of a row of outputs span, every pixel, which taps that lie far apart make absurdly large; and
/// the gradient has a part for each phase of the stride.
pub(super) fn suits_blocked(shape: &Conv2dShape) -> bool {
    /// Elements at most: a gigabyte in `f64`.
    const MOST: usize = 128 << 20;
    const MOST_PHASES: usize = 1 << 10;
    let Conv2dGeometry { kernel, stride, dilation, .. } = shape.geometry;
    let [rows, span] = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
    let columns = (shape.output[1].saturating_mul(stride[1].min(span))).max(shape.input[1]) + span;
    let channels = shape.in_channels.max(shape.out_channels).max(1);
    let phases = stride[0].min(shape.input[0]).saturating_mul(stride[1].min(shape.input[1]));
    rows.saturating_mul(columns).saturating_mul(channels) <= MOST && phases <= MOST_PHASES
}

impl<T: Float> Plan<T> {
    /// The forward pass by an algorithm that suits it, for an input that is `normalized` on the way
    /// or not, in blocks for some `caches`. These do not change the bits of `y`, but those of its
    /// statistics.
    pub(super) fn forward(
        shape: &Conv2dShape,
        algorithm: Algorithm,
        normalized: bool,
        caches: &Caches,
        isa: &'static Isa<T>,
    ) -> Self {
        // Without outputs there is nothing to divide, whatever the other axes are.
        let parts = if shape.batch == 0 || shape.out_channels == 0 { 0..0 } else { 0..1 };
        let correlation = Correlation::forward(shape);
        Self { parts: parts.map(|_| Part::new(&correlation, algorithm, normalized, caches, isa)).collect() }
    }

    /// The gradient with respect to the data by an algorithm that suits the forward pass, the same bits
    /// for any `caches`.
    pub(super) fn backward_data(
        shape: &Conv2dShape,
        algorithm: Algorithm,
        caches: &Caches,
        isa: &'static Isa<T>,
    ) -> Self {
        let parts = Correlation::backward_data(shape);
        Self { parts: parts.iter().map(|part| Part::new(part, algorithm, false, caches, isa)).collect() }
    }

    /// The weights of each part, in the order in which its kernels read them.
    pub(super) fn pack(&self, weight: &[T]) -> Vec<Tensor<T>> {
        let pack = |part: &Part<T>| {
            let length = match part {
                Part::Blocked(blocking) => blocking.packed_len(),
                Part::Grouped(grouped) => grouped.packed_len(),
                Part::Winograd(winograd) => winograd.packed_len(),
            };
            let mut packed = Tensor::unfilled([length], Layout::Contiguous);
            match part {
                Part::Blocked(blocking) => blocking.pack(weight, packed.as_mut_slice()),
                Part::Grouped(grouped) => grouped.pack(weight, packed.as_mut_slice()),
                Part::Winograd(winograd) => winograd.pack(weight, packed.as_mut_slice()),
            }
            packed
        };
        self.parts.iter().map(pack).collect()
    }

    /// Whether weights that were packed for the other plan, of the same algorithm and weight, are those
    /// of this one. Blocks of channels depend on whether the input is read in place.
    fn packs_like(&self, other: &Self) -> bool {
        let same = |(one, other): (&Part<T>, &Part<T>)| match (one, other) {
            (Part::Blocked(one), Part::Blocked(other)) => {
                one.packed_len() == other.packed_len() && one.channel_blocks().eq(other.channel_blocks())
            }
            (Part::Grouped(one), Part::Grouped(other)) => one.packed_len() == other.packed_len(),
            (Part::Winograd(one), Part::Winograd(other)) => one.packed_len() == other.packed_len(),
            _ => false,
        };
        self.parts.len() == other.parts.len() && self.parts.iter().zip(&other.parts).all(same)
    }

    /// Computes `y`, and its statistics if asked to and there is just one part.
    pub(super) fn run(
        &self,
        x: Source<'_, T>,
        packed: &[Tensor<T>],
        y: &mut [T],
        epilogue: &Epilogue<'_, T>,
        with_statistics: bool,
    ) -> Option<BatchStatistics> {
        assert_eq!(self.parts.len(), packed.len());
        let mut statistics = None;
        for (part, packed) in self.parts.iter().zip(packed) {
            let packed = packed.as_slice();
            statistics = match part {
                Part::Blocked(blocking) => blocking.run(x, packed, y, epilogue, with_statistics),
                Part::Grouped(grouped) => grouped.run(x, packed, y, epilogue, with_statistics),
                Part::Winograd(winograd) => winograd.run(x, packed, y, epilogue, with_statistics),
            };
        }
        statistics
    }
}

impl<T: Float> Part<T> {
    fn new(
        correlation: &Correlation,
        algorithm: Algorithm,
        normalized: bool,
        caches: &Caches,
        isa: &'static Isa<T>,
    ) -> Self {
        match Kind::of(algorithm, correlation) {
            Kind::Blocked => Self::Blocked(Blocking::forward(correlation, normalized, caches, isa)),
            Kind::Grouped => Self::Grouped(Grouped::forward(correlation, caches, isa)),
            Kind::Winograd(size) => Self::Winograd(Winograd::new(correlation, size, caches, isa)),
        }
    }
}

/// The gradient with respect to the weights by an algorithm that suits the forward pass, the same bits
/// for any `caches`.
pub(super) fn backward_weights<T: Float>(
    x: Source<'_, T>,
    dy: &[T],
    dw: &mut [T],
    shape: &Conv2dShape,
    algorithm: Algorithm,
    caches: &Caches,
    isa: &'static Isa<T>,
) {
    let correlation = Correlation::forward(shape);
    match Kind::of(algorithm, &correlation) {
        Kind::Blocked => Blocking::backward(&correlation, isa).backward_weights(x, dy, dw),
        Kind::Grouped => Grouped::backward(&correlation, isa).backward_weights(x, dy, dw),
        Kind::Winograd(size) => WinogradGradient::new(&correlation, size, caches, isa).run(x, dy, dw),
    }
}

/// A forward convolution whose weight has been brought into the order in which its
/// kernels read it, for inputs of one shape.
///
/// ```
/// use residual_kernels::{Conv2dGeometry, fused::{Epilogue, PackedConv2d}};
/// use residual_tensor::{Float, Layout, Tensor};
///
/// let geometry = Conv2dGeometry::new(3, 3).padding(1);
/// let (x, weight) = (Tensor::<f32>::full([1, 3, 8, 8], 1.0), Tensor::full([4, 3, 3, 3], -1.0));
/// let packed = PackedConv2d::new(&weight, &geometry.resolve(x.shape(), weight.shape())?)?;
///
/// let mut y = Tensor::unfilled(packed.shape().y(), Layout::ChannelsLast);
/// let (bias, x) = ([28.0; 4], x.to_layout(Layout::ChannelsLast));
/// let epilogue = Epilogue { bias: Some(&bias), relu: true, ..Default::default() };
/// packed.run(x.as_slice(), y.as_mut_slice(), &epilogue)?;
/// assert!((y.view()[[0, 0, 4, 4]] - 1.0).abs() < 1e-3); // 28 − 3 channels × 9 taps
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PackedConv2d<T: Float = f32> {
    shape: Conv2dShape,
    algorithm: Algorithm,
    plan: Plan<T>,
    pub(super) weights: Vec<Tensor<T>>,
}

impl<T: Float> PackedConv2d<T> {
    /// Packs a weight for the algorithm that suits the shape best when the weight is used many
    /// times, but has left the caches in between.
    ///
    /// # Errors
    /// If the weight is not the shape's, or an environment variable names something that does not
    /// exist.
    pub fn new(weight: &Tensor<T>, shape: &Conv2dShape) -> Result<Self> {
        Self::with(choose_packed::<T>(shape)?, weight, shape)
    }

    /// The same weight for inputs of another shape. Nothing is packed again, and the packed weight is
    /// shared; `None` if the other shape is better computed in another way, with a weight that
    /// is packed in another order.
    ///
    /// # Errors
    /// If an environment variable names something that does not exist.
    pub fn reshaped(&self, shape: &Conv2dShape) -> Result<Option<Self>> {
        let algorithm = choose_packed::<T>(shape)?;
        if algorithm != self.algorithm
            || (shape.weight(), shape.geometry) != (self.shape.weight(), self.shape.geometry)
        {
            return Ok(None);
        }
        let plan = plan_of(shape, algorithm)?;
        let same = plan.packs_like(&self.plan);
        Ok(same.then(|| Self { shape: *shape, algorithm, plan, weights: self.weights.clone() }))
    }

    /// Packs a weight for a given algorithm.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if the algorithm cannot compute this convolution
    /// ([`Algorithm::check`]) or does not pack weights, as [`Algorithm::Reference`] and
    /// [`Algorithm::Im2col`].
    pub fn with(algorithm: Algorithm, weight: &Tensor<T>, shape: &Conv2dShape) -> Result<Self> {
        KernelError::unless_same("conv2d", ("weight", weight.shape()), ("the geometry's", &shape.weight()))?;
        check_packed(algorithm, shape)?;
        let plan = plan_of(shape, algorithm)?;
        let weights = pack(&plan, weight.to_layout(Layout::ChannelsLast).as_slice());
        Ok(Self { shape: *shape, algorithm, plan, weights })
    }

    /// The shapes that the convolution is for.
    pub fn shape(&self) -> &Conv2dShape {
        &self.shape
    }

    /// How it is computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Bytes of the packed weight; Winograd's are larger than the weight itself.
    pub fn bytes(&self) -> usize {
        self.weights.iter().map(|weights| size_of_val(weights.as_slice())).sum()
    }

    /// The convolution of `x`, followed by the epilogue, written to `y`; all in channels-last
    /// memory. Once every thread has done it, it takes no memory from the system.
    ///
    /// # Errors
    /// If a slice does not have as many elements as its shape, or there are two addends.
    pub fn run(&self, x: &[T], y: &mut [T], epilogue: &Epilogue<'_, T>) -> Result<()> {
        let Conv2dShape { batch, in_channels, out_channels, input, output, .. } = self.shape;
        check_length([batch, in_channels, input[0], input[1]], x.len())?;
        let output = [batch, out_channels, output[0], output[1]];
        check_length(output, y.len())?;
        epilogue.bias.map_or(Ok(()), |bias| check_length([out_channels], bias.len()))?;
        epilogue.addend.map_or(Ok(()), |addend| check_length(output, addend.len()))?;
        if epilogue.accumulate && epilogue.addend.is_some() {
            return Err(KernelError::TwoAddends);
        }
        run(self, x, y, epilogue);
        Ok(())
    }
}

// What is large of the above, as compiled here.

#[compiled_here]
fn plan_of<T: Float>(shape: &Conv2dShape, algorithm: Algorithm) -> Result<Plan<T>> {
    Ok(Plan::forward(shape, algorithm, false, Caches::detected(), isa::active()?))
}

#[compiled_here]
fn pack<T: Float>(plan: &Plan<T>, weight: &[T]) -> Vec<Tensor<T>> {
    plan.pack(weight)
}

#[compiled_here]
fn run<T: Float>(packed: &PackedConv2d<T>, x: &[T], y: &mut [T], epilogue: &Epilogue<'_, T>) {
    packed.plan.run(x.into(), &packed.weights, y, epilogue, false);
}

/// The algorithm that suits the shape best when its weight is packed once and used many times.
fn choose_packed<T: Float>(shape: &Conv2dShape) -> Result<Algorithm> {
    let preferred = Algorithm::preferred()?.filter(|algorithm| check_packed(*algorithm, shape).is_ok());
    if is_empty(shape) {
        return Ok(Algorithm::Blocked);
    }
    let isa = isa::active::<T>()?;
    Ok(preferred.unwrap_or_else(|| cost::forward_packed(shape, isa)))
}

/// An error unless the algorithm can compute a convolution of this shape, and packs weights.
fn check_packed(algorithm: Algorithm, shape: &Conv2dShape) -> Result<()> {
    algorithm.check(shape)?;
    if algorithm.is_fast() {
        return Ok(());
    }
    let (geometry, reason) = (shape.geometry, "it does not pack weights");
    Err(KernelError::Algorithm { algorithm, geometry, reason })
}
