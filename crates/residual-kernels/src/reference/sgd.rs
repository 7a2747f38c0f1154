//! One step of stochastic gradient descent, with momentum (Sutskever et al. 2013, eq. 1 and 2), Nesterov's
//! momentum (eq. 3 and 4), and with weight decay (Krogh and Hertz 1991).
//!
//! The learning rate is applied to the velocity and not to the gradient within it, as *PyTorch*'s
//! `SGD` does it. While the rate stays the same, both are the same steps.

use ndarray::{ArrayView, ArrayViewMut, Dimension};

use super::unless_same;
use crate::{Result, SgdRule};

/// Moves `parameter` against its `gradient`, and updates `velocity`, which starts as zeros:
///
/// ```text
/// g = gradient + weight_decay · parameter
/// v = momentum · v + g
/// parameter −= learning_rate · (nesterov ? g + momentum · v : v)
/// ```
///
/// # Errors
/// If the shapes differ.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::{SgdRule, reference::sgd};
///
/// let rule = SgdRule { learning_rate: 0.5, momentum: 0.5, weight_decay: 0.25, nesterov: false };
/// let (mut parameter, gradient, mut velocity) = (array![4.0], array![1.0], array![6.0]);
/// sgd::step(parameter.view_mut(), gradient.view(), velocity.view_mut(), &rule)?;
/// assert_eq!(velocity[0], 5.0); // g = 1 + 4 / 4 = 2, v = 6 / 2 + 2
/// assert_eq!(parameter[0], 1.5); // 4 − 5 / 2
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn step<D: Dimension>(
    mut parameter: ArrayViewMut<'_, f64, D>,
    gradient: ArrayView<'_, f64, D>,
    mut velocity: ArrayViewMut<'_, f64, D>,
    rule: &SgdRule,
) -> Result<()> {
    unless_same("sgd", ("gradient", gradient.shape()), ("parameter", parameter.shape()))?;
    unless_same("sgd", ("velocity", velocity.shape()), ("parameter", parameter.shape()))?;
    let &SgdRule { learning_rate, momentum, weight_decay, nesterov } = rule;
    for ((parameter, velocity), gradient) in parameter.iter_mut().zip(&mut velocity).zip(&gradient) {
        let gradient = gradient + weight_decay * *parameter;
        *velocity = momentum * *velocity + gradient;
        *parameter -= learning_rate * if nesterov { gradient + momentum * *velocity } else { *velocity };
    }
    Ok(())
}
