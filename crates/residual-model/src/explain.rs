//! Where a network looks: Grad-CAM (Selvaraju et al. 2017), the part of a stage's result that speaks for a
//! class. How it is drawn is not decided here.

use std::{cell::RefCell, rc::Rc};

use residual_autograd::{Tape, Var};
use residual_data::Picture;
use residual_kernels::softmax;
use residual_nn::{Error, Mode, Module};
use residual_tensor::Tensor;

use crate::{Model, ModelError, Prediction, Result};

/// A path in the network, and what is computed there.
type Place = (String, Var<f32>);

/// What speaks for a class in a picture.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What the network says about the picture.
    pub prediction: Prediction,
    /// The number of the class that is explained.
    pub class: usize,
    /// Where in the network it was looked: `layer4`.
    pub stage: String,
    /// How much each channel of that stage speaks for the class: `α`, the mean over all positions of the
    /// derivative of the class's logit with respect to the channel.
    pub channel_weights: Vec<f64>,
    /// `max(0, Σ α_k A_k)` for each position, `[height, width]` of the stage. Zero where nothing speaks for the
    /// class.
    pub map: Tensor<f32>,
}

impl Explanation {
    /// The map between 0 and 1 at another size, `[height, width]`, between the centres of its positions
    /// interpolated linearly. All zero if nothing speaks for the class.
    ///
    /// # Panics
    /// If there is no memory for it.
    pub fn heat(&self, height: usize, width: usize) -> Tensor<f32> {
        let [rows, columns] = [self.map.shape()[0], self.map.shape()[1]];
        let values = self.map.as_slice();
        let most = values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        // Where a pixel lies between two positions, and how far from the first.
        let between = |pixel: usize, pixels: usize, positions: usize| {
            let at = ((pixel as f32 + 0.5) * positions as f32 / pixels as f32 - 0.5)
                .clamp(0.0, positions as f32 - 1.0);
            let first = at.floor() as usize;
            (first, (first + 1).min(positions - 1), at - at.floor())
        };
        let mut pixels = (0..height * width).map(|pixel| {
            let (top, bottom, down) = between(pixel / width, height, rows);
            let (left, right, along) = between(pixel % width, width, columns);
            let row = |row: usize| {
                values[row * columns + left] * (1.0 - along) + values[row * columns + right] * along
            };
            (row(top) * (1.0 - down) + row(bottom) * down) / most
        });
        Tensor::from_fn([height, width], || pixels.next().unwrap_or(0.0))
    }
}

impl Model<f32> {
    /// The number of a class by its name.
    ///
    /// # Errors
    /// [`ModelError::Class`] if there is none of that name.
    pub fn class(&self, name: &str) -> Result<usize> {
        let known =
            || self.classes.iter().take(12).map(|class| class.escape_debug().to_string()).collect::<Vec<_>>();
        self.classes.iter().position(|class| class == name).ok_or_else(|| ModelError::Class {
            name: name.to_owned(),
            known: known().join(", ") + if self.classes.len() > 12 { ", …" } else { "" },
        })
    }

    /// What in a picture speaks for a class, or for the most probable one, at a stage of the network (any
    /// module or operation by its path, such as `layer3` or `layer3.1`), or right before the average pooling,
    /// where positions are the coarsest and say the most.
    ///
    /// ```
    /// use residual_data::{Dataset, Faces, Preprocess, Split};
    /// use residual_model::Model;
    /// # use residual_tensor::Generator;
    /// # let config = residual_zoo::NetworkConfig::named("cifar_resnet8")?.classes(7).input_channels(1);
    ///
    /// let faces = Faces::new(0, Split::Test, 7);
    /// # let net = config.build(&mut Generator::new(0))?;
    /// let model = Model::<f32> { net, classes: faces.classes().to_vec(), preprocess: Preprocess::new(Faces::SHAPE) };
    /// let explanation = model.explain(&faces.get(3)?.image, Some(model.class("happy")?), None)?;
    /// assert_eq!(explanation.stage, "layer3");
    /// assert_eq!(explanation.map.shape()[..], [12, 12]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ModelError::Stage`] if there is no such place, or nothing is left of height and width there;
    /// [`ModelError::Class`] if there is no such class; or if the picture cannot be brought to what the network
    /// takes.
    pub fn explain(
        &self,
        picture: &Picture,
        class: Option<usize>,
        stage: Option<&str>,
    ) -> Result<Explanation> {
        let tape = Tape::new();
        let places: Rc<RefCell<Vec<Place>>> = Rc::default();
        let (seen, wanted) = (places.clone(), stage.map(str::to_owned));
        tape.observe(move |path, result| {
            let has_positions = matches!(result.shape()[..], [_, _, height, width] if height * width > 1);
            // Unless told otherwise, the last place outside of which is nothing but the network.
            let is_wanted = wanted.as_ref().map_or(!path.contains('.'), |stage| stage == path);
            if has_positions && is_wanted {
                result.retain_gradient();
                seen.borrow_mut().push((path.to_owned(), result.clone()));
            }
        });
        // A leaf, so that gradients are computed even if all weights are frozen.
        let logits = self.net.forward(&tape.leaf(self.preprocess.apply(picture.clone())?), Mode::Eval)?;
        let Some((stage, result)) = places.borrow().last().cloned() else {
            return Err(self.no_stage(stage.unwrap_or_default()));
        };

        let probabilities = softmax::forward(logits.value()).map_err(Error::from)?;
        let prediction = Prediction::new(probabilities.to_vec(), self.classes.clone().into());
        let class = class.unwrap_or_else(|| prediction.top(1)[0].index);
        if class >= self.classes.len() {
            return Err(ModelError::Class {
                name: class.to_string(),
                known: format!("{} classes", self.classes.len()),
            });
        }
        let mut upstream = Tensor::zeros(logits.shape());
        upstream.as_mut_slice()[class] = 1.0;
        let gradients = logits.backward_with(upstream)?;
        let gradient = gradients.of(&result);
        let (channel_weights, map) = grad_cam(result.value(), gradient)?;
        Ok(Explanation { prediction, class, stage, channel_weights, map })
    }

    /// The error for a place that does not exist or has no positions.
    fn no_stage(&self, stage: &str) -> ModelError {
        ModelError::Stage { stage: stage.to_owned(), known: self.net.config().stages().join(", ") }
    }
}

/// The weights of the channels, and the map.
///
/// # Shapes
/// `activation` and `gradient` `[1, c, h, w]` → `[c]` and `[h, w]`.
fn grad_cam(activation: &Tensor<f32>, gradient: Option<&Tensor<f32>>) -> Result<(Vec<f64>, Tensor<f32>)> {
    let [_, channels, height, width] = activation.dims("grad_cam").map_err(Error::from)?;
    let positions = height * width;
    let at = |tensor: &Tensor<f32>, channel: usize| -> Vec<f64> {
        let view = tensor.view();
        (0..positions).map(|p| f64::from(view[[0, channel, p / width, p % width]])).collect()
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / positions as f64;
    let weight = |channel| gradient.map_or(0.0, |gradient| mean(at(gradient, channel)));
    let weights: Vec<f64> = (0..channels).map(weight).collect();
    let mut sums = vec![0.0; positions];
    for (channel, weight) in weights.iter().enumerate() {
        for (sum, value) in sums.iter_mut().zip(at(activation, channel)) {
            *sum += weight * value;
        }
    }
    // Written so that NaN stays NaN.
    let map = sums.into_iter().map(|sum| if sum < 0.0 { 0.0 } else { sum as f32 }).collect();
    Ok((weights, Tensor::from_vec([height, width], map).map_err(Error::from)?))
}

#[cfg(test)]
mod tests {
    use residual_data::{ImageShape, Preprocess};
    use residual_tensor::Generator;
    use residual_zoo::NetworkConfig;

    use super::*;

    const SIDE: usize = 32;

    fn model(name: &str, seed: u64) -> Model<f32> {
        let config = NetworkConfig::named(name).unwrap().classes(3).input_channels(1);
        let net = config.build(&mut Generator::new(seed)).unwrap();
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        Model { net, classes, preprocess: Preprocess::new(ImageShape::new(1, SIDE, SIDE)) }
    }

    fn noise(seed: u64) -> Picture {
        let mut generator = Generator::new(seed);
        let pixels = (0..SIDE * SIDE).map(|_| generator.below(256) as u8).collect();
        Picture::new(ImageShape::new(1, SIDE, SIDE), pixels).unwrap()
    }

    fn state(model: &Model<f32>, path: &str) -> Tensor<f32> {
        model.net.states().into_iter().find(|(known, _)| known == path).unwrap().1.value()
    }

    /// With average pooling and a linear head, ∂logit/∂A is the head's weight over the number of positions.
    #[test]
    fn before_the_pooling_weights_are_those_of_the_classifier() {
        for name in ["cifar_resnet8", "cifar_preresnet8"] {
            let model = model(name, 1);
            let explanation = model.explain(&noise(2), Some(2), None).unwrap();
            let head = state(&model, "fc.weight");
            assert_eq!(explanation.channel_weights.len(), 64);
            for (channel, weight) in explanation.channel_weights.iter().enumerate() {
                let expected = f64::from(head.view()[[2, channel]]) / 64.0;
                assert!(
                    (weight - expected).abs() < 1e-6 * expected.abs() + 1e-9,
                    "{name}: {weight} {expected}"
                );
            }
        }
    }

    /// The sanity check of Adebayo et al. 2018: a map that stays the same for other weights explains nothing.
    #[test]
    fn other_weights_give_another_map() {
        let map =
            |seed| model("cifar_resnet8", seed).explain(&noise(2), Some(0), Some("layer2")).unwrap().map;
        let (first, again, other) = (map(1), map(1), map(7));
        assert_eq!(first.to_vec(), again.to_vec());
        assert!(correlation(first.as_slice(), other.as_slice()) < 0.7);
    }

    fn correlation(a: &[f32], b: &[f32]) -> f32 {
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let (of_a, of_b) = (mean(a), mean(b));
        let sum = |x: &[f32], y: &[f32], mx: f32, my: f32| {
            x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f32>()
        };
        sum(a, b, of_a, of_b) / (sum(a, a, of_a, of_a) * sum(b, b, of_b, of_b)).sqrt()
    }

    /// A network that only passes brightness on: branches are zero, so that blocks are their shortcuts, and the
    /// classifier adds everything up. What speaks for the class is then the bright square, and nothing else.
    #[test]
    fn a_local_answer_has_a_local_map() {
        let model = model("cifar_resnet8", 1);
        for (path, state) in model.net.states() {
            if path.starts_with("layer") && path.contains("conv") {
                state.update(|weight| weight.as_mut_slice().fill(0.0));
            }
        }
        for (path, state) in model.net.states() {
            let centre = |weight: &mut Tensor<f32>| {
                weight.as_mut_slice().fill(0.0);
                let mut view = weight.view_mut();
                (0..16).for_each(|channel| view[[channel, 0, 1, 1]] = 1.0);
            };
            match path.as_str() {
                "conv1.weight" => state.update(centre),
                "fc.weight" => state.update(|weight| weight.as_mut_slice().fill(1.0)),
                _ => {}
            }
        }
        // Rows 8 to 16, columns 24 to 32.
        let is_bright = |row: usize, column: usize| (8..16).contains(&row) && column >= 24;
        let pixels = (0..SIDE * SIDE).map(|p| if is_bright(p / SIDE, p % SIDE) { 255 } else { 0 });
        let picture = Picture::new(ImageShape::new(1, SIDE, SIDE), pixels.collect()).unwrap();
        for stage in ["layer1", "layer3"] {
            let explanation = model.explain(&picture, Some(1), Some(stage)).unwrap();
            let side = explanation.map.shape()[0];
            let scale = SIDE / side;
            for (position, &value) in explanation.map.as_slice().iter().enumerate() {
                let inside = is_bright(position / side * scale, position % side * scale);
                assert_eq!(value > 0.0, inside, "{stage} {position}: {value}");
            }
            let heat = explanation.heat(SIDE, SIDE);
            assert_eq!((heat.view()[[12, 31]], heat.view()[[30, 4]]), (1.0, 0.0));
        }
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let model = model("cifar_resnet8", 1);
        let message = |result: Result<Explanation>| result.unwrap_err().to_string();
        let stage = message(model.explain(&noise(1), None, Some("layer9")));
        assert!(stage.contains("'layer9'") && stage.contains("layer1, layer2, layer3"), "{stage}");
        assert!(message(model.explain(&noise(1), Some(3), None)).contains("3 classes"));
        let class = model.class("d").unwrap_err().to_string();
        assert!(class.contains("'d'") && class.contains("a, b, c"), "{class}");
        // Half as wide as the smallest, so that it is quick.
        let next =
            NetworkConfig { widths: vec![8, 16, 24, 32], ..NetworkConfig::named("convnext_atto").unwrap() };
        let next =
            Model { net: next.classes(3).input_channels(1).build(&mut Generator::new(1)).unwrap(), ..model };
        let stage = message(next.explain(&noise(1), None, Some("layer1")));
        assert!(stage.contains("stages.0, stages.1, stages.2, stages.3"), "{stage}");
        assert_eq!(next.explain(&noise(1), None, Some("stages.1")).unwrap().stage, "stages.1");
    }
}
