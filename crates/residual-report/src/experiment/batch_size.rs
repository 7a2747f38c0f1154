//! The size of a batch: how well a batch stands for all pictures, and what small batches do to learning with
//! batch normalization.

use residual_nn::{Conv2d, Conv2dConfig, Mode, Operation};
use residual_tensor::{Generator, Tensor};

use super::{
    Claim, Experiment, Findings, Setting, Watch,
    learning::{Course, School},
    stack::StackConfig,
};
use crate::{
    Result,
    numbers::{mean, percent, short},
    plot::{Axis, COLOURS, Line, Plot},
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "batch-size",
    title: "The size of a batch",
    about: "how statistics and learning with batch normalization depend on the size of a batch",
    claims: &[
        Claim {
            source: "Ioffe & Szegedy 2015, section 3.1; Wu & He 2018 (Group Normalization), section 1",
            text: "The larger the batch, the closer its mean and variance are to those of the whole training set.",
        },
        Claim {
            source: "Wu & He 2018, figure 1",
            text: "The error of networks with batch normalization increases rapidly when the batch becomes smaller.",
        },
    ],
    measure,
};

fn measure(setting: &Setting, watch: Watch<'_>) -> Result<Findings> {
    let (side, sizes, epochs) = setting.effort.pick((16, [1024, 1024], 12.0), (32, [usize::MAX; 2], 15.0));
    let school = School::open(setting, sizes, side)?;
    let mut findings = Findings::default();
    watch("statistics");
    statistics(&mut findings, &school, setting)?;

    let batches = [2, 4, 8, 16, 32, 64];
    let mut errors = Vec::new();
    for norm in [true, false] {
        for batch in batches {
            let arm = if norm { "with" } else { "without" };
            let training = format!("batches of {batch}, {arm} batch normalization");
            let config = StackConfig {
                input_channels: school.channels(),
                classes: school.classes(),
                widths: vec![16, 32, 64],
                blocks: 1,
                norm,
                residual: true,
                gain: 1.0,
            };
            let net = config.build(&mut Generator::new(setting.seed).split("init"))?;
            let course = course(batch, norm, epochs);
            errors.push((
                norm,
                batch,
                school.teach(&training, net, &course, setting.seed, watch)?.errors(&school),
            ));
        }
    }
    findings.method(format!(
        "Then residual networks of 8 layers see the same pictures equally often, in batches of different sizes: {}. \
         The learning rate is proportional to the batch ({} for 64 pictures with batch normalization, {} without). {}.",
        school.described(),
        course(64, true, epochs).rate,
        course(64, false, epochs).rate,
        course(64, true, epochs).described().replace("batches of 64, ", "")
    ));
    conclude(&mut findings, &errors, school.chance())?;
    school.tell_diverged(&mut findings);
    Ok(findings)
}

/// Without normalization, a network learns at lower rates only.
fn course(batch: usize, norm: bool, epochs: f64) -> Course {
    let at_64 = if norm { 0.1 } else { 0.04 };
    Course { epochs, batch, rate: at_64 * batch as f64 / 64.0, warm_up: false, varied: false }
}

/// How far mean and variance of a batch are from those of all test pictures, behind a first convolution.
fn statistics(findings: &mut Findings, school: &School, setting: &Setting) -> Result<()> {
    let (channels, pictures) = (16, school.test_pictures().min(1024));
    let conv = Conv2d::<f32>::new(
        &Conv2dConfig::three(school.channels(), channels),
        &mut Generator::new(setting.seed).split("stem"),
    )?;
    let (images, _) = school.batch(0, pictures)?;
    let tape = residual_autograd::Tape::without_recording();
    let responses = conv.record(&[&tape.input(images)], Mode::Eval)?.value().clone();
    let all = moments(&responses, 0..pictures);
    let mut rows = Vec::new();
    for batch in (0..).map(|power| 1 << power).take_while(|&batch| batch <= pictures / 2) {
        let firsts = (0..pictures / batch).map(|number| number * batch);
        let distances: Vec<(f64, f64)> = firsts
            .map(|first| {
                let of_batch = moments(&responses, first..first + batch);
                // The mean's error in deviations of the channel, the variance's as a fraction of it.
                let pairs = || of_batch.iter().zip(&all);
                let means = pairs().map(|(a, b)| ((a.0 - b.0) / b.1.sqrt()).powi(2)).collect::<Vec<_>>();
                let variances = pairs().map(|(a, b)| (a.1 / b.1 - 1.0).powi(2)).collect::<Vec<_>>();
                (mean(&means), mean(&variances))
            })
            .collect();
        let root = |of: fn(&(f64, f64)) -> f64| mean(&distances.iter().map(of).collect::<Vec<_>>()).sqrt();
        rows.push((batch, root(|distance| distance.0), root(|distance| distance.1)));
    }
    findings.method(format!(
        "First, {pictures} test pictures go through a new convolution of {channels} channels. Means and variances of \
         each channel over a batch are held against those over all of them: root mean square over batches and \
         channels, of the mean in standard deviations, of the variance as a fraction of it."
    ));
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    let falls = rows.windows(2).all(|pair| pair[1].1 < pair[0].1 && pair[1].2 < pair[0].2);
    // The exponent of a power of the size through the first and the last.
    let exponent = (last.1 / first.1).ln() / (last.0 as f64).ln();
    findings.claim(
        falls,
        format!(
            "Larger batches stand for the whole better: of a single picture the mean is off by {} deviations and the \
             variance by {}, of {} pictures by {} and {}. The error of the mean goes with the {} power of the size \
             (−0.5 is what independent pictures would give).",
            short(first.1),
            percent(first.2),
            last.0,
            short(last.1),
            percent(last.2),
            format!("{exponent:.2}").replace('-', "−")
        ),
    );
    let line = |name: &str, of: fn(&(usize, f64, f64)) -> f64, colour: usize| Line {
        name: name.to_owned(),
        points: rows.iter().map(|row| (row.0 as f64, of(row))).collect(),
        colour: COLOURS[colour],
        dashed: false,
    };
    let plot = Plot {
        title: "Distance of a batch from all pictures".into(),
        x: Axis::log("pictures in a batch"),
        y: Axis::log("relative error"),
        lines: vec![line("mean", |row| row.1, 0), line("variance", |row| row.2, 1)],
    };
    findings.plot("statistics", "Statistics of a batch", &[plot], "")?;
    let rows = rows.iter().map(|row| vec![row.0.to_string(), short(row.1), short(row.2)]);
    findings.csv("statistics", &["pictures", "error of the mean", "error of the variance"], rows.collect());
    Ok(())
}

/// Mean and variance of each channel over some of the pictures.
fn moments(responses: &Tensor<f32>, pictures: std::ops::Range<usize>) -> Vec<(f64, f64)> {
    let [_, channels, height, width] = responses.dims("moments").expect("four axes");
    let picture = channels * height * width;
    // Channels-last: the channels of a position are neighbours.
    let part = &responses.as_slice()[pictures.start * picture..pictures.end * picture];
    let mut sums = vec![(0.0f64, 0.0f64); channels];
    for position in part.chunks_exact(channels) {
        for (sum, &value) in sums.iter_mut().zip(position) {
            let value = f64::from(value);
            *sum = (sum.0 + value, sum.1 + value * value);
        }
    }
    let count = (part.len() / channels) as f64;
    sums.into_iter().map(|(sum, squares)| (sum / count, squares / count - (sum / count).powi(2))).collect()
}

fn conclude(findings: &mut Findings, errors: &[(bool, usize, [f64; 2])], chance: f64) -> Result<()> {
    let of = |norm: bool| errors.iter().filter(move |row| row.0 == norm);
    let test = |norm: bool, batch: usize| {
        let row = of(norm).find(|row| row.1 == batch).expect("it was measured");
        row.2[1]
    };
    let best = of(true).map(|row| row.2[1]).fold(f64::INFINITY, f64::min);
    findings.claim(
        test(true, 2) > best + 0.02,
        format!(
            "Small batches do badly with batch normalization: {} of the test pictures wrong in batches of 2, {} in \
             batches of 4, {} in batches of 32; the best size gives {}.",
            percent(test(true, 2)),
            percent(test(true, 4)),
            percent(test(true, 32)),
            percent(best)
        ),
    );
    let loss = |norm: bool| test(norm, 2) - test(norm, 32);
    // What has not learnt cannot become worse.
    let has_learnt = test(false, 32) < 0.9 * chance;
    let but = if has_learnt { "" } else { ", which had hardly learnt, so that this says little" };
    findings.claim(
        loss(true) > loss(false) && has_learnt,
        format!(
            "It is normalization that suffers: from batches of 32 to batches of 2 the test error changes by {:+.1} \
             points, from {}, with it, and by {:+.1} points, from {}, without{but}.",
            100.0 * loss(true),
            percent(test(true, 32)),
            100.0 * loss(false),
            percent(test(false, 32))
        ),
    );
    let lines = [true, false].map(|norm| Line {
        name: if norm { "with batch normalization" } else { "without" }.to_owned(),
        points: of(norm).map(|row| (row.1 as f64, row.2[1])).collect(),
        colour: COLOURS[usize::from(!norm)],
        dashed: false,
    });
    let plot = Plot {
        title: "Test error after equally many pictures".into(),
        x: Axis::log("pictures in a batch"),
        y: Axis::percent("test error"),
        lines: lines.to_vec(),
    };
    findings.plot("errors", "Learning in small batches", &[plot], "")?;
    let rows = errors.iter().map(|&(norm, batch, [train, test])| {
        let name = if norm { "with" } else { "without" };
        vec![name.to_owned(), batch.to_string(), percent(train), percent(test)]
    });
    let header = ["batch normalization", "pictures in a batch", "training error", "test error"];
    findings.table("errors", "At the end", &header, rows.collect(), "");
    Ok(())
}
