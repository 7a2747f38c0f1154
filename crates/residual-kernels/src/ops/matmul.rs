//! Products of matrices, and of stacks of matrices, which [broadcast].
//!
//! Not here: how one product is computed, which is in `gemm`.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor, TensorView};

use crate::{
    KernelError, Result,
    engine::parallel::try_for_each_chunk,
    ops::{
        broadcast::{self, reduce_to},
        gemm::{Matrix, MatrixMut, gemm, gemm_on_this_thread},
    },
};

/// `a · b`, for each pair of matrices in two stacks.
///
/// # Shapes
/// `a [.., m, k]`, `b [.., k, n]` → `[.., m, n]`; axes in front broadcast.
///
/// # Errors
/// If the shapes do not fit.
pub fn forward<'a, T: Float>(a: impl IntoView<'a, T>, b: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    product("matmul", ("a", a.into_view()?, false), ("b", b.into_view()?, false))
}

/// The gradient with respect to `a`, of the given shape: `dy · bᵀ`.
///
/// # Shapes
/// `dy [.., m, n]`, `b [.., k, n]` → `a`.
///
/// # Errors
/// If the shapes do not fit.
pub fn backward_a<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    b: impl IntoView<'a, T>,
    a: &[usize],
) -> Result<Tensor<T>> {
    reduce_to(product("matmul backward", ("dy", dy.into_view()?, false), ("b", b.into_view()?, true))?, a)
}

/// The gradient with respect to `b`, of the given shape: `aᵀ · dy`.
///
/// # Shapes
/// `a [.., m, k]`, `dy [.., m, n]` → `b`.
///
/// # Errors
/// If the shapes do not fit.
pub fn backward_b<'a, T: Float>(
    a: impl IntoView<'a, T>,
    dy: impl IntoView<'a, T>,
    b: &[usize],
) -> Result<Tensor<T>> {
    let (operation, a, dy) = ("matmul backward", a.into_view()?, dy.into_view()?);
    let (a_stack, dy_stack) = (stack(operation, ("a", &a))?, stack(operation, ("dy", &dy))?);
    if b.len() == 2 && a_stack.axes == dy_stack.axes {
        // One b for the whole stack: [stack · m, k]ᵀ · [stack · m, n] = [k, n]
        let a = a.into_reshaped([a_stack.count * a_stack.rows, a_stack.columns])?;
        let dy = dy.into_reshaped([dy_stack.count * dy_stack.rows, dy_stack.columns])?;
        return product(operation, ("a", a, true), ("dy", dy, false));
    }
    reduce_to(product(operation, ("a", a, true), ("dy", dy, false))?, b)
}

/// A tensor as a stack of matrices.
struct Stack {
    /// The axes in front.
    axes: Shape,
    /// How many matrices.
    count: usize,
    rows: usize,
    columns: usize,
}

fn stack<T: Float>(operation: &'static str, (name, x): (&'static str, &TensorView<'_, T>)) -> Result<Stack> {
    match **x.shape() {
        [ref stack @ .., rows, columns] => {
            let stack = Shape::new(stack)?;
            Ok(Stack { count: stack.elements(), axes: stack, rows, columns })
        }
        _ => Err(KernelError::NotAMatrix { operation, tensor: name, shape: x.shape().clone() }),
    }
}

/// An operand: its name, its elements, and whether its matrices are transposed.
type Operand<'a, T> = (&'static str, TensorView<'a, T>, bool);

#[compiled_here]
fn product<T: Float>(operation: &'static str, a: Operand<'_, T>, b: Operand<'_, T>) -> Result<Tensor<T>> {
    let (a_stack, b_stack) = (stack(operation, (a.0, &a.1))?, stack(operation, (b.0, &b.1))?);
    let turned = |stack: &Stack, turned: bool| match turned {
        true => [stack.columns, stack.rows],
        false => [stack.rows, stack.columns],
    };
    let ([m, k], [b_k, n]) = (turned(&a_stack, a.2), turned(&b_stack, b.2));
    let mismatch = |rule| Err(KernelError::mismatch(operation, (a.0, a.1.shape()), (b.0, b.1.shape()), rule));
    if k != b_k {
        return mismatch("the columns of the one must be as many as the rows of the other");
    }
    let Ok(stack) = broadcast::shape(operation, &a_stack.axes, &b_stack.axes) else {
        return mismatch("axes before the last two must be equal, counted from the last, or one of them 1");
    };
    let shape = Shape::new([&*stack, &[m, n]].concat())?;
    let mut y = Tensor::try_unfilled(shape, Layout::Contiguous)?;
    let [(a, a_turned), (b, b_turned)] = [(a.1, a.2), (b.1, b.2)];
    let (a, b) = (a.into_layout(Layout::Contiguous)?, b.into_layout(Layout::Contiguous)?);
    if b_stack.count == 1 && !a_turned && a_stack.axes == stack {
        // One b for the whole stack: [stack · m, k] · [k, n] = [stack · m, n]
        let rows = a_stack.count * m;
        let a = Matrix::new(a.as_slice(), rows, k, k)?;
        let b = oriented(b.as_slice(), &b_stack, 0, b_turned)?;
        gemm(T::one(), a, b, T::zero(), MatrixMut::new(y.as_mut_slice(), rows, n, n)?)?;
        return Ok(y);
    }
    let (a_places, b_places) = (places(&a_stack.axes, &stack)?, places(&b_stack.axes, &stack)?);
    let pair = |number: usize| -> Result<_> {
        let a = oriented(a.as_slice(), &a_stack, a_places[number], a_turned)?;
        Ok((a, oriented(b.as_slice(), &b_stack, b_places[number], b_turned)?))
    };
    let size = (m * n).max(1);
    if stack.elements() >= MANY {
        try_for_each_chunk(y.as_mut_slice(), size, |number, y| {
            let (a, b) = pair(number)?;
            gemm_on_this_thread(T::one(), a, b, T::zero(), MatrixMut::new(y, m, n, n)?)
        })?;
    } else {
        for (number, y) in y.as_mut_slice().chunks_exact_mut(size).enumerate() {
            let (a, b) = pair(number)?;
            gemm(T::one(), a, b, T::zero(), MatrixMut::new(y, m, n, n)?)?;
        }
    }
    Ok(y)
}

/// From so many matrices on, threads share out matrices; below, rows of each.
const MANY: usize = 16;

/// Matrix `number` of the stack `x`.
fn oriented<'a, T: Float>(x: &'a [T], stack: &Stack, number: usize, turned: bool) -> Result<Matrix<'a, T>> {
    let size = stack.rows * stack.columns;
    let matrix = Matrix::new(&x[number * size..][..size], stack.rows, stack.columns, stack.columns)?;
    Ok(if turned { matrix.transposed() } else { matrix })
}

/// For each matrix of a stack, which one of an operand belongs to it: the operand repeats.
fn places(operand: &Shape, stack: &Shape) -> Result<Vec<usize>> {
    let missing = stack.rank() - operand.rank();
    let strides = Layout::Contiguous.strides(operand)?;
    let place = |mut number: usize| {
        let mut place = 0;
        for axis in (0..stack.rank()).rev() {
            let index = number % stack[axis];
            number /= stack[axis];
            if axis >= missing && operand[axis - missing] != 1 {
                place += index * strides[axis - missing];
            }
        }
        place
    };
    Ok((0..stack.elements()).map(place).collect())
}
