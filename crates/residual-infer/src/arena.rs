//! One piece of memory for all intermediate results of a plan. The place of a result is used again once
//! nothing reads it any more.

use std::ops::Range;

/// A result, and when it has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// Its elements.
    pub(crate) length: usize,
    /// The first step that writes it and the last that reads it.
    pub(crate) steps: Range<usize>,
}

impl Lifetime {
    /// Whether both have to be there at some step. Ends are included: what a step reads and what
    /// it writes must not meet.
    fn meets(&self, other: &Self) -> bool {
        self.steps.start <= other.steps.end && other.steps.start <= self.steps.end
    }
}

/// Elements that results begin at multiples of: two cache lines, which processors fetch together.
const ALIGNMENT: usize = 32;

/// Where each result begins, and the elements of the whole arena.
///
/// The largest is placed first, each as low as those before allow: not the best packing, which
/// nobody knows how to find fast, but for a chain with shortcuts hardly worse.
pub(crate) fn place(lifetimes: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&index| (usize::MAX - lifetimes[index].length, lifetimes[index].steps.start));
    let mut offsets = vec![0; lifetimes.len()];
    // Those placed, by offset.
    let mut placed: Vec<usize> = Vec::new();
    for index in order {
        let mut offset = 0;
        for &other in placed.iter().filter(|&&other| lifetimes[other].meets(&lifetimes[index])) {
            if offset + lifetimes[index].length <= offsets[other] {
                break;
            }
            offset = offset.max((offsets[other] + lifetimes[other].length).next_multiple_of(ALIGNMENT));
        }
        offsets[index] = offset;
        let at = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(at, index);
    }
    let ends = lifetimes.iter().zip(&offsets).map(|(lifetime, offset)| offset + lifetime.length);
    let total = ends.max().unwrap_or(0);
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use residual_tensor::Generator;

    use super::*;

    #[test]
    fn results_that_meet_are_apart() {
        for seed in 0..50 {
            let mut generator = Generator::new(seed);
            let lifetimes: Vec<Lifetime> = (0..40)
                .map(|_| {
                    let start = generator.below(30);
                    Lifetime { length: generator.below(500), steps: start..start + generator.below(6) }
                })
                .collect();
            let (offsets, total) = place(&lifetimes);
            let ranges: Vec<_> =
                offsets.iter().zip(&lifetimes).map(|(&at, lifetime)| at..at + lifetime.length).collect();
            for (i, a) in lifetimes.iter().enumerate() {
                assert!(offsets[i] % ALIGNMENT == 0 && ranges[i].end <= total);
                for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                    let apart = ranges[i].end <= ranges[j].start || ranges[j].end <= ranges[i].start;
                    assert!(apart || !a.meets(b), "{a:?} {b:?} {:?} {:?}", ranges[i], ranges[j]);
                }
            }
        }
    }

    #[test]
    fn a_chain_takes_two_of_its_largest() {
        let lifetimes: Vec<_> =
            (0..20).map(|step| Lifetime { length: 64 * (20 - step), steps: step..step + 1 }).collect();
        assert_eq!(place(&lifetimes).1, 64 * (20 + 19));
    }
}
