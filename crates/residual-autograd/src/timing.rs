//! How long each operation takes, for whoever asks. A tape that is not asked does not look at the
//! clock. Not here: what to make of the times.

use std::{
    mem,
    time::{Duration, Instant},
};

use residual_tensor::{Float, Shape};

use crate::{Tape, tape::Node};

/// One run of an operation's forward or backward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// The operation's name; [`SUM`] where gradients are added because a value was used twice.
    pub name: &'static str,
    /// The scope in which it was recorded, such as `layer1.0.conv2`.
    pub path: String,
    /// Which of the two it was.
    pub pass: Pass,
    /// The shapes of the operation's inputs, of a sum its own.
    pub inputs: Vec<Shape>,
    /// The shape of its output.
    pub output: Shape,
    /// How long it took.
    pub duration: Duration,
}

/// The name under which the sum of a value's gradients is timed.
pub const SUM: &str = "sum of gradients";

/// A direction through the tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pass {
    /// From the input to the loss.
    Forward,
    /// From the loss to the gradients.
    Backward,
}

/// What a tape keeps for [`Tape::time`].
pub(crate) struct Clock {
    report: Box<dyn FnMut(Timing)>,
    /// When the operation before ended.
    since: Instant,
}

/// What is to be told of a node.
pub(crate) enum Span {
    /// Its forward or backward.
    Operation(usize, Duration),
    /// The sum of its gradients.
    Sum(usize, Duration),
}

impl<T: Float> Tape<T> {
    /// From now on tells `report` how long each operation that is recorded takes, and after a
    /// backward pass how long each operation took there.
    ///
    /// A forward is said to last from the end of the one before it, so that the little work
    /// between operations is counted, too.
    ///
    /// ```
    /// use residual_autograd::{Pass, Tape};
    /// use residual_tensor::Tensor;
    ///
    /// let tape = Tape::new();
    /// tape.time(|timing| println!("{:?} {} {:?}", timing.pass, timing.name, timing.duration));
    /// let x = tape.leaf(Tensor::full([1], 2.0f32));
    /// x.add(&x)?.relu()?.backward()?; // forward add and relu, then backward relu and add
    /// # Ok::<(), residual_autograd::AutogradError>(())
    /// ```
    pub fn time(&self, report: impl FnMut(Timing) + 'static) {
        self.0.borrow_mut().clock = Some(Clock { report: Box::new(report), since: Instant::now() });
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.0.borrow().clock.is_some()
    }

    /// Tells of the forward of an operation that has just been recorded.
    pub(crate) fn forward_ended(&self, node: usize) {
        let duration = {
            let mut tape = self.0.borrow_mut();
            let Some(clock) = &mut tape.clock else { return };
            let now = Instant::now();
            now - mem::replace(&mut clock.since, now)
        };
        self.tell(Pass::Forward, [Span::Operation(node, duration)]);
    }

    /// Tells of what is no source. The tape is not borrowed while it is told: `report` may use it.
    pub(crate) fn tell(&self, pass: Pass, spans: impl IntoIterator<Item = Span>) {
        let Some(mut clock) = self.0.borrow_mut().clock.take() else { return };
        for span in spans {
            let timing = {
                let tape = self.0.borrow();
                let timing = |name, node: &Node<T>, inputs, duration| {
                    let (path, output) = (node.path.clone(), node.shape.clone());
                    Timing { name, path, pass, inputs, output, duration }
                };
                match span {
                    Span::Operation(node, duration) => {
                        let node = &tape.nodes[node];
                        let inputs = node.inputs.iter().map(|&input| tape.nodes[input].shape.clone());
                        timing(node.name, node, inputs.collect(), duration)
                    }
                    Span::Sum(node, duration) => {
                        let node = &tape.nodes[node];
                        timing(SUM, node, vec![node.shape.clone()], duration)
                    }
                }
            };
            if !timing.inputs.is_empty() {
                (clock.report)(timing);
            }
        }
        clock.since = Instant::now();
        self.0.borrow_mut().clock = Some(clock);
    }
}
