//! Where libFuzzer meets the targets: one program for all of them. The environment variable
//! `RESIDUAL_FUZZ` names one, and the folder that the program is started in is for its files. Who
//! starts it, and with which options, is `cargo xtask fuzz`.
#![no_main]

use std::{env, path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use residual_fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("RESIDUAL_FUZZ").expect("RESIDUAL_FUZZ to name a target");
    residual_fuzz::find(&name).expect("a target of that name")
});

fuzz_target!(|bytes: &[u8]| {
    if let Err(finding) = TARGET.check(bytes, Path::new(".")) {
        panic!("{finding}");
    }
});
