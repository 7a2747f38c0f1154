//! The probability of each class for pictures.

use residual_data::{Image, Placement, Preprocess};
use residual_kernels::softmax;
use residual_tensor::{Float, Layout, Tensor};

use crate::Result;

/// The probability of each class for each picture. `answer` gives the network's logits for a batch,
/// as in [`evaluate`].
///
/// # Shapes
/// `n` pictures of any size → `[n, classes]`.
///
/// # Errors
/// If the preprocessing contradicts itself, or the network refuses what it makes of the pictures.
pub fn predict<T: Float>(
    answer: impl FnOnce(Tensor<f32>) -> residual_nn::Result<Tensor<T>>,
    preprocess: &Preprocess,
    pictures: &[Image],
) -> Result<Tensor<T>> {
    preprocess.check()?;
    let input = preprocess.input;
    let shape = [pictures.len(), input.channels, input.height, input.width];
    let mut images = Tensor::try_unfilled(shape, Layout::ChannelsLast).map_err(residual_nn::Error::from)?;
    for (picture, slot) in pictures.iter().zip(images.as_mut_slice().chunks_exact_mut(input.elements())) {
        let resized = preprocess.resize(picture.clone())?;
        preprocess.write(&resized, Placement::default(), slot)?;
    }
    let probabilities = softmax::forward(&answer(images)?).map_err(residual_nn::Error::from)?;
    Ok(probabilities)
}
