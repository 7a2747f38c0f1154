//! A folder to run the command in, with a network and data so small that training takes a moment.
#![allow(dead_code)] // Each test program uses a part of it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use residual_data::{Dataset, Faces, Split};
use serde_json::Value;
use tempfile::TempDir;

/// A place to run the command in.
pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        let arguments = arguments.split_whitespace();
        Command::new(env!("CARGO_BIN_EXE_residual")).args(arguments).current_dir(&self.0).output().unwrap()
    }

    /// Standard output of a command that succeeds.
    #[track_caller]
    pub(crate) fn succeeds(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &str) -> Value {
        let printed = self.succeeds(&format!("{arguments} --json"));
        assert_eq!(printed.lines().count(), 1, "one object: {printed}");
        serde_json::from_str(&printed).unwrap()
    }

    /// The message of a command that fails with this exit code, which must be one line.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {message}");
        let last = message.trim_end().lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with("error: "), "{arguments}: {message}");
        assert!(!message.contains("panicked"), "{message}");
        last
    }

    /// A folder of faces with a train and a val split.
    pub(crate) fn pictures(&self, name: &str, classes: &[usize]) {
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
pub(crate) const TINY: &str = "\
name = 'tiny'
stem = 'cifar'
block = 'basic'
depths = [1, 1]
widths = [4, 8]
shortcut = 'A'
";

/// Options of `train` for a run of a moment.
pub(crate) const QUICKLY: &str = "--model tiny.toml --data faces:train=70,val=21,test=21,seed=0 --epochs 2 --batch 16 \
                       --set input=[16,16]";

pub(crate) fn trained() -> Place {
    let place = Place::new();
    fs::write(place.path("tiny.toml"), TINY).unwrap();
    place.succeeds(&format!("train {QUICKLY} --out run"));
    place
}
