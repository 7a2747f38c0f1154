//! What the libraries tell about their own work, for who looks for a fault: which format a file
//! has, which algorithm a convolution is given. Silent unless `-v` or `RESIDUAL_LOG` asks for it.

use std::io::Write;

use ::log::LevelFilter;
use env_logger::{Builder, Env};

/// Names what is shown, such as `debug` or `residual_weights=trace`.
const VARIABLE: &str = "RESIDUAL_LOG";

/// Shows what the environment asks for, and from all of the project's crates what `verbosity` does:
/// at 1 debugging, above that everything.
pub(crate) fn init(verbosity: u8) {
    let mut builder = Builder::new();
    let level = match verbosity {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    builder.filter_module("residual", level);
    builder.parse_env(Env::new().filter(VARIABLE));
    builder.format(|to, record| {
        writeln!(to, "{} {}: {}", record.level().as_str().to_lowercase(), record.target(), record.args())
    });
    builder.init();
}
