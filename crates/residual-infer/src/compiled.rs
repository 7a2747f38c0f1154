//! A network that many threads ask at once. How it computes is decided for each shape of input
//! ([`Session`]); its weights are packed once for all of them.

use std::{fmt, sync::Mutex};

use residual_nn::{Graph, Module, Result};
use residual_tensor::{IntoShape, Tensor};

use crate::{
    Session,
    fuse::{Fused, fuse},
    lock,
};

/// A trained network compiled for inference, shared by threads.
///
/// Each call of [`run`](Self::run) takes a [`Session`] for the shape of its input, or makes one: that
/// costs little, since sessions share packed weights. A weight is packed when it is first needed, once
/// for each order in which kernels want it.
///
/// It shares the network's states until it has packed them: do not train a network that has been
/// compiled, or compile it again.
pub struct Compiled {
    graph: Graph<f32>,
    fused: Vec<Fused>,
    /// Sessions that nobody uses. The one used last comes last.
    idle: Mutex<Vec<Session>>,
}

/// Of how many shapes idle sessions are kept: one for whole batches, one for what is left at the end.
const SHAPES: usize = 2;

impl Compiled {
    /// A network, without any session yet.
    pub fn new<M: Module<f32> + ?Sized>(network: &M) -> Self {
        let graph = network.graph().in_evaluation();
        Self { fused: fuse(&graph), graph, idle: Mutex::default() }
    }

    /// A session for inputs of a shape, `[n, c, h, w]`.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the layer that would refuse it.
    pub fn session(&self, input: impl IntoShape) -> Result<Session> {
        Session::of_fused(&self.graph, &self.fused, input.into_shape()?)
    }

    /// The network's answer.
    ///
    /// # Errors
    /// As [`session`](Self::session).
    pub fn run(&self, images: &Tensor<f32>) -> Result<Tensor<f32>> {
        let idle = {
            let mut idle = lock(&self.idle);
            let found = idle.iter().rposition(|session| session.input() == images.shape());
            found.map(|index| idle.remove(index))
        };
        let mut session = idle.map_or_else(|| self.session(images.shape()), Ok)?;
        let answer = session.run(images);
        let mut idle = lock(&self.idle);
        idle.push(session);
        forget_old_shapes(&mut idle);
        answer
    }
}

/// Drops sessions for shapes that have not been asked for of late.
fn forget_old_shapes(idle: &mut Vec<Session>) {
    let mut recent = Vec::with_capacity(SHAPES);
    for session in idle.iter().rev() {
        if recent.len() < SHAPES && !recent.contains(session.input()) {
            recent.push(session.input().clone());
        }
    }
    idle.retain(|session| recent.contains(session.input()));
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("groups", &self.fused.len()).finish_non_exhaustive()
    }
}
