//! Files are opened for what they are, and pictures classified as their network does it, from any number of
//! threads.

use std::{path::PathBuf, thread};

use residual_autograd::Tape;
use residual_model::{Classifier, Model, ModelError, OpenOptions, Picture, Preprocess};
use residual_nn::{Mode, Module};
use residual_tensor::{Generator, Tensor};
use residual_weights::Weights;
use residual_zoo::NetworkConfig;
use tempfile::TempDir;

/// The tensors of a network, with the values that they begin with, or whatever memory holds.
fn weights(name: &str, classes: usize, drawn: bool) -> Weights {
    let config = NetworkConfig::named(name).unwrap().classes(classes);
    let net = if drawn { config.build::<f32>(&mut Generator::new(1)) } else { config.build_blank() };
    net.unwrap().states().into_iter().map(|(path, state)| (path, state.value())).collect()
}

/// A file with nothing but weights.
fn file(folder: &TempDir, name: &str, classes: usize) -> PathBuf {
    let path = folder.path().join(format!("{name}.pth"));
    residual_weights::save(&path, &weights(name, classes, true)).unwrap();
    path
}

fn picture(seed: u64, channels: usize, height: usize, width: usize) -> Picture {
    let mut generator = Generator::new(seed);
    let pixels = (0..channels * height * width).map(|_| generator.below(256) as u8).collect();
    Picture::new(residual_data::ImageShape::new(channels, height, width), pixels).unwrap()
}

#[test]
fn every_listed_network_is_recognized_by_its_tensors() {
    // What no tensor shows: the place of the stride, whether there are shortcuts, how pixels are averaged.
    let twins = [
        ("_v1", ""),
        ("cifar_plain", "cifar_resnet"),
        ("cifar_speed_plain", "cifar_speed_resnet"),
        ("plain18", "resnet18_a"),
        ("plain34", "resnet34_a"),
        ("resnetaa", "resnet"),
        ("resnetblur", "resnet"),
    ];
    for name in residual_zoo::names() {
        // Thousands of layers take a while, and tell nothing more.
        if name.ends_with("1001") || name.ends_with("1202") {
            continue;
        }
        let found = OpenOptions::new().describe(&weights(&name, 7, false), "x.pth").unwrap();
        let expected = twins.iter().fold(name.clone(), |name, (from, to)| name.replace(from, to));
        assert_eq!((found.network.name, found.network.classes), (expected, 7), "{name}");
        assert!(!found.is_said);
    }
    for name in
        ["cifar_resnet8", "cifar_resnet26_b", "cifar_wrn10_3", "cifar_resnext11_4x8d", "resnet18_cifar"]
    {
        let found = OpenOptions::new().describe(&weights(name, 10, false), "x.pth").unwrap();
        assert_eq!(found.network.name, name);
        assert_eq!(found.classes[3], "cat");
    }
}

#[test]
fn torchvisions_files_open_with_imagenets_preprocessing_and_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "resnet18", 1000);
    let classifier = Classifier::open(&path).unwrap();
    let model = classifier.model();
    assert_eq!(model.preprocess, Preprocess::imagenet());
    assert_eq!(
        (&*model.classes[0], &*model.classes[281], &*model.classes[999]),
        ("tench", "tabby", "toilet tissue")
    );

    let picture = picture(0, 3, 280, 300);
    let prediction = classifier.predict(&picture).unwrap();
    let input = Preprocess::imagenet().apply(picture).unwrap();
    let tape = Tape::without_recording();
    let logits = model.net.forward(&tape.input(input), Mode::Eval).unwrap().value().to_vec();
    let largest = (0..1000).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
    let top = prediction.top(3);
    assert_eq!((top.len(), top[0].index, &top[0].class), (3, largest, &model.classes[largest]));
    let sum: f32 = logits.iter().map(|logit| (logit - logits[largest]).exp()).sum();
    assert!((top[0].probability - 1.0 / sum).abs() < 1e-4, "{} {}", top[0].probability, 1.0 / sum);
    assert!((prediction.probabilities().iter().sum::<f32>() - 1.0).abs() < 1e-4);
}

#[test]
fn what_a_file_does_not_say_can_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "cifar_resnet8", 4);
    let plain = Classifier::open(&path).unwrap();
    assert_eq!(plain.model().classes, ["0", "1", "2", "3"]);
    assert_eq!(plain.model().preprocess.mean, [0.4914, 0.4822, 0.4465]);
    let options = Classifier::options()
        .model("cifar_resnet8")
        .mean([0.5; 3])
        .std([0.25; 3])
        .input([40, 36])
        .resize(44)
        .classes(["a", "b", "c", "d"]);
    let told = options.open(&path).unwrap();
    let preprocess = &told.model().preprocess;
    assert_eq!((&preprocess.mean[..], &preprocess.std[..]), (&[0.5; 3][..], &[0.25; 3][..]));
    assert_eq!((preprocess.input.to_string().as_str(), preprocess.shorter_side), ("3×40×36", Some(44)));
    assert_eq!(told.predict(&picture(1, 1, 50, 60)).unwrap().top(9).len(), 4);

    let error = |options: OpenOptions| options.open(&path).unwrap_err();
    assert!(matches!(
        error(OpenOptions::new().classes(["a"])),
        ModelError::Classes { names: 1, network: 4, .. }
    ));
    assert!(matches!(error(OpenOptions::new().model("cifar_resnet20")), ModelError::Mismatch { .. }));
    assert!(matches!(error(OpenOptions::new().model("resnet81")), ModelError::Zoo(_)));
    assert!(matches!(error(OpenOptions::new().mean([0.5])), ModelError::Data(_)));
    assert!(matches!(error(OpenOptions::new().rename(["x=y".parse().unwrap()])), ModelError::Rename { .. }));
}

#[test]
fn what_nobody_says_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let refused = |weights: &Weights| {
        residual_weights::save(&path, weights).unwrap();
        let error = Classifier::open(&path).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("x.safetensors") && !message.contains('\n') && !message.contains("--"));
        error
    };
    let other: Weights = [("a.weight", Tensor::<f32>::zeros([2]))].into_iter().collect();
    assert!(matches!(refused(&other), ModelError::Unrecognized { .. }));
    let mut partial = weights("cifar_resnet8", 10, true);
    partial.remove("fc.bias");
    assert!(matches!(refused(&partial), ModelError::Unrecognized { .. }));
    let grey = NetworkConfig::named("cifar_resnet8").unwrap().input_channels(1);
    let grey = grey.build::<f32>(&mut Generator::new(0)).unwrap().states().into_iter();
    let grey: Weights = grey.map(|(path, state)| (path, state.value())).collect();
    assert!(matches!(refused(&grey), ModelError::Preprocessing { .. }));
    assert!(OpenOptions::new().mean([0.5]).std([0.5]).open(&path).is_ok());
    assert!(matches!(Classifier::open(folder.path().join("none.pth")), Err(ModelError::Weights(_))));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(Classifier::open(&path).unwrap_err().to_string().contains("incomplete"));
}

#[test]
fn a_saved_classifier_is_the_same_one() {
    let folder = tempfile::tempdir().unwrap();
    let classifier = Classifier::options()
        .classes(["a", "b", "\u{1b}[2J"])
        .mean([0.1, 0.2, 0.3])
        .open(file(&folder, "cifar_resnet8", 3))
        .unwrap();
    let path = folder.path().join("saved.safetensors");
    classifier.save(&path).unwrap();
    let again = Classifier::open(&path).unwrap();
    let (model, kept) = (classifier.model(), again.model());
    assert_eq!((&kept.classes, &kept.preprocess), (&model.classes, &model.preprocess));
    assert_eq!(kept.net.config(), model.net.config());
    let picture = picture(3, 3, 32, 32);
    assert_eq!(again.predict(&picture).unwrap(), classifier.predict(&picture).unwrap());
    // In double precision, too.
    assert_eq!(Model::<f64>::open(&path).unwrap().classes, model.classes);

    let onnx = folder.path().join("net.onnx");
    classifier.export_onnx(&onnx, Some([32, 32]), true).unwrap();
    let bytes = std::fs::read(onnx).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("classes") && holds(r#"["a","b","\u001b[2J"]"#) && holds(r#""mean":[0.1,0.2,0.3]"#));
}

fn is_shared<T: Send + Sync>(_: &T) {}

#[test]
fn any_number_of_threads_gets_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let classifier = Classifier::open(file(&folder, "cifar_resnet8", 10)).unwrap();
    is_shared(&classifier);
    let pictures: Vec<Picture> = (0..40).map(|seed| picture(seed, 3, 32 + seed as usize, 40)).collect();
    let together = classifier.predict_batch(&pictures).unwrap();
    assert_eq!(together.len(), 40);
    // Another batch size may be computed in another order, so that only the last bits differ.
    let one: Vec<_> = pictures.iter().map(|picture| classifier.predict(picture).unwrap()).collect();
    for (one, together) in one.iter().zip(&together) {
        let pairs = one.probabilities().iter().zip(together.probabilities());
        assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-5);
    }
    thread::scope(|scope| {
        let (classifier, pictures, one) = (&classifier, &pictures, &one);
        for first in 0..6 {
            scope.spawn(move || {
                for index in (first..40).step_by(2) {
                    assert_eq!(classifier.predict(&pictures[index]).unwrap(), one[index], "{index}");
                }
            });
        }
    });
    assert_eq!(classifier.predict_batch(&[]).unwrap(), []);
}
