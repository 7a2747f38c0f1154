//! Weights in the order in which the kernels read them, and gradients back out of that order.

use residual_tensor::Float;

use super::{Blocking, Correlation};
use crate::engine::{
    isa::{Gather, Scatter, Sums},
    parallel::for_each_task,
    shared::Shared,
};

impl<T: Float> Blocking<T> {
    /// Brings weights into the order in which the kernels read them:
    /// `[group][panel][channel block][tap][channel][output channel]`.
    pub(in crate::ops::conv2d) fn pack(&self, weights: &[T], packed: &mut [T]) {
        let Correlation { groups, weights: at, .. } = &self.correlation;
        assert_eq!(packed.len(), self.packed_len());
        assert_eq!(weights.len(), groups * at.group);
        let packed = Shared::new(packed);
        for_each_task(groups * self.panels.len(), |task| {
            let (group, panel) = (task / self.panels.len(), &self.panels[task % self.panels.len()]);
            let mut to = self.packed_at(group, panel);
            for block in self.units.channel_blocks() {
                for (row, column) in self.correlation.taps() {
                    let tap = group * at.group + self.correlation.tap_weights(row, column);
                    let first = tap + panel.first * at.output + block.start * at.input;
                    let gather = Gather {
                        weights: weights[first..].as_ptr(),
                        input: at.input,
                        output: at.output,
                        inputs: block.len(),
                        outputs: panel.columns,
                        to: packed.at(to),
                        block: panel.width,
                    };
                    // SAFETY: the strides stay within the group's weights, as the assertion on
                    // their length says; the block's elements are this task's own.
                    unsafe { (self.isa.gather)(&gather) };
                    to += block.len() * panel.width;
                }
            }
        });
    }

    /// Adds up the parts of `sums`, each in the order of packed weights, and writes the totals to
    /// where weights are.
    pub(super) fn unpack(&self, sums: &[T], weights: &mut [T]) {
        let Correlation { groups, weights: at, .. } = &self.correlation;
        let part = self.packed_len();
        assert!(part > 0 && sums.len().is_multiple_of(part));
        assert_eq!(at.input, 1, "input channels are neighbours in the weights of a forward pass");
        assert_eq!(weights.len(), groups * at.group);
        let weights = Shared::new(weights);
        for_each_task(groups * self.panels.len(), |task| {
            let (group, panel) = (task / self.panels.len(), &self.panels[task % self.panels.len()]);
            let mut from = self.packed_at(group, panel);
            for block in self.units.channel_blocks() {
                for (row, column) in self.correlation.taps() {
                    let tap = group * at.group + self.correlation.tap_weights(row, column);
                    let sums = Sums {
                        first: sums[from..].as_ptr(),
                        part,
                        parts: sums.len() / part,
                        block: panel.width,
                        inputs: block.len(),
                        outputs: panel.columns,
                    };
                    let scatter = Scatter {
                        sums,
                        weights: weights.at(tap + panel.first * at.output + block.start),
                        output: at.output,
                    };
                    // SAFETY: each part has this block of the panel; the strides stay within the
                    // weights, whose length was asserted, and the weights of these channels are
                    // this task's own.
                    unsafe { (self.isa.scatter)(&scatter) };
                    from += block.len() * panel.width;
                }
            }
        });
    }
}
