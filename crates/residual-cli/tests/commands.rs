//! The command from the outside: exit codes, messages, files.

mod place;

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use place::{Place, QUICKLY, TINY, trained};
use residual_data::{ImageShape, Picture};
use serde_json::Value;

#[test]
fn a_trained_network_can_be_evaluated_and_used() {
    let place = trained();
    for file in [
        "config.toml",
        "metrics.csv",
        "gradients.csv",
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
    // The folder of a run stands for its best checkpoint.
    assert_eq!(place.json("eval run --data faces:21"), evaluation);
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
    // Times differ, and stand in the metadata.
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
fn a_run_that_goes_on_does_as_its_edited_configuration_says() {
    let place = trained();
    let config = place.path("run").join("config.toml");
    let edit = |from: &str, to: &str| {
        let text = fs::read_to_string(&config).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&config, text.replace(from, to)).unwrap();
    };
    edit("seed = 0", "seed = 4");
    let refused = place.fails("train --resume run --epochs 4", 1);
    assert!(refused.contains("seed was 0 when the run began, and cannot become 4"), "{refused}");
    edit("seed = 4", "seed = 0");
    edit("learning_rate = 0.1", "learning_rate = 0.025");
    place.succeeds("train --resume run --epochs 4 --patience 9");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("learning_rate = 0.025") && text.contains("4 epochs"), "{text}");
    // What is deleted does not come back from the checkpoint.
    assert!(place.succeeds("train --resume run --print-config").contains("patience = 9"));
    edit("patience = 9\n", "");
    assert!(!place.succeeds("train --resume run --print-config").contains("patience"));
    // The best checkpoint is not the one to go on from.
    let best = place.fails("train --resume run/best.safetensors", 2);
    assert!(best.contains("goes on from run/last.safetensors"), "{best}");
}

#[test]
fn a_run_of_no_steps_makes_no_folder() {
    let place = Place::new();
    for nothing in ["--epochs 0", "--iterations 0"] {
        let told = place.fails(&format!("train {nothing} --out run"), 1);
        assert!(told.contains("length must be more than nothing"), "{told}");
    }
    assert!(!place.path("run").exists());
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

    // The file says which network it holds.
    let unnamed = format!("{tune} {init} --out unnamed").replace("--model tiny.toml ", "");
    place.succeeds(&unnamed);
    assert!(weights("unnamed/last.safetensors").iter().eq(tuned.iter()));

    // So it does if a file of settings says nothing about that.
    fs::write(place.path("settings.toml"), "seed = 0\n").unwrap();
    place.succeeds(&unnamed.replace("--out unnamed", "--config settings.toml --out configured"));
    assert!(weights("configured/last.safetensors").iter().eq(tuned.iter()));

    place.succeeds("train --config tuned/config.toml --out again");
    let again = weights("again/last.safetensors");
    assert!(again.iter().eq(tuned.iter()), "the configuration repeats the run");
    place.succeeds("train --resume tuned/last.safetensors --epochs 3");
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
    // What the training keeps for itself stays with the run.
    place.succeeds("convert run/best.safetensors plain.safetensors");
    let [held, plain] = ["run/best.safetensors", "plain.safetensors"].map(|file| weights_of(&place, file));
    assert!(held.metadata.contains_key("training") && !plain.metadata.contains_key("training"));
    assert!(plain.names().all(|name| !name.starts_with("optimizer.")));
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
    assert_eq!(Picture::open(place.path("sheet.png")).unwrap().channels(), 3);
    assert!(place.succeeds("data folder:pets").contains("neutral"));
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
    let colour = Picture::new(ImageShape::new(3, 60, 90), vec![128; 3 * 60 * 90]).unwrap();
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
    // Also where the network is named: the file names the classes.
    place.pictures("others", &[0, 1, 2, 3, 4, 5, 6]);
    for split in ["train", "val"] {
        fs::rename(
            place.path("others").join(split).join("happy"),
            place.path("others").join(split).join("zany"),
        )
        .unwrap();
    }
    let named = "eval run/best.safetensors --model tiny.toml --data folder:others --split val";
    let evaluated = place.fails(named, 1);
    assert!(evaluated.contains("folder val has 7 classes (angry, disgust, fear, neutral"), "{evaluated}");
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
    assert!(fs::read_to_string(place.path("p.svg")).unwrap().contains("conv2d 3×3"));
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

fn weights_of(place: &Place, file: &str) -> residual_weights::Weights {
    residual_weights::load(place.path(file)).unwrap()
}
