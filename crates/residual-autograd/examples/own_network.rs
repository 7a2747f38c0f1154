//! A network that is not a ResNet, with autograd alone: one head of attention learns to look things
//! up. It is shown eight pairs of a key and a value in random order, and a key; it answers with the
//! value that belongs to it. Guessing is right in one case of four; this is right in at least 98 of
//! 100, after a second: `cargo run -p residual-autograd --example own_network`

use residual_autograd::{AutogradError, State, Tape, Var};
use residual_kernels::{SgdRule, sgd};
use residual_tensor::{Generator, Tensor};

const PAIRS: usize = 8;
const VALUES: usize = 4;
const WIDTH: usize = 16;

/// Questions with their answers.
struct Batch {
    /// Each pair as a one-hot key beside a one-hot value, `[n, PAIRS, PAIRS + VALUES]`.
    pairs: Tensor<f32>,
    /// The key that is asked for, one-hot, `[n, 1, PAIRS]`.
    asked: Tensor<f32>,
    answers: Vec<usize>,
}

impl Batch {
    fn draw(n: usize, generator: &mut Generator) -> Result<Self, AutogradError> {
        let mut pairs = vec![0.0; n * PAIRS * (PAIRS + VALUES)];
        let mut asked = vec![0.0; n * PAIRS];
        let mut answers = vec![0; n];
        for i in 0..n {
            let wanted = generator.below(PAIRS);
            asked[i * PAIRS + wanted] = 1.0;
            for (place, key) in generator.permutation(PAIRS).into_iter().enumerate() {
                let value = generator.below(VALUES);
                let pair = &mut pairs[(i * PAIRS + place) * (PAIRS + VALUES)..];
                (pair[key], pair[PAIRS + value]) = (1.0, 1.0);
                if key == wanted {
                    answers[i] = value;
                }
            }
        }
        let pairs = Tensor::from_vec([n, PAIRS, PAIRS + VALUES], pairs)?;
        Ok(Self { pairs, asked: Tensor::from_vec([n, 1, PAIRS], asked)?, answers })
    }
}

struct Attention {
    query: State<f32>,
    key: State<f32>,
    value: State<f32>,
}

impl Attention {
    fn new(generator: &mut Generator) -> Self {
        let mut weight = |shape| State::parameter(generator.normal_tensor(shape, 0.3));
        let (query, key) = (weight([PAIRS, WIDTH]), weight([PAIRS + VALUES, WIDTH]));
        Self { query, key, value: weight([PAIRS + VALUES, VALUES]) }
    }

    /// A score for each value, `[n, VALUES]`.
    fn forward(&self, tape: &Tape<f32>, batch: &Batch) -> Result<Var<f32>, AutogradError> {
        let (pairs, asked) = (tape.input(batch.pairs.clone()), tape.input(batch.asked.clone()));
        let query = asked.matmul(&tape.state(&self.query))?; // [n, 1, WIDTH]
        let key = pairs.matmul(&tape.state(&self.key))?; // [n, PAIRS, WIDTH]
        let value = pairs.matmul(&tape.state(&self.value))?; // [n, PAIRS, VALUES]
        let scores = query.matmul(&key.transpose()?)?.mul_scalar((WIDTH as f32).sqrt().recip())?;
        let attention = scores.softmax(2)?; // [n, 1, PAIRS]: how much of each pair
        attention.matmul(&value)?.reshape([batch.answers.len(), VALUES])
    }

    fn accuracy(&self, batch: &Batch) -> Result<f64, AutogradError> {
        let scores = self.forward(&Tape::without_recording(), batch)?.value().to_vec();
        let best = |scores: &[f32]| (0..VALUES).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let right = scores
            .chunks(VALUES)
            .zip(&batch.answers)
            .filter(|(scores, answer)| best(scores) == Some(**answer));
        Ok(right.count() as f64 / batch.answers.len() as f64)
    }
}

/// Trains, and returns the accuracy on questions that were not seen.
fn train(seed: u64) -> Result<f64, AutogradError> {
    let mut generator = Generator::new(seed);
    let net = Attention::new(&mut generator);
    let weights = [&net.query, &net.key, &net.value];
    let mut velocities = weights.map(|weight| Tensor::zeros(weight.shape()));
    let rule = SgdRule { learning_rate: 0.5, momentum: 0.9, weight_decay: 0.0, nesterov: false };
    for step in 0..200 {
        let batch = Batch::draw(64, &mut generator)?;
        let gradients = {
            let loss = net.forward(&Tape::new(), &batch)?.cross_entropy(&batch.answers, 0.0)?;
            if step % 20 == 0 {
                println!("step {step:3}  loss {:.4}", loss.value().item()?);
            }
            loss.backward()?
        };
        for (weight, velocity) in weights.iter().zip(&mut velocities) {
            let Some(gradient) = gradients.of_state(weight) else { continue };
            weight.update(|weight| sgd::step(weight, gradient, Some(velocity), &rule))?;
        }
    }
    net.accuracy(&Batch::draw(1000, &mut generator)?)
}

fn main() -> Result<(), AutogradError> {
    println!("right on new questions: {:.1} %", 100.0 * train(1)?);
    Ok(())
}

#[test]
fn it_learns_to_look_things_up() {
    for seed in 1..=3 {
        let accuracy = train(seed).unwrap();
        assert!(accuracy >= 0.98, "seed {seed}: {accuracy}");
    }
}
