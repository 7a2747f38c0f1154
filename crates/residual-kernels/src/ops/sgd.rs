//! One step of stochastic gradient descent on one parameter, in one pass over memory.
//! Which parameters there are, and how the learning rate changes, is decided above.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    KernelError, Result,
    engine::parallel::{CHUNK, for_each_run_of_two, zip_update},
};

/// The coefficients of a step, with PyTorch's meaning:
///
/// ```text
/// g = gradient + weight_decay · parameter
/// v = momentum · v + g
/// parameter −= learning_rate · (nesterov ? g + momentum · v : v)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SgdRule {
    /// The size of the step.
    pub learning_rate: f64,
    /// The part of the velocity that remains from step to step; 0 for none.
    pub momentum: f64,
    /// How strongly parameters are pulled towards zero.
    pub weight_decay: f64,
    /// Whether to step as if the velocity had been applied already.
    pub nesterov: bool,
}

/// Moves `parameter` against its `gradient`, and updates `velocity`, which starts as zeros.
///
/// Velocity and gradient are brought into the parameter's layout; pass them in it, to spare
/// the copies.
///
/// # Errors
/// If the shapes differ, or there is momentum but no velocity.
#[compiled_here]
pub fn step<'a, T: Float>(
    parameter: &mut Tensor<T>,
    gradient: impl IntoView<'a, T>,
    velocity: Option<&mut Tensor<T>>,
    rule: &SgdRule,
) -> Result<()> {
    let gradient = gradient.into_view()?;
    KernelError::unless_same("sgd", ("gradient", gradient.shape()), ("parameter", parameter.shape()))?;
    let gradient = gradient.into_layout(parameter.layout())?;
    let [rate, momentum, decay] = [rule.learning_rate, rule.momentum, rule.weight_decay].map(T::of);

    let Some(velocity) = velocity else {
        if rule.momentum != 0.0 {
            return Err(KernelError::MissingVelocity { momentum: rule.momentum });
        }
        return zip_update(parameter.as_mut_slice(), gradient.as_slice(), |parameter, gradient| {
            parameter - rate * (gradient + decay * parameter)
        });
    };
    KernelError::unless_same("sgd", ("velocity", velocity.shape()), ("parameter", parameter.shape()))?;
    if velocity.layout() != parameter.layout() {
        *velocity = velocity.to_layout(parameter.layout());
    }
    // v or g + momentum · v, without a branch inside the loop
    let (of_gradient, of_velocity) = if rule.nesterov { (T::one(), momentum) } else { (T::zero(), T::one()) };
    for_each_run_of_two(
        parameter.as_mut_slice(),
        velocity.as_mut_slice(),
        CHUNK,
        |run, parameter, velocity| {
            let gradient = &gradient.as_slice()[run];
            for ((parameter, velocity), &gradient) in parameter.iter_mut().zip(velocity).zip(gradient) {
                let gradient = gradient + decay * *parameter;
                *velocity = momentum * *velocity + gradient;
                *parameter -= rate * (of_gradient * gradient + of_velocity * *velocity);
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_velocity_it_is_plain_descent() {
        let rule = SgdRule { learning_rate: 0.5, momentum: 0.0, weight_decay: 0.25, nesterov: false };
        let mut parameter = Tensor::from_vec([2], vec![4.0f64, -8.0]).unwrap();
        let gradient = Tensor::from_vec([2], vec![1.0, 2.0]).unwrap();
        step(&mut parameter, &gradient, None, &rule).unwrap();
        assert_eq!(parameter.to_vec(), [3.0, -8.0]); // 4 − ½(1 + 4/4), −8 − ½(2 − 8/4)
        let error = step(&mut parameter, &gradient, None, &SgdRule { momentum: 0.9, ..rule }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "sgd: momentum 0.9 needs a velocity tensor; pass one of zeros in the parameter's shape"
        );
    }
}
