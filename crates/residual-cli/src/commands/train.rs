//! `residual train`.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use owo_colors::OwoColorize;
use residual_data::{Corrupt, DataSpec};
use residual_model::ModelSpec;
use residual_train::{
    Averaging, Checkpoint, Data, InitConfig, Observer, OptimizerConfig, OptimizerKind, Outcome, Recipe,
    RunFolder, Span, TensorBoard, TrainConfig, Trainer,
};
use residual_weights::Rename;
use serde_json::json;

use super::trial;
use crate::{
    Context,
    dashboard::{self, Dashboard},
    error::{Error, Result},
    output::{self, duration, line, note, percent},
    progress::TrainingProgress,
};

const FINE_TUNING: &str = "Fine-tuning";
const TRYING: &str = "Before a run";

/// Train a network. Without options: the built-in faces, in a minute or two on two cores.
#[derive(clap::Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  residual train
  residual train --data folder:pets --model resnet18 --epochs 30
  residual train --recipe cifar-paper --data cifar10:DIR
  residual train --data folder:pets --recipe fine-tune --init resnet18.pth --replace-head \\
      --freeze-until layer4
  residual train --resume runs/faces-cifar_resnet8-1 --epochs 20
  residual train --data folder:pets --lr-find
  residual train --data folder:pets --dry-run
  residual train --print-config > config.toml

A folder of pictures has a folder per class in each of train, val (and test): pets/train/cat/1.png.
Without val, the test pictures validate. Without val and test, or without all three (pets/cat/1.png),
a fifth of each class is held out for validation, always the same pictures. CIFAR and IDX have no
validation part: their test pictures validate, so report the last epoch, not the best.

Later settings win: recipe, --config, options, --set. With --resume, the run's config.toml takes the
place of recipe and --config."
)]
pub(crate) struct Args {
    /// The network: a name (`residual summary --list`) or a TOML file that describes one [default: that of
    /// --config; else that of --init, if the file shows it; else the recipe's].
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The pictures: faces, cifar10:DIR, cifar100:DIR, fer2013:PATH, folder:DIR or idx:DIR.
    #[arg(long, value_name = "SPEC")]
    data: Option<DataSpec>,
    /// The settings to begin from: a name (`residual recipes` lists all) [default: quick].
    #[arg(long, value_name = "NAME")]
    recipe: Option<Recipe>,
    /// Number of epochs.
    #[arg(long, value_name = "N", conflicts_with = "iterations")]
    epochs: Option<f64>,
    /// Number of training steps.
    #[arg(long, value_name = "N")]
    iterations: Option<u64>,
    /// Batch size.
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Split each batch into parts of so many pictures and add up their gradients; batch norm uses each part's
    /// statistics.
    #[arg(long, value_name = "N")]
    micro_batch: Option<usize>,
    /// Optimizer: sgd, adamw or muon, with its usual settings.
    #[arg(long, value_name = "NAME")]
    optimizer: Option<OptimizerKind>,
    /// Peak learning rate.
    #[arg(long, visible_alias = "lr", value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Momentum (SGD, Muon).
    #[arg(long, value_name = "0..1")]
    momentum: Option<f64>,
    /// Weight decay (SGD: added to the gradient; AdamW: decoupled).
    #[arg(long, value_name = "FACTOR")]
    weight_decay: Option<f64>,
    /// Length of the learning rate's warm-up, such as '1 epoch' or '500 iterations'.
    #[arg(long, value_name = "SPAN")]
    warm_up: Option<Span>,
    /// Clip the norm of all gradients together to this.
    #[arg(long, value_name = "LENGTH")]
    clip_norm: Option<f64>,
    /// Keep an exponential moving average of the weights with this decay, such as 0.999: it is what is validated
    /// and saved.
    #[arg(long, value_name = "0..1")]
    ema: Option<f64>,
    /// Mixup: the α of Beta(α, α), such as 0.2.
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f64>,
    /// Cutmix: the α of Beta(α, α), such as 1.0.
    #[arg(long, value_name = "ALPHA")]
    cutmix: Option<f64>,
    /// Label smoothing: the part of the target that is spread over all classes.
    #[arg(long, value_name = "0..1")]
    label_smoothing: Option<f64>,
    /// Height and width that pictures are brought to [default: their own up to 96 pixels, or the
    /// network's].
    #[arg(long, value_name = "HxW", value_parser = super::size)]
    input: Option<[usize; 2]>,
    /// Random seed: initial weights, order and augmentation of the pictures.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Keep the input of each block only and run it again in the backward pass: less memory for a
    /// third more time.
    #[arg(long)]
    checkpoint_gradients: bool,
    /// Leave out pictures that cannot be read, instead of refusing to start.
    #[arg(long)]
    skip_corrupt: bool,
    /// Begin with the weights of this file: a checkpoint, .safetensors or .pth.
    #[arg(long, value_name = "WEIGHTS", conflicts_with = "resume", help_heading = FINE_TUNING)]
    init: Option<String>,
    /// Begin with a new classifier, for the classes of the data.
    #[arg(long, requires = "init", help_heading = FINE_TUNING)]
    replace_head: bool,
    /// Take what fits of the weights, and say what does not.
    #[arg(long, requires = "init", help_heading = FINE_TUNING)]
    allow_partial: bool,
    /// Rename tensors of the weights, such as linear=fc.
    #[arg(long, value_name = "A=B", requires = "init", help_heading = FINE_TUNING)]
    rename: Vec<Rename>,
    /// Keep everything before this stage as it is (also the statistics of its normalizations):
    /// layer1, layer2, …, or fc to train the classifier alone.
    #[arg(long, value_name = "STAGE", help_heading = FINE_TUNING)]
    freeze_until: Option<String>,
    /// Change any setting of config.toml, such as optimizer.nesterov=false.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A config.toml to begin from, such as that of an earlier run. What it does not mention is as in the
    /// recipe.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The run's folder [default: the next free runs/DATA-MODEL-NUMBER].
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder, as its config.toml says.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "recipe"])]
    resume: Option<PathBuf>,
    /// Write a checkpoint at the end of each epoch, and whenever the last one is older than so many minutes.
    #[arg(long, value_name = "MINUTES", default_value = "10", value_parser = minutes)]
    checkpoint_every: Duration,
    /// Stop early after so many epochs without a better validation accuracy (or an equal one with a smaller loss).
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<u64>,
    /// Show the run on the whole terminal, with curves that grow.
    #[arg(long, conflicts_with_all = ["json", "progress", "quiet"])]
    tui: bool,
    /// Write an event file for TensorBoard into the run's folder, too.
    #[arg(long)]
    tensorboard: bool,
    /// Print the settings as a config.toml, and do nothing.
    #[arg(long, help_heading = TRYING)]
    print_config: bool,
    /// Open the data, make a few steps, tell how long the run would take, and write nothing.
    #[arg(long, help_heading = TRYING, conflicts_with_all = ["overfit_batch", "lr_find"])]
    dry_run: bool,
    /// Train on one batch for so many steps (200 if no number is given), to see whether the network can fit it, and
    /// write nothing.
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "200",
        help_heading = TRYING, conflicts_with = "lr_find")]
    overfit_batch: Option<u64>,
    /// Try learning rates from 1e-7 to 10, suggest one, draw their losses into a file (lr-find.svg unless another is
    /// named), and write nothing else.
    #[arg(long, value_name = "SVG", num_args = 0..=1, require_equals = true, default_missing_value = "lr-find.svg",
        help_heading = TRYING)]
    lr_find: Option<PathBuf>,
}

pub(crate) fn run(mut args: Args, context: &Context) -> Result<()> {
    if let Some(file) = args.resume.as_mut().filter(|path| path.is_file()) {
        // The checkpoint itself was named.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let last = RunFolder::open(folder).last();
        if file.file_name() != last.file_name() {
            let [file, last] = [file.display(), last.display()];
            return Err(Error::Usage(format!("a run goes on from {last}, not from {file}; name the folder")));
        }
        *file = folder.to_owned();
    }
    let checkpoint = match &args.resume {
        Some(folder) => Some(Checkpoint::<f32>::open(RunFolder::open(folder).last())?),
        None => None,
    };
    let config = args.config(checkpoint.as_ref(), context)?;
    if args.print_config {
        line(config.to_toml().trim_end());
        return Ok(());
    }
    let data = Data::open(&config.data, config.corrupt)?;
    let name = config.run_name();
    let mut trainer = match checkpoint {
        Some(checkpoint) => Trainer::resume(config, data, checkpoint)?,
        None => Trainer::new(config, data)?,
    };
    if args.dry_run {
        return trial::dry_run(&mut trainer, context);
    }
    if let Some(steps) = args.overfit_batch {
        return trial::overfit_batch(&mut trainer, steps, context);
    }
    if let Some(svg) = &args.lr_find {
        return trial::lr_find(&mut trainer, svg, context);
    }
    if args.tui {
        dashboard::needs_terminal()?;
    }
    let folder = match (&args.resume, &args.out) {
        (Some(folder), _) => RunFolder::open(folder),
        (None, Some(folder)) => RunFolder::create(folder)?,
        (None, None) => {
            let runs = context.settings.runs.as_deref().unwrap_or(Path::new("runs"));
            RunFolder::numbered(runs, &name)?
        }
    };

    trainer = trainer.checkpoint_every(args.checkpoint_every);
    let stop = stop_on_interrupt();
    let mut events = args.tensorboard.then(|| TensorBoard::create(folder.path())).transpose()?;
    let mut shown: Box<dyn Observer> = match args.tui {
        true => Box::new(Dashboard::new(folder.path(), stop.clone())),
        false => Box::new(TrainingProgress::default()),
    };
    let outcome = match &mut events {
        Some(events) => trainer.fit(Some(&folder), &mut (&mut *shown, &mut *events), &stop)?,
        None => trainer.fit(Some(&folder), &mut *shown, &stop)?,
    };
    drop(shown);
    if let Some(Err(error)) = events.as_mut().map(TensorBoard::finish) {
        output::warning(format_args!("the event file is not complete: {error}"));
    }
    let training = &trainer.checkpoint().training;
    if outcome == Outcome::Stopped {
        return Err(Error::Stopped { epoch: training.position.epoch + 1, folder: folder.path().into() });
    }
    let report = residual_report::write(&folder, &trainer).map_err(Box::new)?;

    let (Some(best), Some(last)) = (training.best(), training.history.last()) else {
        unreachable!("a finished run has an epoch at least");
    };
    let seconds: f64 = training.history.iter().map(|record| record.seconds).sum();
    let images_per_second = training.history.iter().map(|record| record.images_per_second).sum::<f64>()
        / training.history.len() as f64;
    let data_wait =
        training.history.iter().map(|record| record.data_wait).sum::<f64>() / training.history.len() as f64;
    if context.json {
        output::json(&json!({
            "model": trainer.checkpoint().model.net.config().name,
            "data": training.config.data,
            "epochs": training.history.len(),
            "best_accuracy": best.val_accuracy,
            "final_accuracy": last.val_accuracy,
            "seconds": seconds,
            "images_per_second": images_per_second,
            "data_wait": data_wait,
            "run_dir": folder.path().to_string_lossy(),
        }));
        return Ok(());
    }
    line(format_args!(
        "\n{} of the validation pictures right after epoch {}, trained in {}",
        percent(best.val_accuracy).bold(),
        best.epoch,
        duration(seconds),
    ));
    line(format_args!("{}\n", folder.path().display()));
    line("Next:".bold());
    line(format_args!("  see the report        {}", folder.report().display()));
    if let Some(class) = &report.sample_class {
        let [best, sample] = [folder.best(), folder.sample()];
        line(format_args!(
            "  try a picture         residual predict {} {}   (it shows: {class})",
            best.display(),
            sample.display()
        ));
    }
    line("  use your own pictures residual train --data folder:DIR   (DIR/CLASS/*.png)");
    Ok(())
}

impl Args {
    /// Whether the file of `--config` has this key.
    fn config_names(&self, key: &str) -> Result<bool> {
        let Some(path) = &self.config else { return Ok(false) };
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.clone(), source })?;
        Ok(toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.contains_key(key)))
    }

    /// The configuration to begin from, with what the command line changes.
    fn config(&self, checkpoint: Option<&Checkpoint<f32>>, context: &Context) -> Result<TrainConfig> {
        let recipe = || TrainConfig::of(self.recipe.unwrap_or_default());
        let mut config = match (&self.resume, checkpoint, &self.config) {
            // The run's own config.toml, which may have been edited since.
            (Some(folder), Some(checkpoint), _) => {
                let edited = RunFolder::open(folder).config();
                // It was written whole: what is no longer in it is not to be.
                if edited.exists() { TrainConfig::open(edited)? } else { checkpoint.training.config.clone() }
            }
            (_, _, Some(path)) => recipe().overridden_by(path)?,
            (_, _, None) => recipe(),
        };
        if let Some(model) = &self.model {
            config.model = ModelSpec::open(model)?;
        }
        if let Some(data) = &self.data {
            config.data = context.settings.locate(data.clone());
        }
        if let Some(weights) = &self.init {
            let init = InitConfig {
                weights: weights.clone(),
                rename: self.rename.clone(),
                replace_head: self.replace_head,
                allow_partial: self.allow_partial,
            };
            config.init = Some(init);
        }
        // A file that names no network leaves the recipe's, which is not what the weights are for.
        let named = self.model.is_some() || self.resume.is_some() || self.config_names("model")?;
        if let Some(init) = config.init.as_ref().filter(|_| !named) {
            config.model = init.network()?.map_or(config.model, ModelSpec::from);
        }
        config.freeze_until = self.freeze_until.clone().or(config.freeze_until);
        if let Some(epochs) = self.epochs {
            config.length = Span::Epochs(epochs);
        }
        if let Some(iterations) = self.iterations {
            config.length = Span::Iterations(iterations);
        }
        if self.skip_corrupt {
            config.corrupt = Corrupt::Skip;
        }
        config.patience = self.patience.or(config.patience);
        config.checkpoint_gradients |= self.checkpoint_gradients;
        config.batch = self.batch.unwrap_or(config.batch);
        config.micro_batch = self.micro_batch.or(config.micro_batch);
        if let Some(kind) = self.optimizer.filter(|&kind| kind != config.optimizer.kind) {
            config.optimizer = OptimizerConfig::of(kind);
        }
        if let Some(decay) = self.ema {
            config.average = Some(Averaging::Ema { decay, every: 1, warm_up: true });
        }
        config.mix.mixup = self.mixup.unwrap_or(config.mix.mixup);
        config.mix.cutmix = self.cutmix.unwrap_or(config.mix.cutmix);
        let optimizer = &mut config.optimizer;
        optimizer.learning_rate = self.learning_rate.unwrap_or(optimizer.learning_rate);
        optimizer.momentum = self.momentum.unwrap_or(optimizer.momentum);
        optimizer.weight_decay = self.weight_decay.unwrap_or(optimizer.weight_decay);
        optimizer.clip_norm = self.clip_norm.or(optimizer.clip_norm);
        config.schedule.warm_up = self.warm_up.unwrap_or(config.schedule.warm_up);
        config.label_smoothing = self.label_smoothing.unwrap_or(config.label_smoothing);
        config.input = self.input.or(config.input);
        config.seed = self.seed.unwrap_or(config.seed);
        for assignment in &self.set {
            config = config.with(assignment)?;
        }
        config.check()?;
        Ok(config)
    }
}

/// A time in minutes, such as 0.5.
fn minutes(text: &str) -> std::result::Result<Duration, String> {
    let minutes: Option<f64> = text.parse().ok();
    let time = minutes.and_then(|minutes| Duration::try_from_secs_f64(60.0 * minutes).ok());
    time.ok_or_else(|| "not a number of minutes, such as 10 or 0.5".to_owned())
}

/// A flag that Ctrl-C raises. The second time, the program ends at once.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    // Without a handler, Ctrl-C still ends the program; only the checkpoint is older then.
    let _ = ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            process::exit(130);
        }
        note("\nstopping after this step; the run can be resumed (Ctrl-C again: stop at once)");
    });
    stop
}
