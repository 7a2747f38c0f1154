//! Which network: a name of the zoo, or a description. What is built from it is the zoo's
//! business.

use std::{fmt, fs};

use residual_zoo::{NetworkConfig, ZooError};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{ModelError, Result, TomlError};

/// A network by name or by description.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ModelSpec {
    /// A name that the zoo knows: `resnet18`, `cifar_resnet20`.
    Named(String),
    /// A network of one's own.
    Described(NetworkConfig),
}

impl ModelSpec {
    /// The network that a command line means: a name, or the path of a TOML file that describes
    /// one (which ends in `.toml`).
    ///
    /// # Errors
    /// [`ModelError::Io`] and [`ModelError::Toml`] with the path, [`ZooError::Invalid`]; a name
    /// is not looked up yet.
    pub fn open(text: &str) -> Result<Self> {
        if !text.ends_with(".toml") {
            return Ok(Self::Named(text.to_owned()));
        }
        let described =
            fs::read_to_string(text).map_err(|source| ModelError::Io { path: text.into(), source })?;
        match NetworkConfig::from_toml(&described) {
            Ok(config) => Ok(Self::Described(config)),
            Err(ZooError::Toml(error)) => Err(TomlError::new(text, &described, &error).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The configuration, with the classes and channels that it has by default.
    ///
    /// # Errors
    /// [`ZooError::Unknown`] or [`ZooError::Depth`] if there is no such name.
    pub fn config(&self) -> Result<NetworkConfig> {
        Ok(match self {
            Self::Named(name) => NetworkConfig::named(name)?,
            Self::Described(config) => config.clone(),
        })
    }
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named(name) => name,
            Self::Described(config) => &config.name,
        })
    }
}

impl From<&str> for ModelSpec {
    /// A name of the zoo.
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<NetworkConfig> for ModelSpec {
    fn from(config: NetworkConfig) -> Self {
        Self::Described(config)
    }
}

/// By hand, because serde's own answer to a typing mistake in an untagged enum does not name it.
impl<'de> Deserialize<'de> for ModelSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = ModelSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a model's name or a table that describes one")
            }
            fn visit_str<E>(self, name: &str) -> std::result::Result<ModelSpec, E> {
                Ok(ModelSpec::Named(name.to_owned()))
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> std::result::Result<ModelSpec, M::Error> {
                NetworkConfig::deserialize(MapAccessDeserializer::new(map)).map(ModelSpec::Described)
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}
