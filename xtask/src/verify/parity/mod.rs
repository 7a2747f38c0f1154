//! What PyTorch computes for networks and operations whose weights and inputs follow from a
//! formula, so that nothing but results has to be compared. The files come from
//! `fixtures/generate.py`.

pub(super) mod comparison;
pub(super) mod fixture;
pub(super) mod formula;
pub(super) mod network;
mod operations;
mod pictures;

use std::path::PathBuf;

use fixture::Fixture;
use residual_tensor::Float;

use super::{Failure, Settings, recorder::Recorder};

/// How far results may differ from PyTorch's in a precision.
struct Precision {
    /// Over the largest magnitude in the compared array.
    tolerance: f64,
    /// How many roundings of each weight a computation may be worth where it amplifies them.
    roundings: f64,
}

const F64: Precision = Precision { tolerance: 1e-9, roundings: 4.0 };
/// As many as let a ReLU switch in the measured runs, if it may switch in f32.
const F32: Precision = Precision { tolerance: 1e-4, roundings: 64.0 };

/// The project's own files, from the workspace. The second folder's are also tested where the
/// kernels are.
const OWN: [&str; 2] = ["xtask/fixtures", "crates/residual-kernels/tests/data"];

/// A fixture's name and what it holds, or why it cannot be read.
type Named = (String, Result<Fixture, Failure>);

/// Every fixture.
pub(super) fn fixtures(settings: &Settings) -> Result<Vec<Named>, Failure> {
    let folders = match &settings.fixtures {
        Some(folder) => vec![folder.clone()],
        None => OWN.map(|folder| settings.root.join(folder)).to_vec(),
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in &folders {
        files.extend(fixture::all(folder)?);
    }
    let name = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().replace(',', " ");
    Ok(files.iter().map(|path| (name(path), fixture::read(path))).collect())
}

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    for (name, fixture) in fixtures(settings)? {
        match fixture {
            Ok(Fixture::Pictures(pictures)) => recorder.check(name, || pictures::preprocessing(&pictures)),
            Ok(fixture) => {
                if let Fixture::Network(network) = &fixture {
                    recorder.check(format!("{name} states"), || network::states(network));
                }
                both::<f64>(recorder, &format!("{name} f64"), &fixture, &F64);
                both::<f32>(recorder, &format!("{name} f32"), &fixture, &F32);
            }
            Err(failure) => recorder.check(name, || Err(failure)),
        }
    }
    Ok(())
}

/// The forward and the backward side of a fixture in one precision.
fn both<T: Float>(recorder: &mut Recorder, name: &str, fixture: &Fixture, precision: &Precision) {
    match fixture {
        Fixture::Network(network) => {
            recorder.check(format!("{name} eval"), || network::eval::<T>(network, precision));
            if let Some(train) = &network.train {
                recorder.check(format!("{name} train"), || network::train::<T>(network, train, precision));
            }
        }
        Fixture::Operations(operations) => {
            recorder
                .check(format!("{name} operations"), || operations::operations::<T>(operations, precision));
            if !operations.sgd.is_empty() {
                recorder.check(format!("{name} sgd"), || operations::steps::<T>(operations, precision));
            }
        }
        Fixture::Pictures(_) => {}
    }
}
