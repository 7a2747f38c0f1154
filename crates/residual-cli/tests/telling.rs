//! How the command is told things, and how it tells them: options, settings, the environment; colors,
//! progress, completions. What it does is in `commands.rs`.

mod documented;
mod place;

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use place::{Place, QUICKLY, TINY};
use serde_json::Value;

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
        let bench = "bench tiny.toml --mode infer --batch 1 --input 3x16x16 --repeat 1 --json";
        let output = run(&format!("{bench} {arguments}"), variables);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        told["threads"].as_u64().unwrap()
    };
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    assert_eq!(threads("", &mine), 1);
    assert_eq!(threads("", &[mine[0], ("RESIDUAL_THREADS", "3")]), 3);
    assert_eq!(threads("--threads 2", &[mine[0], ("RESIDUAL_THREADS", "3")]), 2);
    let trained = run("train --model tiny.toml --data folder:pets --epochs 1 --batch 4 --input 16x16", &mine);
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    assert!(place.path("my runs/pets-tiny-1/report.html").exists());
    fs::write(place.path("residual.toml"), "threads = 4\n").unwrap();
    assert_eq!(threads("", &mine), 4, "the project's file is nearer");

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

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_residual"));
    let output = command.args(["summary", "resnet18"]).stdout(full).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with("error: the result cannot be written: "), "{told}");
}

#[cfg(unix)]
#[test]
fn names_that_are_not_unicode_are_told_as_json() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"bad\xff.png");
    let face = residual_data::Faces::new(0, residual_data::Split::Train, 7);
    residual_data::Dataset::get(&face, 0).unwrap().image.save_png(place.0.path().join(name)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_residual"));
    command.current_dir(&place.0).args(["predict", "--json"]).arg(name).arg("gone\u{1b}[2J.png");
    let output = command.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["pictures"][0]["path"], "bad\u{fffd}.png");
    assert_eq!(told["failed"][0], "gone\u{1b}[2J.png");
    // What is told to people does not command their terminal.
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(r"gone\u{1b}[2J.png") && !told.contains('\u{1b}'), "{told}");
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
    assert!(told("train --recipe papr").contains("the recipes are quick, cifar-paper, "));
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
