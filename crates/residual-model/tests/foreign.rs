//! Weights of other authors find their networks: the names of whole files, in each author's manner,
//! and what is said when they do not fit.

use residual_model::{ModelError, OpenOptions};
use residual_nn::{Module, Role, State};
use residual_tensor::{Generator, Tensor};
use residual_weights::{Entry, Weights};
use residual_zoo::NetworkConfig;

fn states(model: &str) -> Vec<(String, State<f32>)> {
    NetworkConfig::named(model).unwrap().build(&mut Generator::new(3)).unwrap().states()
}

/// What an author calls a tensor, if the author's files have it.
type Names = fn(&str) -> Option<String>;

/// A file with the weights of `model` under the names that an author gives them.
fn written(model: &str, theirs: Names) -> (tempfile::TempDir, std::path::PathBuf) {
    let named = |(path, state): (String, State<f32>)| {
        let entry = match state.role() {
            Role::Counter => Tensor::<i64>::scalar(3).into(),
            _ => Entry::from_float(&state.value()),
        };
        Some((theirs(&path)?, entry))
    };
    let weights: Weights = states(model).into_iter().filter_map(named).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    residual_weights::save(&path, &weights).unwrap();
    (folder, path)
}

/// akamaster/pytorch_resnet_cifar10: wrapped, the classifier called linear, from before PyTorch had
/// counters.
fn akamaster(name: &str) -> Option<String> {
    let name = name.replace("fc.", "linear.");
    (!name.ends_with("num_batches_tracked")).then(|| format!("module.{name}"))
}

/// kuangliu/pytorch-cifar.
fn kuangliu(name: &str) -> Option<String> {
    Some(format!("module.{}", name.replace("fc.", "linear.").replace("downsample", "shortcut")))
}

/// torchvision, timm's resnet18 and its like, chenyaofo/pytorch-cifar-models.
fn torchvision(name: &str) -> Option<String> {
    Some(name.to_owned())
}

/// weiaicunzai/pytorch-cifar100.
fn weiaicunzai(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    Some(match *parts {
        ["conv1", leaf] => format!("conv1.0.{leaf}"),
        ["bn1", leaf] => format!("conv1.1.{leaf}"),
        [stage, block, "downsample", part, leaf] => {
            format!("{}.{block}.shortcut.{part}.{leaf}", conv_x(stage))
        }
        [stage, block, layer, leaf] => {
            let (kind, number) = layer.split_at(layer.len() - 1);
            let position = 3 * (number.parse::<usize>().unwrap() - 1) + usize::from(kind == "bn");
            format!("{}.{block}.residual_function.{position}.{leaf}", conv_x(stage))
        }
        _ => name.to_owned(),
    })
}

fn conv_x(stage: &str) -> String {
    let stage: usize = stage.strip_prefix("layer").unwrap().parse().unwrap();
    format!("conv{}_x", stage + 1)
}

/// transformers' ResNetForImageClassification.
fn transformers(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let part = |layer: &str| if layer.starts_with("conv") { "convolution" } else { "normalization" };
    let block = |stage: &str, block: &str| {
        let stage: usize = stage.strip_prefix("layer").unwrap().parse().unwrap();
        format!("resnet.encoder.stages.{}.layers.{block}", stage - 1)
    };
    Some(match *parts {
        ["fc", leaf] => format!("classifier.1.{leaf}"),
        [layer, leaf] => format!("resnet.embedder.embedder.{}.{leaf}", part(layer)),
        [stage, i, "downsample", which, leaf] => {
            let part = if which == "0" { "convolution" } else { "normalization" };
            format!("{}.shortcut.{part}.{leaf}", block(stage, i))
        }
        [stage, i, layer, leaf] => {
            let number: usize = layer[layer.len() - 1..].parse().unwrap();
            format!("{}.layer.{}.{}.{leaf}", block(stage, i), number - 1, part(layer))
        }
        _ => return None,
    })
}

#[test]
fn well_known_authors_weights_load_without_a_rule() {
    let cases: [(&str, Names); 13] = [
        ("cifar_resnet20", akamaster),
        ("cifar_resnet32", akamaster),
        ("cifar_resnet44", akamaster),
        ("cifar_resnet56", akamaster),
        ("cifar_resnet110", akamaster),
        ("cifar_resnet20_b", akamaster),
        ("cifar_resnet20_b", torchvision),
        ("resnet18_cifar", kuangliu),
        ("resnet18_cifar", weiaicunzai),
        ("cifar_resnext29_4x4d", kuangliu),
        ("resnet18", torchvision),
        ("resnet18", transformers),
        ("cifar_resnet29", transformers),
    ];
    for (model, theirs) in cases {
        let (_folder, path) = written(model, theirs);
        // Without the name of the network, too.
        let opened = OpenOptions::new().read::<f32>(&path).unwrap_or_else(|error| panic!("{model}: {error}"));
        assert_eq!(opened.about.network.name, model);
        let net = OpenOptions::new().model(model).read::<f32>(&path).unwrap().net;
        for ((name, found), (_, expected)) in net.states().iter().zip(states(model)) {
            let counted = if found.role() == Role::Counter { found.value() } else { expected.value() };
            assert_eq!(found.value().to_vec(), counted.to_vec(), "{model} {name}");
        }
    }
}

#[test]
fn all_that_does_not_fit_is_said_at_once() {
    let (_folder, path) = written("resnet18_cifar", |name| {
        Some(name.replace("layer4.1", "layer4.7")).filter(|name| name != "bn1.running_var")
    });
    let options = OpenOptions::new().model("resnet18");
    let error = options.read::<f32>(&path).unwrap_err();
    assert!(matches!(error, ModelError::Mismatch { .. }));
    let message = error.to_string();
    for part in [
        "weights.pth: the weights do not fit the network: 11 missing (bn1.running_var, layer4.1.conv1.weight, ",
        "; 12 unexpected (layer4.7.conv1.weight, ",
        "; 1 of another shape (conv1.weight is [64, 3, 3, 3], not [64, 3, 7, 7])",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains('\n'));
    let error = OpenOptions::new().read::<f32>(&path).unwrap_err();
    assert!(matches!(error, ModelError::Unrecognized { .. }), "{error}");
}
