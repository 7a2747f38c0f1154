//! What PyTorch computes, operation by operation: `data/ops.json` holds its outputs and
//! gradients (PyTorch 2.14.1, float64), which must agree to 1e-9 of the largest magnitude.
//!
//! Inputs are not in the file. They follow from a key: with `fnv1a` the 64-bit FNV-1a hash,
//! element i of `uniform(key)` is splitmix64's output at state `fnv1a(key) + i`, its upper 24
//! bits as a fraction; `signed = 2·uniform − 1`. Input `x` of operation `op` is
//! `signed("op.x")`, the upstream gradient `signed("upstream")`.

use std::collections::BTreeMap;

use residual_kernels::*;
use residual_tensor::{IntoShape, Shape, Tensor};
use serde_json::Value;

fn uniform(key: &str, count: usize) -> Vec<f64> {
    let hash = key
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    let number = |i: u64| {
        let mut z = u64::wrapping_add(hash, i).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count as u64).map(number).collect()
}

fn signed(key: &str, shape: impl IntoShape) -> Tensor<f64> {
    let shape = shape.into_shape().unwrap();
    let numbers = uniform(key, shape.elements()).iter().map(|u| 2.0 * u - 1.0).collect();
    Tensor::from_vec(shape, numbers).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn shape(value: &Value) -> Shape {
    Shape::new(numbers(value).iter().map(|&axis| axis as usize).collect::<Vec<_>>()).unwrap()
}

fn assert_close(what: &str, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}: number of elements");
    let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= 1e-9 * largest, "{what}[{i}]: {got}, PyTorch has {expected}");
    }
}

/// One operation of the file.
struct Case<'a> {
    record: &'a Value,
    name: &'a str,
    inputs: BTreeMap<&'a str, Tensor<f64>>,
    upstream: Tensor<f64>,
}

impl<'a> Case<'a> {
    fn new(record: &'a Value) -> Self {
        let name = record["op"].as_str().unwrap();
        let scale = record["attrs"]["logits_scale"].as_f64().unwrap_or(1.0);
        let input = |(input, of): (&'a String, &Value)| {
            let tensor = signed(&format!("{name}.{input}"), shape(of)).map(|x| x * scale);
            (input.as_str(), tensor)
        };
        let inputs = record["inputs"].as_object().unwrap().iter().map(input).collect();
        Self { record, name, inputs, upstream: signed("upstream", shape(&record["output"]["shape"])) }
    }

    fn attribute(&self, key: &str) -> usize {
        self.record["attrs"][key].as_u64().unwrap() as usize
    }

    fn check_output(&self, got: &[f64]) {
        assert_close(self.name, got, &numbers(&self.record["output"]["values"]));
    }

    fn check_gradient(&self, input: &str, got: &Tensor<f64>) {
        assert_eq!(got.shape(), self.inputs[input].shape(), "{}, gradient of {input}", self.name);
        let what = format!("{}, gradient of {input}", self.name);
        assert_close(&what, &got.to_vec(), &numbers(&self.record["gradients"][input]));
    }

    fn run(&self) {
        let [x, weight, bias] = ["x", "weight", "bias"].map(|input| self.inputs.get(input));
        match (self.name.split('.').next().unwrap(), x, weight, bias) {
            ("conv2d", Some(x), Some(weight), None) => self.conv2d(x, weight),
            ("batch_norm", Some(x), Some(gamma), Some(beta)) => self.batch_norm(x, gamma, beta),
            ("linear", Some(x), Some(weight), Some(bias)) => {
                let dy = &self.upstream;
                self.check_output(&linear::forward(x, weight, bias).unwrap().to_vec());
                self.check_gradient("x", &linear::backward_data(dy, weight).unwrap());
                self.check_gradient("weight", &linear::backward_weights(x, dy).unwrap());
                self.check_gradient("bias", &linear::backward_bias(dy).unwrap());
            }
            ("relu", Some(x), None, None) => {
                let y = relu::forward(x).unwrap();
                self.check_output(&y.to_vec());
                self.check_gradient("x", &relu::backward(&self.upstream, &y).unwrap());
            }
            ("max_pool2d", Some(x), None, None) => {
                let (y, indices) = max_pool::forward(x, &self.pool()).unwrap();
                self.check_output(&y.to_vec());
                self.check_gradient("x", &max_pool::backward(&self.upstream, &indices, x.shape()).unwrap());
            }
            ("avg_pool2d", Some(x), None, None) => {
                self.check_output(&avg_pool::forward(x, &self.pool()).unwrap().to_vec());
                let dx = avg_pool::backward(&self.upstream, x.shape(), &self.pool()).unwrap();
                self.check_gradient("x", &dx);
            }
            ("global_avg_pool", Some(x), None, None) => {
                self.check_output(&global_avg_pool::forward(x).unwrap().to_vec());
                self.check_gradient("x", &global_avg_pool::backward(&self.upstream, x.shape()).unwrap());
            }
            ("cross_entropy", None, None, None) => self.cross_entropy(&self.inputs["logits"]),
            _ => panic!("{} is not an operation that this test knows", self.name),
        }
    }

    fn conv2d(&self, x: &Tensor<f64>, weight: &Tensor<f64>) {
        let [_, _, height, width] = weight.dims("conv2d").unwrap();
        let geometry = Conv2dGeometry::new(height, width)
            .stride(self.attribute("stride"))
            .padding(self.attribute("padding"))
            .dilation(self.attribute("dilation"))
            .groups(self.attribute("groups"));
        let dy = &self.upstream;
        let shape = geometry.resolve(x.shape(), weight.shape()).unwrap();
        let able = |algorithm: &conv2d::Algorithm| algorithm.check(&shape).is_ok();
        for algorithm in conv2d::Algorithm::ALL.into_iter().filter(able) {
            println!("{} {algorithm:?}", self.name);
            self.check_output(&conv2d::forward_with(algorithm, x, weight, &geometry).unwrap().to_vec());
            let dx = conv2d::backward_data_with(algorithm, dy, weight, x.shape(), &geometry).unwrap();
            self.check_gradient("x", &dx);
            let dw = conv2d::backward_weights_with(algorithm, x, dy, weight.shape(), &geometry).unwrap();
            self.check_gradient("weight", &dw);
        }
    }

    fn batch_norm(&self, x: &Tensor<f64>, gamma: &Tensor<f64>, beta: &Tensor<f64>) {
        let (eps, momentum) = (1e-5, 0.1);
        let attributes = &self.record["attrs"];
        assert_eq!(
            (attributes["eps"].as_f64(), attributes["momentum"].as_f64()),
            (Some(eps), Some(momentum))
        );
        let running = |name: &str, low: f64, range: f64| {
            let numbers = uniform(&format!("{}.{name}", self.name), gamma.len());
            Tensor::from_vec([gamma.len()], numbers.iter().map(|u| low + range * u).collect()).unwrap()
        };
        // 0.1 · signed, 0.75 + 0.5 · uniform
        let (mut mean, mut variance) =
            (running("running_mean", -0.1, 0.2), running("running_var", 0.75, 0.5));
        let (y, gradients) = if attributes["training"].as_bool().unwrap() {
            let (y, statistics) = batch_norm::forward_train(x, gamma, beta, eps).unwrap();
            batch_norm::update_running(&mut mean, &mut variance, &statistics, momentum).unwrap();
            (y, batch_norm::backward_train(x, self.upstream.clone(), gamma, &statistics, eps).unwrap())
        } else {
            let y = batch_norm::forward_eval(x, gamma, beta, &mean, &variance, eps).unwrap();
            (y, batch_norm::backward_eval(x, &self.upstream, gamma, &mean, &variance, eps).unwrap())
        };
        self.check_output(&y.to_vec());
        for (input, gradient) in [("x", gradients.0), ("weight", gradients.1), ("bias", gradients.2)] {
            self.check_gradient(input, &gradient);
        }
        for (what, got) in [("running_mean_after", mean), ("running_var_after", variance)] {
            if let Some(expected) = self.record.get(what) {
                assert_close(what, &got.to_vec(), &numbers(expected));
            }
        }
    }

    fn cross_entropy(&self, logits: &Tensor<f64>) {
        let attributes = &self.record["attrs"];
        let labels: Vec<usize> = numbers(&attributes["labels"]).iter().map(|&label| label as usize).collect();
        let smoothing = attributes["label_smoothing"].as_f64().unwrap();
        let (loss, probabilities) = cross_entropy::forward(logits, &labels, smoothing).unwrap();
        self.check_output(&[loss]);
        let gradient = cross_entropy::backward(1.0, &probabilities, &labels, smoothing).unwrap();
        self.check_gradient("logits", &gradient);
    }

    fn pool(&self) -> Pool2dGeometry {
        let kernel = self.attribute("kernel");
        Pool2dGeometry::new(kernel, kernel)
            .stride(self.attribute("stride"))
            .padding(self.attribute("padding"))
    }
}

fn file() -> Value {
    serde_json::from_str(include_str!("data/ops.json")).unwrap()
}

#[test]
fn every_operation_agrees_with_pytorch() {
    let file = file();
    let operations = file["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 17);
    for record in operations {
        Case::new(record).run();
    }
}

#[test]
fn four_steps_of_sgd_agree_with_pytorch() {
    let file = file();
    let runs = file["sgd"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        let mut parameter = signed("sgd.p", [6]);
        let mut velocity = Tensor::zeros([6]);
        let steps = run["parameters_after_each_step"].as_array().unwrap();
        for (step, (expected, learning_rate)) in steps.iter().zip(numbers(&run["lr"])).enumerate() {
            let rule = SgdRule {
                learning_rate,
                momentum: run["momentum"].as_f64().unwrap(),
                weight_decay: run["weight_decay"].as_f64().unwrap(),
                nesterov: run["nesterov"].as_bool().unwrap(),
            };
            let gradient = signed(&format!("sgd.grad.{step}"), [6]);
            sgd::step(&mut parameter, &gradient, Some(&mut velocity), &rule).unwrap();
            assert_close(&format!("{rule:?}, step {step}"), &parameter.to_vec(), &numbers(expected));
        }
    }
}
