//! The command from the outside: exit codes, messages, files.

mod documented;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use residual_data::{Dataset, Faces, Image, ImageShape, Split};
use serde_json::Value;
use tempfile::TempDir;

/// A place to run the command in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        let arguments = arguments.split_whitespace();
        Command::new(env!("CARGO_BIN_EXE_residual")).args(arguments).current_dir(&self.0).output().unwrap()
    }

    /// Standard output of a command that succeeds.
    #[track_caller]
    fn succeeds(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &str) -> Value {
        let printed = self.succeeds(&format!("{arguments} --json"));
        assert_eq!(printed.lines().count(), 1, "one object: {printed}");
        serde_json::from_str(&printed).unwrap()
    }

    /// The message of a command that fails with this exit code, which must be one line.
    #[track_caller]
    fn fails(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {message}");
        let last = message.trim_end().lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with("error: "), "{arguments}: {message}");
        assert!(!message.contains("panicked"), "{message}");
        last
    }

    /// A folder of faces with a train and a val split.
    fn pictures(&self, name: &str, classes: &[usize]) {
        for (split, each) in [(Split::Train, 6), (Split::Val, 2)] {
            let faces = Faces::new(0, split, 70);
            for index in (0..70).filter(|&index| classes.contains(&faces.label(index).unwrap())) {
                let label = faces.label(index).unwrap();
                if index / 7 < each {
                    let folder = self.path(name).join(split.name()).join(&faces.classes()[label]);
                    fs::create_dir_all(&folder).unwrap();
                    let picture = faces.get(index).unwrap().image;
                    picture.save_png(folder.join(format!("{index:02}.png"))).unwrap();
                }
            }
        }
    }
}

/// A network and data so small that an epoch takes a moment.
const TINY: &str = "\
name = 'tiny'
stem = 'cifar'
block = 'basic'
depths = [1, 1]
widths = [4, 8]
shortcut = 'A'
";

/// Options of `train` for a run of a moment.
const QUICKLY: &str = "--model tiny.toml --data faces:train=70,val=21,test=21,seed=0 --epochs 2 --batch 16 \
                       --set input=[16,16]";

fn trained() -> Place {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    place.succeeds(&format!("train {QUICKLY} --out run"));
    place
}

#[test]
fn a_trained_network_can_be_evaluated_and_used() {
    let place = trained();
    for file in [
        "config.toml",
        "metrics.csv",
        "report.html",
        "curves.svg",
        "confusion.svg",
        "best.safetensors",
        "last.safetensors",
        "sample.png",
    ] {
        assert!(place.path("run").join(file).metadata().unwrap().len() > 100, "{file}");
    }
    let metrics = fs::read_to_string(place.path("run/metrics.csv")).unwrap();
    assert!(metrics.starts_with("epoch,iteration,learning_rate,train_loss,"), "{metrics}");
    assert_eq!(metrics.lines().count(), 3);

    let evaluation = place.json("eval run/best.safetensors --data faces:21");
    assert_eq!(evaluation["model"], "tiny");
    assert_eq!(evaluation["samples"], 5);
    assert_eq!(evaluation["classes"].as_array().unwrap().len(), 7);
    assert_eq!(evaluation["classes"][3]["name"], "happy");
    let confusion = evaluation["confusion"].as_array().unwrap();
    let counts = confusion.iter().flat_map(|row| row.as_array().unwrap());
    assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 5);
    for key in ["correct", "accuracy", "top5_accuracy", "loss"] {
        assert!(evaluation[key].is_number(), "{key}");
    }

    let prediction = place.json("predict run/best.safetensors run/sample.png --top 7");
    let classes = prediction["pictures"][0]["classes"].as_array().unwrap().clone();
    let sum: f64 = classes.iter().map(|class| class["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5 && classes.len() == 7, "{prediction}");
    assert!(place.succeeds("predict run/best.safetensors run/sample.png").contains('%'));
    let rows = place.succeeds("predict run/best.safetensors run --top 2 --csv");
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!((rows.len(), rows[0]), (3, "path,rank,class,probability"));
    assert!(rows[2].starts_with("run/sample.png,2,"));
}

#[test]
fn a_run_is_told_as_json_and_repeats_from_its_configuration() {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    let told = place.json(&format!("train {QUICKLY} --threads 1"));
    let keys: Vec<&String> = told.as_object().unwrap().keys().collect();
    let expected = [
        "best_accuracy",
        "data",
        "data_wait",
        "epochs",
        "final_accuracy",
        "images_per_second",
        "model",
        "run_dir",
        "seconds",
    ];
    assert!(expected.iter().all(|key| keys.iter().any(|other| other == key)), "{told}");
    assert_eq!(told["run_dir"], "runs/faces-tiny-1");

    place.succeeds("train --config runs/faces-tiny-1/config.toml --threads 2");
    // The configurations differ in the threads, so compare what they do not describe: the weights.
    let bytes = |run: &str| {
        let weights = residual_weights::load(place.path(run).join("last.safetensors")).unwrap();
        weights.iter().map(|(name, entry)| (name.to_owned(), entry.clone())).collect::<Vec<_>>()
    };
    assert!(bytes("runs/faces-tiny-1") == bytes("runs/faces-tiny-2"));

    place.succeeds("train --resume runs/faces-tiny-1 --epochs 3");
    let metrics = fs::read_to_string(place.path("runs/faces-tiny-1/metrics.csv")).unwrap();
    assert_eq!(metrics.lines().count(), 4);
}

#[test]
fn a_network_is_fine_tuned_on_other_classes() {
    let place = trained();
    place.pictures("pets", &[0, 3]);
    let tune = "train --data folder:pets --model tiny.toml --epochs 2 --batch 4 --set input=[16,16]";
    let head = place.fails(&format!("{tune} --init run/best.safetensors"), 1);
    assert!(head.contains("one of 7 classes, but the data has 2: --replace-head"), "{head}");

    let init = "--init run/best.safetensors --replace-head --freeze-until layer2";
    let output = place.run(&format!("{tune} {init} --out tuned"));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("of them trained, the others frozen"), "{told}");
    assert!(told.contains("tensors of run/best.safetensors, with a new classifier"), "{told}");
    let weights = |run: &str| residual_weights::load(place.path(run)).unwrap();
    let (given, tuned) = (weights("run/best.safetensors"), weights("tuned/last.safetensors"));
    for name in ["conv1.weight", "bn1.running_mean", "layer1.0.bn2.num_batches_tracked"] {
        assert_eq!(tuned.get(name), given.get(name), "{name}");
    }
    assert_ne!(tuned.get("layer2.0.conv1.weight"), given.get("layer2.0.conv1.weight"));

    place.succeeds("train --config tuned/config.toml --out again");
    let again = weights("again/last.safetensors");
    assert!(again.iter().eq(tuned.iter()), "the configuration repeats the run");
    place.succeeds("train --resume tuned --epochs 3");
    assert_eq!(weights("tuned/last.safetensors").get("conv1.weight"), given.get("conv1.weight"));

    let part = place.run(&format!("{tune} --init run/best.safetensors --allow-partial --out part"));
    let told = String::from_utf8(part.stderr).unwrap();
    assert!(told.contains("in another shape: fc.weight is [7, 8], not [2, 8], fc.bias is [7]"), "{told}");
    let stage = place.fails(&format!("{tune} {init}").replace("layer2", "layr2"), 1);
    assert!(stage.contains("did you mean 'layer2'?"), "{stage}");
    assert!(place.fails(&format!("{tune} --init nowhere.pth"), 1).contains("nowhere.pth"));
    assert!(place.fails(&format!("{tune} --freeze-until fc"), 1).contains("--init"));
}

#[test]
fn weights_from_elsewhere_need_their_network_and_preprocessing() {
    let place = trained();
    place.succeeds("convert run/best.safetensors bare.pth");
    let data = "--data faces:21";
    let unknown = place.fails(&format!("eval bare.pth {data}"), 1);
    assert!(unknown.contains("name the network") && unknown.contains("--model"), "{unknown}");
    let unsaid = place.fails(&format!("eval bare.pth {data} --model tiny.toml"), 1);
    assert!(unsaid.contains("how pictures are prepared for 'tiny'") && unsaid.contains("--mean"), "{unsaid}");
    let foreign = "--model tiny.toml --mean 0.5 --std 0.25";
    let evaluation = place.json(&format!("eval bare.pth {data} {foreign} --input 16x16"));
    assert_eq!(evaluation["samples"], 5);
    assert!(
        place
            .fails(&format!("eval bare.pth {data} {foreign} --rename conv1=first"), 1)
            .contains("first.weight")
    );
    let wrong = place.fails(&format!("eval bare.pth {data} --model cifar_resnet20 --mean 0.5 --std 0.25"), 1);
    assert!(wrong.contains("missing") && wrong.contains("of another shape"), "{wrong}");
}

/// As torchvision's and other authors' files: nothing but tensors.
#[test]
fn a_network_is_recognized_by_its_tensors() {
    use residual_nn::Module;

    let place = trained();
    let config = residual_zoo::NetworkConfig::named("cifar_resnet8").unwrap();
    let net = config.build::<f32>(&mut residual_tensor::Generator::new(0)).unwrap();
    let weights: residual_weights::Weights =
        net.states().into_iter().map(|(path, state)| (path, state.value())).collect();
    residual_weights::save(place.path("plain.pth"), &weights).unwrap();
    let output = place.run("predict plain.pth run/sample.png --json");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("by its tensors it is cifar_resnet8") && told.contains("--mean 0.4914"), "{told}");
    let prediction: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(prediction["model"], "cifar_resnet8");
    assert_eq!(prediction["pictures"][0]["classes"].as_array().unwrap().len(), 3);
    place.succeeds("convert plain.pth plain.onnx");
    let classes = place.fails("eval plain.pth --data faces:21", 1);
    assert!(
        classes.contains("10 classes (airplane") && classes.contains("has 7 classes (angry"),
        "{classes}"
    );
}

#[test]
fn tensors_go_through_a_network() {
    let place = trained();
    let ramp: Vec<f32> = (0..2 * 256).map(|i| i as f32 / 100.0).collect();
    let input = residual_tensor::Tensor::from_vec([2, 1, 16, 16], ramp).unwrap();
    residual_weights::npy::write(place.path("x.npy"), &input.into()).unwrap();
    let run = "run tiny.toml --weights run/best.safetensors --input x.npy --output";
    place.succeeds(&format!("{run} single.npy"));
    place.succeeds(&format!("{run} double.npy --dtype f64"));
    let read = |name: &str| residual_weights::npy::read(place.path(name)).unwrap();
    let (single, double) = (read("single.npy"), read("double.npy"));
    assert_eq!((single.dtype(), double.dtype(), &single.shape()[..]), ("f32", "f64", &[2, 7][..]));
    let pairs = single.to_float::<f64>().to_vec().into_iter().zip(double.to_float::<f64>().to_vec());
    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs())));
}

#[test]
fn networks_become_onnx() {
    let place = trained();
    let converted = place.json("convert run/best.safetensors net.onnx --model tiny.toml --fold");
    let folded = converted["tensors"].as_u64().unwrap();
    place.succeeds("convert run/best.safetensors whole.onnx --model tiny.toml --input 1x16x16");
    let files = ["net.onnx", "whole.onnx"].map(|name| fs::read(place.path(name)).unwrap());
    let norms = files.map(|file| file.windows(18).filter(|bytes| bytes == b"BatchNormalization").count());
    assert_eq!(norms, [0, 5]);
    // Five convolutions and the classifier have two tensors each, the shortcut that pads has five.
    assert_eq!(folded, 6 * 2 + 5);

    let message =
        |arguments: &str, code| place.fails(&format!("convert run/best.safetensors {arguments}"), code);
    place.succeeds("convert run/best.safetensors bare.pth");
    assert!(place.fails("convert bare.pth x.onnx", 1).contains("--model"));
    assert_eq!(place.json("convert run/best.safetensors said.onnx")["tensors"], folded + 4 * 5 - 5);
    let said = fs::read(place.path("said.onnx")).unwrap();
    assert!(said.windows(7).any(|bytes| bytes == b"neutral"), "classes are in the metadata");
    assert!(message("x.pth --fold", 2).contains("--fold"));
    assert!(message("x.onnx --model tiny.toml --input 3x16x16", 2).contains("3 channels, but"));
    assert!(message("x.onnx --model cifar_resnet8", 1).contains("missing"));
    assert!(!place.path("x.onnx").exists());
}

#[test]
fn networks_are_summarised() {
    let place = Place::new();
    let summary = place.json("summary cifar_resnet20");
    // He et al. 2015, section 4.2, table 6: 0.27 M parameters; section 3.4's way of counting: 40.55 M.
    assert_eq!((&summary["parameters"], &summary["multiply_adds"]), (&269_722.into(), &40_551_040.into()));
    assert_eq!(summary["input"], serde_json::json!([1, 3, 32, 32]));
    for key in ["path", "kind", "input", "output", "parameters", "multiply_adds"] {
        assert!(summary["layers"][0].get(key).is_some(), "{key}");
    }
    let shown = place.succeeds("summary resnet18 --input 1x48x48 --classes 7");
    assert!(shown.contains("layer4") && shown.contains("1×512×2×2"), "{shown}");
    assert!(place.succeeds("summary --list").contains("resnext50_32x4d"));
    let unknown = place.fails("summary resnet81", 1);
    assert!(unknown.contains("unknown model 'resnet81'; did you mean 'resnet18'?"), "{unknown}");
    let foreign = place.fails("summary 残差网络", 1);
    assert!(foreign.contains("unknown model '残差网络'"), "{foreign}");
    fs::write(place.path("bad.toml"), "name = 'x'\nstemm = 1").unwrap();
    assert!(place.fails("summary bad.toml", 1).contains("bad.toml, line 2: unknown field `stemm`"));
}

#[test]
fn data_sets_are_shown() {
    let place = Place::new();
    place.pictures("pets", &[0, 3, 6]);
    let told = place.json("data folder:pets --sheet sheet.png");
    assert_eq!(told["splits"].as_array().unwrap().len(), 2, "there is no test split");
    assert_eq!(told["splits"][0]["samples"], 18);
    assert_eq!(told["splits"][0]["classes"][1], serde_json::json!({ "name": "happy", "samples": 6 }));
    assert_eq!(Image::load(place.path("sheet.png")).unwrap().channels(), 3);
    assert!(place.succeeds("data folder:pets").contains("neutral"));
}

/// What needs nothing but the program. That the others are understood is a test of the program.
#[test]
fn what_the_documentation_has_you_type_runs() {
    let place = Place::new();
    let needs_nothing = |words: &[String]| {
        let first: Vec<&str> = words.iter().take(2).map(String::as_str).collect();
        matches!(first[..], ["summary" | "completions" | "man", ..] | ["data", "faces"])
            || words.iter().any(|word| word == "--print-config")
    };
    let mut commands: Vec<_> = documented::commands().into_iter().map(|(_, words)| words).collect();
    commands.retain(|words| needs_nothing(words));
    assert!(commands.len() >= 3, "{commands:?}");
    for words in commands {
        let words: Vec<String> = words.iter().map(|word| word.replace('~', ".")).collect();
        let output =
            Command::new(env!("CARGO_BIN_EXE_residual")).args(&words).current_dir(&place.0).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn files_are_inspected() {
    let place = trained();
    let told = place.json("inspect run/best.safetensors --stats");
    assert_eq!((&told["format"], &told["path"]), (&"safetensors".into(), &"run/best.safetensors".into()));
    let tensors = told["tensors"].as_array().unwrap();
    let first = tensors.iter().find(|tensor| tensor["name"] == "conv1.weight").unwrap();
    assert_eq!((&first["dtype"], &first["shape"]), (&"f32".into(), &serde_json::json!([4, 1, 3, 3])));
    assert!(first["statistics"]["min"].as_f64().unwrap() < first["statistics"]["max"].as_f64().unwrap());
    let bytes: u64 = tensors.iter().map(|tensor| tensor["bytes"].as_u64().unwrap()).sum();
    assert_eq!(told["bytes"], bytes);
    assert!(told["metadata"]["classes"].as_str().unwrap().contains("happy"));
    let shown = place.succeeds("inspect run/best.safetensors");
    assert!(shown.contains("4×1×3×3") && shown.contains("classes") && !shown.contains("largest"), "{shown}");

    place.succeeds("convert run/best.safetensors net.onnx --model tiny.toml");
    let network = &place.json("inspect net.onnx")["network"];
    assert_eq!(network["operators"]["Conv"], 5);
    assert_eq!(network["inputs"][0]["axes"][1], 1);
    let shown = place.succeeds("inspect net.onnx");
    assert!(shown.contains("takes input: f32") && shown.contains("5 Conv"), "{shown}");

    assert!(place.fails("inspect nowhere.pth", 1).contains("nowhere.pth"));
    fs::write(place.path("cut.onnx"), &fs::read(place.path("net.onnx")).unwrap()[..200]).unwrap();
    assert!(place.fails("inspect cut.onnx", 1).contains("cut.onnx"));
    assert!(place.fails("inspect tiny.toml", 1).contains("neither"));
}

#[test]
fn shells_and_manuals_know_every_command() {
    let place = Place::new();
    let script = place.succeeds("completions bash");
    assert!(script.contains("inspect") && script.contains("--learning-rate"), "{script}");
    place.succeeds("man pages/man1");
    let page = |name: &str| fs::read_to_string(place.path("pages/man1").join(name)).unwrap();
    assert!(page("residual.1").contains("inspect"));
    assert!(page("residual-train.1").contains("freeze"));
    fs::write(place.path("file"), "").unwrap();
    assert!(place.fails("man file", 1).contains("cannot write file"));
}

#[test]
fn progress_is_told_as_it_is_wanted() {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    let output = place.run(&format!("train {QUICKLY} --out run --progress json"));
    assert!(output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |event: &str| events.iter().filter(|told| told["event"] == event).count();
    assert_eq!((count("start"), count("epoch"), count("step")), (1, 2, 8));
    assert!(count("checkpoint") >= 2 && count("validation") >= 2, "{told}");
    let epoch = events.iter().find(|told| told["event"] == "epoch").unwrap();
    assert!(epoch["metrics"]["val_accuracy"].is_number(), "{epoch}");

    let evaluated = place.run("eval run/best.safetensors --data faces:21 --progress json");
    let last = String::from_utf8(evaluated.stderr).unwrap().lines().last().map(str::to_owned).unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["done"], &last["of"]), (&5.into(), &5.into()));
    let failed = place.run("eval nowhere.pth --data faces:21 --progress json");
    let failed: Value = serde_json::from_slice(&failed.stderr).unwrap();
    assert!(failed["event"] == "error" && failed["text"].as_str().unwrap().contains("nowhere.pth"));

    let quiet = place.run(&format!("train {QUICKLY} --out quiet -q"));
    assert!(quiet.status.success() && quiet.stderr.is_empty() && !quiet.stdout.is_empty());
    let verbose = place.run("inspect run/best.safetensors");
    assert!(verbose.stderr.is_empty());
    let verbose = place.run("convert run/best.safetensors bare.pth -v");
    let told = String::from_utf8(verbose.stderr).unwrap();
    assert!(told.contains("debug residual_weights") && told.contains("recognized as safetensors"), "{told}");
}

#[test]
fn output_is_colored_when_it_is_asked_for() {
    let place = Place::new();
    let is_colored = |output: Output| output.stdout.contains(&0x1b);
    assert!(!is_colored(place.run("summary resnet18")));
    assert!(is_colored(place.run("summary resnet18 --color always")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_residual"));
    command.args(["summary", "resnet18", "--color", "never"]).env("CLICOLOR_FORCE", "1");
    assert!(!is_colored(command.output().unwrap()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_residual"));
    assert!(is_colored(command.args(["summary", "resnet18"]).env("CLICOLOR_FORCE", "1").output().unwrap()));
}

#[test]
fn settings_of_a_user_are_defaults() {
    let place = Place::new();
    place.pictures("sets/pets", &[0, 3]);
    let run = |arguments: &str, variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_residual"));
        command.args(arguments.split_whitespace()).envs(variables.iter().copied()).current_dir(&place.0);
        command.output().unwrap()
    };
    fs::write(place.path("mine.toml"), "threads = 1\nruns = 'my runs'\ndata = 'sets'\n").unwrap();
    let mine = [("RESIDUAL_CONFIG", "mine.toml")];
    let threads = |arguments: &str, variables: &[(&str, &str)]| {
        let output = run(&format!("train --print-config {arguments}"), variables);
        let told = String::from_utf8(output.stdout).unwrap();
        told.lines().find_map(|line| line.strip_prefix("threads = ").map(str::to_owned))
    };
    assert_eq!(threads("", &mine).as_deref(), Some("1"));
    assert_eq!(threads("", &[mine[0], ("RESIDUAL_THREADS", "3")]).as_deref(), Some("3"));
    assert_eq!(threads("--threads 2", &[mine[0], ("RESIDUAL_THREADS", "3")]).as_deref(), Some("2"));
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    let trained = run("train --model tiny.toml --data folder:pets --epochs 1 --batch 4 --input 16x16", &mine);
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    assert!(place.path("my runs/pets-tiny-1/report.html").exists());
    fs::write(place.path("residual.toml"), "threads = 4\n").unwrap();
    assert_eq!(threads("", &mine).as_deref(), Some("4"), "the project's file is nearer");

    for (variables, expected) in [
        ([("RESIDUAL_CONFIG", "nowhere.toml")], "cannot read nowhere.toml"),
        ([("RESIDUAL_THREADS", "many")], "RESIDUAL_THREADS is 'many'"),
        ([("RESIDUAL_COLOR", "sometimes")], "RESIDUAL_COLOR is 'sometimes'"),
        ([("RESIDUAL_THREADS", "0")], "threads must be between 1 and 1024"),
    ] {
        let output = run("summary resnet18", &variables);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(expected) && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    for arguments in [&["summary", "resnet152"][..], &["completions", "zsh"], &["summary", "--list"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_residual"));
        let mut child =
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn common_settings_of_training_are_options() {
    let place = Place::new();
    let options = "--lr 0.05 --momentum 0.8 --weight-decay 0.001 --label-smoothing 0.1 --input 40x48";
    let mut command = Command::new(env!("CARGO_BIN_EXE_residual"));
    command.args(["train", "--print-config", "--warm-up", "2 epochs"]).args(options.split(' '));
    let config = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for line in [
        "learning_rate = 0.05",
        "momentum = 0.8",
        "weight_decay = 0.001",
        "label_smoothing = 0.1",
        "input = [40, 48]",
        "warm_up = \"2 epochs\"",
    ] {
        assert!(config.lines().any(|other| other == line), "{line} is not in {config}");
    }
    let wrong = place.fails("train --momentum 2 --print-config", 1);
    assert!(wrong.contains("optimizer.momentum must be between 0 and 1"), "{wrong}");
}

#[test]
fn what_is_wrong_with_the_data_is_said() {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    let train = "train --model tiny.toml --epochs 1 --batch 4 --data";
    assert!(place.fails(&format!("{train} folder:nowhere"), 1).contains("nowhere"));

    place.pictures("pets", &[0, 3]);
    fs::create_dir(place.path("pets/train/unicorn")).unwrap();
    assert!(place.fails(&format!("{train} folder:pets"), 1).contains("unicorn is empty"));
    fs::remove_dir(place.path("pets/train/unicorn")).unwrap();

    fs::write(place.path("pets/train/angry/broken.png"), b"not a picture").unwrap();
    let refused = place.fails(&format!("{train} folder:pets"), 1);
    assert!(refused.contains("broken.png"), "{refused}");
    let output = place.run(&format!("{train} folder:pets --skip-corrupt"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.contains("broken.png cannot be read and is left out"), "{told}");
}

#[test]
fn unreadable_pictures_are_named_and_the_others_predicted() {
    let place = trained();
    fs::write(place.path("broken.png"), b"not a picture").unwrap();
    let output =
        place.run("predict run/best.safetensors broken.png run/sample.png missing.png --top 1 --csv");
    assert_eq!(output.status.code(), Some(1));
    let (printed, told) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(told.contains("broken.png") && told.contains("missing.png"), "{told}");
    assert!(told.contains("2 of 3 pictures could not be read"), "{told}");

    fs::create_dir(place.path("empty")).unwrap();
    assert!(
        place.fails("predict run/best.safetensors empty", 1).contains("no PNG or JPEG pictures in empty")
    );
    // A picture of another size and with colour is brought to what the network takes.
    let colour = Image::new(ImageShape::new(3, 60, 90), vec![128; 3 * 60 * 90]).unwrap();
    colour.save_png(place.path("colour.png")).unwrap();
    place.succeeds("predict run/best.safetensors colour.png");
}

#[test]
fn checkpoints_that_do_not_fit_are_refused() {
    let place = trained();
    let bytes = fs::read(place.path("run/best.safetensors")).unwrap();
    fs::write(place.path("cut.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    let cut = place.fails("eval cut.safetensors --data faces:21", 1);
    assert!(cut.contains("cut.safetensors") && cut.contains("incomplete"), "{cut}");
    assert!(place.fails("predict nowhere.safetensors run/sample.png", 1).contains("nowhere.safetensors"));

    place.pictures("pets", &[0, 3]);
    let classes = place.fails("train --resume run --data folder:pets", 1);
    assert!(classes.contains("tiny with 7 classes") && classes.contains("tiny with 2 classes"), "{classes}");
    let model = place.fails("train --resume run --model cifar_resnet20", 1);
    assert!(model.contains("tiny") && model.contains("cifar_resnet20"), "{model}");
    let evaluated = place.fails("eval run/best.safetensors --data folder:pets --split val", 1);
    assert!(evaluated.contains("knows 7 classes") && evaluated.contains("2 classes"), "{evaluated}");
    assert!(place.fails(&format!("train {QUICKLY} --out run"), 1).contains("already holds a run"));
    assert!(place.fails("train --resume nowhere", 1).contains("nowhere"));
}

#[test]
fn speed_is_measured() {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    for (mode, factor) in [("infer", 2.0), ("train", 6.0)] {
        let told = place
            .json(&format!("bench tiny.toml --mode {mode} --batch 4 --input 3x16x16 --repeat 5 --threads 1"));
        assert_eq!(
            (&told["model"], &told["mode"], &told["precision"]),
            (&"tiny".into(), &mode.into(), &"f32".into())
        );
        assert_eq!((&told["batch"], &told["threads"], &told["steps"]), (&4.into(), &1.into(), &5.into()));
        let number = |key: &str| told[key].as_f64().unwrap();
        let median = number("median_ms");
        assert!(number("min_ms") <= median && told["isa"].is_string());
        assert!((number("images_per_second") * median / 4e3 - 1.0).abs() < 1e-9);
        let cost = place.json("summary tiny.toml --input 3x16x16 --batch 4");
        let operations = factor * cost["multiply_adds"].as_f64().unwrap();
        assert!((number("gflops") * 1e6 * median / operations - 1.0).abs() < 1e-9);
        if cfg!(target_os = "linux") {
            assert!(number("peak_rss_bytes") > 1e6 && number("page_faults") >= 0.0);
        }
    }
    assert!(place.succeeds("bench tiny.toml --input 3x16x16 --repeat 1").contains("images/s"));
    let refused = place.fails("bench tiny.toml --mode train --input 3x2x2", 1);
    assert!(refused.contains("needs at least 2"), "{refused}");
}

#[test]
fn a_training_step_is_taken_apart() {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    let bench = "bench tiny.toml --mode train --batch 4 --repeat 2";
    let told = place.json(&format!("{bench} --input 1x16x16 --profile p.svg"));
    let parts = told["profile"]["parts"].as_array().unwrap();
    let spent: f64 = parts.iter().map(|part| part["milliseconds"].as_f64().unwrap()).sum();
    assert!((spent / told["profile"]["milliseconds"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{told}");
    assert!(told["peak_gflops"].as_f64().unwrap() > 0.0);
    assert!(fs::read_to_string(place.path("p.svg")).unwrap().contains("conv2d 3×3, backward, weights"));
    assert!(place.succeeds(&format!("{bench} --input 1x16x16 --profile p.svg")).contains("of the peak"));

    let reading = &place.json(&format!("{bench} --data faces:70"))["reading"];
    assert!(reading["steps"].as_u64().unwrap() >= 2, "{reading}");
    assert!((0.0..1.0).contains(&reading["wait"].as_f64().unwrap()), "{reading}");
    assert!(place.fails("bench tiny.toml --profile p.svg", 2).contains("add --mode train"));
    assert!(place.fails(&format!("{bench} --data faces:28"), 2).contains("give a smaller --batch"));
    for arguments in ["bench", "bench resnet18 --memory"] {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments}");
    }
}

#[test]
fn steps_are_made_when_they_are_asked_for() {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_residual"))
        .args(["bench", "tiny.toml", "--input", "3x16x16", "--serve"])
        .current_dir(&place.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"go 3\ngo 1\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let times = lines.iter().map(|line| line["ms"].as_array().unwrap().len()).collect::<Vec<_>>();
    assert!(output.status.success() && times == [2, 3, 1], "{told}");
}

#[test]
fn a_misspelt_name_in_the_environment_is_an_error() {
    for (variable, value, known) in
        [("RESIDUAL_ISA", "avx1024", "portable"), ("RESIDUAL_CONV2D", "winograd", "winograd4")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_residual"));
        let output = command.args(["summary", "resnet18"]).env(variable, value).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert_eq!(told.trim_end().lines().count(), 1, "{told}");
        assert!(told.contains(variable) && told.contains(value) && told.contains(known), "{told}");
    }
}

#[test]
fn mistyped_options_are_corrected() {
    let place = Place::new();
    let told = |arguments: &str| {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(told("train --epoch 3").contains("'--epochs'"));
    assert!(told("trian").contains("'train'"));
    assert!(told("train --epochs many").contains("invalid value 'many'"));
    assert!(told("train --data fases").contains("unknown data set `fases`"));
    assert!(told("eval x.pth --data faces --model resnet18 --mean 0.5").contains("--std <STD>"));
    assert!(told("train --recipe papr").contains("the recipes are quick and paper"));
    assert!(told("eval x.safetensors --data faces --split tset").contains("write train, val or test"));
    assert!(told("summary resnet18 --input 3x224").contains("3x224x224"));
    assert!(
        told("bench resnet18 --mode inference").contains("invalid value 'inference' for '--mode <MODE>'")
    );
    assert!(told("bench resnet18 --seconds ever").contains("write seconds like 2.5"));
    let setting = place.fails("train --set optimizer.momentun=1", 1);
    assert!(setting.contains("unknown field `momentun`"), "{setting}");
    assert!(place.succeeds("train --recipe paper --print-config").contains("length = \"64000 iterations\""));
    assert!(place.succeeds("--version").starts_with("residual "));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_can_be_resumed() {
    use std::{thread, time::Duration};

    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    let options = format!("train {QUICKLY} --epochs 100000 --out run").replace("--epochs 2 ", "");
    let mut child = Command::new(env!("CARGO_BIN_EXE_residual"))
        .args(options.split_whitespace())
        .current_dir(&place.0)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !place.path("run/best.safetensors").exists() {
        assert!(child.try_wait().unwrap().is_none(), "ended early");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("go on with: residual train --resume run"), "{told}");
    assert!(has_no_partial_files(&place.path("run")));

    let done = fs::read_to_string(place.path("run/metrics.csv")).unwrap().lines().count() - 1;
    place.succeeds(&format!("train --resume run --epochs {}", done + 1));
    assert_eq!(fs::read_to_string(place.path("run/metrics.csv")).unwrap().lines().count(), done + 2);
}

#[cfg(unix)]
fn has_no_partial_files(folder: &Path) -> bool {
    fs::read_dir(folder)
        .unwrap()
        .all(|entry| !entry.unwrap().file_name().to_string_lossy().contains("partial"))
}
