//! Single operations against PyTorch, through the tape: outputs and gradients.

use residual_autograd::{Result as AutogradResult, RunningStatistics, State, Tape, Var};
use residual_kernels::{Conv2dGeometry, Pool2dGeometry, SgdRule, sgd};
use residual_tensor::{Float, Tensor};

use super::{
    Precision,
    comparison::Comparison,
    fixture::{Operation, Operations, Sgd, doubles},
    formula::{filled, signed},
};
use crate::verify::{Failure, Outcome};

/// All operations of a file.
pub(super) fn operations<T: Float>(fixture: &Operations, precision: &Precision) -> Outcome {
    let mut outputs = Comparison::new("outputs");
    let mut gradients = Comparison::new("gradients");
    for operation in &fixture.operations {
        let named = |failure: Failure| format!("{}: {failure}", operation.op);
        compare::<T>(operation, &mut outputs, &mut gradients).map_err(named)?;
    }
    let [outputs, gradients] =
        [outputs.outcome(precision.tolerance)?, gradients.outcome(precision.tolerance)?];
    Ok(format!("{} operations; {outputs}; {gradients}", fixture.operations.len()))
}

fn compare<T: Float>(
    operation: &Operation,
    outputs: &mut Comparison,
    gradients: &mut Comparison,
) -> Result<(), Failure> {
    let Operation { op, attrs, inputs, output, .. } = operation;
    let tape = Tape::<T>::new();
    let leaves: Vec<Var<T>> = inputs
        .iter()
        .map(|(name, input)| {
            let scale = attrs.logits_scale.unwrap_or(1.0);
            let value = match input.values() {
                Some(values) => {
                    let values = values.iter().map(|&value| T::of(value)).collect();
                    Tensor::from_vec(input.shape(), values)?
                }
                None => filled(&format!("{op}.{name}"), input.shape(), -scale, 2.0 * scale),
            };
            Ok(tape.leaf(value))
        })
        .collect::<Result<_, Failure>>()?;
    let running = running_statistics::<T>(operation);
    let y = apply(operation, &leaves, running.as_ref())?;
    outputs.array(op, &doubles(y.value()), &output.values);
    if let (Some(running), Some(mean), Some(variance)) =
        (running, &operation.running_mean_after, &operation.running_var_after)
    {
        outputs.array(&format!("{op} running mean"), &doubles(&running.mean.value()), mean);
        outputs.array(&format!("{op} running variance"), &doubles(&running.variance.value()), variance);
    }

    let upstream = match output.shape.rank() {
        0 => Tensor::scalar(T::one()),
        _ => signed("upstream", &output.shape),
    };
    let found = y.backward_with(upstream)?;
    for (name, leaf) in inputs.keys().zip(&leaves) {
        let expected =
            operation.gradients.get(name).ok_or_else(|| format!("PyTorch has no gradient of {name}"))?;
        let found = found.of(leaf).ok_or_else(|| format!("no gradient of {name}"))?;
        gradients.array(&format!("{op}, {name}"), &doubles(found), expected.values());
    }
    Ok(())
}

fn running_statistics<T: Float>(operation: &Operation) -> Option<RunningStatistics<T>> {
    let Operation { op, attrs, inputs, .. } = operation;
    let shape = inputs.get("bias").filter(|_| op.starts_with("batch_norm"))?.shape();
    Some(RunningStatistics {
        mean: State::parameter(filled(&format!("{op}.running_mean"), shape, -0.1, 0.2)),
        variance: State::parameter(filled(&format!("{op}.running_var"), shape, 0.75, 0.5)),
        momentum: attrs.momentum,
    })
}

/// The operation that the name begins with.
fn apply<T: Float>(
    operation: &Operation,
    inputs: &[Var<T>],
    running: Option<&RunningStatistics<T>>,
) -> Result<Var<T>, Failure> {
    let attrs = &operation.attrs;
    let kind = operation.op.split('.').next().unwrap_or_default();
    let y: AutogradResult<Var<T>> = match (kind, inputs, running) {
        ("conv2d", [x, weight], _) => {
            let [_, _, height, width] = weight.shape().dims("conv2d")?;
            let geometry =
                Conv2dGeometry::new(height, width).stride(attrs.stride.each()).padding(attrs.padding.each());
            x.conv2d(weight, &geometry.dilation(attrs.dilation.each()).groups(attrs.groups))
        }
        ("batch_norm", [x, gamma, beta], Some(running)) if attrs.training => {
            x.batch_norm(gamma, beta, Some(running), attrs.eps)
        }
        ("batch_norm", [x, gamma, beta], Some(running)) => x.batch_norm_eval(gamma, beta, running, attrs.eps),
        ("max_pool2d" | "avg_pool2d", [x], _) => {
            let [height, width] = attrs.kernel.each();
            let geometry = Pool2dGeometry::new(height, width);
            let geometry = geometry.stride(attrs.stride.each()).padding(attrs.padding.each());
            if kind == "max_pool2d" { x.max_pool2d(&geometry) } else { x.avg_pool2d(&geometry) }
        }
        ("global_avg_pool", [x], _) => x.global_avg_pool(),
        ("linear", [x, weight, bias], _) => x.linear(weight, bias),
        ("relu", [x], _) => x.relu(),
        ("cross_entropy", [logits], _) => logits.cross_entropy(&attrs.labels, attrs.label_smoothing),
        _ => return Err("this operation, with these inputs, is not known here".into()),
    };
    Ok(y?)
}

/// Steps of SGD on one parameter, while the rate changes.
pub(super) fn steps<T: Float>(fixture: &Operations, precision: &Precision) -> Outcome {
    let mut comparison = Comparison::new("parameters");
    for run in &fixture.sgd {
        let &Sgd { nesterov, momentum, weight_decay, .. } = run;
        let elements = run.parameters_after_each_step.first().map_or(0, Vec::len);
        let mut parameter = signed::<T>("sgd.p", [elements]);
        let mut velocity = Tensor::zeros([elements]);
        for (step, (expected, &learning_rate)) in
            run.parameters_after_each_step.iter().zip(&run.lr).enumerate()
        {
            let rule = SgdRule { learning_rate, momentum, weight_decay, nesterov };
            let gradient = signed(&format!("sgd.grad.{step}"), [elements]);
            sgd::step(&mut parameter, &gradient, Some(&mut velocity), &rule)?;
            let kind = if nesterov { "Nesterov, step" } else { "step" };
            comparison.array(&format!("{kind} {step}"), &doubles(&parameter), expected);
        }
    }
    comparison.outcome(precision.tolerance)
}
