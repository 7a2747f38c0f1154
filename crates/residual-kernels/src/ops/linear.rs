//! The fully connected layer, `y = x·weightᵀ + bias`.

use residual_tensor::{Float, IntoView, Layout, Tensor, TensorView};

use crate::{
    KernelError, Result,
    ops::{
        gemm::{Matrix, MatrixMut, gemm},
        reduce,
    },
};

/// `x·weightᵀ + bias`
///
/// # Shapes
/// `x [n, in]`, `weight [out, in]`, `bias [out]` → `[n, out]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn forward<'a, T: Float>(
    x: impl IntoView<'a, T>,
    weight: impl IntoView<'a, T>,
    bias: impl IntoView<'a, T>,
) -> Result<Tensor<T>> {
    let (x, weight, bias) = (x.into_view()?, weight.into_view()?, bias.into_view()?);
    let [n, inputs] = x.dims("linear")?;
    let [outputs, weight_inputs] = weight.dims("linear")?;
    if inputs != weight_inputs {
        let rule = "axis 1 of the weight must be axis 1 of x";
        return Err(KernelError::mismatch("linear", ("weight", weight.shape()), ("x", x.shape()), rule));
    }
    if **bias.shape() != [outputs] {
        let rule = "the bias must have one element for each row of the weight";
        let (bias, weight) = (("bias", bias.shape()), ("weight", weight.shape()));
        return Err(KernelError::mismatch("linear", bias, weight, rule));
    }
    let mut y = Tensor::try_unfilled([n, outputs], Layout::Contiguous)?;
    for row in y.as_mut_slice().chunks_exact_mut(outputs.max(1)) {
        row.copy_from_slice(bias.as_slice());
    }
    // x [n, in] · weight [out, in]ᵀ + y [n, out] = y [n, out]
    gemm(T::one(), matrix(&x)?, matrix(&weight)?.transposed(), T::one(), matrix_mut(&mut y)?)?;
    Ok(y)
}

/// The gradient with respect to the input.
///
/// # Shapes
/// `dy [n, out]`, `weight [out, in]` → `[n, in]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn backward_data<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    weight: impl IntoView<'a, T>,
) -> Result<Tensor<T>> {
    let (dy, weight) = (&dy.into_view()?, &weight.into_view()?);
    let [n, outputs] = dy.dims("linear backward")?;
    let [weight_outputs, inputs] = weight.dims("linear backward")?;
    if outputs != weight_outputs {
        let rule = "axis 0 of the weight must be axis 1 of dy";
        let (weight, dy) = (("weight", weight.shape()), ("dy", dy.shape()));
        return Err(KernelError::mismatch("linear backward", weight, dy, rule));
    }
    let mut dx = Tensor::try_unfilled([n, inputs], Layout::Contiguous)?;
    // dy [n, out] · weight [out, in] = dx [n, in]
    gemm(T::one(), matrix(dy)?, matrix(weight)?, T::zero(), matrix_mut(&mut dx)?)?;
    Ok(dx)
}

/// The gradient with respect to the weight.
///
/// # Shapes
/// `x [n, in]`, `dy [n, out]` → `[out, in]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn backward_weights<'a, T: Float>(
    x: impl IntoView<'a, T>,
    dy: impl IntoView<'a, T>,
) -> Result<Tensor<T>> {
    let (x, dy) = (&x.into_view()?, &dy.into_view()?);
    let [n, inputs] = x.dims("linear backward")?;
    let [dy_n, outputs] = dy.dims("linear backward")?;
    if n != dy_n {
        let rule = "both must have the same axis 0";
        return Err(KernelError::mismatch("linear backward", ("dy", dy.shape()), ("x", x.shape()), rule));
    }
    let mut dw = Tensor::try_unfilled([outputs, inputs], Layout::Contiguous)?;
    // dy [n, out]ᵀ · x [n, in] = dw [out, in]
    gemm(T::one(), matrix(dy)?.transposed(), matrix(x)?, T::zero(), matrix_mut(&mut dw)?)?;
    Ok(dw)
}

/// The gradient with respect to the bias.
///
/// # Shapes
/// `dy [n, out]` → `[out]`.
///
/// # Errors
/// If `dy` does not have two axes.
pub fn backward_bias<'a, T: Float>(dy: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    let dy = dy.into_view()?;
    let [_, _] = dy.dims("linear backward")?;
    reduce::sum(dy, 0)
}

/// A view with two axes, which is always row-major, as a matrix.
fn matrix<'a, T: Float>(view: &'a TensorView<'_, T>) -> Result<Matrix<'a, T>> {
    let [rows, columns] = view.dims("linear")?;
    Matrix::new(view.as_slice(), rows, columns, columns)
}

fn matrix_mut<T: Float>(tensor: &mut Tensor<T>) -> Result<MatrixMut<'_, T>> {
    let [rows, columns] = tensor.dims("linear")?;
    MatrixMut::new(tensor.as_mut_slice(), rows, columns, columns)
}
