//! Networks, by name and by description; what they are trained with; checkpoints, which hold all
//! of it.

use std::{hint::black_box, path::Path};

use residual_model::ModelSpec;
use residual_nn::Module;
use residual_tensor::Generator;
use residual_train::{Checkpoint, Recipe, RunLength, TrainConfig};
use residual_zoo::NetworkConfig;

use crate::{Target, few_times_the_file, pictures::put, say, weights::with_header_length};

/// A run that was interrupted.
pub(crate) const CHECKPOINT: Target = Target {
    name: "checkpoint",
    about: "a checkpoint of training is opened",
    run: |bytes, place| {
        let open = |bytes: &[u8]| {
            let checkpoint = Checkpoint::<f32>::open(put(place, "checkpoint", bytes)).map_err(say)?;
            let training = &checkpoint.training;
            black_box((training.best(), training.position.iterations(), training.config.to_toml()));
            Ok(())
        };
        open(bytes).or_else(|reason| with_header_length(bytes).map_or(Err(reason), |bytes| open(&bytes)))
    },
    seeds: Vec::new,
    fixtures: None,
    most_memory: few_times_the_file,
};

/// `resnet18`.
pub(crate) const MODEL_NAME: Target = Target {
    name: "model-name",
    about: "a network is looked up by name, described, and built if it is small",
    run: |bytes, _| {
        let name = String::from_utf8_lossy(bytes);
        let config = NetworkConfig::named(&name).map_err(say)?;
        assert_eq!(config.name, name);
        look_at(config)
    },
    seeds: || {
        let suffixes = ["resnet34_a", "resnet18_cifar_c", "cifar_resnet21", "残差网络"].map(str::to_owned);
        residual_zoo::names().into_iter().chain(suffixes).map(String::into_bytes).collect()
    },
    fixtures: None,
    most_memory: small_networks,
};

/// A TOML file that describes a network.
pub(crate) const NETWORK: Target = Target {
    name: "network",
    about: "a network's description is read, written again, and built if it is small",
    run: |bytes, place| {
        let path = put(place, "network.toml", bytes);
        let config =
            ModelSpec::open(&path.to_string_lossy()).and_then(|model| model.config()).map_err(say)?;
        look_at(config)
    },
    seeds: || {
        let names = ["cifar_resnet20", "cifar_preresnet164", "resnext50_32x4d", "cifar_wrn16_1"];
        let described = |name| {
            let config = NetworkConfig::named(name).expect("a name of the table");
            toml::to_string(&config).expect("a description").into_bytes()
        };
        names.map(described).to_vec()
    },
    fixtures: None,
    most_memory: small_networks,
};

/// `config.toml`.
pub(crate) const CONFIG: Target = Target {
    name: "config",
    about: "settings of training are read, and written again",
    run: |bytes, _| {
        let text = String::from_utf8_lossy(bytes);
        settings(&TrainConfig::from_toml(&text, "config.toml").map_err(say)?)
    },
    seeds: || Recipe::ALL.iter().map(|&recipe| TrainConfig::of(recipe).to_toml().into_bytes()).collect(),
    fixtures: None,
    most_memory: few_times_the_file,
};

/// `--set KEY=VALUE`.
pub(crate) const ASSIGNMENT: Target = Target {
    name: "assignment",
    about: "a setting of training is changed as by --set",
    run: |bytes, _| settings(&TrainConfig::default().with(&String::from_utf8_lossy(bytes)).map_err(say)?),
    seeds: || {
        let assignments = [
            "optimizer.nesterov=false",
            "model = resnet18",
            "data=faces:70",
            "length={epochs = 2}",
            "schedule.warm_up = { iterations = 5 }",
            "input=[3, 32, 32]",
            "augment.flip=true",
            "seed=18446744073709551615",
            "optimizer.learning_rate=1e-3",
        ];
        assignments.map(|text| text.as_bytes().to_vec()).to_vec()
    },
    fixtures: None,
    most_memory: few_times_the_file,
};

/// Networks of up to some thousand layers, and small ones that are built.
fn small_networks(_: usize) -> u64 {
    64 << 20
}

fn look_at(config: NetworkConfig) -> Result<(), String> {
    black_box((config.layers(), config.features(), config.native_size()));
    let written = toml::to_string(&config).expect("a configuration can be written");
    assert_eq!(NetworkConfig::from_toml(&written).expect("what was written"), config);
    let config = config.classes(3);
    let least = config.least_parameters();
    if least < 100_000 && config.layers() < 64 && config.stem_channels() + config.input_channels < 64 {
        let net = config.build::<f32>(&mut Generator::new(0)).map_err(say)?;
        assert!(net.parameter_count() as u128 >= least);
    }
    Ok(())
}

fn settings(config: &TrainConfig) -> Result<(), String> {
    let again = TrainConfig::from_toml(&config.to_toml(), Path::new("again.toml"));
    assert_eq!(again.as_ref().map_err(say), Ok(config));
    let length = RunLength { per_epoch: 100, iterations: config.length.iterations(100) };
    for iteration in [0, 1, length.iterations / 2, length.iterations] {
        let factor = config.schedule.factor(iteration, &length);
        assert!(factor.is_finite(), "the factor {factor} at iteration {iteration}");
    }
    black_box((config.run_name(), length.epochs()));
    Ok(())
}
