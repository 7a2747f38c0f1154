//! A run that is killed loses nothing that it had written, and ends with the same weights as one
//! that was not.
#![cfg(unix)]

mod place;

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use place::{Place, TINY};

/// A few seconds of steps, with a checkpoint after each of them.
const TRAIN: &str = "train --model tiny.toml --data faces:train=70,val=14,test=0 --epochs 40 --batch 16 --input 16x16 \
                     --checkpoint-every 0";

fn begin(place: &Place, arguments: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_residual"))
        .args(arguments.split_whitespace())
        .current_dir(&place.0)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_again_and_again_a_run_ends_with_the_same_weights() {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    let started = Instant::now();
    place.succeeds(&format!("{TRAIN} --out whole"));
    let whole = started.elapsed();

    let mut kills = 0;
    loop {
        // What was killed before its first checkpoint begins again.
        let arguments = if place.path("killed/last.safetensors").exists() {
            "train --resume killed --checkpoint-every 0".to_owned()
        } else {
            format!("{TRAIN} --out killed")
        };
        let mut run = begin(&place, &arguments);
        // Up to half of the time that the whole run takes, by Weyl's sequence.
        thread::sleep(whole.mul_f64((f64::from(kills + 1) * 0.618_034).fract() / 2.0));
        if run.try_wait().unwrap().is_none() {
            run.kill().unwrap();
            kills += 1;
        }
        let ended = run.wait().unwrap();
        assert!(ended.success() || ended.code().is_none(), "{arguments} ended with {ended}");
        if ended.success() {
            break;
        }
    }
    assert!(kills > 1, "the run ended too early to be killed");
    for file in ["last.safetensors", "best.safetensors"] {
        let weights = |run: &str| residual_weights::load(place.path(run).join(file)).unwrap();
        let (whole, killed) = (weights("whole"), weights("killed"));
        assert!(whole.iter().eq(killed.iter()), "{file}");
    }
    let partial = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".partial");
    let left = fs::read_dir(place.path("killed")).unwrap().map(Result::unwrap).filter(partial).count();
    assert_eq!(left, 0, "half-written files are removed");
}

#[test]
fn two_programs_do_not_train_in_one_folder() {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    let mut first = begin(&place, &format!("{TRAIN} --epochs 100000 --out run").replace("--epochs 40 ", ""));
    while !place.path("run/last.safetensors").exists() {
        assert!(first.try_wait().unwrap().is_none(), "ended early");
        thread::sleep(Duration::from_millis(20));
    }
    let message = place.fails("train --resume run", 1);
    assert!(message.contains("another program is training in run"), "{message}");
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock of a program that was killed is gone.
    place.succeeds("train --resume run --iterations 1");
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    place.succeeds(&format!("{TRAIN} --out run").replace("--epochs 40", "--iterations 1"));
    let path = place.path("run/last.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() - 100;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    for command in ["train --resume run", "predict run/last.safetensors run/sample.png"] {
        let message = place.fails(command, 1);
        assert!(message.contains("last.safetensors") && message.contains("checksum"), "{message}");
    }
}
