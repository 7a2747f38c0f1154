//! The inputs that fuzzing has kept, run again on everything that is fuzzed: what was a finding
//! once must not be one again. New inputs are for `cargo xtask fuzz`.

use residual_fuzz::{corpus, targets};

use super::{Failure, Settings, recorder::Recorder};

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    let place = tempfile::tempdir()?;
    for target in targets() {
        recorder.check(target.name, || {
            let inputs = corpus::inputs(&settings.root, target)?;
            match target.replay(&inputs, place.path())? {
                0 => Err("not one input is taken".into()),
                taken => Ok(format!("{} inputs, {taken} of them taken", inputs.len())),
            }
        });
    }
    Ok(())
}
