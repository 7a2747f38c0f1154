//! What PyTorch computes for general arithmetic: `data/arithmetic.json` holds inputs, outputs and
//! gradients in float64, made by `data/generate.py`, which says what they are. Broadcasting, ties,
//! empty tensors, NaN and infinities are among them.

use residual_autograd::{Result, Tape, Var};
use residual_kernels::Axes;
use residual_tensor::{Layout, Tensor};
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn indices(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(index).collect()
}

fn index(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn tensor(value: &Value) -> Tensor<f64> {
    let values = value["values"].as_array().unwrap().iter().map(number).collect();
    Tensor::from_vec(indices(&value["shape"]), values).unwrap()
}

fn run(op: &str, arguments: &Value, x: &[Var<f64>]) -> Result<Var<f64>> {
    let axes = || {
        let axes = Axes::from(indices(&arguments["axes"]));
        if arguments["keep"] == true { axes.kept() } else { axes }
    };
    let axis = || index(&arguments["axis"]);
    match op {
        "add" => x[0].add(&x[1]),
        "sub" => x[0].sub(&x[1]),
        "mul" => x[0].mul(&x[1]),
        "div" => x[0].div(&x[1]),
        "neg" => x[0].neg(),
        "exp" => x[0].exp(),
        "log" => x[0].log(),
        "sqrt" => x[0].sqrt(),
        "sigmoid" => x[0].sigmoid(),
        "tanh" => x[0].tanh(),
        "relu" => x[0].relu(),
        "powf" => x[0].powf(number(&arguments["exponent"])),
        "add_scalar" => x[0].add_scalar(number(&arguments["scalar"])),
        "mul_scalar" => x[0].mul_scalar(number(&arguments["scalar"])),
        "sum" => x[0].sum(axes()),
        "mean" => x[0].mean(axes()),
        "max" => x[0].max(axes()),
        "matmul" => x[0].matmul(&x[1]),
        "softmax" => x[0].softmax(axis()),
        "log_softmax" => x[0].log_softmax(axis()),
        "reshape" => x[0].reshape(indices(&arguments["shape"])),
        "permute" => x[0].permute(&indices(&arguments["axes"])),
        "transpose" => x[0].transpose(),
        "slice" => x[0].slice(axis(), index(&arguments["start"])..index(&arguments["end"])),
        "concatenate" => Var::concatenate(&x.iter().collect::<Vec<_>>(), axis()),
        _ => panic!("{op} is not an operation that this test knows"),
    }
}

fn assert_same(what: &str, got: &Tensor<f64>, expected: &Value) {
    let expected = tensor(expected);
    assert_eq!(got.shape(), expected.shape(), "{what}: shape");
    for (i, (&got, expected)) in got.to_vec().iter().zip(expected.to_vec()).enumerate() {
        let near = (got - expected).abs() <= 1e-12 * (1.0 + expected.abs());
        let same = got == expected || got.is_nan() && expected.is_nan();
        assert!(near || same, "{what}[{i}]: {got}, PyTorch has {expected}");
    }
}

#[test]
fn arithmetic_and_its_gradients_agree_with_pytorch() {
    let file: Value = serde_json::from_str(include_str!("data/arithmetic.json")).unwrap();
    let records = file["records"].as_array().unwrap();
    assert_eq!(records.len(), 176);
    for record in records {
        let op = record["op"].as_str().unwrap();
        let inputs: Vec<_> = record["inputs"].as_array().unwrap().iter().map(tensor).collect();
        // Memory may be channels-last; results do not depend on it.
        for layout in [Layout::Contiguous, Layout::ChannelsLast] {
            let in_layout =
                |x: &Tensor<f64>| if x.shape().rank() == 4 { x.to_layout(layout) } else { x.clone() };
            let tape = Tape::new();
            let x: Vec<_> = inputs.iter().map(|x| tape.leaf(in_layout(x))).collect();
            let shapes: Vec<_> = inputs.iter().map(|x| x.shape().to_string()).collect();
            let what = format!("{op} {} of {} {layout:?}", record["arguments"], shapes.join(" and "));
            let y = run(op, &record["arguments"], &x).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_same(&what, y.value(), &record["output"]);
            let gradients = y.backward_with(in_layout(&tensor(&record["upstream"]))).unwrap();
            for (i, x) in x.iter().enumerate() {
                let what = format!("{what}, gradient {i}");
                assert_same(&what, gradients.of(x).unwrap(), &record["gradients"][i]);
            }
        }
    }
}
