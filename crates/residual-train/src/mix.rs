//! Pictures mixed with others of their batch: mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019), with
//! torchvision's numbers. What a picture's own variation is, is `residual-data`'s business.

use residual_tensor::{Generator, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Result, TrainError};

/// How samples are mixed. Where both kinds are wanted, each batch is of either, with equal chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// α of mixup: the part of the first sample is drawn from the distribution Beta(α, α). 0 for none.
    pub mixup: f64,
    /// α of cutmix, where the part is one of the area. 0 for none.
    pub cutmix: f64,
    /// The part of the batches that are mixed.
    pub probability: f64,
}

impl Default for Mix {
    /// Nothing is mixed.
    fn default() -> Self {
        Self { mixup: 0.0, cutmix: 0.0, probability: 1.0 }
    }
}

/// What was done to a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mixed {
    /// The part that belongs to a sample's own target; the rest belongs to that of the sample before it, and
    /// the first sample's to that of the last.
    pub(crate) own: f64,
}

impl Mix {
    /// # Errors
    /// [`TrainError::Setting`] naming a number that makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, value) in [("mix.mixup", self.mixup), ("mix.cutmix", self.cutmix)] {
            TrainError::unless_within(name, value, 0.0..=100.0, "between 0 (none) and 100")?;
        }
        TrainError::unless_within("mix.probability", self.probability, 0.0..=1.0, "between 0 and 1")
    }

    /// Mixes inputs `[n, c, h, w]`, channels-last, as the draws have it, if they do.
    pub(crate) fn apply(&self, inputs: &mut Tensor<f32>, draws: &mut Generator) -> Option<Mixed> {
        let is_wanted = self.mixup > 0.0 || self.cutmix > 0.0;
        if !is_wanted || inputs.shape()[0] < 2 || !draws.chance(self.probability) {
            return None;
        }
        let cuts = self.mixup <= 0.0 || self.cutmix > 0.0 && draws.chance(0.5);
        let part = draws.beta(if cuts { self.cutmix } else { self.mixup });
        if !cuts {
            mixup(inputs, part as f32);
            return Some(Mixed { own: part });
        }
        let (height, width) = (inputs.shape()[2], inputs.shape()[3]);
        let rectangle = cut(part, [height, width], draws);
        cutmix(inputs, rectangle);
        let [rows, columns] = rectangle.map(|[start, end]| end - start);
        Some(Mixed { own: 1.0 - (rows * columns) as f64 / (height * width) as f64 })
    }
}

/// Rows and columns of a rectangle of `1 − part` of the area, as far as it is inside: `[start, end]` of each.
fn cut(part: f64, size: [usize; 2], draws: &mut Generator) -> [[usize; 2]; 2] {
    let [height, width] = size;
    let (column, row) = (draws.below(width), draws.below(height));
    let half = 0.5 * (1.0 - part).sqrt();
    let span = |middle: usize, length: usize| {
        let reach = (half * length as f64) as usize;
        [middle.saturating_sub(reach), (middle + reach).min(length)]
    };
    [span(row, height), span(column, width)]
}

/// `part` of each sample and the rest of the sample before it.
fn mixup(inputs: &mut Tensor<f32>, part: f32) {
    with_previous(inputs, |own, previous| {
        let pairs = own.iter_mut().zip(previous);
        pairs.for_each(|(own, &previous)| *own = part * *own + (1.0 - part) * previous);
    });
}

/// Each sample with a rectangle of the sample before it.
fn cutmix(inputs: &mut Tensor<f32>, [rows, columns]: [[usize; 2]; 2]) {
    let (channels, width) = (inputs.shape()[1], inputs.shape()[3]);
    with_previous(inputs, |own, previous| {
        for row in rows[0]..rows[1] {
            let of_row = (row * width + columns[0]) * channels..(row * width + columns[1]) * channels;
            own[of_row.clone()].copy_from_slice(&previous[of_row]);
        }
    });
}

/// Changes each sample by the sample before it as that was, the first by the last.
fn with_previous(inputs: &mut Tensor<f32>, change: impl Fn(&mut [f32], &[f32])) {
    let samples = inputs.shape()[0];
    let length = inputs.len() / samples.max(1);
    let values = inputs.as_mut_slice();
    let last = values[(samples - 1) * length..].to_vec();
    for sample in (1..samples).rev() {
        let (before, from) = values.split_at_mut(sample * length);
        change(&mut from[..length], &before[(sample - 1) * length..]);
    }
    change(&mut values[..length], &last);
}

#[cfg(test)]
mod tests {
    use residual_tensor::Layout;

    use super::*;

    fn counted() -> Tensor<f32> {
        let values = (0..4 * 2 * 6 * 5).map(|value| value as f32).collect();
        Tensor::from_vec([4, 2, 6, 5], values).unwrap().to_layout(Layout::ChannelsLast)
    }

    #[test]
    fn mixup_is_torchvisions() {
        let mut inputs = counted();
        mixup(&mut inputs, 0.75);
        // batch.roll(1, 0).mul(0.25).add(batch.mul(0.75)): 60 lies between neighbours
        let expected: Vec<f32> =
            counted().to_vec().iter().map(|x| if *x < 60.0 { x + 0.25 * 180.0 } else { x - 15.0 }).collect();
        assert_eq!(inputs.to_vec(), expected);
    }

    #[test]
    fn cutmix_is_torchvisions() {
        let mut inputs = counted();
        cutmix(&mut inputs, [[1, 4], [0, 2]]);
        for n in 0..4 {
            for (c, y, x) in (0..2).flat_map(|c| (0..6).flat_map(move |y| (0..5).map(move |x| (c, y, x)))) {
                let from = if (1..4).contains(&y) && x < 2 { (n + 3) % 4 } else { n };
                let place = ((from * 2 + c) * 6 + y) * 5 + x;
                assert_eq!(inputs.view()[[n, c, y, x]], place as f32);
            }
        }
    }

    #[test]
    fn the_part_of_a_cut_is_what_was_left_of_it() {
        let (mut draws, mix) = (Generator::new(4), Mix { cutmix: 1.0, ..Mix::default() });
        let mut cut_off = 0;
        for _ in 0..200 {
            let zeros = Tensor::<f32>::zeros([2, 1, 20, 10]);
            let mut inputs = zeros.to_layout(Layout::ChannelsLast);
            inputs.as_mut_slice()[..200].fill(1.0);
            let Mixed { own } = mix.apply(&mut inputs, &mut draws).unwrap();
            let kept = inputs.as_slice()[..200].iter().sum::<f32>() as f64 / 200.0;
            assert!((own - kept).abs() < 1e-6, "{own} {kept}");
            cut_off += usize::from(own < 1.0);
        }
        assert!(cut_off > 150);
    }

    #[test]
    fn half_of_the_batches_are_of_each_kind() {
        let (mut draws, mix) = (Generator::new(4), Mix { cutmix: 1.0, mixup: 0.2, probability: 0.5 });
        let mut kinds = [0; 3];
        for _ in 0..1000 {
            let mut inputs = counted();
            let whole = |inputs: &Tensor<f32>| inputs.to_vec().iter().all(|value| value.fract() == 0.0);
            let kind = match mix.apply(&mut inputs, &mut draws) {
                None => 0,
                Some(_) if whole(&inputs) => 1,
                Some(_) => 2,
            };
            kinds[kind] += 1;
        }
        assert!((440..560).contains(&kinds[0]) && (180..320).contains(&kinds[2]), "{kinds:?}");
        assert_eq!(
            mix.apply(&mut Tensor::zeros([1, 1, 2, 2]), &mut draws),
            None,
            "alone there is nothing to mix"
        );
    }
}
