//! A run of a session takes no memory from the system once each thread has what it needs.

use residual_infer::Session;
use residual_tensor::{Generator, Tensor};
use residual_zoo::NetworkConfig;

/// Everything is computed by the one thread whose allocations are counted.
#[test]
fn a_steady_run_takes_no_memory() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        for (name, size) in [
            ("resnet18", 64),
            ("resnet50", 64),
            ("resnext50_32x4d", 33),
            ("preresnet18", 64),
            ("cifar_resnet20", 32),
        ] {
            let net = NetworkConfig::named(name).unwrap().build(&mut Generator::new(0)).unwrap();
            let shape = [2, 3, size, size];
            let images: Tensor<f32> = Generator::new(1).normal_tensor(shape, 1.0);
            let mut session = Session::new(&net, shape).unwrap();
            let mut answer = session.run(&images).unwrap();
            session.run_into(&images, &mut answer).unwrap();
            let taken = allocation_counter::measure(|| session.run_into(&images, &mut answer).unwrap());
            assert_eq!(taken.count_total, 0, "{name}: {taken:?}");
        }
    });
}
