//! What every peer in Rust answers to `cargo xtask bench`: steps when it is their turn, and
//! nothing in between. The same words as in `peers.py` and in `residual bench --serve`.

use std::{
    io::{self, BufRead, Write},
    time::Instant,
};

/// Makes `warmup` steps and says that it is ready; then makes as many steps as each line of
/// standard input asks for (`go 3`), and says how long each took. Ends with the input.
pub fn serve(version: &str, warmup: usize, mut step: impl FnMut()) -> io::Result<()> {
    let warm: Vec<f64> = (0..warmup).map(|_| timed(&mut step)).collect();
    say(&format!("{{\"version\": \"{version}\", \"ms\": {warm:?}}}"))?;
    for line in io::stdin().lock().lines() {
        let steps = line?.strip_prefix("go ").and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        let ms: Vec<f64> = (0..steps).map(|_| timed(&mut step)).collect();
        say(&format!("{{\"ms\": {ms:?}}}"))?;
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Milliseconds that a step takes.
fn timed(step: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    step();
    1e3 * start.elapsed().as_secs_f64()
}
