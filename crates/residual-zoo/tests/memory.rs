//! What a summary says that a training step keeps, against what it keeps. One test in a program of its own,
//! because others would allocate meanwhile.

use residual_autograd::Tape;
use residual_nn::{Mode, Module};
use residual_tensor::{Generator, memory};
use residual_zoo::{NetworkConfig, Summary};

#[test]
fn activations_are_those_that_a_tape_keeps() {
    let mut wrong = Vec::new();
    for name in [
        "resnet18",
        "plain18",
        "resnet50",
        "preresnet50",
        "seresnet50",
        "resnet50d",
        "resnetblur50",
        "resnext50_32x4d",
        "cifar_resnet20",
        "cifar_wrn16_4",
        "convnext_atto",
        "convnext_tiny",
    ] {
        let mut generator = Generator::new(0);
        let net = NetworkConfig::named(name).unwrap().build::<f32>(&mut generator).unwrap();
        let [height, width] = net.config().native_size();
        let batch = if height == 32 { 64 } else { 2 };
        let shape = [batch, 3, height, width];
        let x = generator.normal_tensor(shape, 1.0);
        let tape = Tape::new();
        let x = tape.input(x);
        let before = memory::statistics().in_use;
        let y = net.forward(&x, Mode::Train).unwrap();
        let kept = memory::statistics().in_use - before;
        drop(y);
        let said = Summary::of(&net, shape).unwrap().activation_bytes;
        let ratio = said as f64 / kept as f64;
        println!("{name:20} said {said:12} kept {kept:12} ratio {ratio:.3}");
        if (ratio - 1.0).abs() > 0.03 {
            wrong.push(format!("{name}: {said} bytes, but {kept} are kept"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
