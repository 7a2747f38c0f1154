//! Tensors one after another along an axis, and the way back of a slice: the two are each other's
//! gradients.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor, TensorView};

use crate::{KernelError, Result, ops::broadcast::stored_axes};

/// The tensors one after another along `axis`; they agree in all other axes.
///
/// The gradient of each is the slice of `dy` where it lies: [`Tensor::slice`].
///
/// # Errors
/// If there are none, there is no such axis, or shapes do not fit.
pub fn forward<'a, T: Float>(
    tensors: impl IntoIterator<Item = impl IntoView<'a, T>>,
    axis: usize,
) -> Result<Tensor<T>> {
    let operation = "concatenate";
    let tensors = tensors.into_iter().map(|tensor| Ok(tensor.into_view()?));
    let tensors: Vec<TensorView<'_, T>> = tensors.collect::<Result<_>>()?;
    let Some(first) = tensors.first() else { return Err(KernelError::NoTensors { operation }) };
    let mut axes = first.shape().to_vec();
    if axis >= axes.len() {
        return Err(KernelError::Axes { operation, axes: vec![axis], shape: first.shape().clone() });
    }
    for tensor in &tensors[1..] {
        let fits = tensor.shape().rank() == axes.len()
            && (0..axes.len()).all(|i| i == axis || tensor.shape()[i] == axes[i]);
        if !fits {
            let rule = "all axes but that along which they are joined must be equal";
            let (a, b) = (("tensor", tensor.shape()), ("the first", first.shape()));
            return Err(KernelError::mismatch(operation, a, b, rule));
        }
        axes[axis] = axes[axis].saturating_add(tensor.shape()[axis]);
    }
    let last = tensors.iter().all(|tensor| tensor.layout() == Layout::ChannelsLast);
    let layout = if last { Layout::ChannelsLast } else { Layout::Contiguous };
    let mut y = Tensor::try_unfilled(Shape::new(axes)?, layout)?;
    let row = block(y.shape(), layout, axis);
    let mut start = 0;
    for tensor in tensors {
        let part = block(tensor.shape(), layout, axis);
        let tensor = tensor.into_layout(layout)?;
        if part > 0 {
            let rows = y.as_mut_slice().chunks_exact_mut(row);
            rows.zip(tensor.as_slice().chunks_exact(part))
                .for_each(|(y, x)| y[start..start + part].copy_from_slice(x));
        }
        start += part;
    }
    Ok(y)
}

/// How many neighbouring elements in memory have the same indices before `axis`: what of each tensor
/// stays together.
fn block(shape: &Shape, layout: Layout, axis: usize) -> usize {
    let axes = stored_axes(layout, shape.rank());
    axes.into_iter().skip_while(|&other| other != axis).map(|axis| shape[axis]).product()
}

/// The gradient of a slice along `axis` that began at `start`, with respect to its input of shape
/// `x`: `dy` where the slice was, and 0 elsewhere.
///
/// # Errors
/// If `dy` does not fit there.
#[compiled_here]
pub fn slice_backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    axis: usize,
    start: usize,
    x: &[usize],
) -> Result<Tensor<T>> {
    let (dy, x) = (dy.into_view()?, &Shape::new(x)?);
    let fits = dy.shape().rank() == x.rank()
        && (0..x.rank()).all(|i| match i == axis {
            true => start.checked_add(dy.shape()[i]).is_some_and(|end| end <= x[i]),
            false => dy.shape()[i] == x[i],
        });
    if axis >= x.rank() || !fits {
        let rule = "dy must be a slice of x";
        return Err(KernelError::mismatch("slice backward", ("dy", dy.shape()), ("x", x), rule));
    }
    let mut dx = Tensor::try_unfilled(x, dy.layout())?;
    dx.as_mut_slice().fill(T::zero());
    let (row, part) = (block(x, dy.layout(), axis), block(dy.shape(), dy.layout(), axis));
    if part > 0 {
        let start = start * (part / dy.shape()[axis]);
        let rows = dx.as_mut_slice().chunks_exact_mut(row);
        rows.zip(dy.as_slice().chunks_exact(part))
            .for_each(|(dx, dy)| dx[start..start + part].copy_from_slice(dy));
    }
    Ok(dx)
}
