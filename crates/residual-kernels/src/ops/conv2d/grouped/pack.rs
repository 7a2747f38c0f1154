//! Weights in the order in which the kernels read them, and gradients back out of that order.

use residual_tensor::Float;

use super::{Correlation, Grouped};
use crate::engine::{parallel::for_each_task, shared::Shared};

impl<T: Float> Grouped<T> {
    /// Brings weights into the order in which the kernels read them:
    /// `[block][pick][tap][lane]`, with zeros in lanes without an output.
    pub(in crate::ops::conv2d) fn pack(&self, weights: &[T], packed: &mut [T]) {
        assert_eq!(weights.len(), self.correlation.groups * self.correlation.weights.group);
        assert_eq!(packed.len(), self.packed_len());
        let packed = Shared::new(packed);
        for_each_task(self.blocks.count, |block| {
            let first = packed.at(block * self.block_len());
            // SAFETY: the elements of a block are its task's own.
            let packed = unsafe { std::slice::from_raw_parts_mut(first, self.block_len()) };
            let lanes = self.lanes(block);
            for (packed, at) in packed.chunks_exact_mut(self.isa.lanes).zip(&self.weights) {
                let (some, none) = packed.split_at_mut(lanes.len());
                for (packed, lane) in some.iter_mut().zip(&lanes) {
                    *packed = weights[lane + at];
                }
                none.fill(T::zero());
            }
        });
    }

    /// Adds up the parts of `sums`, each in the order of packed weights, and writes the totals to
    /// where weights are.
    pub(super) fn unpack(&self, sums: &[T], weights: &mut [T]) {
        let (part, block_len) = (self.packed_len(), self.block_len());
        assert!(part > 0 && sums.len().is_multiple_of(part));
        assert_eq!(weights.len(), self.correlation.groups * self.correlation.weights.group);
        let weights = Shared::new(weights);
        for_each_task(self.blocks.count, |block| {
            let lanes = self.lanes(block);
            for (tap, at) in self.weights.iter().enumerate() {
                for (lane, first) in lanes.iter().enumerate() {
                    let index = block * block_len + tap * self.isa.lanes + lane;
                    let total = sums[index..].iter().step_by(part).copied().reduce(|total, sum| total + sum);
                    // SAFETY: an element of the weights, and of this task's channels.
                    unsafe { *weights.at(first + at) = total.unwrap_or(T::zero()) };
                }
            }
        });
    }

    /// For each lane of a block that has an output, where the output's first weight is.
    fn lanes(&self, block: usize) -> Vec<usize> {
        let Correlation { outputs, weights: at, .. } = self.correlation;
        let first = |channel| channel / outputs * at.group + channel % outputs * at.output;
        self.outputs(block).map(first).collect()
    }
}
