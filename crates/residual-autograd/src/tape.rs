//! The tape: operations in the order in which they were run.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use residual_tensor::{Float, Generator, Shape, Tensor};

use crate::{AutogradError, Operation, Result, State, Var, id::Id, timing::Clock};

/// Records operations, so that they can be run backwards. Clones are the same tape.
///
/// A tape serves one forward and one backward pass on one thread; make a new one for each step.
#[derive(Clone)]
pub struct Tape<T: Float>(pub(crate) Rc<RefCell<Recording<T>>>);

/// Called with the path and the output of every scope that ends.
type Observer<T> = Box<dyn FnMut(&str, &Var<T>)>;

pub(crate) struct Recording<T: Float> {
    pub(crate) id: Id,
    pub(crate) nodes: Vec<Node<T>>,
    pub(crate) recording: bool,
    /// The names of the open scopes.
    path: Vec<String>,
    observer: Option<Observer<T>>,
    /// Whether modules keep their input only, and run again in the backward pass.
    checkpointing: bool,
    /// Whether all that runs here has run before.
    replay: bool,
    /// What random numbers are drawn from.
    generator: Option<Generator>,
    pub(crate) clock: Option<Clock>,
    /// Each state that is used, so that it gets one gradient.
    pub(crate) states: HashMap<Id, UsedState<T>>,
    /// Results of operations whose gradient is kept.
    pub(crate) retained: HashSet<usize>,
}

/// A state as the tape knows it.
pub(crate) struct UsedState<T: Float> {
    /// Its value on this tape. A backward pass lets go of it, so that a step can change it in place.
    pub(crate) value: Option<Tensor<T>>,
    pub(crate) node: Option<usize>,
}

pub(crate) struct Node<T: Float> {
    pub(crate) name: &'static str,
    /// The scope in which it ran, such as `layer1.0.conv2`.
    pub(crate) path: String,
    pub(crate) inputs: Vec<usize>,
    pub(crate) shape: Shape,
    pub(crate) needs_gradient: bool,
    pub(crate) backward: Backward<T>,
}

/// What a backward pass does at a node.
pub(crate) enum Backward<T: Float> {
    /// Nothing leads here: the gradient is kept.
    Source,
    /// The operation passes it on to its inputs.
    Operation(Box<dyn Operation<T>>),
    /// No input needs a gradient.
    Unneeded,
    /// A backward pass has been here and freed what was saved.
    Spent,
}

impl<T: Float> Default for Tape<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Float> Tape<T> {
    /// An empty tape.
    pub fn new() -> Self {
        Self::with_recording(true)
    }

    /// A tape that keeps nothing: for evaluation. Intermediate values are freed as they go out
    /// of use.
    pub fn without_recording() -> Self {
        Self::with_recording(false)
    }

    /// A tape on which blocks keep their input only, and run again when the backward pass comes to
    /// them: less memory for one more forward pass (Chen et al. 2016, "Training Deep Nets with
    /// Sublinear Memory Cost").
    pub fn checkpointing() -> Self {
        let tape = Self::new();
        tape.0.borrow_mut().checkpointing = true;
        tape
    }

    /// Whether blocks should keep their input only.
    pub fn is_checkpointing(&self) -> bool {
        self.0.borrow().checkpointing
    }

    /// A tape for what has run before, and runs again for its gradient: running statistics do not
    /// follow a second time.
    pub fn replay() -> Self {
        let tape = Self::new();
        tape.0.borrow_mut().replay = true;
        tape
    }

    /// Whether all that runs here has run before.
    pub fn is_replay(&self) -> bool {
        self.0.borrow().replay
    }

    /// This tape with a generator for operations that draw random numbers, such as stochastic depth. It is not
    /// changed: what is drawn depends on the generator and on where in the network, not on the order in which
    /// operations run. Give each step another one.
    #[must_use]
    pub fn with_generator(self, generator: Generator) -> Self {
        self.0.borrow_mut().generator = Some(generator);
        self
    }

    /// The generator for what runs in the open scopes: the same one each time it is asked for there.
    ///
    /// # Errors
    /// [`AutogradError::NoGenerator`] if the tape was made [without](Self::with_generator).
    pub fn generator(&self) -> Result<Generator> {
        let tape = self.0.borrow();
        let generator = tape.generator.as_ref().ok_or(AutogradError::NoGenerator)?;
        Ok(generator.split(tape.path.join(".").as_str()))
    }

    /// What [`with_generator`](Self::with_generator) was given.
    pub(crate) fn whole_generator(&self) -> Option<Generator> {
        self.0.borrow().generator.clone()
    }

    fn with_recording(recording: bool) -> Self {
        Self(Rc::new(RefCell::new(Recording {
            id: Id::unique(),
            nodes: Vec::new(),
            recording,
            path: Vec::new(),
            observer: None,
            checkpointing: false,
            replay: false,
            generator: None,
            clock: None,
            states: HashMap::new(),
            retained: HashSet::new(),
        })))
    }

    /// A constant: no gradient flows into it.
    pub fn input(&self, value: Tensor<T>) -> Var<T> {
        self.source("input", value, false)
    }

    /// A variable whose gradient is wanted.
    pub fn leaf(&self, value: Tensor<T>) -> Var<T> {
        self.source("leaf", value, true)
    }

    /// The value of a state, whose gradient is wanted if it is [trained](State::is_trained). A
    /// state that is used more than once has one node, and one gradient.
    pub fn state(&self, state: &State<T>) -> Var<T> {
        let known = |used: &UsedState<T>| Some((used.value.clone()?, used.node));
        let known = self.0.borrow().states.get(&state.id()).and_then(known);
        if let Some((value, node)) = known {
            return Var::new(self.clone(), value, node);
        }
        let var = self.source("state", state.value(), state.is_trained());
        self.use_as(state, &var);
        var
    }

    /// Lets `var` stand for the value of `state` on this tape: a state can be given other values
    /// for one run, and gradients be taken with respect to them.
    ///
    /// # Errors
    /// [`AutogradError::MixedTapes`] if `var` is on another tape, [`AutogradError::StateShape`] if its
    /// shape is not that of the state.
    pub fn substitute(&self, state: &State<T>, var: &Var<T>) -> Result<()> {
        if !var.tape().is_same(self) {
            return Err(AutogradError::MixedTapes { operation: "substitute" });
        }
        let (held, given) = (state.shape(), var.shape().clone());
        if held != given {
            return Err(AutogradError::StateShape { held, given });
        }
        self.use_as(state, var);
        Ok(())
    }

    fn use_as(&self, state: &State<T>, var: &Var<T>) {
        let used = UsedState { value: Some(var.value().clone()), node: var.node() };
        self.0.borrow_mut().states.insert(state.id(), used);
    }

    /// Whether both are clones of the same tape.
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn source(&self, name: &'static str, value: Tensor<T>, needs_gradient: bool) -> Var<T> {
        let shape = value.shape().clone();
        let node = self.push(name, Vec::new(), shape, needs_gradient, Backward::Source);
        Var::new(self.clone(), value, node)
    }

    pub(crate) fn push(
        &self,
        name: &'static str,
        inputs: Vec<usize>,
        shape: Shape,
        needs_gradient: bool,
        backward: Backward<T>,
    ) -> Option<usize> {
        let node = {
            let mut tape = self.0.borrow_mut();
            if !tape.recording {
                return None;
            }
            let path = tape.path.join(".");
            tape.nodes.push(Node { name, path, inputs, shape, needs_gradient, backward });
            tape.nodes.len() - 1
        };
        self.forward_ended(node);
        Some(node)
    }

    /// Runs `f` in a named scope: what it records, and an error that it returns, carry the path
    /// of the open scopes, and an [observer](Self::observe) is shown its result.
    ///
    /// # Errors
    /// What `f` reports, with the path of the innermost scope.
    pub fn scope(&self, name: &str, f: impl FnOnce() -> Result<Var<T>>) -> Result<Var<T>> {
        self.0.borrow_mut().path.push(name.to_owned());
        let result = f();
        let (path, observer) = {
            let mut tape = self.0.borrow_mut();
            let path = tape.path.join(".");
            tape.path.pop();
            (path, tape.observer.take())
        };
        let result = result.map_err(|error| error.at(&path));
        if let Some(mut observer) = observer {
            if let Ok(output) = &result {
                observer(&path, output);
            }
            self.0.borrow_mut().observer = Some(observer);
        }
        result
    }

    /// Shows the path and output of every scope to `observer` as it ends.
    pub fn observe(&self, observer: impl FnMut(&str, &Var<T>) + 'static) {
        self.0.borrow_mut().observer = Some(Box::new(observer));
    }

    /// Whether this tape is [observed](Self::observe). Modules run layer by layer then, instead of
    /// fusing layers whose results are not looked at.
    pub fn is_observed(&self) -> bool {
        self.0.borrow().observer.is_some()
    }

    /// The number of recorded nodes.
    pub fn len(&self) -> usize {
        self.0.borrow().nodes.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
