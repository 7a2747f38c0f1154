//! Backward frees what it has used. One test in a program of its own, because others would allocate meanwhile.

use residual_autograd::Tape;
use residual_tensor::{Tensor, memory};

#[test]
fn backward_frees_what_it_has_used() {
    const BYTES: usize = 8 << 20;
    let tape = Tape::new();
    let x = tape.leaf(Tensor::full([BYTES / 4], 1.0f32));
    let mut y = x.clone();
    for _ in 0..8 {
        y = y.relu().unwrap();
    }
    let before = memory::statistics().in_use;
    assert!(before >= 9 * BYTES, "each relu keeps its output");
    let upstream = Tensor::full([BYTES / 4], 1.0f32);
    drop(y.backward_with(upstream).unwrap());
    drop(y);
    assert!(memory::statistics().in_use <= before - 8 * BYTES, "the tape still holds saved tensors");
    drop(tape);
}
