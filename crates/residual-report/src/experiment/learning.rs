//! How experiments train: pictures brought to one size and kept in memory, and a schedule that is the
//! paper's on another scale (He et al. 2015, section 4.2). The loop is the trainer of `residual-train`.

use std::{cell::Cell, sync::Arc};

use residual_data::{
    Augment, Corrupt, Dataset, ImageShape, InMemory, Pictures, Preprocess, Split, Standardise,
};
use residual_tensor::{Generator, Layout, Tensor};
use residual_train::{
    CrossEntropy, Decay, EpochRecord, FitConfig, OptimizerConfig, Schedule, Span, TrainError, Trainable,
    Trainer,
};

use crate::{Result, numbers::percent};

use super::{Findings, Setting};

/// Pictures to learn from, and pictures to be tested on.
pub(super) struct School {
    train: Arc<InMemory>,
    test: Arc<InMemory>,
    preprocess: Preprocess,
    /// How many networks have been trained, and how many of them diverged.
    taught: Cell<usize>,
    diverged: Cell<usize>,
}

/// How long and how fast a network learns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    pub(super) epochs: f64,
    pub(super) batch: usize,
    /// The learning rate, which is divided by ten after a half and after three quarters.
    pub(super) rate: f64,
    /// Whether the rate rises during the first twentieth: very deep networks do not start at the full rate
    /// (the paper's ResNet-110 begins with a tenth of it).
    pub(super) warm_up: bool,
    /// Whether pictures are shifted and mirrored.
    pub(super) varied: bool,
}

impl School {
    /// The first so many pictures of the training and of the test part, all of them if there are fewer, in an
    /// order that the seed decides, `side` pixels high and wide.
    pub(super) fn open(setting: &Setting, [train, test]: [usize; 2], side: usize) -> Result<Self> {
        let part = |split, count| -> Result<InMemory> {
            let pictures = setting.data.open(split, Corrupt::Refuse)?;
            let channels = pictures.shape().map_or(3, |shape| shape.channels);
            in_memory(&*pictures, count, ImageShape::new(channels, side, side), setting.seed)
        };
        let (train, test) = (part(Split::Train, train)?, part(Split::Test, test)?);
        let shape = train.shape().expect("pictures of one size");
        let preprocess = Preprocess::new(shape).fit(&train, Standardise::Channel, train.len())?;
        let (train, test) = (Arc::new(train), Arc::new(test));
        Ok(Self { train, test, preprocess, taught: Cell::new(0), diverged: Cell::new(0) })
    }

    pub(super) fn channels(&self) -> usize {
        self.preprocess.input.channels
    }

    pub(super) fn classes(&self) -> usize {
        self.train.classes().len()
    }

    /// The error of guessing.
    pub(super) fn chance(&self) -> f64 {
        1.0 - 1.0 / self.classes() as f64
    }

    /// In words: how many pictures there are, of which size.
    pub(super) fn described(&self) -> String {
        let ImageShape { height, width, .. } = self.preprocess.input;
        let (train, test) = (self.train.len(), self.test.len());
        format!("{train} pictures to learn from and {test} to be tested on, {height}×{width} pixels each")
    }

    /// Test pictures from number `first` on, prepared for a network, `[n, channels, height, width]`, and their
    /// classes. Behind the last comes the first.
    pub(super) fn batch(&self, first: usize, size: usize) -> Result<(Tensor<f32>, Vec<usize>)> {
        let ImageShape { channels, height, width } = self.preprocess.input;
        let mut images = Tensor::unfilled([size, channels, height, width], Layout::ChannelsLast);
        let mut labels = Vec::with_capacity(size);
        for (number, slot) in images.as_mut_slice().chunks_exact_mut(channels * height * width).enumerate() {
            let sample = self.test.get((first + number) % self.test.len())?;
            self.preprocess.write(&sample.image, residual_data::Placement::default(), slot)?;
            labels.push(sample.label);
        }
        Ok((images, labels))
    }

    pub(super) fn test_pictures(&self) -> usize {
        self.test.len()
    }

    /// Says how many of the networks diverged, if any did: their errors are not measured.
    pub(super) fn tell_diverged(&self, findings: &mut Findings) {
        let (diverged, taught) = (self.diverged.get(), self.taught.get());
        if diverged > 0 {
            findings.observe(format!(
                "Of {taught} trainings, {diverged} diverged: numbers became infinite. Such a network counts as guessing, \
                 which has an error of {}.",
                percent(self.chance())
            ));
        }
    }

    /// Trains a network, and tests it after every epoch. One whose loss becomes infinite has learnt as far as
    /// that.
    pub(super) fn teach<N: Trainable<f32>>(&self, net: N, course: &Course, seed: u64) -> Result<Learned<N>> {
        let pictures = |set: &Arc<InMemory>| Pictures::new(set.clone(), self.preprocess.clone());
        let mut train = pictures(&self.train)?;
        if course.varied {
            train = train.varied(Augment::CIFAR.transforms(&self.preprocess))?;
        }
        let trainer =
            Trainer::of(net, train, pictures(&self.test)?, CrossEntropy::default(), course.config(seed));
        let mut trainer = trainer?;
        let diverged = match trainer.fit(None, &mut (), &false.into()) {
            Ok(_) => false,
            Err(TrainError::Diverged { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        self.taught.set(self.taught.get() + 1);
        self.diverged.set(self.diverged.get() + usize::from(diverged));
        Ok(Learned { trainer, diverged })
    }
}

impl Course {
    /// With momentum 0.9 and weight decay 1e-4, as in the paper and by default.
    fn config(&self, seed: u64) -> FitConfig {
        let at = [0.5, 0.75].map(|part| Span::Epochs(part * self.epochs)).to_vec();
        let schedule = Schedule::new(Decay::MultiStep { at, factor: 0.1 });
        let warm_up = Span::Epochs(0.05 * self.epochs);
        FitConfig {
            length: Span::Epochs(self.epochs),
            batch: self.batch,
            seed,
            optimizer: OptimizerConfig { learning_rate: self.rate, ..OptimizerConfig::default() },
            schedule: if self.warm_up { schedule.warm_up(warm_up) } else { schedule },
            ..FitConfig::default()
        }
    }

    /// In words, for the page.
    pub(super) fn described(&self) -> String {
        let Self { epochs, batch, rate, .. } = self;
        let varied = if self.varied { ", pictures shifted by up to 4 pixels and mirrored" } else { "" };
        let warm_up = if self.warm_up { ", reached after a twentieth of the time" } else { "" };
        format!(
            "{epochs} epochs of batches of {batch}, SGD with momentum 0.9 and weight decay 1e-4, learning rate \
             {rate}{warm_up}, a tenth of it after half of the time and a hundredth after three quarters{varied}"
        )
    }
}

/// A network that has been trained.
pub(super) struct Learned<N> {
    trainer: Trainer<f32, N, Pictures, FitConfig>,
    /// Whether its loss became infinite.
    pub(super) diverged: bool,
}

impl<N: Trainable<f32>> Learned<N> {
    pub(super) fn net(&self) -> &N {
        &self.trainer.checkpoint().model
    }

    pub(super) fn history(&self) -> &[EpochRecord] {
        &self.trainer.checkpoint().training.history
    }

    /// Of the last epoch: the error on the pictures that it learnt from, as it saw them, and on test pictures.
    /// The error of guessing for a network that diverged.
    pub(super) fn errors(&self, school: &School) -> [f64; 2] {
        match self.history().last() {
            Some(last) if !self.diverged => [1.0 - last.train_accuracy, 1.0 - last.val_accuracy],
            _ => [school.chance(); 2],
        }
    }

    /// The same for readers.
    pub(super) fn told_errors(&self, school: &School) -> [String; 2] {
        if self.diverged { ["diverged"; 2].map(str::to_owned) } else { self.errors(school).map(percent) }
    }
}

/// So many pictures of a data set, resized.
fn in_memory(pictures: &dyn Dataset, count: usize, shape: ImageShape, seed: u64) -> Result<InMemory> {
    let resized = Preprocess::new(shape);
    let count = count.min(pictures.len());
    // Data sets may be sorted by class: a part of one is drawn, not cut off.
    let order = match pictures.len() == count {
        true => (0..count).collect(),
        false => Generator::new(seed).split("pictures").permutation(pictures.len()),
    };
    let (mut pixels, mut labels) = (Vec::with_capacity(count * shape.elements()), Vec::with_capacity(count));
    for &index in &order[..count] {
        let sample = pictures.get(index)?;
        // A picture that is not square loses what does not fit.
        let image = resized.resize(sample.image)?.centre_crop(shape.height, shape.width)?;
        pixels.extend_from_slice(image.pixels());
        labels.push(u8::try_from(sample.label).unwrap_or(u8::MAX));
    }
    Ok(InMemory::new(pictures.name(), pictures.classes(), shape, pixels, labels)?)
}

#[cfg(test)]
mod tests {
    use residual_data::DataSpec;

    use super::*;
    use crate::experiment::stack::StackConfig;

    #[test]
    fn a_small_network_learns_and_a_wild_one_is_taken_for_guessing() {
        let setting =
            Setting { data: "faces:train=70,test=28".parse::<DataSpec>().unwrap(), ..Setting::default() };
        let school = School::open(&setting, [56, 28], 12).unwrap();
        assert_eq!((school.channels(), school.classes(), school.train.len()), (1, 7, 56));
        let config = StackConfig {
            input_channels: 1,
            classes: 7,
            widths: vec![8],
            blocks: 1,
            norm: true,
            residual: true,
            gain: 1.0,
        };
        let course = Course { epochs: 4.0, batch: 14, rate: 0.05, warm_up: false, varied: false };
        let learn = |config: &StackConfig, course: &Course| {
            let net = config.build(&mut Generator::new(0)).unwrap();
            school.teach(net, course, 0).unwrap()
        };
        let learned = learn(&config, &course);
        assert_eq!(learned.history().len(), 4);
        assert!(learned.history()[3].train_loss < learned.history()[0].train_loss);

        let wild = StackConfig { norm: false, gain: 1e6, ..config };
        let wild = learn(&wild, &Course { rate: 1e6, ..course });
        assert!(wild.diverged && wild.errors(&school) == [school.chance(); 2]);
        assert_eq!(wild.told_errors(&school), ["diverged"; 2]);
        let mut findings = Findings::default();
        school.tell_diverged(&mut findings);
        assert!(findings.statements[0].text.starts_with("Of 2 trainings, 1 diverged"));
    }
}
