//! Shortcuts of options A, B and C: zero padding, projections where the shape changes, projections everywhere.

use residual_nn::{Module, ShortcutKind};
use residual_tensor::Generator;
use residual_zoo::NetworkConfig;

use super::{
    Claim, Experiment, Findings, Setting, Watch,
    learning::{Course, School},
};
use crate::{
    Result,
    numbers::{count, deviation, listed, mean, percent},
    plot::Bar,
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "shortcuts",
    title: "Identity and projection shortcuts",
    about: "options A, B and C beside a plain network: parameters and errors",
    claims: &[Claim {
        source: "He et al. 2015, section 4.1 and table 3 (ResNet-34 on ImageNet, top-1 error: plain 28.54 %, A 25.03 %, \
                 B 24.52 %, C 24.19 %)",
        text: "All three options are considerably better than the plain counterpart. B is slightly better than A, and C \
               marginally better than B. The small differences among A, B and C indicate that projection shortcuts are \
               not essential for addressing the degradation problem.",
    }],
    measure,
};

/// A kind of shortcut, or none, and what came of it.
struct Arm {
    name: &'static str,
    shortcut: Option<ShortcutKind>,
    parameters: usize,
    /// Errors on training and test pictures, of each seed.
    errors: Vec<[f64; 2]>,
}

impl Arm {
    fn of(&self, which: usize) -> Vec<f64> {
        self.errors.iter().map(|errors| errors[which]).collect()
    }

    fn test(&self) -> f64 {
        mean(&self.of(1))
    }
}

fn measure(setting: &Setting, watch: Watch<'_>) -> Result<Findings> {
    let (side, sizes, depth, seeds) =
        setting.effort.pick((16, [2048, 1024], 20, 2), (32, [usize::MAX; 2], 56, 3));
    let course = setting.effort.pick(
        Course { epochs: 8.0, batch: 32, rate: 0.02, warm_up: false, varied: false },
        Course { epochs: 41.0, batch: 128, rate: 0.1, warm_up: false, varied: true },
    );
    let school = School::open(setting, sizes, side)?;
    let arm = |name, shortcut| Arm { name, shortcut, parameters: 0, errors: Vec::new() };
    let mut arms = [
        arm("plain", None),
        arm("A, zero padding", Some(ShortcutKind::A)),
        arm("B, projections where the shape changes", Some(ShortcutKind::B)),
        arm("C, projections everywhere", Some(ShortcutKind::C)),
    ];
    for seed in (0..seeds).map(|number| setting.seed.wrapping_add(number)) {
        for arm in &mut arms {
            let training = format!("{}, seed {seed}", arm.name);
            let mut config = NetworkConfig::named(&format!("cifar_resnet{depth}"))?;
            (config.residual, config.shortcut) =
                (arm.shortcut.is_some(), arm.shortcut.unwrap_or(ShortcutKind::A));
            let config = config.classes(school.classes()).input_channels(school.channels());
            let net = config.build::<f32>(&mut Generator::new(seed).split("init"))?;
            arm.parameters = net.parameter_count();
            arm.errors.push(school.teach(&training, net, &course, seed, watch)?.errors(&school));
        }
    }

    let mut findings = Findings::default();
    findings.method(format!(
        "Networks of {depth} layers for CIFAR-10, each with {seeds} seeds: {}. {}.",
        school.described(),
        course.described()
    ));
    conclude(&mut findings, &arms);
    school.tell_diverged(&mut findings);
    let bars = arms.iter().enumerate().map(|(number, arm)| {
        let figure = format!("{} ± {:.1}", percent(arm.test()), 100.0 * deviation(&arm.of(1)));
        Bar { label: arm.name.to_owned(), value: arm.test(), figure, colour: number }
    });
    findings.bars(
        "errors",
        "Test errors",
        "mean test error of the seeds, ± their deviation",
        &bars.collect::<Vec<_>>(),
        "",
    )?;
    let rows = arms.iter().map(|arm| {
        let errors = [0, 1].map(|which| percent(mean(&arm.of(which))));
        let each = arm.of(1).into_iter().map(percent).collect::<Vec<_>>().join(", ");
        [arm.name.to_owned(), count(arm.parameters as u64)].into_iter().chain(errors).chain([each]).collect()
    });
    let header = ["shortcut", "parameters", "training error", "test error", "of each seed"];
    findings.table("shortcuts", "At the end", &header, rows.collect(), "");
    Ok(findings)
}

fn conclude(findings: &mut Findings, arms: &[Arm; 4]) {
    let [plain, options @ ..] = arms;
    let errors = options.iter().map(|arm| format!("{} ({})", percent(arm.test()), &arm.name[..1]));
    let worst = options.iter().map(Arm::test).fold(0.0, f64::max);
    findings.claim(
        worst < plain.test(),
        format!(
            "All options are better than the plain network: {} against {}.",
            listed(&errors.collect::<Vec<_>>()),
            percent(plain.test())
        ),
    );
    let best = options.iter().map(Arm::test).fold(1.0, f64::min);
    let gain = plain.test() - worst;
    findings.claim(
        worst - best < 0.5 * gain,
        format!(
            "Projections are not essential: options differ by {:.1} points at most, and the worst of them is {:.1} points \
             better than the plain network.",
            100.0 * (worst - best),
            100.0 * gain
        ),
    );
    let [a, b, c] = options.each_ref().map(Arm::test);
    let spread = options.iter().map(|arm| deviation(&arm.of(1))).fold(0.0, f64::max);
    findings.claim(
        a > b && b > c,
        format!(
            "The order A, B, C of the paper: A − B is {:+.1} and B − C {:+.1} points; seeds of one option have a deviation of \
             up to {:.1} points, which differences must exceed to mean anything.",
            100.0 * (a - b),
            100.0 * (b - c),
            100.0 * spread
        ),
    );
}
