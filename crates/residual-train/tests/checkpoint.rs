//! What a checkpoint keeps, and what happens to one that is not what it should be.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use residual_data::{DataError, Dataset, Faces, Split};
use residual_model::{Classifier, Model, ModelSpec, OpenOptions, load_weights};
use residual_nn::Module;
use residual_tensor::{Float, Generator, Tensor};
use residual_train::{
    Checkpoint, Data, RunFolder, Span, TrainConfig, TrainError, Trainer, evaluate, layer_by_layer, loader,
};
use residual_weights::{Weights, safetensors};
use residual_zoo::NetworkConfig;

fn config() -> TrainConfig {
    let mut model = NetworkConfig::named("cifar_resnet8").unwrap();
    model.name = "tiny".to_owned();
    (model.depths, model.widths) = (vec![1, 1], vec![4, 8]);
    TrainConfig {
        model: ModelSpec::Described(model),
        data: "faces:train=35,val=35,test=0,seed=0".parse().unwrap(),
        length: Span::Epochs(2.0),
        batch: 7,
        input: Some([16, 16]),
        ..TrainConfig::default()
    }
}

fn train<T: Float>(folder: &Path) -> Trainer<T> {
    let config = config();
    let data = Data::open(&config.data, config.corrupt).unwrap();
    let mut trainer = Trainer::new(config, data).unwrap();
    trainer.fit(Some(&RunFolder::open(folder)), &mut (), &false.into()).unwrap();
    trainer
}

fn assert_kept<T: Float>() {
    let folder = tempfile::tempdir().unwrap();
    let trainer = train::<T>(folder.path());
    let kept = Checkpoint::<T>::open(RunFolder::open(folder.path()).last()).unwrap();
    let now = trainer.checkpoint();
    for ((path, kept), (_, now)) in kept.model.net.states().into_iter().zip(now.model.net.states()) {
        assert_eq!(kept.value(), now.value(), "{path}");
    }
    assert_eq!(kept.optimizer.tensors(), now.optimizer.tensors());
    assert_eq!(kept.model.net.config(), now.model.net.config());
    assert_eq!((&kept.model.classes, &kept.model.preprocess), (&now.model.classes, &now.model.preprocess));
    assert_eq!(kept.training, now.training);
}

#[test]
fn everything_is_kept_to_the_last_bit_in_either_precision() {
    assert_kept::<f32>();
    assert_kept::<f64>();
}

#[test]
fn weights_have_the_names_and_types_of_torchvision() {
    let folder = tempfile::tempdir().unwrap();
    train::<f32>(folder.path());
    let best = RunFolder::open(folder.path()).best();
    let weights = residual_weights::load(&best).unwrap();
    assert_eq!(*weights.get("layer2.0.conv1.weight").unwrap().shape(), [8, 4, 3, 3]);
    assert_eq!(weights.get("bn1.num_batches_tracked").unwrap().dtype(), "i64");
    assert!(weights.get("optimizer.velocity.fc.bias").is_some());
    assert_eq!(weights.metadata["format"], "residual model 1");

    // Without the optimizer they are a plain network's.
    let options = OpenOptions::new().model(config().model);
    let weights = options.weights(&best).unwrap();
    let count = weights.len();
    let net = options.build::<f32>(weights, &best).unwrap().net;
    assert_eq!(net.states().len(), count);
}

#[test]
fn prediction_and_evaluation_agree() {
    let folder = tempfile::tempdir().unwrap();
    let trainer = train::<f32>(folder.path());
    let faces: Arc<dyn Dataset> = Arc::new(Faces::new(3, Split::Test, 40));
    let checkpoint = trainer.checkpoint();
    let model = &checkpoint.model;
    let loader = loader(&model.classes, &model.preprocess, faces.clone(), 9).unwrap();
    let evaluation =
        evaluate(layer_by_layer(&checkpoint.model.net), &loader, |_| ControlFlow::Continue(())).unwrap();

    let samples: Vec<_> = (0..40).map(|index| faces.get(index).unwrap()).collect();
    let pictures: Vec<_> = samples.iter().map(|sample| sample.image.clone()).collect();
    let classifier = Classifier::open(RunFolder::open(folder.path()).last()).unwrap();
    let predictions = classifier.predict_batch(&pictures).unwrap();
    let mut confusion = vec![vec![0; 7]; 7];
    let mut loss = 0.0;
    for (prediction, sample) in predictions.iter().zip(&samples) {
        let probabilities = prediction.probabilities();
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        confusion[sample.label][residual_train::predicted(probabilities)] += 1;
        loss -= f64::from(probabilities[sample.label]).ln() / 40.0;
    }
    assert_eq!(evaluation.confusion.rows(), confusion);
    assert_eq!(evaluation.samples, 40);
    assert!((evaluation.loss - loss).abs() < 1e-5);
    let mistakes = 40 - evaluation.correct;
    assert_eq!(evaluation.mistakes.len() as u64, mistakes.min(24));
    assert!(evaluation.mistakes.windows(2).all(|pair| pair[0].probability >= pair[1].probability));

    let part = evaluate(layer_by_layer(&checkpoint.model.net), &loader, |done| match done {
        0..=17 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    });
    assert_eq!(part.unwrap().samples, 18);
}

#[test]
fn pictures_of_other_classes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let trainer = train::<f32>(folder.path());
    let two =
        residual_data::InMemory::new("two", &["a", "b"], Faces::SHAPE, vec![0; 48 * 48], vec![1]).unwrap();
    let model = &trainer.checkpoint().model;
    let refusal = |data| loader(&model.classes, &model.preprocess, data, 1).err().unwrap();
    let error = refusal(Arc::new(two));
    assert_eq!(
        error.to_string(),
        "the network knows 7 classes (angry, disgust, fear, happy, sad, …), but two has 2 classes (a, b); \
         use data with the same classes"
    );
    let none = Arc::new(Faces::new(0, Split::Test, 0));
    assert!(matches!(refusal(none), TrainError::Data(DataError::Empty { .. })));
}

/// The checkpoint of a network that was never trained, after a change.
fn changed(folder: &Path, change: impl FnOnce(&mut Weights)) -> TrainError {
    let path = folder.join("changed.safetensors");
    let model = config().model.config().unwrap().classes(2).input_channels(1);
    let net = model.build::<f32>(&mut Generator::new(0)).unwrap();
    let classes = vec!["a".to_owned(), "b".to_owned()];
    let preprocess = residual_data::Preprocess::new(Faces::SHAPE);
    Checkpoint::new(Model { net, classes, preprocess }, config()).save(&path).unwrap();
    assert!(Checkpoint::<f32>::open(&path).is_ok());
    let mut weights = residual_weights::load(&path).unwrap();
    // With it, every change would be damage.
    weights.metadata.remove("checksum");
    change(&mut weights);
    safetensors::write(&path, &weights).unwrap();
    Checkpoint::<f32>::open(&path).unwrap_err()
}

#[test]
fn what_is_wrong_with_a_checkpoint_is_said_in_one_line_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let message = |change: &dyn Fn(&mut Weights)| {
        let message = changed(folder.path(), change).to_string();
        assert!(message.contains("changed.safetensors") && !message.contains('\n'), "{message}");
        message
    };
    let set = |key: &'static str, text: &'static str| {
        move |weights: &mut Weights| {
            weights.metadata.insert(key.to_owned(), text.to_owned());
        }
    };
    assert!(message(&|weights| weights.metadata.clear()).contains("name the network"));
    assert!(message(&set("format", "residual model 9")).contains("another version"));
    assert!(message(&set("model", "{}")).contains("'model'"));
    assert!(message(&set("classes", "[\"a\"]")).contains("1 names for 2 classes"));
    assert!(message(&set("preprocess", "{\"input\": 3}")).contains("'preprocess'"));
    assert!(message(&|weights| drop(weights.metadata.remove("training"))).contains("no training to go on"));
    // What would exhaust memory is refused before it is built.
    for (key, from, to) in [
        ("model", "\"widths\":[4,8]", "\"widths\":[4,1000000]"),
        ("model", "\"depths\":[1,1]", "\"depths\":[1000000,1]"),
        ("model", "\"classes\":2", "\"classes\":1000000"),
        ("preprocess", "\"height\":48", "\"height\":60000"),
    ] {
        let refused = message(&|weights| {
            let text = weights.metadata[key].replace(from, to);
            assert_ne!(text, weights.metadata[key]);
            weights.metadata.insert(key.to_owned(), text);
        });
        assert!(refused.contains(&format!("'{key}'")), "{refused}");
    }
    let mismatch = message(&|weights| {
        weights.remove("fc.bias");
        weights.insert("extra", Tensor::<f32>::zeros([1]));
        weights.insert("fc.weight", Tensor::<f32>::zeros([3, 8]));
    });
    for part in ["1 missing (fc.bias)", "1 unexpected (extra)", "fc.weight is [3, 8], not [2, 8]"] {
        assert!(mismatch.contains(part), "{mismatch}");
    }
    let velocity = message(&|weights| {
        weights.insert("optimizer.velocity.fc.bias", Tensor::<f32>::zeros([5]));
        weights.insert("optimizer.velocity.nothing", Tensor::<f32>::zeros([5]));
    });
    assert!(
        velocity.contains("unexpected (velocity.nothing)") && velocity.contains("fc.bias is [5]"),
        "{velocity}"
    );
}

#[test]
fn weights_that_do_not_fit_change_nothing() {
    let net = config().model.config().unwrap().build::<f32>(&mut Generator::new(1)).unwrap();
    let before = net.states()[0].1.value();
    let mut weights: Weights =
        net.states().into_iter().map(|(path, state)| (path, state.value().map(|x| x + 1.0))).collect();
    weights.remove("fc.bias");
    assert_eq!(load_weights(&net, weights).unwrap_err().missing, ["fc.bias"]);
    assert_eq!(net.states()[0].1.value(), before);
}

/// The guard against descriptions that are too large must not refuse what is not.
#[test]
fn every_kind_of_network_passes_the_check_of_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kind.safetensors");
    for name in
        ["resnet18", "resnet50", "wide_resnet50_2", "resnext50_32x4d", "cifar_preresnet164", "cifar_wrn16_4"]
    {
        let mut model = NetworkConfig::named(name).unwrap().classes(1);
        let stages = model.depths.len();
        (model.depths, model.widths) = (vec![1; stages], vec![16, 64, 32, 128][..stages].to_vec());
        model.shortcut = residual_nn::ShortcutKind::B;
        model.stem_width = Some(1);
        let net = model.build::<f32>(&mut Generator::new(0)).unwrap();
        let (classes, preprocess) = (vec!["one".to_owned()], residual_data::Preprocess::imagenet());
        Checkpoint::new(Model { net, classes, preprocess }, config()).save(&path).unwrap();
        assert!(Checkpoint::<f32>::open(&path).is_ok(), "{name}");
    }
}
