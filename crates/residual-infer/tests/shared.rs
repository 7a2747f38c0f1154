//! Threads and batch sizes share the packed weights of a network.

use residual_infer::Compiled;
use residual_nn::Module;
use residual_tensor::{Generator, memory};
use residual_zoo::NetworkConfig;

/// Alone in its program: it looks at all the memory that is in use.
#[test]
fn another_session_takes_memory_for_its_results_alone() {
    let net = NetworkConfig::named("resnet34").unwrap().build::<f32>(&mut Generator::new(0)).unwrap();
    let weights = 4 * net.parameter_count();
    let compiled = Compiled::new(&net);
    let size = |batch: usize| [batch, 3, 64, 64];
    let in_use = || memory::statistics().in_use;

    let before = in_use();
    let first = compiled.session(size(1)).unwrap();
    assert!(in_use() - before > weights, "weights are packed, and Winograd's are larger");
    let before = in_use();
    let same: Vec<_> = (0..8).map(|_| compiled.session(size(1)).unwrap()).collect();
    let arenas: usize = same.iter().map(|session| session.arena_bytes()).sum();
    let grown = in_use() - before;
    assert!(grown < arenas + weights / 100, "{grown} bytes for arenas of {arenas}, weights of {weights}");

    // Other shapes may want some layer in another order, once.
    let shapes = || [2, 3, 4, 8].map(|batch| compiled.session(size(batch)).unwrap());
    let others = shapes();
    let before = in_use();
    let again = shapes();
    let arenas: usize = again.iter().map(|session| session.arena_bytes()).sum();
    assert!(in_use() - before < arenas + weights / 100);
    drop((first, others));
}
