//! Which part of a session takes a large batch a few pictures at a time.
//!
//! The first layers of a network have few weights and large results. Done for a whole batch, each
//! result has left the caches before the next layer comes to it; done for one picture after the
//! other, it has not. Later layers have it the other way round: there a whole batch shares the
//! weights that come from memory.

use residual_tensor::Shape;

use crate::fuse::Fused;

/// Elements of a result, for all pictures that are taken together: about what the second caches of
/// two cores hold.
const RESULT: usize = 1 << 20;
/// Elements of the weight of a step that is done again for each part: they stay in the caches, too.
const WEIGHT: usize = 160 << 10;

/// The first steps of a session go through the batch in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Division {
    /// How many steps; none if the whole batch is taken at once.
    pub(crate) steps: usize,
    /// How many parts.
    pub(crate) parts: usize,
}

impl Division {
    /// Chooses it. `value_of` numbers results, by node; `last_use` says which step, counted from
    /// one, is the last to read each.
    pub(crate) fn choose(fused: &[Fused], input: &Shape, value_of: &[usize], last_use: &[usize]) -> Self {
        let mut best = Self { steps: 0, parts: 1 };
        let [batch, sizes @ ..] = &**input else { return best };
        let single: Vec<usize> = [1].into_iter().chain(sizes.iter().copied()).collect();
        let Ok(single) = Shape::new(single) else { return best };
        let mut shapes = vec![single];
        let mut most = shapes[0].elements();
        for (step, fused) in (1..).zip(fused) {
            if fused.kind.weight_len() > WEIGHT {
                break;
            }
            let inputs: Vec<&Shape> = fused.inputs.iter().map(|x| &shapes[value_of[x.index()]]).collect();
            let Ok(shape) = fused.kind.output(&inputs) else {
                // Whoever resolves the steps for good will say what is wrong, and where.
                break;
            };
            most = most.max(shape.elements());
            shapes.push(shape);
            // Behind this step its own result is all that anybody still needs.
            if (0..step).all(|value| last_use[value] <= step) {
                let parts = (1..=*batch).find(|parts| {
                    batch.is_multiple_of(*parts) && (batch / parts).saturating_mul(most) <= RESULT.max(most)
                });
                best = Self { steps: step, parts: parts.unwrap_or(1) };
            }
        }
        if best.parts == 1 {
            best.steps = 0;
        }
        best
    }
}
