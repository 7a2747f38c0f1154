//! Where the time of an inference goes: `cargo run --release -p residual-infer --example profile --
//! resnet50 1 30` prints the session, the median time of every step, and that of whole runs.

use std::time::Instant;

use residual_infer::Session;
use residual_tensor::{Generator, Tensor};
use residual_zoo::NetworkConfig;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().unwrap_or_else(|| "resnet18".into());
    let batch: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(20), |text| text.parse())?;

    let config = NetworkConfig::named(&model)?;
    let net = config.build(&mut Generator::new(0))?;
    let [height, width] = config.native_size();
    let shape = [batch, config.input_channels, height, width];
    let images: Tensor<f32> = Generator::new(1).normal_tensor(shape, 1.0);
    let mut session = Session::new(&net, shape)?;
    println!("{session}\n");

    println!("{}\n", session.profile(&images, rounds)?);
    let mut answer = session.run(&images)?;
    let mut times = Vec::new();
    for _ in 0..rounds.max(1) {
        let start = Instant::now();
        session.run_into(&images, &mut answer)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("whole runs: median {:.3} ms, least {:.3} ms", times[times.len() / 2], times[0]);
    Ok(())
}
