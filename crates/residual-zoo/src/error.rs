//! What can be wrong with the description of a network. A name comes from outside and may hold anything:
//! messages show its line breaks and control characters as escapes.

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, ZooError>;

/// A network that does not exist, or cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ZooError {
    /// No row of the table, and no pattern, has this name.
    #[error("unknown model '{}'; did you mean '{closest}'?", .name.escape_debug())]
    Unknown {
        /// The name asked for.
        name: String,
        /// The most similar name that exists.
        closest: String,
    },
    /// A name of a family whose depths follow a rule, with a depth that does not.
    #[error("there is no {family} with {depth} layers: the depth must be {rule}, such as {example}")]
    Depth {
        /// The family's prefix.
        family: &'static str,
        /// The depth asked for.
        depth: usize,
        /// Which depths there are.
        rule: &'static str,
        /// One of them.
        example: usize,
    },
    /// A network is to be frozen up to a stage that it does not have.
    #[error(
        "nothing can be frozen until '{}'; did you mean '{closest}'? (the stages are {stages})",
        .stage.escape_debug()
    )]
    Stage {
        /// The stage asked for.
        stage: String,
        /// The most similar name of a stage.
        closest: String,
        /// All stages that something comes before.
        stages: String,
    },
    /// A configuration that contradicts itself.
    #[error("the network '{}' cannot be built: {why}", .name.escape_debug())]
    Invalid {
        /// The configuration's name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A description that is not one.
    #[error("the description of the network is not valid: {0}")]
    Toml(#[from] toml::de::Error),
    /// A shape does not fit, with the layer's path.
    #[error(transparent)]
    Layer(#[from] residual_nn::Error),
}

impl ZooError {
    /// [`Stage`](Self::Stage), given the stages that there are.
    pub(crate) fn stage(stage: &str, stages: Vec<String>) -> Self {
        let closest = crate::table::closest(stage, stages.clone());
        Self::Stage { stage: stage.to_owned(), closest, stages: stages.join(", ") }
    }
}
