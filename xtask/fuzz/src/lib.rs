//! What is fuzzed: for every reader of the workspace, and for everything else that takes text or
//! sizes from outside, one function that is given bytes. `cargo xtask fuzz` has libFuzzer invent
//! the bytes; `cargo xtask verify` runs those again that were worth keeping. This crate knows
//! neither of them.
//!
//! A target may refuse its bytes, with a reason of one line. It must not panic, hang, take memory
//! beyond its bound, or give a wrong answer, which it finds out by asserting what has to hold.
#![forbid(unsafe_code)]

pub mod corpus;
mod geometries;
mod networks;
mod pictures;
mod texts;
mod weights;
mod written;

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    path::Path,
    time::{Duration, Instant},
};

use residual_data::DataSpec;
use residual_tensor::Generator;
use residual_weights::inspect::Format;

/// Something that takes bytes from outside, and what is expected of it.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// What is done with the bytes.
    pub about: &'static str,
    /// Takes the bytes; gives why not, if it refuses them. The folder is there to put files into.
    pub run: fn(&[u8], &Path) -> Result<(), String>,
    /// Good inputs, from the project's own writers.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Which test files of `residual-weights` are good inputs, too: those that end like this.
    pub fixtures: Option<&'static str>,
    /// The most memory in bytes that an input of this length may take at once.
    pub most_memory: fn(usize) -> u64,
}

/// A list of targets, one for each case of an enum. A case that has no row here does not compile, and what
/// a row names is in the list.
macro_rules! one_for_each {
    ($list:ident: $of:ty, $($case:pat => $target:path,)*) => {
        const $list: &[Target] = &[$($target),*];
        const _: fn(&$of) = |case| match case {
            $($case => (),)*
        };
    };
}

// What reads each format of weights.
one_for_each! {
    FORMATS: Format,
    Format::Safetensors => weights::SAFETENSORS,
    Format::PthZip | Format::PthStream => weights::PTH,
    Format::Npy => weights::NPY,
    Format::Onnx => weights::INSPECT,
}

// What reads each kind of data set.
one_for_each! {
    DATA_SETS: DataSpec,
    DataSpec::Faces(_) => texts::DATA_SPEC, // drawn; only the name is read
    DataSpec::Cifar10(_) | DataSpec::Cifar100(_) => pictures::CIFAR,
    DataSpec::Fer2013(_) => pictures::FER2013,
    DataSpec::Folder(_) => pictures::FOLDER,
    DataSpec::Idx(_) => pictures::IDX,
}

/// All else that takes bytes, text or sizes.
const OTHERS: &[Target] = &[
    pictures::PICTURE,
    networks::CHECKPOINT,
    networks::MODEL_NAME,
    networks::NETWORK,
    networks::CONFIG,
    networks::ASSIGNMENT,
    texts::RENAME,
    written::WEIGHTS,
    written::ONNX,
    written::PNG,
    geometries::CONVOLUTION,
    geometries::POOLING,
];

/// Every target.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    FORMATS.iter().chain(DATA_SETS).chain(OTHERS)
}

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    targets().find(|target| target.name == name)
}

/// Files: the budgets of the readers, and what growing collections hold besides.
fn few_times_the_file(length: usize) -> u64 {
    64 * length as u64 + (8 << 20)
}

/// Bytes for targets that make values of them, as good as any.
fn seeds(count: usize, length: usize) -> Vec<Vec<u8>> {
    let mut generator = Generator::new(0);
    let mut bytes = |length| (0..length).map(|_| generator.below(256) as u8).collect();
    (1..=count).map(|number| bytes(length * number / count)).collect()
}

/// An error as a reason.
fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Target {
    /// Runs the target on these bytes. Gives whether they were taken, and not refused.
    ///
    /// # Errors
    /// A finding: what the target did and must not do.
    ///
    /// # Panics
    /// If the target does, which is a finding as well.
    pub fn check(&self, bytes: &[u8], place: &Path) -> Result<bool, String> {
        residual_tensor::memory::trim(); // or recycled blocks would go uncounted
        let mut answer = Ok(());
        let memory = allocation_counter::measure(|| answer = (self.run)(bytes, place)).bytes_max;
        match answer {
            _ if memory > (self.most_memory)(bytes.len()) => {
                Err(format!("takes {} MiB of memory", memory >> 20))
            }
            Err(reason) if reason.contains('\n') => {
                let start: String = reason.escape_debug().take(200).collect();
                Err(format!("answers in more than one line: {start}"))
            }
            answer => Ok(answer.is_ok()),
        }
    }

    /// Runs the target on bytes that were kept, and counts those that it takes. A panic is a
    /// finding like others, and so is an answer that takes seconds.
    ///
    /// # Errors
    /// The first finding, and the input's name.
    pub fn replay(&self, inputs: &[(String, Vec<u8>)], place: &Path) -> Result<usize, String> {
        /// The bytes are few: a fraction of this is usual.
        const SLOW: Duration = Duration::from_secs(5);
        let check = |bytes: &[u8]| {
            let started = Instant::now();
            let answer = panic::catch_unwind(AssertUnwindSafe(|| self.check(bytes, place)));
            let answer = answer.unwrap_or_else(|panic| Err(format!("panics: {}", message(&*panic))));
            match answer? {
                _ if started.elapsed() > SLOW => Err("takes seconds".to_owned()),
                taken => Ok(usize::from(taken)),
            }
        };
        let mut taken = 0;
        for (name, bytes) in inputs {
            taken += check(bytes).map_err(|finding| format!("{} {finding}: {name}", self.name))?;
        }
        Ok(taken)
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for target in targets() {
            assert_eq!(find(target.name).unwrap().about, target.about, "{}", target.name);
        }
        assert!(find("nothing").is_none());
    }

    #[test]
    fn whatever_a_target_must_not_do_is_noticed() {
        let with = |run: fn(&[u8], &Path) -> Result<(), String>| {
            let target = Target { name: "t", run, most_memory: few_times_the_file, ..weights::NPY };
            target.replay(&[("x".to_owned(), b"bytes".to_vec())], Path::new(""))
        };
        let panics = with(|bytes, _| panic!("{} bytes", bytes.len()));
        assert_eq!(panics.unwrap_err(), "t panics: 5 bytes: x");
        let hoards = |_: &[u8], _: &Path| {
            std::hint::black_box(vec![1u8; 16 << 20]);
            Ok(())
        };
        assert_eq!(with(hoards).unwrap_err(), "t takes 16 MiB of memory: x");
        let two_lines = with(|_, _| Err("two\nlines".into()));
        assert_eq!(two_lines.unwrap_err(), "t answers in more than one line: two\\nlines: x");
        assert_eq!(with(|_, _| Err("no".into())), Ok(0));
        assert_eq!(with(|_, _| Ok(())), Ok(1));
    }
}
