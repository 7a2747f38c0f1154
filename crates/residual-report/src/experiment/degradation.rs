//! Degradation: deeper plain networks are worse, on training pictures too; deeper residual networks are not.

use std::{cell::RefCell, rc::Rc};

use residual_autograd::Tape;
use residual_nn::{Mode, Module};
use residual_tensor::{Generator, Tensor};
use residual_zoo::{Network, NetworkConfig};

use super::{
    Claim, Experiment, Findings, Setting, Watch,
    learning::{Course, Learned, School},
};
use crate::{
    Result,
    numbers::{mean, percent, short},
    plot::{Axis, COLOURS, Line, Plot},
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "degradation",
    title: "Degradation, and residual learning",
    about: "plain and residual networks over depth: training and test error, and the layers' responses",
    claims: &[
        Claim {
            source: "He et al. 2015, section 1 and figures 1 and 6 (left)",
            text: "When deeper networks are able to start converging, a degradation problem is exposed: the deeper \
                   plain network has higher training error, and thus higher test error.",
        },
        Claim {
            source: "He et al. 2015, section 4.2 and figure 6 (middle)",
            text: "Residual networks overcome it: they show accuracy gains when the depth increases.",
        },
        Claim {
            source: "He et al. 2015, section 4.2 and figure 7",
            text: "Residual networks have generally smaller responses than their plain counterparts, and deeper \
                   ones smaller still.",
        },
    ],
    measure,
};

/// A network of this depth that was trained.
struct Arm {
    residual: bool,
    depth: usize,
    learned: Learned<Network<f32>>,
    /// Standard deviations of what the normalizations behind the 3×3 convolutions give on test pictures,
    /// in the order of the layers.
    responses: Vec<f64>,
}

impl Arm {
    fn name(&self) -> String {
        format!("{}-{}", if self.residual { "ResNet" } else { "plain" }, self.depth)
    }
}

fn measure(setting: &Setting, watch: Watch<'_>) -> Result<Findings> {
    let (side, depths, sizes) = setting
        .effort
        .pick((16, &[8, 20, 44][..], [2048, 1024]), (32, &[20, 32, 44, 56][..], [usize::MAX; 2]));
    // Of small pictures, a shift by four pixels would leave too little; and a few hundred steps are too few for
    // deep networks to recover from the paper's rate at the beginning.
    let course = setting.effort.pick(
        Course { epochs: 14.0, batch: 32, rate: 0.02, warm_up: false, varied: false },
        Course { epochs: 41.0, batch: 128, rate: 0.1, warm_up: false, varied: true },
    );
    let school = School::open(setting, sizes, side)?;
    let (images, _) = school.batch(0, 256.min(school.test_pictures()))?;

    let mut arms = Vec::new();
    for &depth in depths {
        for residual in [false, true] {
            let family = if residual { "cifar_resnet" } else { "cifar_plain" };
            let network = format!("{family}{depth}");
            let config = NetworkConfig::named(&network)?;
            let config = config.classes(school.classes()).input_channels(school.channels());
            let net = config.build::<f32>(&mut Generator::new(setting.seed).split("init"))?;
            let learned = school.teach(&network, net, &course, setting.seed, watch)?;
            let responses = responses(learned.net(), &images)?;
            arms.push(Arm { residual, depth, learned, responses });
        }
    }

    let mut findings = Findings::default();
    findings.method(format!(
        "The paper's networks for CIFAR-10 (6n + 2 layers, shortcuts without parameters), plain and residual, with \
         equally many parameters at the same depth: {}.",
        school.described()
    ));
    findings.method(format!("{}. Test pictures decide nothing: the last epoch counts.", course.described()));
    conclude(&mut findings, &arms, &school);
    school.tell_diverged(&mut findings);
    draw(&mut findings, &arms, &school)?;
    Ok(findings)
}

/// Standard deviations of the results of all batch normalizations of the main path, before ReLU and addition,
/// in evaluation mode: the paper's figure 7.
fn responses(net: &Network<f32>, images: &Tensor<f32>) -> Result<Vec<f64>> {
    let tape = Tape::without_recording();
    let seen: Rc<RefCell<Vec<f64>>> = Rc::default();
    let noted = seen.clone();
    tape.observe(move |path, result| {
        let name = path.rsplit('.').next().unwrap_or_default();
        if name.starts_with("bn") {
            noted.borrow_mut().push(deviation(result.value().as_slice()));
        }
    });
    net.forward(&tape.input(images.clone()), Mode::Eval)?;
    Ok(seen.take())
}

fn deviation(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    (values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count).sqrt()
}

fn conclude(findings: &mut Findings, arms: &[Arm], school: &School) {
    let of = |residual: bool| arms.iter().filter(move |arm| arm.residual == residual);
    let errors = |arm: &Arm| arm.learned.errors(school);
    let ends = |residual: bool| {
        let arms: Vec<&Arm> = of(residual).collect();
        (arms[0], arms[arms.len() - 1])
    };
    let compared = |shallow: &Arm, deep: &Arm, which: usize| {
        let [shallow_error, deep_error] = [shallow, deep].map(|arm| percent(errors(arm)[which]));
        format!("{shallow_error} with {} layers, {deep_error} with {}", shallow.depth, deep.depth)
    };
    let (shallow, deep) = ends(false);
    findings.claim(
        errors(deep)[0] > errors(shallow)[0],
        format!("Plain networks degrade: their training error is {}.", compared(shallow, deep, 0)),
    );
    findings.claim(
        errors(deep)[1] > errors(shallow)[1],
        format!("So does their test error: {}.", compared(shallow, deep, 1)),
    );
    let (first, last) = ends(true);
    findings.claim(
        errors(last)[0] < errors(first)[0],
        format!("Deeper residual networks have a lower training error: {}.", compared(first, last, 0)),
    );
    findings.claim(
        errors(last)[1] < errors(first)[1],
        format!("And a lower test error: {}.", compared(first, last, 1)),
    );
    let [plain, residual] = [deep, last].map(|arm| errors(arm)[1]);
    findings.claim(
        residual < plain,
        format!(
            "Of {} layers, the residual network is the better one: {} of the test pictures wrong, against {}.",
            last.depth,
            percent(residual),
            percent(plain)
        ),
    );
    let [of_plain, of_residual] = [deep, last].map(|arm| mean(&arm.responses));
    findings.claim(
        of_residual < of_plain,
        format!(
            "Residual networks respond less: the mean standard deviation of a layer is {} in {} and {} in {}.",
            short(of_residual),
            last.name(),
            short(of_plain),
            deep.name()
        ),
    );
    let of_shallow = mean(&first.responses);
    findings.claim(
        of_residual < of_shallow,
        format!(
            "Deeper residual networks respond less in each layer: {} in {}, {} in {}.",
            short(of_shallow),
            first.name(),
            short(of_residual),
            last.name()
        ),
    );
}

fn draw(findings: &mut Findings, arms: &[Arm], school: &School) -> Result<()> {
    let depths: Vec<usize> = arms.iter().filter(|arm| arm.residual).map(|arm| arm.depth).collect();
    let colour = |depth: usize| COLOURS[depths.iter().position(|&other| other == depth).unwrap_or(0)];
    let curves = |residual: bool| {
        let lines = arms.iter().filter(|arm| arm.residual == residual).flat_map(|arm| {
            [true, false].map(|dashed| {
                let points = arm.learned.history().iter().map(|record| {
                    let accuracy = if dashed { record.train_accuracy } else { record.val_accuracy };
                    (record.epoch as f64, 1.0 - accuracy)
                });
                let name = format!("{} layers, {}", arm.depth, if dashed { "training" } else { "test" });
                Line { name, points: points.collect(), colour: colour(arm.depth), dashed }
            })
        });
        Plot {
            title: if residual { "Residual networks" } else { "Plain networks" }.to_owned(),
            x: Axis::linear("epoch"),
            y: Axis::percent("error").including(school.chance()),
            lines: lines.collect(),
        }
    };
    let caption = "As the paper's figure 6: training error dashed (as it was while learning), test error \
                   solid.";
    findings.plot("curves", "Errors over time", &[false, true].map(curves), caption)?;

    let over_depth = [0, 1].map(|which| {
        let lines = [false, true].map(|residual| {
            let points = arms.iter().filter(|arm| arm.residual == residual);
            let points = points.map(|arm| (arm.depth as f64, arm.learned.errors(school)[which])).collect();
            let name = if residual { "residual" } else { "plain" }.to_owned();
            Line { name, points, colour: COLOURS[usize::from(!residual)], dashed: false }
        });
        let title = if which == 0 { "Training error at the end" } else { "Test error at the end" };
        Plot {
            title: title.to_owned(),
            x: Axis::linear("layers"),
            y: Axis::percent("error"),
            lines: lines.to_vec(),
        }
    });
    findings.plot("depth", "Errors over depth", &over_depth, "")?;

    let by_layer = [false, true].map(|sorted| {
        let lines = arms.iter().map(|arm| {
            let mut responses = arm.responses.clone();
            if sorted {
                responses.sort_by(|a, b| b.total_cmp(a));
            }
            let points =
                responses.into_iter().enumerate().map(|(layer, response)| ((layer + 1) as f64, response));
            Line {
                name: arm.name(),
                points: points.collect(),
                colour: colour(arm.depth),
                dashed: !arm.residual,
            }
        });
        Plot {
            title: if sorted { "The largest first" } else { "In the order of the layers" }.to_owned(),
            x: Axis::linear("layer"),
            y: Axis::linear("standard deviation").including(0.0),
            lines: lines.collect(),
        }
    });
    let caption = "As the paper's figure 7: standard deviations of the results of batch normalization on test \
                   pictures, before ReLU and addition. Plain networks dashed.";
    findings.plot("responses", "Responses of the layers", &by_layer, caption)?;

    let header = ["network", "training error", "test error", "mean response", "epochs"];
    let rows = arms.iter().map(|arm| {
        let [train, test] = arm.learned.told_errors(school);
        let epochs = arm.learned.history().len().to_string();
        vec![arm.name(), train, test, short(mean(&arm.responses)), epochs]
    });
    findings.table("errors", "At the end", &header, rows.collect(), "");
    let rows = arms.iter().flat_map(|arm| {
        arm.learned.history().iter().map(|record| {
            let numbers = [1.0 - record.train_accuracy, 1.0 - record.val_accuracy, record.train_loss];
            let words = [arm.name(), record.epoch.to_string()];
            words.into_iter().chain(numbers.map(|number| format!("{number:.5}"))).collect()
        })
    });
    findings.csv(
        "epochs",
        &["network", "epoch", "training error", "test error", "training loss"],
        rows.collect(),
    );
    Ok(())
}
