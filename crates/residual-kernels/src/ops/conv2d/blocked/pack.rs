//! Weights in the order in which the kernels read them, and gradients back out of that order.

use std::ops::Range;

use residual_tensor::Float;

use super::{Blocking, Correlation};
use crate::{
    engine::{
        isa::{Gather, Scatter},
        parallel::for_each_task,
    },
    ops::conv2d::shared::Shared,
};

impl<T: Float> Blocking<T> {
    /// Brings weights into the order in which the kernels read them:
    /// `[group][panel][channel block][tap][channel][output channel]`.
    pub(in crate::ops::conv2d) fn pack(&self, weights: &[T], packed: &mut [T]) {
        let Correlation { groups, inputs, outputs, weights: at, axes: [vertical, horizontal], .. } =
            &self.correlation;
        assert_eq!(packed.len(), self.packed_len());
        assert_eq!(weights.len(), groups * self.merged * at.group);
        let packed = Shared::new(packed);
        for_each_task(groups * self.panels.len(), |task| {
            let (group, panel) = (task / self.panels.len(), &self.panels[task % self.panels.len()]);
            let mut to = self.packed_at(group, panel);
            for block in self.channel_blocks() {
                for (row, column) in
                    vertical.taps.iter().flat_map(|r| horizontal.taps.iter().map(move |c| (r, c)))
                {
                    let tap = row.index * at.tap[0] + column.index * at.tap[1];
                    let length = block.len() * panel.width;
                    if self.merged == 1 {
                        let first = group * at.group + tap + panel.first * at.output + block.start * at.input;
                        let gather = Gather {
                            weights: weights[first..].as_ptr(),
                            input: at.input,
                            output: at.output,
                            inputs: block.len(),
                            outputs: panel.columns,
                            to: packed.at(to),
                            block: panel.width,
                        };
                        // SAFETY: the strides stay within the group's weights, as the assertion
                        // on their length says; `length` elements are this task's own.
                        unsafe { (self.isa.gather)(&gather) };
                    } else {
                        // SAFETY: these elements are this task's own.
                        let to = unsafe { std::slice::from_raw_parts_mut(packed.at(to), length) };
                        for (i, to) in to.iter_mut().enumerate() {
                            let input = block.start + i / panel.width;
                            let output = panel.first + i % panel.width;
                            let small = input / (inputs / self.merged);
                            let related = output < *outputs && output / (outputs / self.merged) == small;
                            *to = if related {
                                let group = (group * self.merged + small) * at.group + tap;
                                let (input, output) =
                                    (input % (inputs / self.merged), output % (outputs / self.merged));
                                weights[group + input * at.input + output * at.output]
                            } else {
                                T::zero()
                            };
                        }
                    }
                    to += length;
                }
            }
        });
    }
    /// Adds up the parts of `sums`, each in the order of packed weights, and writes the totals to
    /// where weights are.
    pub(super) fn unpack(&self, sums: &[T], weights: &mut [T]) {
        let Correlation { groups, inputs, outputs, weights: at, axes: [vertical, horizontal], .. } =
            &self.correlation;
        let part = self.packed_len();
        assert!(part > 0 && sums.len().is_multiple_of(part));
        assert_eq!(at.input, 1, "input channels are neighbours in the weights of a forward pass");
        assert_eq!(weights.len(), groups * self.merged * at.group);
        let parts = sums.len() / part;
        let weights = Shared::new(weights);
        let (inputs, outputs) = (inputs / self.merged, outputs / self.merged);
        for_each_task(groups * self.panels.len(), |task| {
            let (group, panel) = (task / self.panels.len(), &self.panels[task % self.panels.len()]);
            let mut from = self.packed_at(group, panel);
            for block in self.channel_blocks() {
                for (row, column) in
                    vertical.taps.iter().flat_map(|r| horizontal.taps.iter().map(move |c| (r, c)))
                {
                    let tap = row.index * at.tap[0] + column.index * at.tap[1];
                    // The small groups that were merged lie on the diagonal of this one.
                    for small in 0..self.merged {
                        let rows = overlap(&block, &(small * inputs..(small + 1) * inputs));
                        let columns = panel.first..panel.first + panel.columns;
                        let columns = overlap(&columns, &(small * outputs..(small + 1) * outputs));
                        if rows.is_empty() || columns.is_empty() {
                            continue;
                        }
                        let first =
                            from + (rows.start - block.start) * panel.width + columns.start - panel.first;
                        let to = (group * self.merged + small) * at.group
                            + tap
                            + (columns.start - small * outputs) * at.output
                            + (rows.start - small * inputs) * at.input;
                        let scatter = Scatter {
                            sums: sums[first..].as_ptr(),
                            part,
                            parts,
                            block: panel.width,
                            inputs: rows.len(),
                            outputs: columns.len(),
                            weights: weights.at(to),
                            output: at.output,
                        };
                        // SAFETY: rows and columns are within the panel, which each part has; the
                        // strides stay within the weights, whose length was asserted, and the
                        // weights of these channels are this task's own.
                        unsafe { (self.isa.scatter)(&scatter) };
                    }
                    from += block.len() * panel.width;
                }
            }
        });
    }
}

/// What both ranges have in common.
fn overlap(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}
