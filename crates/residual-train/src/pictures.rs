//! Training on pictures: what the networks of `residual-zoo` need beyond the training loop. Classes,
//! channels and size follow from the data, weights to begin with come from a file.

use std::sync::Arc;

use residual_data::{
    Corrupt, DataSpec, Dataset, ImageShape, Loader, LoaderConfig, Pictures, Preprocess, Samples, Split,
    class_counts,
};
use residual_model::Model;
use residual_nn::Module;
use residual_tensor::{Float, Generator};
use residual_zoo::Stem;

use crate::{
    Checkpoint, CrossEntropy, Loaded, Result, RunLength, TrainConfig, TrainError, Trainable, Trainer,
    evaluate::FirstFew, whitening::whiten,
};

/// The pictures that a run uses.
#[derive(Clone)]
pub struct Data {
    /// Those that the network learns from.
    pub train: Arc<dyn Dataset>,
    /// Those that decide which epoch is best.
    pub val: Arc<dyn Dataset>,
}

impl Data {
    /// Opens the two splits of a data set.
    ///
    /// # Errors
    /// What is wrong with the data set.
    pub fn open(spec: &DataSpec, corrupt: Corrupt) -> Result<Self> {
        Ok(Self { train: spec.open(Split::Train, corrupt)?, val: spec.open(Split::Val, corrupt)? })
    }
}

/// Of pictures that have to be decoded, so many are looked at for mean and deviation.
const MEASURED_PICTURES: usize = 4096;

/// Pictures that filters which whiten them are computed from: 5,000, as in Jordan 2024.
const WHITENING_BATCH: usize = 250;
const WHITENING_BATCHES: usize = 20;

/// Whether the first convolution is computed from the pictures, and not trained.
fn is_whitening<T: Float>(model: &Model<T>) -> bool {
    model.net.config().stem == Stem::Whitening
}

impl<T: Float> Trainer<T> {
    /// A new run.
    ///
    /// # Errors
    /// If the configuration, the network and the data do not fit each other.
    pub fn new(config: TrainConfig, data: Data) -> Result<Self> {
        config.check()?;
        let classes = data.train.classes().to_vec();
        let input = config.input_shape(&config.model.config()?, &*data.train);
        let network = config.network(classes.len(), input.channels)?;
        let net = network.build(&mut Generator::new(config.seed).split("init"))?;
        let model = Model { net, classes, preprocess: Preprocess::new(input) };
        let loaded = config.init.as_ref().map(|init| init.load(&model)).transpose()?;
        if let Some(stage) = &config.freeze_until {
            model.freeze_until(stage)?;
            let head = Trainable::head(&model);
            let is_new = |path: &str| loaded.as_ref().is_none_or(|loaded| !loaded.has(path, head));
            let mut frozen = model.net.parameters().into_iter().filter(|(_, state)| !state.is_trained());
            if let Some((path, _)) = frozen.find(|(path, _)| is_new(path)) {
                return Err(TrainError::FrozenNew { stage: stage.clone(), path });
            }
        }
        let unmeasured = || Preprocess { shorter_side: config.resize, ..Preprocess::new(input) };
        // A network that was trained before goes on with the numbers that it knows.
        let known = loaded.as_ref().and_then(|loaded| loaded.preprocess.as_ref());
        let preprocess = match known.filter(|known| known.mean.len() == input.channels) {
            Some(known) => {
                let pixel_mean = known.pixel_mean.clone().filter(|_| known.input == input);
                let interpolation = known.interpolation;
                let standardised = unmeasured().normalise(&known.mean, &known.std);
                Preprocess { pixel_mean, interpolation, ..standardised }
            }
            None => {
                let measured = if data.train.is_in_memory() { data.train.len() } else { MEASURED_PICTURES };
                unmeasured().fit(&*data.train, config.standardise, measured)?
            }
        };
        let model = Model { preprocess, ..model };
        let first = format!("{}.weight", Trainable::stem(&model));
        let has_first = loaded.as_ref().is_some_and(|loaded| loaded.has(&first, Trainable::head(&model)));
        if is_whitening(&model) && !has_first {
            let pictures = Pictures::new(data.train.clone(), model.preprocess.clone())?;
            let batches = Loader::new(pictures, LoaderConfig::eval(WHITENING_BATCH))?.epoch(0)?;
            whiten(&model, batches.take(WHITENING_BATCHES).map(|batch| Ok(batch?.inputs)))?;
        }
        let checkpoint = Checkpoint::new(model, config);
        Self::on_pictures(checkpoint, data, loaded)
    }

    /// A run that goes on from a checkpoint. The configuration may differ from the checkpoint's in
    /// what later steps can do otherwise: length, rates, variation, where the data is. To end with the
    /// same bits, it must not.
    ///
    /// # Errors
    /// [`TrainError::Fixed`] naming a setting that has had its effect already;
    /// [`TrainError::Resume`] if the checkpoint belongs to another network, other classes or
    /// another number of batches.
    pub fn resume(config: TrainConfig, data: Data, mut checkpoint: Checkpoint<T>) -> Result<Self> {
        config.check()?;
        let classes = data.train.classes();
        let channels = checkpoint.model.preprocess.input.channels;
        let [held, wanted] = [checkpoint.model.net.config(), &config.network(classes.len(), channels)?];
        let differ = |checkpoint: String, run: String| Err(TrainError::Resume { checkpoint, run });
        if (&held.name, held.classes) != (&wanted.name, wanted.classes) {
            let named = |name: &str, classes: usize| format!("{name} with {classes} classes");
            return differ(named(&held.name, held.classes), named(&wanted.name, wanted.classes));
        }
        checkpoint.training.config.check_fixed(&config)?;
        if held != wanted {
            return differ(format!("another network called {}", held.name), "one by the same name".into());
        }
        if checkpoint.model.classes != classes {
            let listed = |classes: &[String]| format!("the classes {}", FirstFew(classes));
            return differ(listed(&checkpoint.model.classes), listed(classes));
        }
        checkpoint.training.config = config;
        Self::on_pictures(checkpoint, data, None)
    }

    fn on_pictures(state: Checkpoint<T>, data: Data, loaded: Option<Loaded>) -> Result<Self> {
        let config = &state.training.config;
        if let Some(stage) = &config.freeze_until {
            state.model.freeze_until(stage)?;
        }
        if is_whitening(&state.model) {
            let first = format!("{}.weight", state.model.net.config().first_convolution());
            let states = state.model.net.states();
            states.iter().filter(|(path, _)| *path == first).for_each(|(_, state)| state.set_frozen(true));
        }
        let preprocess = &state.model.preprocess;
        let skipped = data.train.skipped().iter().chain(data.val.skipped()).cloned().collect();
        let seen = config.train_preprocess(preprocess)?;
        let vary = config.augment.transforms(&seen);
        let mut train = Pictures::new(data.train, seen)?.varied(vary)?;
        if let Some(resizing) = config.progressive_resizing {
            let Preprocess { input: ImageShape { height, width, .. }, pixel_mean, .. } = train.preprocess();
            if pixel_mean.is_some() {
                return Err(TrainError::TrainInput);
            }
            let whole = [*height, *width];
            let per_epoch = LoaderConfig::train(config.batch, config.seed).batches(train.len()) as u64;
            let epochs = RunLength::of(config.length, per_epoch).epochs();
            train = train.sized(move |epoch| whole.map(|side| resizing.side(side, epoch, epochs)));
        }
        let val = Pictures::new(data.val, preprocess.clone())?;
        let weights = config.class_weights.of(&class_counts(&**train.dataset())?);
        let objective = CrossEntropy { label_smoothing: config.label_smoothing, weights };
        Ok(Self::going_on(state, train, val, objective)?.telling(loaded, skipped))
    }
}
