//! Tensors that outlive a tape: what a network is made of.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use residual_tensor::{Float, Shape, Tensor};

use crate::{AutogradError, Result, id::Id};

/// What a [`State`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Trained by gradient.
    Parameter,
    /// Kept along: running statistics.
    Buffer,
    /// A whole number that files store as an integer: batches seen.
    Counter,
}

/// A tensor that a module keeps between steps, trained or not.
///
/// A handle: clones are the same state, as the same weight may be used in two places. It can
/// be read and written through a shared reference, which lets one walk over a network serve
/// saving, loading, counting and stepping, and lets batch normalization update its running
/// statistics in `forward`.
#[derive(Debug, Clone)]
pub struct State<T: Float>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T: Float> {
    id: Id,
    role: Role,
    frozen: AtomicBool,
    value: RwLock<Tensor<T>>,
}

impl<T: Float> State<T> {
    /// A state with its first value.
    pub fn new(role: Role, value: Tensor<T>) -> Self {
        let (id, frozen, value) = (Id::unique(), AtomicBool::new(false), RwLock::new(value));
        Self(Arc::new(Inner { id, role, frozen, value }))
    }

    /// A trained tensor.
    pub fn parameter(value: Tensor<T>) -> Self {
        Self::new(Role::Parameter, value)
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// The value now. Sharing, not copying; let go of it before an update.
    pub fn value(&self) -> Tensor<T> {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The shape of the value.
    pub fn shape(&self) -> Shape {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).shape().clone()
    }

    /// Changes the value in place, or in a copy if a clone of it is still in use.
    pub fn update<R>(&self, f: impl FnOnce(&mut Tensor<T>) -> R) -> R {
        f(&mut self.0.value.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value, keeping the layout that it has.
    ///
    /// # Errors
    /// [`AutogradError::StateShape`] if the shape differs.
    pub fn set(&self, value: &Tensor<T>) -> Result<()> {
        self.update(|held| {
            if held.shape() != value.shape() {
                let (held, given) = (held.shape().clone(), value.shape().clone());
                return Err(AutogradError::StateShape { held, given });
            }
            *held = value.to_layout(held.layout());
            Ok(())
        })
    }

    /// Whether steps train it: a parameter that is not frozen.
    pub fn is_trained(&self) -> bool {
        self.0.role == Role::Parameter && !self.0.frozen.load(Ordering::Relaxed)
    }

    /// Freezes a parameter (no gradient is computed for it) or thaws it again.
    pub fn set_frozen(&self, frozen: bool) {
        self.0.frozen.store(frozen, Ordering::Relaxed);
    }

    /// Tells states apart: clones have the same.
    pub fn id(&self) -> Id {
        self.0.id
    }
}
