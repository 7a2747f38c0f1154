//! How experiments train: pictures brought to one size and kept in memory, and a schedule that is the
//! paper's on another scale (He et al. 2015, section 4.2). The loop is the trainer of `residual-train`, and
//! so is the way in which a training that takes hours is kept, and goes on after an interruption.

use std::{cell::Cell, path::PathBuf, sync::Arc};

use residual_data::{
    Augment, Corrupt, DataSpec, Dataset, ImageShape, InMemory, Pictures, Preprocess, Split, Standardise,
};
use residual_tensor::{Generator, Layout, Tensor};
use residual_train::{
    Checkpoint, CrossEntropy, Decay, EpochRecord, FitConfig, Observer, OptimizerConfig, RunConfig, RunFolder,
    Schedule, Span, TrainError, Trainable, Trainer,
};
use serde::{Deserialize, Serialize};

use crate::{ReportError, Result, numbers::percent};

use super::{Findings, Setting, Watch};

/// Pictures to learn from, and pictures to be tested on.
pub(super) struct School {
    train: Arc<InMemory>,
    test: Arc<InMemory>,
    preprocess: Preprocess,
    data: DataSpec,
    /// Where trainings are kept, if they are.
    trainings: Option<PathBuf>,
    /// How many networks have been trained, and how many of them diverged.
    taught: Cell<usize>,
    diverged: Cell<usize>,
}

/// Fewer pictures show nothing.
const LEAST_PICTURES: usize = 8;
/// As many as a label of a picture in memory can name.
const MOST_CLASSES: usize = 256;

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
            let refuse = |reason| ReportError::Pictures { data: setting.data.to_string(), reason };
            let (found, classes) = (pictures.len(), pictures.classes().len());
            if found < LEAST_PICTURES {
                return Err(refuse(format!("{found} pictures to learn from or to be tested on are too few")));
            }
            if classes > MOST_CLASSES {
                return Err(refuse(format!("{classes} classes are more than {MOST_CLASSES}")));
            }
            let channels = pictures.shape().map_or(3, |shape| shape.channels);
            in_memory(&*pictures, count, ImageShape::new(channels, side, side), setting.seed)
        };
        let (train, test) = (part(Split::Train, train)?, part(Split::Test, test)?);
        let shape = train.shape().expect("pictures of one size");
        let preprocess = Preprocess::new(shape).fit(&train, Standardise::Channel, train.len())?;
        let (train, test) = (Arc::new(train), Arc::new(test));
        let (data, trainings) = (setting.data.clone(), setting.trainings.clone());
        let (taught, diverged) = (Cell::new(0), Cell::new(0));
        Ok(Self { train, test, preprocess, data, trainings, taught, diverged })
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
    /// that. Where trainings are kept, this one goes on from what is there of its `name`.
    pub(super) fn teach<N: Trainable<f32>>(
        &self,
        name: &str,
        net: N,
        course: &Course,
        seed: u64,
        watch: Watch<'_>,
    ) -> Result<Learned<N>> {
        watch(name);
        let pictures = |set: &Arc<InMemory>| Pictures::new(set.clone(), self.preprocess.clone());
        let mut train = pictures(&self.train)?;
        if course.varied {
            train = train.varied(Augment::CIFAR.transforms(&self.preprocess))?;
        }
        let lesson = Lesson { data: self.data.clone(), pictures: self.described(), fit: course.config(seed) };
        let folder = self.folder(name)?;
        let checkpoint = match folder.as_ref().map(RunFolder::last).filter(|last| last.exists()) {
            Some(last) => {
                let kept = Checkpoint::restore(&last, net)?;
                if kept.training.config != lesson {
                    return Err(ReportError::OtherTraining { path: last });
                }
                kept
            }
            None => Checkpoint::new(net, lesson),
        };
        let mut trainer =
            Trainer::going_on(checkpoint, train, pictures(&self.test)?, CrossEntropy::default())?;
        // Minutes pass with one network, or hours.
        let mut told = Epochs { name, each: folder.is_some(), of: trainer.length().epochs(), watch };
        let diverged = match trainer.fit(folder.as_ref(), &mut told, &false.into()) {
            Ok(_) => false,
            Err(TrainError::Diverged { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        self.taught.set(self.taught.get() + 1);
        self.diverged.set(self.diverged.get() + usize::from(diverged));
        Ok(Learned { trainer, diverged })
    }

    /// The folder of the training of this name, if trainings are kept.
    fn folder(&self, name: &str) -> Result<Option<RunFolder>> {
        let Some(trainings) = &self.trainings else { return Ok(None) };
        let words =
            name.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(|word| !word.is_empty());
        let path = trainings.join(words.collect::<Vec<_>>().join("-"));
        std::fs::create_dir_all(&path).map_err(|source| ReportError::Write { path: path.clone(), source })?;
        Ok(Some(RunFolder::open(path)))
    }
}

/// Says after each epoch how far a training is, where that is worth a line.
struct Epochs<'a> {
    name: &'a str,
    each: bool,
    of: u64,
    watch: Watch<'a>,
}

impl Observer for Epochs<'_> {
    fn epoch(&mut self, record: &EpochRecord, _is_best: bool) {
        let errors = [record.train_accuracy, record.val_accuracy].map(|accuracy| percent(1.0 - accuracy));
        let [train, test] = errors;
        if self.each {
            let Self { name, of, .. } = self;
            let epoch = record.epoch;
            (self.watch)(&format!(
                "{name}, epoch {epoch} of {of}: training error {train}, test error {test}"
            ));
        }
    }
}

/// All that decides about a training beside its network: only with the same can a kept one go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lesson {
    data: DataSpec,
    /// How many of them, of which size.
    pictures: String,
    fit: FitConfig,
}

impl RunConfig for Lesson {
    fn fit(&self) -> FitConfig {
        self.fit.clone()
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
    trainer: Trainer<f32, N, Pictures, Lesson>,
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
        labels.push(u8::try_from(sample.label).expect("as many classes as a label can name"));
    }
    Ok(InMemory::new(pictures.name(), pictures.classes(), shape, pixels, labels)?)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::experiment::stack::StackConfig;

    const CONFIG: StackConfig = StackConfig {
        input_channels: 1,
        classes: 7,
        widths: Vec::new(),
        blocks: 1,
        norm: true,
        residual: true,
        gain: 1.0,
    };
    const COURSE: Course = Course { epochs: 4.0, batch: 14, rate: 0.05, warm_up: false, varied: false };

    fn school(trainings: Option<PathBuf>) -> School {
        let data = "faces:train=70,test=28".parse::<DataSpec>().unwrap();
        School::open(&Setting { data, trainings, ..Setting::default() }, [56, 28], 12).unwrap()
    }

    fn learn(
        school: &School,
        norm: bool,
        gain: f64,
        course: &Course,
        watch: Watch<'_>,
    ) -> Result<Learned<impl Trainable<f32> + use<>>> {
        let config = StackConfig { widths: vec![8], norm, gain, ..CONFIG };
        let net = config.build(&mut Generator::new(0)).unwrap();
        school.teach("a small network", net, course, 0, watch)
    }

    #[test]
    fn a_small_network_learns_and_a_wild_one_is_taken_for_guessing() {
        let school = school(None);
        assert_eq!((school.channels(), school.classes(), school.train.len()), (1, 7, 56));
        let learned = learn(&school, true, 1.0, &COURSE, &mut |_| ()).unwrap();
        assert_eq!(learned.history().len(), 4);
        assert!(learned.history()[3].train_loss < learned.history()[0].train_loss);

        let wild = learn(&school, false, 1e6, &Course { rate: 1e6, ..COURSE }, &mut |_| ()).unwrap();
        assert!(wild.diverged && wild.errors(&school) == [school.chance(); 2]);
        assert_eq!(wild.told_errors(&school), ["diverged"; 2]);
        let mut findings = Findings::default();
        school.tell_diverged(&mut findings);
        assert!(findings.statements[0].text.starts_with("Of 2 trainings, 1 diverged"));
    }

    #[test]
    fn a_training_that_is_kept_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let kept = || school(Some(folder.path().to_owned()));
        // As if the program were killed when the third epoch ends.
        let mut interrupt = |line: &str| assert!(!line.contains("epoch 3"), "interrupted");
        let interrupted = AssertUnwindSafe(|| learn(&kept(), true, 1.0, &COURSE, &mut interrupt).map(drop));
        assert!(catch_unwind(interrupted).is_err());
        let mut lines = Vec::new();
        let learned = learn(&kept(), true, 1.0, &COURSE, &mut |line| lines.push(line.to_owned())).unwrap();
        assert!(lines[1].starts_with("a small network, epoch 3 of 4: training error "), "{lines:?}");
        let whole = learn(&school(None), true, 1.0, &COURSE, &mut |_| ()).unwrap();
        let results = |learned: &[EpochRecord]| {
            learned.iter().map(|record| (record.train_loss, record.val_loss)).collect::<Vec<_>>()
        };
        assert_eq!(results(learned.history()), results(whole.history()));
        // What is complete is not trained again, and what is another training is not taken for it.
        let mut lines = 0;
        learn(&kept(), true, 1.0, &COURSE, &mut |_| lines += 1).unwrap();
        assert_eq!(lines, 1);
        let longer = learn(&kept(), true, 1.0, &Course { epochs: 5.0, ..COURSE }, &mut |_| ());
        let refused = longer.map(drop).unwrap_err().to_string();
        assert!(refused.contains("a-small-network") && refused.contains("another length"), "{refused}");
    }
}
