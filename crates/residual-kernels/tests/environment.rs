//! A misspelt name in an environment variable is an error of every operation that depends on it.
//! The variables are read once per process, so that each case is a process of its own.

use std::{env, process::Command};

use residual_kernels::{
    Conv2dGeometry, KernelError, Pool2dGeometry, SgdRule, add, batch_norm, check_environment, conv2d,
    elementwise,
    fused::{self, PackedConv2d},
    max_pool, reduce, relu, sgd, softmax,
};
use residual_tensor::Tensor;

/// Tells the test that it is the child.
const CHILD: &str = "RESIDUAL_TEST_CHILD";

#[test]
fn operations_say_what_the_environment_asks_for_in_vain() {
    if env::var_os(CHILD).is_some() {
        return in_vain();
    }
    let name = "operations_say_what_the_environment_asks_for_in_vain";
    for (variable, value) in
        [("RESIDUAL_ISA", "avx1024"), ("RESIDUAL_ISA", "scalar"), ("RESIDUAL_CONV2D", "winograd")]
    {
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child.args(["--exact", name]).env(CHILD, "").env(variable, value).output().unwrap();
        assert!(output.status.success(), "{variable}={value}: {}", String::from_utf8_lossy(&output.stdout));
    }
    for (variable, value) in [("RESIDUAL_ISA", "portable"), ("RESIDUAL_CONV2D", "winograd4")] {
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child.args(["--exact", name]).env(CHILD, "").env(variable, value).output().unwrap();
        assert!(!output.status.success(), "{variable}={value} names something");
    }
}

/// With a variable that names nothing.
fn in_vain() {
    let (x, weight) = (Tensor::<f32>::zeros([1, 2, 5, 5]), Tensor::<f32>::zeros([3, 2, 3, 3]));
    let geometry = Conv2dGeometry::new(3, 3);
    let dy = Tensor::<f32>::zeros([1, 3, 3, 3]);
    let said = check_environment().unwrap_err();
    assert!(matches!(said, KernelError::Environment { .. }), "{said}");
    let shape = geometry.resolve(x.shape(), weight.shape()).unwrap();
    let mut dx = x.clone();
    let errors = [
        conv2d::forward(&x, &weight, &geometry).unwrap_err(),
        fused::conv2d::forward_with_statistics(&x, &weight, &geometry).unwrap_err(),
        conv2d::backward_data(&dy, &weight, x.shape(), &geometry).unwrap_err(),
        fused::conv2d::accumulate_backward_data(&dy, &weight, &mut dx, &geometry).unwrap_err(),
        conv2d::backward_weights(&x, &dy, weight.shape(), &geometry).unwrap_err(),
        PackedConv2d::new(&weight, &shape).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error, said);
    }
    if env::var_os("RESIDUAL_ISA").is_some() {
        let shape = Pool2dGeometry::new(5, 5).resolve(x.shape()).unwrap();
        assert_eq!(max_pool::forward_into(x.as_slice(), &mut [0.0; 2], &shape).unwrap_err(), said);
        let vector = Tensor::zeros([2]);
        let rule = SgdRule { learning_rate: 0.1, momentum: 0.0, weight_decay: 0.0, nesterov: false };
        let errors = [
            elementwise::exp(&x).unwrap_err(),
            elementwise::add(&x, &x).unwrap_err(),
            elementwise::add(&x, Tensor::scalar(1.0)).unwrap_err(),
            reduce::sum(&x, 1).unwrap_err(),
            relu(&x).unwrap_err(),
            relu::backward(&x, &x).unwrap_err(),
            add(&x, &x).unwrap_err(),
            add::accumulate(&mut x.clone(), &x).unwrap_err(),
            softmax::forward_along(&x, 1).unwrap_err(),
            sgd::step(&mut weight.clone(), &weight, None, &rule).unwrap_err(),
            batch_norm::forward_train(&x, &vector, &vector, 1e-5).unwrap_err(),
            batch_norm::forward_eval(&x, &vector, &vector, &vector, &vector, 1e-5).unwrap_err(),
            batch_norm::backward_eval(&x, &x, &vector, &vector, &vector, 1e-5).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error, said);
        }
    }
}
