//! A network compiled for inputs of one shape.

use std::time::{Duration, Instant};

use residual_kernels::{KernelError, fused::channels_last_into};
use residual_nn::{Error, Graph, Module, Node, Result};
use residual_tensor::{IntoShape, Layout, Shape, Tensor};

use crate::{
    Compiled,
    arena::{self, Lifetime},
    division::Division,
    fuse::Fused,
    step::{Addend, Place, Step, Task},
};

/// A network compiled for inputs of one shape. Printed, it shows its steps.
///
/// It shares the packed weights of the [`Compiled`] network that it comes from, and has memory of its own for
/// what is between.
#[derive(Debug)]
pub struct Session {
    input: Shape,
    pub(crate) steps: Vec<Step>,
    pub(crate) division: Division,
    /// Where images go that are not in channels-last memory.
    images: std::ops::Range<usize>,
    output: (Place, Shape),
    pub(crate) arena: Tensor<f32>,
}

impl Session {
    /// Compiles a network for inputs of a shape, `[n, c, h, w]`, alone.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the layer that would refuse it.
    pub fn new<M: Module<f32> + ?Sized>(network: &M, input: impl IntoShape) -> Result<Self> {
        Compiled::new(network).session(input)
    }

    /// With operations that are fused already.
    pub(crate) fn of_fused(graph: &Graph<f32>, fused: &[Fused], input: Shape) -> Result<Self> {
        // The input is value 0, the result of step i value i + 1.
        let mut value_of = vec![0; graph.nodes().len()];
        for (index, step) in fused.iter().enumerate() {
            value_of[step.result.index()] = index + 1;
        }
        let output = value_of[graph.output().index()];
        let last_use = last_uses(fused, &value_of, output);
        let division = Division::choose(fused, &input, &value_of, &last_use);
        let (tasks, shapes) = resolve(graph, fused, &input, &value_of, division)?;
        let storage = Storage::plan(&tasks, &shapes, &last_use, division);
        let place = |value: usize| match value {
            0 => Place::Images,
            _ => Place::Arena(storage.range(value, &shapes)),
        };
        let steps = tasks.into_iter().zip(1..).map(|(sized, value)| {
            let start = storage.range(value, &shapes).start;
            let length = sized.output.elements();
            Step {
                path: sized.path,
                task: sized.task,
                inputs: sized.inputs.into_iter().map(|(value, shape)| (place(value), shape)).collect(),
                addend: match sized.addend {
                    Some(addend) if storage.piece[addend] == storage.piece[value] => Addend::InPlace,
                    Some(addend) => Addend::Other(place(addend)),
                    None => Addend::None,
                },
                relu: sized.relu,
                y: start..start + length,
                advance: if value == division.steps { length } else { 0 },
                shape: sized.output,
            }
        });
        let mut arena = Tensor::try_unfilled([storage.total], Layout::Contiguous)?;
        arena.as_mut_slice().fill(0.0);
        Ok(Self {
            steps: steps.collect(),
            division,
            images: storage.range(0, &shapes),
            output: (place(output), shapes[output].clone()),
            arena,
            input,
        })
    }

    /// The shape that inputs must have.
    pub fn input(&self) -> &Shape {
        &self.input
    }

    /// The shape of the answer.
    pub fn output(&self) -> &Shape {
        &self.output.1
    }

    /// Bytes of all intermediate results, which share one piece of memory.
    pub fn arena_bytes(&self) -> usize {
        size_of_val(self.arena.as_slice())
    }

    /// The network's answer.
    ///
    /// # Errors
    /// If the images do not have the shape that the session was made for.
    pub fn run(&mut self, images: &Tensor<f32>) -> Result<Tensor<f32>> {
        let layout = if self.output().rank() == 4 { Layout::ChannelsLast } else { Layout::Contiguous };
        let mut answer = Tensor::try_unfilled(self.output(), layout)?;
        self.run_into(images, &mut answer)?;
        Ok(answer)
    }

    /// [`run`](Self::run), with the answer in a tensor that exists already, in channels-last memory
    /// if it has four axes. After the first time this takes no memory from the system.
    ///
    /// # Errors
    /// As [`run`](Self::run), and if the tensor does not have the answer's shape and layout.
    pub fn run_into(&mut self, images: &Tensor<f32>, answer: &mut Tensor<f32>) -> Result<()> {
        self.execute(images, answer, |_, _| ())
    }

    /// How long each step takes: the median over `rounds` runs.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn profile(&mut self, images: &Tensor<f32>, rounds: usize) -> Result<StepTimes> {
        let mut answer = self.run(images)?;
        let mut times = vec![Vec::with_capacity(rounds); self.steps.len()];
        for _ in 0..rounds.max(1) {
            times.iter_mut().for_each(|times| times.push(Duration::ZERO));
            self.execute(images, &mut answer, |step, time| {
                times[step].last_mut().into_iter().for_each(|sum| *sum += time);
            })?;
        }
        let steps = self.steps.iter().zip(&mut times).enumerate().map(|(index, (step, times))| {
            times.sort_unstable();
            let parts = if index < self.division.steps { self.division.parts } else { 1 };
            StepTime {
                path: step.path.clone(),
                what: self.describe(step),
                time: times[times.len() / 2],
                multiply_adds: step.task.multiply_adds() * parts as u64,
            }
        });
        Ok(StepTimes { steps: steps.collect() })
    }

    /// Runs all steps, telling `watch` how long each took.
    fn execute(
        &mut self,
        images: &Tensor<f32>,
        answer: &mut Tensor<f32>,
        mut watch: impl FnMut(usize, Duration),
    ) -> Result<()> {
        KernelError::unless_same("session", ("input", images.shape()), ("the session's", &self.input))?;
        KernelError::unless_same("session", ("answer", answer.shape()), ("the session's", &self.output.1))?;
        if !lies_channels_last(answer) {
            let (answer, rule) = (("answer", answer.shape()), "the answer must lie channels-last");
            return Err(KernelError::mismatch("session", answer, ("the session's", &self.output.1), rule))?;
        }
        let arena = self.arena.as_mut_slice();
        let (parts, head) = (self.division.parts, self.division.steps);
        let mut run = |index: usize, part: usize, images: &[f32], converted: Option<&_>, arena: &mut _| {
            let (start, step) = (Instant::now(), &self.steps[index]);
            step.run(part, images, converted, arena).map_err(|error| error.at(&step.path))?;
            watch(index, start.elapsed());
            Ok::<(), Error>(())
        };
        let part_len = images.len() / parts;
        let converted = (!lies_channels_last(images)).then_some(&self.images);
        for part in 0..parts {
            let images_of_part = &images.as_slice()[part * part_len..][..part_len];
            if let Some(range) = converted {
                let [batch, channels, height, width] = images.dims("session").map_err(KernelError::from)?;
                let shape = [batch / parts, channels, height, width];
                channels_last_into(images_of_part, &mut arena[range.clone()], shape)?;
            }
            let steps = if parts == 1 { 0..self.steps.len() } else { 0..head };
            for index in steps {
                run(index, part, images_of_part, converted, arena)?;
            }
        }
        if parts > 1 {
            for index in head..self.steps.len() {
                run(index, 0, images.as_slice(), None, arena)?;
            }
        }
        let source = match (&self.output.0, converted) {
            (Place::Images, None) => images.as_slice(),
            (Place::Images, Some(range)) => &arena[range.clone()],
            (Place::Arena(range), _) => &arena[range.clone()],
        };
        answer.as_mut_slice().copy_from_slice(source);
        Ok(())
    }
}

/// A step whose sizes are worked out; where its inputs and results are in memory is decided next. Until then
/// values are known by number: 0 is the network's input, i the result of the i-th step.
struct Resolved {
    path: String,
    task: Task,
    inputs: Vec<(usize, Shape)>,
    addend: Option<usize>,
    relu: bool,
    /// The shape of the output, of a part of the batch if there are parts.
    output: Shape,
}

/// For each value the last step that reads it, or writes it if none does.
fn last_uses(fused: &[Fused], value_of: &[usize], output: usize) -> Vec<usize> {
    let mut last_use: Vec<usize> = (0..=fused.len()).collect();
    for (fused, step) in fused.iter().zip(1..) {
        for node in fused.inputs.iter().chain(&fused.addend) {
            last_use[value_of[node.index()]] = step;
        }
    }
    last_use[output] = usize::MAX;
    last_use
}

/// The same shape for `batch` times or parts of the first axis.
fn with_batch(shape: &Shape, batch: impl Fn(usize) -> usize) -> Result<Shape> {
    let mut axes = shape.to_vec();
    axes.iter_mut().take(1).for_each(|axis| *axis = batch(*axis));
    Ok(axes.into_shape()?)
}

/// Works out all sizes, and finds the weights for them.
fn resolve(
    graph: &Graph<f32>,
    fused: &[Fused],
    input: &Shape,
    value_of: &[usize],
    division: Division,
) -> Result<(Vec<Resolved>, Vec<Shape>)> {
    let mut shapes = vec![with_batch(input, |batch| batch / division.parts)?];
    let mut tasks = Vec::with_capacity(fused.len());
    for Fused { path, kind, inputs, addend, relu, .. } in fused {
        let addend = addend.as_ref().map(|addend| value_of[addend.index()]);
        let value = |node: &Node| (value_of[node.index()], shapes[value_of[node.index()]].clone());
        let inputs: Vec<(usize, Shape)> = inputs.iter().map(value).collect();
        let at_path = |error: Error| error.at(path);
        let of_inputs: Vec<&Shape> = inputs.iter().map(|(_, shape)| shape).collect();
        let output = kind.output(&of_inputs).map_err(at_path)?;
        let task = Task::new(graph, kind, of_inputs[0]).map_err(at_path)?;
        if let Some(addend) = addend {
            let same = KernelError::unless_same("add", ("a", &output), ("b", &shapes[addend]));
            same.map_err(|error| at_path(error.into()))?;
        }
        tasks.push(Resolved {
            path: path.clone(),
            task,
            inputs,
            addend,
            relu: *relu,
            output: output.clone(),
        });
        // From here on the whole batch is taken at once.
        let whole = tasks.len() == division.steps;
        shapes.push(if whole { with_batch(&output, |batch| batch * division.parts)? } else { output });
    }
    Ok((tasks, shapes))
}

/// Which value is where.
struct Storage {
    /// The piece of memory of each value; a sum has that of its addend.
    piece: Vec<usize>,
    /// Where pieces begin.
    offsets: Vec<usize>,
    total: usize,
}

impl Storage {
    fn plan(tasks: &[Resolved], shapes: &[Shape], last_use: &[usize], division: Division) -> Self {
        let mut piece: Vec<usize> = Vec::with_capacity(shapes.len());
        let mut lifetimes: Vec<Lifetime> = Vec::new();
        for (value, shape) in shapes.iter().enumerate() {
            let task = value.checked_sub(1).map(|step| &tasks[step]);
            let replaced = task.and_then(|task| {
                let addend = task.addend?;
                let is_read = task.inputs.iter().any(|(input, _)| *input == addend);
                let goes = addend != 0 && !is_read && last_use[addend] == value;
                (goes && shapes[addend] == *shape).then_some(addend)
            });
            // What the parts leave behind is there from the first of them on.
            let first = if value == division.steps { 0 } else { value };
            match replaced {
                Some(addend) => {
                    lifetimes[piece[addend]].steps.end = last_use[value];
                    piece.push(piece[addend]);
                }
                None => {
                    piece.push(lifetimes.len());
                    lifetimes.push(Lifetime { length: shape.elements(), steps: first..last_use[value] });
                }
            }
        }
        let (offsets, total) = arena::place(&lifetimes);
        Self { piece, offsets, total }
    }

    fn range(&self, value: usize, shapes: &[Shape]) -> std::ops::Range<usize> {
        let start = self.offsets[self.piece[value]];
        start..start + shapes[value].elements()
    }
}

/// How long a session's steps take.
#[derive(Debug, Clone)]
pub struct StepTimes {
    /// All steps in order.
    pub steps: Vec<StepTime>,
}

/// How long a step takes.
#[derive(Debug, Clone)]
pub struct StepTime {
    /// Where it is in the network.
    pub path: String,
    /// What it does, in short.
    pub what: String,
    /// The median.
    pub time: Duration,
    /// Multiplications, each with an addition, of the definition.
    pub multiply_adds: u64,
}

/// Whether a tensor's numbers lie as in channels-last memory, if it has four axes.
fn lies_channels_last(tensor: &Tensor<f32>) -> bool {
    match **tensor.shape() {
        [_, c, h, w] => tensor.layout() == Layout::ChannelsLast || c == 1 || h * w == 1,
        _ => true,
    }
}
