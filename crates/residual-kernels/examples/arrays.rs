//! A convolution and its gradients on arrays that a program already has: `cargo run --release --example
//! arrays -p residual-kernels`.
//!
//! The task: a picture was blurred by a kernel that nobody wrote down. Find the kernel, from the picture and
//! the blurred picture alone, by gradient descent. At the end the gradients are held against those of the
//! definition.

use std::error::Error;

use ndarray::{Array4, ArrayView4, Ix4, array};
use residual_kernels::{Conv2dGeometry, conv2d, reference};
use residual_tensor::TensorView;

fn main() -> Result<(), Box<dyn Error>> {
    // One gray picture of 32 × 32 pixels, [n, c, h, w], as it may come from anywhere.
    let picture = Array4::from_shape_fn([1, 1, 32, 32], |(_, _, h, w)| ((h * h + 3 * w) % 17) as f32 / 16.0);
    let blur = array![[[[0.05, 0.1, 0.05], [0.1, 0.4, 0.1], [0.05, 0.1, 0.05f32]]]];
    let geometry = Conv2dGeometry::new(3, 3).padding(1);

    // Views of arrays go in as they are; a tensor comes out, which lends views.
    let blurred = conv2d(picture.view(), blur.view(), &geometry)?;

    let mut kernel = Array4::<f32>::zeros([1, 1, 3, 3]);
    for step in 0..=400 {
        let y = conv2d(&picture, &kernel, &geometry)?;
        let difference = &y.view() - &blurred.view();
        let loss = difference.mapv(|d| d * d).mean().unwrap_or(0.0);
        if step % 100 == 0 {
            println!("step {step:3}: mean squared difference {loss:.2e}");
        }
        // The loss is the mean of squares, so its gradient with respect to y is 2 · difference / count.
        let dy = difference * (2.0 / y.len() as f32);
        let dkernel = conv2d::backward_weights(&picture, dy.view(), kernel.shape(), &geometry)?;
        kernel.scaled_add(-0.2, &dkernel.view().into_dimensionality::<Ix4>()?);
    }
    println!("found   {:.3?}", kernel.iter().collect::<Vec<_>>());
    println!("was     {:.3?}", blur.iter().collect::<Vec<_>>());

    // Pixels as a camera has them, channels innermost: nothing is copied or converted.
    let camera = vec![0.5f32; 16 * 24 * 3];
    let pixels = TensorView::nhwc([1, 16, 24, 3], &camera)?;
    let edges = Array4::from_shape_fn([8, 3, 3, 3], |(o, _, a, b)| (o * a) as f32 - b as f32);
    let y = conv2d(&pixels, edges.view(), &geometry)?;
    println!("a picture of shape {} becomes {}", pixels.shape(), y.shape());

    // The gradients by the fast algorithms and by the definition.
    let dy = y.map(|y| y / 8.0);
    let dx = conv2d::backward_data(&dy, &edges, pixels.shape(), &geometry)?;
    let dy = dy.view().into_dimensionality::<Ix4>()?.mapv(f64::from);
    let exact =
        reference::conv2d::backward_data(dy.view(), edges.mapv(f64::from).view(), [1, 3, 16, 24], &geometry)?;
    let error = largest_difference(dx.view().into_dimensionality::<Ix4>()?, exact.view());
    println!("largest difference from the definition: {error:.1e}");
    assert!(error < 1e-4, "{error}");
    Ok(())
}

/// The largest difference between two arrays.
fn largest_difference(a: ArrayView4<'_, f32>, b: ArrayView4<'_, f64>) -> f64 {
    a.iter().zip(&b).fold(0.0, |largest, (&a, b)| largest.max((f64::from(a) - b).abs()))
}
