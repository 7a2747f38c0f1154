//! A run as data: everything that decides about its result, in a TOML file. Nothing here opens a
//! data set or builds a network.

use std::{fs, path::Path};

use residual_data::{Augment, Corrupt, DataSpec, Dataset, ImageShape, Preprocess, Standardise};
use residual_model::{ModelSpec, TomlError};
use residual_zoo::NetworkConfig;
use serde::{Deserialize, Serialize};

use crate::{
    Averaging, ClassWeights, Decay, FitConfig, InitConfig, Mix, OptimizerConfig, ProgressiveResizing, Recipe,
    Result, RunConfig, Schedule, Span, TrainError,
};

/// Everything that a run follows from: with the same configuration, data, program and instruction set, every run
/// gives the same bits, on any number of threads.
///
/// ```
/// use residual_train::{Recipe, TrainConfig};
///
/// let mut config = TrainConfig::of(Recipe::CifarPaper);
/// config.data = "cifar10:data".parse()?;
/// let text = config.to_toml();
/// assert!(text.contains("learning_rate = 0.1"));
/// assert_eq!(TrainConfig::from_toml(&text, "config.toml")?, config);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The network. Its classes and input channels follow from the data.
    pub model: ModelSpec,
    /// The data set.
    pub data: DataSpec,
    /// The weights to begin with; new ones if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<InitConfig>,
    /// The first stage that is trained, such as `layer3`, or `fc` for the classifier alone: what
    /// comes before it stays as it is, with the running statistics of its normalizations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze_until: Option<String>,
    /// How long to train.
    pub length: Span,
    /// Images in a batch.
    pub batch: usize,
    /// Images that go through the network at once, if not the whole batch: it is divided into parts of so
    /// many, whose gradients are added up. Less memory, which caches hold more of; normalization takes its
    /// statistics from a part ("ghost batch norm", Hoffer et al. 2017).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// The random seed: initial weights, order and augmentation of the pictures follow from it.
    pub seed: u64,
    /// Height and width that pictures are brought to. If absent, pictures of one size up to 96
    /// pixels are taken as they are, others are brought to the size that the network is made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<[usize; 2]>,
    /// What the shorter side of pictures is brought to before their middle is cropped to the input; if absent,
    /// they are made just large enough to cover it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<usize>,
    /// Height and width of training pictures, if not those of the input: smaller ones are learned from faster,
    /// and parts of pictures that are cropped at random look larger than what is validated (Touvron et al. 2019).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_input: Option<[usize; 2]>,
    /// How training pictures grow to this size over the epochs, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progressive_resizing: Option<ProgressiveResizing>,
    /// How pictures are normalized: by the mean and the deviation of the training pictures, unless the weights in
    /// `init` come with their own.
    pub standardise: Standardise,
    /// What to do with pictures that cannot be decoded.
    pub corrupt: Corrupt,
    /// How much of the target is spread over all classes (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// How much each class counts.
    pub class_weights: ClassWeights,
    /// Whether blocks keep their input only and run again in the backward pass: very deep networks
    /// fit the memory then, for about a third more time. Does not change the result.
    pub checkpoint_gradients: bool,
    /// Whether blocks start as their shortcut: the last γ of each at 0 (Goyal et al. 2017).
    pub zero_init: bool,
    /// On how many training pictures the statistics of normalizations are measured again when the run ends,
    /// with the weights that it ends with; 0 to keep those that were collected on the way, as where `patience`
    /// ends a run.
    pub exact_statistics: usize,
    /// Epochs without a better one after which a run ends, if it is to end early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// How often the last block's branch is left out for a sample, earlier ones less (stochastic depth, Huang
    /// et al. 2016); what the network's description says if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path_rate: Option<f64>,
    /// How training pictures are augmented.
    pub augment: Augment,
    /// How pictures are mixed with others of their batch.
    pub mix: Mix,
    /// How weights are averaged over the steps, if they are: the average is what is validated and saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<Averaging>,
    /// How a step is made.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    pub schedule: Schedule,
}

impl Default for TrainConfig {
    /// The [quick](Recipe::Quick) recipe.
    fn default() -> Self {
        Self::base()
    }
}

/// Pictures of one size are taken as they are up to this height and width.
const LARGEST_OWN_SIDE: usize = 96;

impl TrainConfig {
    /// The configuration of a recipe.
    ///
    /// # Panics
    /// Never: the recipes are valid files.
    pub fn of(recipe: Recipe) -> Self {
        Self::base().merged(recipe.toml(), Path::new(recipe.name())).expect("a valid recipe")
    }

    /// What recipes begin with: the quick one.
    fn base() -> Self {
        Self {
            model: ModelSpec::Named("cifar_resnet8".to_owned()),
            data: DataSpec::default(),
            init: None,
            freeze_until: None,
            length: Span::Epochs(8.0),
            batch: 64,
            micro_batch: None,
            seed: 0,
            input: None,
            resize: None,
            train_input: None,
            progressive_resizing: None,
            standardise: Standardise::Channel,
            corrupt: Corrupt::Refuse,
            label_smoothing: 0.0,
            class_weights: ClassWeights::Equal,
            checkpoint_gradients: false,
            zero_init: false,
            exact_statistics: 0,
            patience: None,
            drop_path_rate: None,
            augment: Augment::CIFAR,
            mix: Mix::default(),
            average: None,
            optimizer: OptimizerConfig { nesterov: true, weight_decay: 5e-4, ..OptimizerConfig::default() },
            schedule: Schedule::new(Decay::Cosine { floor: 0.0 }).warm_up(Span::Epochs(1.0)),
        }
    }

    /// Reads a configuration from a file. What it does not mention, also within a table, is as in the
    /// quick recipe.
    ///
    /// # Errors
    /// [`TrainError::Io`], [`TrainError::Toml`] with the line, [`TrainError::Setting`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::default().overridden_by(path)
    }

    /// This configuration with what a file says in its place.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn overridden_by(&self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        self.merged(&fs::read_to_string(path).map_err(TrainError::io(path))?, path)
    }

    /// Reads a configuration that was found at `path`.
    ///
    /// # Errors
    /// [`TrainError::Toml`] with the line, [`TrainError::Setting`].
    pub fn from_toml(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        Self::default().merged(text, path.as_ref())
    }

    fn merged(&self, text: &str, path: &Path) -> Result<Self> {
        let refuse = |error: toml::de::Error| TrainError::from(TomlError::new(path, text, &error));
        // Alone first, because only then an error knows its line.
        toml::from_str::<Self>(text).map_err(refuse)?;
        let mut settings =
            toml::Table::try_from(self).expect("a configuration of strings, numbers and tables");
        merge(&mut settings, toml::from_str(text).map_err(refuse)?);
        let config: Self = settings.try_into().map_err(refuse)?;
        config.check()?;
        Ok(config)
    }

    /// The configuration with one setting changed, written `optimizer.momentum=0.8`: a path of
    /// keys as in the file, and a value. Text needs no quotes.
    ///
    /// # Errors
    /// [`TrainError::Assignment`] if there is no such setting or the value is not one of its kind.
    pub fn with(&self, assignment: &str) -> Result<Self> {
        let refuse = |reason: String| TrainError::Assignment { text: assignment.to_owned(), reason };
        let (path, value) = assignment.split_once('=').ok_or_else(|| refuse("write KEY=VALUE".into()))?;
        let value = value.trim();
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
        let value = match parsed.ok().and_then(|mut table| table.remove("value")) {
            Some(value) => value,
            None => toml::Value::String(value.to_owned()),
        };
        let mut settings = toml::Table::try_from(self).map_err(|error| refuse(error.to_string()))?;
        let (parents, key) = path.trim().rsplit_once('.').unwrap_or(("", path.trim()));
        let mut table = &mut settings;
        for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
            let inner = table.get_mut(parent).and_then(toml::Value::as_table_mut);
            table = inner.ok_or_else(|| refuse(format!("there is no table '{parent}'")))?;
        }
        if key == "kind" && table.get(key) != Some(&value) {
            // As in a file: another kind brings its own settings, and inherits none.
            table.clear();
        }
        table.insert(key.to_owned(), value);
        let config: Self =
            settings.try_into().map_err(|error: toml::de::Error| refuse(error.message().into()))?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as a file.
    ///
    /// # Panics
    /// Never: every configuration can be written as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration of strings, numbers and tables")
    }

    /// What a folder of such runs may be called: data and network, as in `faces-resnet18`.
    pub fn run_name(&self) -> String {
        let data = self.data.to_string();
        let data = match data.split_once(':') {
            Some(("folder", path)) => {
                Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or("folder")
            }
            Some((kind, _)) => kind,
            None => &data,
        };
        format!("{data}-{}", self.model).replace(['/', '\\'], "-")
    }

    /// # Errors
    /// [`TrainError::Setting`] naming a number that makes no sense.
    pub fn check(&self) -> Result<()> {
        self.fit().check()?;
        TrainError::unless_within("label_smoothing", self.label_smoothing, 0.0..=1.0, "between 0 and 1")?;
        self.progressive_resizing.map_or(Ok(()), |resizing| resizing.check())?;
        Ok(self.augment.check()?)
    }

    /// Whether a run that has begun like this can go on like that. The network is compared with the
    /// checkpoint's elsewhere.
    pub(crate) fn check_fixed(&self, wanted: &Self) -> Result<()> {
        fn shown(value: &impl Serialize) -> String {
            // TOML has no way to write nothing.
            toml::Value::try_from(value).map_or_else(|_| "unset".to_owned(), |value| value.to_string())
        }
        let pairs = [
            ("seed", shown(&self.seed), shown(&wanted.seed)),
            ("input", shown(&self.input), shown(&wanted.input)),
            ("resize", shown(&self.resize), shown(&wanted.resize)),
            ("standardise", shown(&self.standardise), shown(&wanted.standardise)),
            ("init", shown(&self.init), shown(&wanted.init)),
            ("zero_init", shown(&self.zero_init), shown(&wanted.zero_init)),
            ("batch", shown(&self.batch), shown(&wanted.batch)),
            ("optimizer.kind", shown(&self.optimizer.kind), shown(&wanted.optimizer.kind)),
            ("average", shown(&self.average), shown(&wanted.average)),
            ("drop_path_rate", shown(&self.drop_path_rate), shown(&wanted.drop_path_rate)),
        ];
        match pairs.into_iter().find(|(_, from, to)| from != to) {
            Some((key, from, to)) => Err(TrainError::Fixed { key, from, to }),
            None => Ok(()),
        }
    }

    /// What pictures of this data set are brought to for the network.
    pub fn input_shape(&self, model: &NetworkConfig, data: &dyn Dataset) -> ImageShape {
        let own = data.shape();
        let channels = own.map_or(3, |shape| shape.channels);
        let small = own.filter(|shape| shape.height.max(shape.width) <= LARGEST_OWN_SIDE);
        let [height, width] = match (self.input, small) {
            (Some(size), _) => size,
            (None, Some(shape)) => [shape.height, shape.width],
            (None, None) => model.native_size(),
        };
        ImageShape::new(channels, height, width)
    }

    /// What is done to training pictures, where that is not what is done to others.
    ///
    /// # Errors
    /// [`TrainError::TrainInput`] if every pixel has a mean of its own.
    pub(crate) fn train_preprocess(&self, preprocess: &Preprocess) -> Result<Preprocess> {
        let Some([height, width]) = self.train_input else { return Ok(preprocess.clone()) };
        let input = ImageShape { height, width, ..preprocess.input };
        if input == preprocess.input {
            return Ok(preprocess.clone());
        }
        if preprocess.pixel_mean.is_some() {
            return Err(TrainError::TrainInput);
        }
        let longer = |shape: ImageShape| shape.height.max(shape.width);
        let scaled = |side: usize| (side * longer(input)).div_ceil(longer(preprocess.input).max(1));
        let shorter_side = preprocess.shorter_side.map(|side| scaled(side).max(longer(input)));
        Ok(Preprocess { input, shorter_side, ..preprocess.clone() })
    }

    /// The network for this many classes and channels.
    pub(crate) fn network(&self, classes: usize, channels: usize) -> Result<NetworkConfig> {
        let mut network = self.model.config()?.classes(classes).input_channels(channels);
        network.zero_init_residual |= self.zero_init;
        network.drop_path_rate = self.drop_path_rate.unwrap_or(network.drop_path_rate);
        Ok(network)
    }
}

impl RunConfig for TrainConfig {
    fn fit(&self) -> FitConfig {
        FitConfig {
            length: self.length,
            batch: self.batch,
            micro_batch: self.micro_batch,
            seed: self.seed,
            checkpoint_gradients: self.checkpoint_gradients,
            exact_statistics: self.exact_statistics,
            patience: self.patience,
            mix: self.mix,
            average: self.average,
            optimizer: self.optimizer,
            schedule: self.schedule.clone(),
        }
    }

    fn to_toml(&self) -> String {
        self.to_toml()
    }
}

/// Puts settings into the place of others. A table changes what it mentions, unless it says of what
/// kind it is (`kind`, or a network's `name`): then it stands for itself.
fn merge(settings: &mut toml::Table, changes: toml::Table) {
    for (key, change) in changes {
        match (settings.get_mut(&key), change) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(change))
                if !(change.contains_key("kind") || change.contains_key("name")) =>
            {
                merge(inner, change);
            }
            (_, change) => drop(settings.insert(key, change)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_survives_its_file() {
        for &recipe in Recipe::ALL {
            let config = TrainConfig::of(recipe);
            let text = config.to_toml();
            assert_eq!(TrainConfig::from_toml(&text, "config.toml").unwrap(), config, "{text}");
            assert_eq!(recipe.name().parse::<Recipe>().unwrap(), recipe);
        }
    }

    #[test]
    fn an_optimizer_brings_its_usual_settings() {
        let config =
            TrainConfig::from_toml("[optimizer]\nkind = 'adamw'\nweight_decay = 0.05", "c.toml").unwrap();
        let expected =
            OptimizerConfig { weight_decay: 0.05, ..OptimizerConfig::of(crate::OptimizerKind::Adamw) };
        assert_eq!(config.optimizer, expected);
        assert_eq!(TrainConfig::of(Recipe::Quick), TrainConfig::default());
    }

    #[test]
    fn a_described_network_survives_too() {
        let described = NetworkConfig::named("cifar_resnet8").unwrap();
        let config = TrainConfig { model: ModelSpec::Described(described), ..TrainConfig::default() };
        assert_eq!(TrainConfig::from_toml(&config.to_toml(), "config.toml").unwrap(), config);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            ("batch = 64\nsead = 3", "c.toml, line 2: unknown field `sead`"),
            ("batch = 'many'", "line 1: invalid type: string \"many\""),
            ("length = '3 weeks'", "'3 weeks' is no length of training"),
            ("[model]\nname = 'x'\nstem = 'cifar'\nblok = 1", "line 4: unknown field `blok`"),
            ("model = 7", "a model's name or a table"),
            ("batch = 0", "batch must be between 1 and 1000000, but is 0"),
            ("[optimizer]\nmomentum = 1.5", "optimizer.momentum must be between 0 and 1, but is 1.5"),
            ("[average]\nkind = 'ema'\ndecay = 1.5", "average.decay must be between 0 and 1, but is 1.5"),
            ("[mix]\nmixup = -1.0", "mix.mixup must be between 0 (none) and 100"),
            ("[optimizer]\nkind = 'adam'", "unknown variant `adam`"),
            ("[optimizer]\nnestrov = true", "unknown field `nestrov`"),
            ("[schedule.decay]\nkind = 'cosinus'", "unknown variant `cosinus`"),
            ("length = '0 epochs'", "length must be more than nothing"),
            ("[augment]\nerasing = 2.0", "augment.erasing must be a probability of 0 to 1, but is 2"),
        ] {
            let message = TrainConfig::from_toml(text, "c.toml").unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn a_table_with_one_key_keeps_the_others() {
        let text =
            "[optimizer]\nlearning_rate = 0.05\n[augment]\nflip = false\n[schedule]\nwarm_up = '2 epochs'";
        for &recipe in Recipe::ALL {
            let base = TrainConfig::of(recipe);
            let mut expected = base.clone();
            expected.optimizer.learning_rate = 0.05;
            expected.augment.flip = false;
            expected.schedule.warm_up = Span::Epochs(2.0);
            assert_eq!(base.merged(text, Path::new("c.toml")).unwrap(), expected);
        }
        // What says of what kind it is does not inherit from what is of another kind.
        let text = "[schedule.decay]\nkind = 'step'\nevery = '2 epochs'\nfactor = 0.5";
        let stepped = TrainConfig::from_toml(text, "c.toml").unwrap();
        assert_eq!(stepped.schedule.decay, Decay::Step { every: Span::Epochs(2.0), factor: 0.5 });
        assert_eq!(stepped.schedule.warm_up, TrainConfig::default().schedule.warm_up);
    }

    #[test]
    fn smaller_training_pictures_show_as_much() {
        let wide = Preprocess { shorter_side: Some(256), ..Preprocess::new(ImageShape::new(3, 112, 224)) };
        let config = TrainConfig { train_input: Some([56, 112]), ..TrainConfig::default() };
        assert_eq!(config.train_preprocess(&wide).unwrap().shorter_side, Some(128));
    }

    #[test]
    fn what_a_run_cannot_change_is_told_as_it_is_written() {
        let base = TrainConfig::default();
        let refusal = |changed| base.check_fixed(&changed).unwrap_err().to_string();
        let average = Some(Averaging::Ema { decay: 0.5, every: 1, warm_up: false });
        let told = refusal(TrainConfig { average, ..base.clone() });
        assert!(told.contains("unset") && told.contains("kind = \"ema\""), "{told}");
        let told = refusal(TrainConfig { drop_path_rate: Some(0.1), ..base.clone() });
        assert!(told.contains("drop_path_rate") && told.contains("0.1"), "{told}");
    }

    #[test]
    fn single_settings_can_be_changed() {
        let config = TrainConfig::default();
        let changed = config.with("optimizer.momentum=0.8").unwrap().with("data = cifar10:some dir").unwrap();
        assert_eq!(changed.optimizer.momentum, 0.8);
        assert_eq!(changed.data.to_string(), "cifar10:some dir");
        // Another kind brings its usual settings, as in a file.
        let adamw = config.with("optimizer.kind=adamw").unwrap().optimizer;
        assert_eq!(adamw, OptimizerConfig::of(crate::OptimizerKind::Adamw));
        assert_eq!(config.with("optimizer.kind=sgd").unwrap(), config);
        let stepped =
            config.with("schedule.decay={ kind = 'step', every = '2 epochs', factor = 0.5 }").unwrap();
        assert_eq!(stepped.schedule.decay, Decay::Step { every: Span::Epochs(2.0), factor: 0.5 });
        for (text, expected) in [
            ("batch", "write KEY=VALUE"),
            ("bach=3", "unknown field `bach`"),
            ("optimiser.momentum=1", "there is no table 'optimiser'"),
            ("batch=many", "invalid type"),
        ] {
            let message = config.with(text).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(text), "{message}");
        }
    }
}
