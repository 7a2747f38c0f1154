//! A network as its definition says: the operations of its graph, by the plain loops of
//! `residual_kernels::reference`, forward and back. What it shares with the networks that it is the
//! measure of is the list of operations and the values of the states.

use std::{any::Any, collections::BTreeMap};

use ndarray::{Array2, Array4, ArrayD, Ix1, Ix2, Ix4};
use residual_autograd::State;
use residual_kernels::reference::{
    add, avg_pool, batch_norm, blur_pool, conv2d, cross_entropy, gelu, global_avg_pool, layer_norm, linear,
    max_pool, mul, relu, sigmoid, subsample_pad,
};
use residual_nn::{
    Add, AvgPool2d, BatchNorm2d, BlurPool2d, Conv2d, Gelu, GlobalAvgPool, Graph, LayerNorm, LayerScale,
    Linear, MaxPool2d, Module, Mul, Operation, Relu, Sigmoid, SubsamplePad,
};
use residual_tensor::{Shape, Tensor};

use super::{Arrays, Failure};

/// Of batch normalization, as the networks have it.
const MOMENTUM: f64 = 0.1;

/// The operations of a network.
pub(super) struct Definition {
    graph: Graph<f64>,
}

/// The operations that there are plain loops for.
enum Op<'a> {
    Conv2d(&'a Conv2d<f64>),
    BatchNorm2d(&'a BatchNorm2d<f64>),
    Relu,
    Add,
    MaxPool2d(&'a MaxPool2d),
    AvgPool2d(&'a AvgPool2d),
    GlobalAvgPool,
    Sigmoid,
    Mul,
    Linear(&'a Linear<f64>),
    SubsamplePad(&'a SubsamplePad),
    BlurPool2d(&'a BlurPool2d),
    Gelu,
    LayerNorm(&'a LayerNorm<f64>),
    LayerScale(&'a LayerScale<f64>),
}

impl<'a> Op<'a> {
    fn of(operation: &'a dyn Operation<f64>) -> Result<Self, Failure> {
        let any: &dyn Any = operation;
        let known = any.downcast_ref().map(Self::Conv2d);
        let known = known.or_else(|| any.downcast_ref().map(Self::BatchNorm2d));
        let known = known.or_else(|| any.downcast_ref().map(|Relu| Self::Relu));
        let known = known.or_else(|| any.downcast_ref().map(|Add| Self::Add));
        let known = known.or_else(|| any.downcast_ref().map(Self::MaxPool2d));
        let known = known.or_else(|| any.downcast_ref().map(Self::AvgPool2d));
        let known = known.or_else(|| any.downcast_ref().map(|_: &GlobalAvgPool| Self::GlobalAvgPool));
        let known = known.or_else(|| any.downcast_ref().map(|Sigmoid| Self::Sigmoid));
        let known = known.or_else(|| any.downcast_ref().map(|Mul| Self::Mul));
        let known = known.or_else(|| any.downcast_ref().map(Self::Linear));
        let known = known.or_else(|| any.downcast_ref().map(Self::SubsamplePad));
        let known = known.or_else(|| any.downcast_ref().map(Self::BlurPool2d));
        let known = known.or_else(|| any.downcast_ref().map(|Gelu| Self::Gelu));
        let known = known.or_else(|| any.downcast_ref().map(Self::LayerNorm));
        let known = known.or_else(|| any.downcast_ref().map(Self::LayerScale));
        known.ok_or_else(|| format!("there are no plain loops for {}", operation.name()).into())
    }
}

/// What an evaluation gives.
pub(super) struct Evaluated {
    pub(super) arrays: Arrays,
    /// How far the closest value was from a kink: a ReLU's input from zero, the largest value under
    /// a window from the second.
    pub(super) clearance: f64,
}

/// What backward needs of a node.
struct Node {
    value: ArrayD<f64>,
    /// Where a maximum came from.
    from: Option<Array4<[usize; 2]>>,
}

fn array(tensor: &Tensor<f64>) -> ArrayD<f64> {
    tensor.view().to_owned()
}

fn of_state(state: &State<f64>) -> ArrayD<f64> {
    array(&state.value())
}

fn four(array: &ArrayD<f64>) -> Result<ndarray::ArrayView4<'_, f64>, Failure> {
    Ok(array.view().into_dimensionality::<Ix4>()?)
}

fn two(array: &ArrayD<f64>) -> Result<ndarray::ArrayView2<'_, f64>, Failure> {
    Ok(array.view().into_dimensionality::<Ix2>()?)
}

fn one(array: &ArrayD<f64>) -> Result<ndarray::ArrayView1<'_, f64>, Failure> {
    Ok(array.view().into_dimensionality::<Ix1>()?)
}

fn axes(array: &ArrayD<f64>) -> Result<[usize; 4], Failure> {
    let (n, c, h, w) = four(array)?.dim();
    Ok([n, c, h, w])
}

/// The channels of each pixel as a row, with the axes of a picture if it is one.
fn rows(x: &ArrayD<f64>) -> Result<(Array2<f64>, Option<[usize; 4]>), Failure> {
    if x.ndim() == 2 {
        return Ok((two(x)?.to_owned(), None));
    }
    let [n, c, h, w] = axes(x)?;
    let rows = four(x)?.permuted_axes([0, 2, 3, 1]);
    Ok((rows.to_shape([n * h * w, c])?.to_owned(), Some([n, c, h, w])))
}

/// What [`rows`] was made of, with other channels.
fn of_rows(rows: Array2<f64>, picture: Option<[usize; 4]>) -> Result<ArrayD<f64>, Failure> {
    let Some([n, _, h, w]) = picture else { return Ok(rows.into_dyn()) };
    let channels = rows.ncols();
    let pixels = rows.into_shape_with_order([n, h, w, channels])?;
    Ok(pixels.permuted_axes([0, 3, 1, 2]).as_standard_layout().into_owned().into_dyn())
}

/// A row as a picture of one pixel; pictures as they are.
fn pixels(x: &ArrayD<f64>) -> Result<Array4<f64>, Failure> {
    let mut axes = x.shape().to_vec();
    axes.resize(4, 1);
    Ok(x.to_shape(axes)?.into_owned().into_dimensionality()?)
}

/// A factor for each channel of a picture.
fn factors(layer: &LayerScale<f64>) -> Result<ArrayD<f64>, Failure> {
    let gamma = of_state(&layer.gamma);
    let channels = gamma.len();
    Ok(gamma.into_shape_with_order(vec![1, channels, 1, 1])?)
}

fn keep(arrays: &mut Arrays, name: String, array: &ArrayD<f64>) {
    let rows = array.shape().first().copied().unwrap_or(1);
    arrays.insert(name, (rows, array.iter().copied().collect()));
}

impl Definition {
    /// The definition of a network.
    pub(super) fn of(network: &dyn Module<f64>) -> Self {
        Self { graph: network.graph() }
    }

    /// The logits in evaluation.
    pub(super) fn evaluate(&self, images: &Tensor<f64>) -> Result<Evaluated, Failure> {
        let (mut arrays, mut clearance) = (Arrays::new(), f64::INFINITY);
        let nodes = self.forward(images, false, &mut arrays, &mut clearance)?;
        arrays.clear();
        keep(&mut arrays, "logits".into(), &nodes[self.graph.output().index()].value);
        Ok(Evaluated { arrays, clearance })
    }

    /// A step of training: logits, loss, running statistics and all gradients.
    pub(super) fn train(
        &self,
        images: &Tensor<f64>,
        labels: &[usize],
        smoothing: f64,
    ) -> Result<Evaluated, Failure> {
        let (mut arrays, mut clearance) = (Arrays::new(), f64::INFINITY);
        let nodes = self.forward(images, true, &mut arrays, &mut clearance)?;
        let logits = &nodes[self.graph.output().index()].value;
        keep(&mut arrays, "logits".into(), logits);
        let loss = cross_entropy::forward(two(logits)?, labels, smoothing)?;
        arrays.insert("loss".into(), (1, vec![loss]));
        let upstream = cross_entropy::backward(1.0, two(logits)?, labels, smoothing)?.into_dyn();
        self.backward(&nodes, upstream, &mut arrays)?;
        Ok(Evaluated { arrays, clearance })
    }

    fn forward(
        &self,
        images: &Tensor<f64>,
        train: bool,
        arrays: &mut Arrays,
        clearance: &mut f64,
    ) -> Result<Vec<Node>, Failure> {
        let mut nodes: Vec<Node> = Vec::new();
        for node in self.graph.nodes() {
            let x = |i: usize| &nodes[node.inputs[i].index()].value;
            let mut from = None;
            let Some(operation) = node.operation.as_deref() else {
                nodes.push(Node { value: array(images), from: None });
                continue;
            };
            let value = match Op::of(operation)? {
                Op::Conv2d(layer) => {
                    let weight = of_state(&layer.weight);
                    let mut y = conv2d::forward(four(x(0))?, four(&weight)?, layer.geometry())?;
                    if let Some(bias) = layer.bias.as_ref().map(of_state) {
                        y.indexed_iter_mut().for_each(|((_, channel, _, _), y)| *y += bias[[channel]]);
                    }
                    y.into_dyn()
                }
                Op::BatchNorm2d(layer) => {
                    let BatchNorm2d { weight, bias, running, .. } = layer;
                    let [gamma, beta, mut mean, mut variance] =
                        [weight, bias, &running.mean, &running.variance].map(of_state);
                    let eps = layer.eps();
                    let (x, gamma, beta) = (four(x(0))?, one(&gamma)?, one(&beta)?);
                    if train {
                        let (batch_mean, batch_variance) = batch_norm::moments(x)?;
                        batch_norm::update_running(
                            mean.view_mut().into_dimensionality()?,
                            variance.view_mut().into_dimensionality()?,
                            batch_mean.view(),
                            batch_variance.view(),
                            x.len() / gamma.len(),
                            MOMENTUM,
                        )?;
                        keep(arrays, format!("{}.running_mean", node.path), &mean);
                        keep(arrays, format!("{}.running_var", node.path), &variance);
                        batch_norm::forward_train(x, gamma, beta, eps)?.into_dyn()
                    } else {
                        batch_norm::forward_eval(x, gamma, beta, one(&mean)?, one(&variance)?, eps)?
                            .into_dyn()
                    }
                }
                Op::Relu => {
                    let closest = x(0).iter().fold(f64::INFINITY, |closest, x| closest.min(x.abs()));
                    *clearance = clearance.min(closest);
                    relu::forward(x(0).view())
                }
                Op::Add => add::forward(x(0).view(), x(1).view())?,
                Op::MaxPool2d(MaxPool2d(geometry)) => {
                    let (y, places) = max_pool::forward(four(x(0))?, geometry)?;
                    *clearance = clearance.min(gap(&four(x(0))?, &y, &places, geometry));
                    from = Some(places);
                    y.into_dyn()
                }
                Op::AvgPool2d(AvgPool2d(geometry)) => avg_pool::forward(four(x(0))?, geometry)?.into_dyn(),
                Op::GlobalAvgPool => {
                    // The result may have two more axes, of length 1.
                    let input = Shape::new(x(0).shape())?;
                    let y = global_avg_pool::forward(four(x(0))?)?;
                    y.into_dyn().into_shape_with_order(operation.output(&[&input])?.to_vec())?
                }
                Op::Sigmoid => sigmoid::forward(x(0).view()),
                Op::Mul => mul::forward(x(0).view(), x(1).view())?,
                Op::Linear(Linear { weight, bias, .. }) => {
                    let [weight, bias] = [weight, bias].map(of_state);
                    let (x, pixels) = rows(x(0))?;
                    let y = linear::forward(x.view(), two(&weight)?, one(&bias)?)?;
                    of_rows(y, pixels)?
                }
                Op::SubsamplePad(&SubsamplePad { stride, out_channels, .. }) => {
                    subsample_pad::forward(four(x(0))?, stride, out_channels)?.into_dyn()
                }
                Op::BlurPool2d(layer) => blur_pool::forward(four(x(0))?, layer.stride)?.into_dyn(),
                Op::Gelu => gelu::forward(x(0).view()),
                Op::LayerNorm(layer) => {
                    let [gamma, beta] = [&layer.weight, &layer.bias].map(of_state);
                    let (input, shape) = (pixels(x(0))?, x(0).shape());
                    let y = layer_norm::forward(input.view(), one(&gamma)?, one(&beta)?, layer.eps())?;
                    y.into_dyn().into_shape_with_order(shape)?
                }
                Op::LayerScale(layer) => mul::forward(x(0).view(), factors(layer)?.view())?,
            };
            nodes.push(Node { value, from });
        }
        Ok(nodes)
    }

    /// Walks back from the output. Gradients of all states and of the input go into `arrays`.
    fn backward(&self, nodes: &[Node], upstream: ArrayD<f64>, arrays: &mut Arrays) -> Result<(), Failure> {
        let mut arrived = BTreeMap::from([(self.graph.output().index(), upstream)]);
        for (index, node) in self.graph.nodes().iter().enumerate().rev() {
            let dy = arrived.remove(&index).ok_or_else(|| format!("{}: no gradient arrives", node.path))?;
            let x = |i: usize| &nodes[node.inputs[i].index()].value;
            let name = |state: &str| format!("gradient of {}.{state}", node.owner());
            let Some(operation) = node.operation.as_deref() else {
                keep(arrays, "gradient of the input".into(), &dy);
                continue;
            };
            let gradients = match Op::of(operation)? {
                Op::Conv2d(layer) => {
                    let (weight, geometry) = (of_state(&layer.weight), layer.geometry());
                    let dw = conv2d::backward_weights(four(x(0))?, four(&dy)?, axes(&weight)?, geometry)?;
                    keep(arrays, name("weight"), &dw.into_dyn());
                    if layer.bias.is_some() {
                        let mut sums = ArrayD::zeros(vec![weight.shape()[0]]);
                        four(&dy)?.indexed_iter().for_each(|((_, channel, _, _), dy)| sums[[channel]] += dy);
                        keep(arrays, name("bias"), &sums);
                    }
                    vec![conv2d::backward_data(four(&dy)?, four(&weight)?, axes(x(0))?, geometry)?.into_dyn()]
                }
                Op::BatchNorm2d(layer) => {
                    let (gamma, eps) = (of_state(&layer.weight), layer.eps());
                    let (dx, dgamma, dbeta) =
                        batch_norm::backward_train(four(x(0))?, four(&dy)?, one(&gamma)?, eps)?;
                    keep(arrays, name("weight"), &dgamma.into_dyn());
                    keep(arrays, name("bias"), &dbeta.into_dyn());
                    vec![dx.into_dyn()]
                }
                Op::Relu => vec![relu::backward(dy.view(), nodes[index].value.view())?],
                Op::Add => {
                    let (da, db) = add::backward(dy.view());
                    vec![da, db]
                }
                Op::MaxPool2d(_) => {
                    let from = nodes[index].from.as_ref().ok_or("a maximum that came from nowhere")?;
                    vec![max_pool::backward(four(&dy)?, from.view(), axes(x(0))?)?.into_dyn()]
                }
                Op::AvgPool2d(AvgPool2d(geometry)) => {
                    vec![avg_pool::backward(four(&dy)?, axes(x(0))?, geometry)?.into_dyn()]
                }
                Op::GlobalAvgPool => {
                    let axes = axes(x(0))?;
                    let dy = dy.into_shape_with_order([axes[0], axes[1]])?;
                    vec![global_avg_pool::backward(dy.view(), axes)?.into_dyn()]
                }
                Op::Sigmoid => vec![sigmoid::backward(dy.view(), nodes[index].value.view())?],
                Op::Mul => {
                    let (da, db) = mul::backward(dy.view(), x(0).view(), x(1).view())?;
                    vec![da, db]
                }
                Op::Linear(Linear { weight, .. }) => {
                    let weight = of_state(weight);
                    let ((x, pixels), (dy, _)) = (rows(x(0))?, rows(&dy)?);
                    let (dx, dweight, dbias) = linear::backward(x.view(), two(&weight)?, dy.view())?;
                    keep(arrays, name("weight"), &dweight.into_dyn());
                    keep(arrays, name("bias"), &dbias.into_dyn());
                    vec![of_rows(dx, pixels)?]
                }
                Op::SubsamplePad(&SubsamplePad { stride, .. }) => {
                    vec![subsample_pad::backward(four(&dy)?, stride, axes(x(0))?)?.into_dyn()]
                }
                Op::BlurPool2d(layer) => {
                    vec![blur_pool::backward(four(&dy)?, layer.stride, axes(x(0))?)?.into_dyn()]
                }
                Op::Gelu => vec![gelu::backward(dy.view(), x(0).view())?],
                Op::LayerNorm(layer) => {
                    let (gamma, shape) = (of_state(&layer.weight), x(0).shape());
                    let (input, dy) = (pixels(x(0))?, pixels(&dy)?);
                    let (dx, dgamma, dbeta) =
                        layer_norm::backward(input.view(), dy.view(), one(&gamma)?, layer.eps())?;
                    keep(arrays, name("weight"), &dgamma.into_dyn());
                    keep(arrays, name("bias"), &dbeta.into_dyn());
                    vec![dx.into_dyn().into_shape_with_order(shape)?]
                }
                Op::LayerScale(layer) => {
                    let (dx, dgamma) = mul::backward(dy.view(), x(0).view(), factors(layer)?.view())?;
                    keep(arrays, name("gamma"), &dgamma.into_shape_with_order(vec![layer.gamma.shape()[0]])?);
                    vec![dx]
                }
            };
            for (input, gradient) in node.inputs.iter().zip(gradients) {
                match arrived.remove(&input.index()) {
                    Some(sum) => arrived.insert(input.index(), sum + gradient),
                    None => arrived.insert(input.index(), gradient),
                };
            }
        }
        Ok(())
    }
}

/// The smallest distance of a maximum from another value under its window. Maxima that are not
/// positive stand behind a ReLU, which hands nothing on.
fn gap(
    x: &ndarray::ArrayView4<'_, f64>,
    y: &Array4<f64>,
    places: &Array4<[usize; 2]>,
    geometry: &residual_kernels::Pool2dGeometry,
) -> f64 {
    let (_, _, height, width) = x.dim();
    let mut gap = f64::INFINITY;
    for ((n, c, i, j), &largest) in y.indexed_iter().filter(|(_, largest)| **largest > 0.0) {
        for (a, b) in (0..geometry.kernel[0]).flat_map(|a| (0..geometry.kernel[1]).map(move |b| (a, b))) {
            let row = (i * geometry.stride[0] + a).checked_sub(geometry.padding[0]);
            let column = (j * geometry.stride[1] + b).checked_sub(geometry.padding[1]);
            if let (Some(row), Some(column)) = (row, column)
                && row < height
                && column < width
                && places[[n, c, i, j]] != [row, column]
            {
                gap = gap.min(largest - x[[n, c, row, column]]);
            }
        }
    }
    gap
}
