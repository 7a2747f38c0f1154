//! Runs that begin with weights from a file, and keep a part of them.

use std::{collections::BTreeMap, path::Path};

use residual_model::ModelSpec;
use residual_nn::{Module, Role, State};
use residual_tensor::{Generator, Tensor};
use residual_train::{Checkpoint, Data, InitConfig, Outcome, RunFolder, Span, TrainConfig, Trainer};
use residual_weights::Weights;
use residual_zoo::NetworkConfig;

fn model() -> NetworkConfig {
    let mut model = NetworkConfig::named("cifar_resnet8").unwrap().input_channels(1);
    model.name = "tiny".to_owned();
    (model.depths, model.widths) = (vec![1, 1], vec![4, 8]);
    model
}

fn config(init: InitConfig) -> TrainConfig {
    TrainConfig {
        model: ModelSpec::Described(model()),
        data: "faces:train=35,val=35,test=0,seed=0".parse().unwrap(),
        init: Some(init),
        length: Span::Epochs(2.0),
        batch: 7,
        input: Some([12, 12]),
        ..TrainConfig::default()
    }
}

/// Weights of a network for so many channels and classes, none of them as in a new network.
fn pretrained(channels: usize, classes: usize) -> Weights {
    let net = model().input_channels(channels).classes(classes).build::<f32>(&mut Generator::new(8)).unwrap();
    let changed = |state: &State<f32>| match state.role() {
        Role::Counter => state.value().map(|count| count + 5.0),
        Role::Parameter | Role::Buffer => state.value().map(|x| 0.9 * x + 0.125),
    };
    net.states().iter().map(|(path, state)| (path.as_str(), changed(state))).collect()
}

fn write(folder: &Path, weights: &Weights) -> InitConfig {
    let path = folder.join("pretrained.safetensors");
    residual_weights::save(&path, weights).unwrap();
    InitConfig { weights: path.to_str().unwrap().to_owned(), ..InitConfig::default() }
}

fn trainer(config: TrainConfig) -> residual_train::Result<Trainer<f32>> {
    let data = Data::open(&config.data, config.corrupt)?;
    Trainer::new(config, data)
}

/// Every state, in bits.
fn states(trainer: &Trainer<f32>) -> BTreeMap<String, Vec<u32>> {
    let states = trainer.checkpoint().model.net.states().into_iter();
    states
        .map(|(path, state)| (path, state.value().to_vec().into_iter().map(f32::to_bits).collect()))
        .collect()
}

fn bits(weights: &Weights, name: &str) -> Vec<u32> {
    weights.get(name).unwrap().to_float::<f32>().to_vec().into_iter().map(f32::to_bits).collect()
}

#[test]
fn what_is_frozen_is_as_in_the_file_after_any_number_of_steps_also_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let pretrained = pretrained(1, 3);
    let init = InitConfig { replace_head: true, ..write(folder.path(), &pretrained) };
    let config = TrainConfig { freeze_until: Some("layer2".to_owned()), ..config(init) };
    let mut whole = trainer(config.clone()).unwrap();
    assert_eq!(whole.fit(None, &mut (), &false.into()).unwrap(), Outcome::Finished);
    for (path, state) in whole.checkpoint().model.net.states() {
        let frozen = path.starts_with("conv1") || path.starts_with("bn1") || path.starts_with("layer1");
        let now: Vec<u32> = state.value().to_vec().into_iter().map(f32::to_bits).collect();
        assert_eq!(now == bits(&pretrained, &path), frozen, "{path}");
        let has_velocity = whole
            .checkpoint()
            .optimizer
            .tensors()
            .iter()
            .any(|(name, _)| *name == format!("velocity.{path}"));
        assert_eq!(has_velocity, state.role() == Role::Parameter && !frozen, "{path}");
    }

    // The first epoch alone, then the second from its checkpoint: the file is not read again.
    let run = RunFolder::create(folder.path().join("run")).unwrap();
    let schedule = residual_train::Schedule::new(residual_train::Decay::Constant);
    let config = TrainConfig { schedule, ..config };
    let short = TrainConfig { length: Span::Epochs(1.0), ..config.clone() };
    trainer(short).unwrap().fit(Some(&run), &mut (), &false.into()).unwrap();
    let mut whole = trainer(config.clone()).unwrap();
    whole.fit(None, &mut (), &false.into()).unwrap();
    std::fs::remove_file(&config.init.as_ref().unwrap().weights).unwrap();
    let checkpoint = Checkpoint::open(run.last()).unwrap();
    assert_eq!(checkpoint.training.config.freeze_until.as_deref(), Some("layer2"));
    let resumed = TrainConfig { length: config.length, ..checkpoint.training.config.clone() };
    let data = Data::open(&config.data, config.corrupt).unwrap();
    let mut resumed = Trainer::<f32>::resume(resumed, data, checkpoint).unwrap();
    resumed.fit(Some(&run), &mut (), &false.into()).unwrap();
    let (resumed, whole) = (states(&resumed), states(&whole));
    let differing: Vec<_> = whole.keys().filter(|path| resumed[*path] != whole[*path]).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
fn the_configuration_is_kept_in_its_file() {
    let init = InitConfig {
        weights: "a b.pth".to_owned(),
        rename: vec!["linear=fc".parse().unwrap(), "backbone=".parse().unwrap()],
        replace_head: true,
        allow_partial: true,
    };
    let config = TrainConfig { freeze_until: Some("fc".to_owned()), ..config(init) };
    assert_eq!(TrainConfig::from_toml(&config.to_toml(), "config.toml").unwrap(), config);
    let short =
        TrainConfig::from_toml("freeze_until = 'layer2'\n[init]\nweights = 'x.pth'", "c.toml").unwrap();
    assert_eq!(short.init, Some(InitConfig { weights: "x.pth".to_owned(), ..InitConfig::default() }));
    let message = TrainConfig::from_toml("[init]\nweights = 'x'\nrename = ['a']", "c.toml").unwrap_err();
    assert!(message.to_string().contains("c.toml, line 3: `a` is not a rule to rename by"), "{message}");
    assert!(TrainConfig::from_toml("[init]\nweight = 'x'", "c.toml").is_err());
}

#[test]
fn names_of_others_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let renamed = |from: &str, to: &str| -> Weights {
        let pretrained = pretrained(1, 7);
        pretrained.iter().map(|(name, entry)| (name.replace(from, to), entry.clone())).collect()
    };
    let known = write(folder.path(), &renamed("fc.", "linear."));
    let loaded = trainer(config(known)).unwrap();
    assert_eq!(states(&loaded)["fc.bias"], bits(&pretrained(1, 7), "fc.bias"));
    let ruled = write(folder.path(), &renamed("fc.", "top."));
    let refused = trainer(config(ruled.clone())).err().unwrap().to_string();
    assert!(refused.contains("2 missing") && refused.contains("2 unexpected (top"), "{refused}");
    assert!(refused.contains("init.rename"), "{refused}");
    let rename = vec!["top=fc".parse().unwrap()];
    let loaded = trainer(config(InitConfig { rename, ..ruled })).unwrap();
    assert_eq!(states(&loaded)["fc.bias"], bits(&pretrained(1, 7), "fc.bias"));
}

/// What a run that begins with these weights is answered.
fn refusal(weights: &Weights, change: impl FnOnce(&mut TrainConfig)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(write(folder.path(), weights));
    change(&mut config);
    let message = trainer(config).err().expect("a refusal").to_string();
    assert!(!message.contains('\n') && message.contains("pretrained.safetensors"), "{message}");
    message
}

#[test]
fn another_head_or_another_colour_must_be_agreed_to() {
    let head = refusal(&pretrained(1, 3), |_| ());
    assert!(head.contains("fc.weight is [3, 8], not [7, 8]"), "{head}");
    assert!(head.ends_with("but the data has 7: init.replace_head begins with a new one"), "{head}");
    let both = refusal(&pretrained(3, 3), |_| ());
    assert!(
        both.contains("3 channels, but the data's have 1") && both.contains("init.replace_head"),
        "{both}"
    );
    let colour = refusal(&pretrained(3, 3), |config| config.init.as_mut().unwrap().replace_head = true);
    assert!(colour.contains("1 of another shape (conv1.weight is"), "{colour}");
    assert!(!colour.contains("init.replace_head"), "{colour}");

    let mut headless = pretrained(1, 7);
    headless.remove("fc.weight");
    headless.remove("fc.bias");
    let headless = refusal(&headless, |_| ());
    assert!(headless.contains("2 missing") && headless.ends_with("a new classifier"), "{headless}");
    let mut wider = model();
    wider.widths = vec![4, 12];
    let other = refusal(&pretrained(1, 7), |config| config.model = ModelSpec::Described(wider));
    assert!(other.contains("name the network") && !other.contains("init.replace_head"), "{other}");
}

#[test]
fn a_part_is_loaded_only_if_asked_for_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut weights = pretrained(3, 3);
    weights.insert("extra", Tensor::<f32>::zeros([1]));
    weights.remove("layer1.0.bn1.weight");
    let init = InitConfig { allow_partial: true, ..write(folder.path(), &weights) };
    let net = model().classes(7).build::<f32>(&mut Generator::new(0)).unwrap();
    let before = net.states();
    let loaded = init.load(&net).unwrap();
    assert_eq!(loaded.tensors, before.len() - 4);
    assert_eq!(loaded.rest.missing, ["layer1.0.bn1.weight"]);
    assert_eq!(loaded.rest.unexpected, ["extra"]);
    let wrong: Vec<&str> = loaded.rest.wrong_shape.iter().map(|wrong| wrong.name.as_str()).collect();
    assert_eq!(wrong, ["conv1.weight", "fc.weight", "fc.bias"]);

    // Nor does a classifier of no axes fit.
    weights.insert("fc.weight", Tensor::<f32>::zeros([]));
    let scalar = InitConfig { allow_partial: true, ..write(folder.path(), &weights) };
    assert_eq!(scalar.load(&net).unwrap().tensors, before.len() - 4);

    // Nothing at all is no part.
    let nothing: Weights = [("a", Tensor::<f32>::zeros([1]))].into_iter().collect();
    let nothing = refusal(&nothing, |config| config.init.as_mut().unwrap().allow_partial = true);
    assert!(nothing.contains("missing") && nothing.contains("1 unexpected (a)"), "{nothing}");
}

#[test]
fn new_weights_are_not_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let frozen = |init: Option<InitConfig>, stage: &str| {
        let freeze_until = Some(stage.to_owned());
        let config = TrainConfig { init: init.clone(), freeze_until, ..config(init.unwrap_or_default()) };
        trainer(config).err().map(|error| error.to_string())
    };
    let none = frozen(None, "layer1").unwrap();
    assert!(none.contains("freezing until layer1 would keep conv1.weight as it is drawn"), "{none}");
    let mut weights = pretrained(1, 7);
    weights.remove("layer2.0.conv1.weight");
    let partial = InitConfig { allow_partial: true, ..write(folder.path(), &weights) };
    assert_eq!(frozen(Some(partial.clone()), "layer2"), None);
    assert!(frozen(Some(partial.clone()), "fc").unwrap().contains("keep layer2.0.conv1.weight"));
    assert!(frozen(Some(partial), "layer3").unwrap().contains("did you mean"));
}
