//! rten as a peer: an ONNX file, run again and again when `cargo xtask bench` asks for it.
//!
//!     peer-rten FILE.onnx N C H W
//!
//! Threads: the environment variable `RTEN_NUM_THREADS`.
#![forbid(unsafe_code)]

#[path = "../../turns.rs"]
mod turns;

use std::{env, error::Error};

use rten::ModelOptions;
use rten_tensor::{Tensor, prelude::*};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("which ONNX file?")?;
    let shape: Vec<usize> = arguments.map(|size| size.parse()).collect::<Result<_, _>>()?;
    let mut model = ModelOptions::with_all_ops();
    model.prepack_weights(true);
    let model = model.load_file(file)?;
    let elements: usize = shape.iter().product();
    let input =
        Tensor::from_data(&shape, (0..elements).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect::<Vec<_>>());
    turns::serve("0.27.0", 3, || {
        model.run_one(input.view().into(), None).expect("a network that rten can run");
    })?;
    Ok(())
}
