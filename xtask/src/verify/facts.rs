//! Published numbers against ours, each computed from a real network, block or run.

use residual_autograd::{RunningStatistics, State, Tape};
use residual_kernels::Conv2dGeometry;
use residual_nn::{BlockConfig, Mode, Module, Role};
use residual_tensor::{Generator, Tensor};
use residual_zoo::{Network, NetworkConfig, Summary};

use super::{Difference, Failure, Outcome, Settings, numbers::grouped, recorder::Recorder};

pub(super) fn run(_settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    for row in NETWORKS {
        recorder.check(row.name, || network(row));
    }
    for depth in [20, 32, 44, 56, 110] {
        recorder.check(format!("cifar_plain{depth} twin"), || plain_twin(depth));
    }
    recorder.check("bottleneck", bottleneck);
    for (name, dashed) in DASHED {
        recorder.check(format!("{name} shortcuts"), || shortcuts(name, *dashed));
    }
    recorder.check("batch norm by hand", batch_norm_by_hand);
    recorder.check("a bias before batch norm cancels", bias_cancels);
    recorder.check("1202 layers run backwards", deepest);
    Ok(())
}

fn build(name: &str) -> Result<Network<f32>, Failure> {
    Ok(NetworkConfig::named(name)?.build(&mut Generator::new(0))?)
}

/// What is known of a network.
struct Published {
    name: &'static str,
    /// The exact number of trainable numbers.
    parameters: usize,
    /// Entries of PyTorch's `state_dict`.
    entries: Option<usize>,
    /// The exact number of multiply-adds for a picture of the size it was made for.
    multiply_adds: Option<u64>,
    /// What its paper prints.
    printed: Option<Printed>,
}

/// A number with the digits that a paper prints of it.
#[derive(Clone, Copy)]
enum Printed {
    /// Multiply-adds in units of 10⁹.
    Giga(&'static str),
    /// Parameters in units of 10⁶.
    Million(&'static str),
}
use Printed::{Giga, Million};

const fn imagenet(
    name: &'static str,
    parameters: usize,
    entries: usize,
    multiply_adds: u64,
    printed: Option<Printed>,
) -> Published {
    Published { name, parameters, entries: Some(entries), multiply_adds: Some(multiply_adds), printed }
}

const fn cifar(
    name: &'static str,
    parameters: usize,
    multiply_adds: u64,
    million: &'static str,
) -> Published {
    let (multiply_adds, printed) = (Some(multiply_adds), Some(Million(million)));
    Published { name, parameters, entries: None, multiply_adds, printed }
}

const fn relative(name: &'static str, parameters: usize, printed: Option<Printed>) -> Published {
    Published { name, parameters, entries: None, multiply_adds: None, printed }
}

/// Exact numbers: torchvision 0.29 or timm 1.0 where it has the network, and for all of them the sums over the
/// layers that the papers describe, k²·c·o weights and k²·c·o·h·w multiply-adds for a convolution.
///
/// Printed numbers: He et al. 2015, tables 1 and 6; Zagoruyko & Komodakis 2016, tables 4 and 5; Xie
/// et al. 2017, table 7; He et al. 2016, table 4. Most are rounded. Some are cut off: of ResNet-34
/// the paper prints 3.6 of 3.664 G (with shortcuts that have no weights it would be 3.644), of
/// ResNet-50 3.8 of 3.858 G, and of ResNeXt-29 16×64d 68.1 of 68.155 million. No single rule gives
/// all of them, so both are allowed, and which one it is, is said.
const NETWORKS: &[Published] = &[
    imagenet("resnet18", 11_689_512, 122, 1_814_073_344, Some(Giga("1.8"))),
    imagenet("resnet34", 21_797_672, 218, 3_663_761_408, Some(Giga("3.6"))),
    imagenet("resnet50", 25_557_032, 320, 4_089_184_256, None),
    imagenet("resnet50_v1", 25_557_032, 320, 3_857_973_248, Some(Giga("3.8"))),
    imagenet("resnet101", 44_549_160, 626, 7_801_405_440, None),
    imagenet("resnet101_v1", 44_549_160, 626, 7_570_194_432, Some(Giga("7.6"))),
    imagenet("resnet152", 60_192_808, 932, 11_513_626_624, None),
    imagenet("resnet152_v1", 60_192_808, 932, 11_282_415_616, Some(Giga("11.3"))),
    relative("resnetaa50", 25_557_032, None),
    relative("seresnet18", 11_779_624, None),
    relative("seresnet34", 21_960_416, None),
    relative("seresnet50", 28_088_024, None),
    relative("seresnet101", 49_326_872, None),
    relative("seresnet152", 66_821_848, None),
    relative("seresnext50_32x4d", 27_559_896, None),
    relative("resnet50c", 25_576_264, None),
    relative("resnet18d", 11_708_744, None),
    relative("resnet26d", 16_014_408, None),
    relative("resnet34d", 21_816_904, None),
    relative("resnet50d", 25_576_264, None),
    relative("resnet101d", 44_568_392, None),
    relative("resnet152d", 60_212_040, None),
    relative("resnet200d", 64_693_064, None),
    relative("resnet10t", 5_435_488, None),
    relative("resnext50d_32x4d", 25_048_136, None),
    relative("resnetblur18", 11_689_512, None),
    relative("resnetblur50", 25_557_032, None),
    relative("convnext_atto", 3_695_520, None),
    relative("convnext_femto", 5_217_784, None),
    relative("convnext_pico", 9_045_672, None),
    relative("convnext_nano", 15_593_560, None),
    relative("convnext_tiny", 28_589_128, None),
    relative("convnext_small", 50_223_688, None),
    relative("convnext_base", 88_591_464, None),
    relative("wide_resnet50_2", 68_883_240, None),
    relative("wide_resnet101_2", 126_886_696, None),
    relative("resnext50_32x4d", 25_028_904, None),
    relative("resnext101_32x8d", 88_791_336, None),
    relative("resnext101_64x4d", 83_455_272, None),
    cifar("cifar_resnet20", 269_722, 40_551_040, "0.27"),
    cifar("cifar_resnet32", 464_154, 68_862_592, "0.46"),
    cifar("cifar_resnet44", 658_586, 97_174_144, "0.66"),
    cifar("cifar_resnet56", 853_018, 125_485_696, "0.85"),
    cifar("cifar_resnet110", 1_727_962, 252_887_680, "1.7"),
    cifar("cifar_resnet1202", 19_421_274, 2_829_238_912, "19.4"),
    relative("cifar_wrn16_8", 10_961_370, Some(Million("11.0"))),
    relative("cifar_wrn16_10", 17_116_634, Some(Million("17.1"))),
    relative("cifar_wrn22_8", 17_158_106, Some(Million("17.2"))),
    relative("cifar_wrn22_10", 26_797_914, Some(Million("26.8"))),
    relative("cifar_wrn28_10", 36_479_194, Some(Million("36.5"))),
    relative("cifar_wrn28_12", 52_517_850, Some(Million("52.5"))),
    relative("cifar_wrn40_1", 563_930, Some(Million("0.6"))),
    relative("cifar_wrn40_2", 2_243_546, Some(Million("2.2"))),
    relative("cifar_wrn40_4", 8_949_210, Some(Million("8.9"))),
    relative("cifar_wrn40_8", 35_748_314, Some(Million("35.7"))),
    relative("cifar_resnext29_8x64d", 34_426_698, Some(Million("34.4"))),
    relative("cifar_resnext29_16x64d", 68_155_210, Some(Million("68.1"))),
    relative("cifar_preresnet110", 1_727_962, Some(Million("1.7"))),
    relative("cifar_preresnet164", 1_703_258, Some(Million("1.7"))),
    relative("cifar_resnet164", 1_704_154, Some(Million("1.7"))),
];

fn network(published: &Published) -> Outcome {
    let net = build(published.name)?;
    let parameters = net.parameter_count();
    let mut facts = vec![fact("parameters", grouped(parameters), grouped(published.parameters))];
    if let Some(entries) = published.entries {
        facts.push(fact("entries", net.states().len().to_string(), entries.to_string()));
    }
    let [height, width] = net.config().native_size();
    let multiply_adds = Summary::of(&net, [1, 3, height, width])?.multiply_adds;
    if let Some(published) = published.multiply_adds {
        facts.push(fact("multiply-adds", grouped(multiply_adds as usize), grouped(published as usize)));
    }
    match published.printed {
        Some(Giga(text)) => facts.push(printed(multiply_adds, 9, text)),
        Some(Million(text)) => facts.push(printed(parameters as u64, 6, text)),
        None => {}
    }
    all(facts)
}

/// Whether a number, in units of ten to the power `unit`, comes to what is printed.
fn printed(exact: u64, unit: u32, text: &str) -> Result<String, String> {
    let digits = text.split_once('.').map_or(0, |(_, behind)| behind.len() as u32);
    let step = 10u64.pow(unit - digits);
    let steps: u64 = text.replace('.', "").parse().map_err(|_| format!("{text} is no number"))?;
    let how = match (exact + step / 2) / step {
        rounded if rounded == steps => "rounded",
        _ if exact / step == steps => "cut off",
        _ => return Err(format!("{exact}, printed {text} · 10^{unit}")),
    };
    Ok(format!("printed {text} ({how})"))
}

/// A number of ours beside the published one; a failure if they are not the same.
fn fact(what: &str, ours: String, published: String) -> Result<String, String> {
    if ours == published {
        Ok(format!("{what} {ours} = {published}"))
    } else {
        Err(format!("{what} {ours}, published {published}"))
    }
}

fn all(facts: Vec<Result<String, String>>) -> Outcome {
    let facts: Result<Vec<String>, String> = facts.into_iter().collect();
    Ok(facts.map_err(Difference)?.join(", "))
}

/// Option A has no parameters and computes nothing, so a plain net costs as much as its
/// residual twin.
fn plain_twin(depth: usize) -> Outcome {
    let cost = |name: String| -> Result<[usize; 2], Failure> {
        let net = build(&name)?;
        let summary = Summary::of(&net, [1, 3, 32, 32])?;
        Ok([summary.parameters, summary.multiply_adds as usize])
    };
    let (plain, residual) = (cost(format!("cifar_plain{depth}"))?, cost(format!("cifar_resnet{depth}"))?);
    let facts = ["parameters", "multiply-adds"].into_iter().zip(plain.into_iter().zip(residual));
    all(facts.map(|(what, (plain, residual))| fact(what, grouped(plain), grouped(residual))).collect())
}

/// For 256 channels: two 3×3 convolutions, or 1×1, 3×3, 1×1 around 64 channels.
fn bottleneck() -> Outcome {
    let weights = |config: BlockConfig| {
        let block = config.build::<f32>(&mut Generator::new(0)).expect("a block of hundreds of channels");
        let shapes = block.parameters().into_iter().map(|(_, state)| state.shape());
        shapes.filter(|shape| shape.rank() == 4).map(|shape| shape.elements()).sum::<usize>()
    };
    let (basic, bottleneck) = (BlockConfig::basic(256, 256), BlockConfig::bottleneck(256, 64));
    all(vec![
        fact("two 3×3", grouped(weights(basic)), grouped(1_179_648)),
        fact("bottleneck", grouped(weights(bottleneck)), grouped(69_632)),
    ])
}

/// Whether the first block of each stage has a dashed shortcut (He et al. 2015, figure 3): where
/// height and width are halved, and in the first stage where a bottleneck changes the depth.
const DASHED: &[(&str, [bool; 4])] = &[
    ("resnet18", [false, true, true, true]),
    ("resnet34", [false, true, true, true]),
    ("resnet50", [true; 4]),
    ("resnet101", [true; 4]),
    ("resnet152", [true; 4]),
];

fn shortcuts(name: &str, dashed: [bool; 4]) -> Outcome {
    let net = build(name)?;
    let mut stages = Vec::new();
    for (stage, first_is_dashed) in dashed.into_iter().enumerate() {
        let graph = net.graph();
        let path = format!("layer{}.", stage + 1);
        let shortcuts = graph.scopes().iter().filter(|scope| scope.path.starts_with(&path));
        let shortcuts = shortcuts.filter(|scope| scope.path.ends_with(".downsample"));
        // A solid line is the input as it is.
        let kinds: Vec<bool> = shortcuts.map(|scope| !scope.nodes.is_empty()).collect();
        let expected: Vec<bool> =
            (0..net.config().depths[stage]).map(|i| i == 0 && first_is_dashed).collect();
        let count = |kinds: &[bool]| {
            let dashed = kinds.iter().filter(|&&dashed| dashed).count();
            format!("{dashed} dashed + {} solid", kinds.len() - dashed)
        };
        if kinds != expected {
            let what = format!("conv{}_x {kinds:?}", stage + 2);
            return Err(Difference::found(format!("{what}, published {expected:?}")));
        }
        stages.push(format!("conv{}_x {}", stage + 2, count(&kinds)));
    }
    // What the first block of conv2_x does in the deeper ones: only the depth changes.
    let summary = Summary::of(&net, [1, 3, 224, 224])?;
    let first = summary.layers.iter().find(|layer| layer.path == "layer1.0").ok_or("no layer1.0")?;
    stages.push(format!("conv2_1 {} → {}", first.input, first.output));
    if first.input[2..] != first.output[2..] {
        return Err("the first block changes height and width".into());
    }
    Ok(stages.join(", "))
}

/// Two pictures of two channels. Channel 1 has mean 1 and variance 1, channel 2 has mean ½ and
/// variance 1½: sums 8 and 4 over 8 values, squared distances 8 and 12.
fn batch_norm_by_hand() -> Outcome {
    #[rustfmt::skip]
    let x = vec![
        1.0, 1.0, 1.0, 2.0,    -1.0,  1.0, 0.0, 1.0,
        0.0, -1.0, 2.0, 2.0,    0.0, -1.0, 3.0, 1.0,
    ];
    #[rustfmt::skip]
    let distances = [
        0.0, 0.0, 0.0, 1.0,    -1.5, 0.5, -0.5, 0.5,
        -1.0, -2.0, 1.0, 1.0,  -0.5, -1.5, 2.5, 0.5,
    ];
    let deviations = [1.0, 1.5f64.sqrt()];
    let state = |value: f64| State::new(Role::Buffer, Tensor::full([2], value));
    let running = RunningStatistics { mean: state(0.0), variance: state(1.0), momentum: 0.1 };
    let tape = Tape::<f64>::without_recording();
    let x = tape.input(Tensor::from_vec([2, 2, 2, 2], x)?);
    let (gamma, beta) = (tape.input(Tensor::full([2], 1.0)), tape.input(Tensor::full([2], 0.0)));
    let y = x.batch_norm(&gamma, &beta, Some(&running), 0.0)?.value().to_vec();
    let expected: Vec<f64> =
        distances.iter().enumerate().map(|(i, distance)| distance / deviations[i / 4 % 2]).collect();
    // The running variance takes a tenth of the unbiased one, 8/7 and 12/7.
    let mean = (running.mean.value().to_vec(), vec![0.1, 0.05]);
    let variance = (running.variance.value().to_vec(), vec![0.9 + 0.1 * 8.0 / 7.0, 0.9 + 0.1 * 12.0 / 7.0]);
    for (what, (ours, by_hand)) in
        [("y", (y, expected)), ("running mean", mean), ("running variance", variance)]
    {
        if ours.iter().zip(&by_hand).any(|(ours, by_hand)| (ours - by_hand).abs() > 1e-12) {
            return Err(Difference::found(format!("{what} {ours:?}, by hand {by_hand:?}")));
        }
    }
    Ok("16 values, running mean [0.1, 0.05], running variance [1.0143, 1.0714]".to_owned())
}

/// Convolution, a bias per channel, batch normalization: as without the bias, whose gradient is
/// zero.
fn bias_cancels() -> Outcome {
    let mut generator = Generator::new(0);
    let (shape, geometry) = ([4, 6, 7, 5], Conv2dGeometry::new(3, 3).padding(1));
    let [x, weight] = [[4, 3, 7, 5], [6, 3, 3, 3]].map(|shape| generator.normal_tensor::<f64>(shape, 1.0));
    let [gamma, beta] = [(); 2].map(|()| generator.normal_tensor::<f64>([6], 1.0));
    let (per_channel, upstream) =
        (generator.normal_tensor::<f64>([6], 10.0), generator.normal_tensor(shape, 1.0));
    let bias = Tensor::zeros(shape);
    let bias = Tensor::from(&bias.view() + &per_channel.reshape([1, 6, 1, 1])?.view());

    let tape = Tape::new();
    let (gamma, beta) = (tape.input(gamma), tape.input(beta));
    let convolved = tape.input(x).conv2d(&tape.input(weight), &geometry)?;
    let without = convolved.batch_norm(&gamma, &beta, None, 1e-5)?;
    let bias = tape.leaf(bias);
    let with = convolved.add(&bias)?.batch_norm(&gamma, &beta, None, 1e-5)?;
    let difference = largest(
        &without.value().to_vec().iter().zip(with.value().to_vec()).map(|(a, b)| a - b).collect::<Vec<_>>(),
    );

    // The gradient of a channel's bias is the sum over all its positions.
    let gradients = with.backward_with(upstream)?;
    let gradient = gradients.of(&bias).ok_or("no gradient of the bias")?;
    let mut sums = [0.0; 6];
    gradient.view().indexed_iter().for_each(|(index, value)| sums[index[1]] += value);
    let (sum, element) = (largest(&sums), largest(gradient.as_slice()));
    if difference > 1e-12 || sum > 1e-12 || element < 1e-3 {
        let reason =
            format!("outputs differ by {difference:.1e}; gradients up to {element:.1e} sum to {sum:.1e}");
        return Err(Difference::found(reason));
    }
    Ok(format!("outputs differ by {difference:.0e}; gradients up to {element:.0e} sum to {sum:.0e}"))
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// More than a thousand layers: nothing recurses, and the gradient arrives at the first.
fn deepest() -> Outcome {
    let net = build("cifar_resnet1202")?;
    let tape = Tape::new();
    let x = tape.input(Generator::new(1).normal_tensor([4, 3, 8, 8], 1.0));
    let loss = net.forward(&x, Mode::Train)?.cross_entropy(&[0, 1, 2, 3], 0.0)?;
    let operations = tape.len();
    let gradients = loss.backward()?;
    let (path, first) = net.parameters().into_iter().next().ok_or("no parameters")?;
    let gradient = gradients.of_state(&first).ok_or("no gradient of the first layer")?.map(f64::from);
    let largest = largest(gradient.as_slice());
    if !largest.is_finite() || largest == 0.0 {
        return Err(format!("the gradient of {path} goes up to {largest}").into());
    }
    Ok(format!("{} nodes on the tape; the gradient of {path} goes up to {largest:.1e}", grouped(operations)))
}

#[cfg(test)]
mod tests {
    use super::printed;

    #[test]
    fn printed_numbers_are_rounded_or_cut_off() {
        for (text, how) in [("3.9", Some("rounded")), ("3.8", Some("cut off")), ("3.7", None), ("4.0", None)]
        {
            let told = printed(3_857_973_248, 9, text);
            assert_eq!(told.is_ok(), how.is_some(), "{text}: {told:?}");
            assert!(told.unwrap_or_default().contains(how.unwrap_or_default()));
        }
    }
}
