//! Other authors' names for what a network here calls by torchvision's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Weights, error::shown};

/// A rule `from=to` that replaces whole segments of a path, wherever they stand in it:
/// `linear=fc` makes `fc.weight` of `linear.weight` and leaves `nonlinear.weight` alone.
///
/// Both sides may have several segments (`head.linear=fc`), and `to` may be empty (`backbone=`
/// drops the segment).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rename {
    from: String,
    to: String,
}

/// A rule that is malformed or does not fit the weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// The rule is not `from=to`.
    #[error("`{}` is not a rule to rename by; write it like linear=fc", shown(.rule))]
    Syntax {
        /// What was given.
        rule: String,
    },
    /// No name has the segments that the rule replaces.
    #[error("`{}` fits no name in the file, which begins with {}", shown(&.rule.to_string()), shown(.first))]
    Unused {
        /// The rule.
        rule: Rename,
        /// The file's first name, as an example.
        first: String,
    },
    /// Two tensors would get one name.
    #[error("renaming by `{}` would give two tensors the name `{}`", shown(&.rule.to_string()), shown(.name))]
    Collision {
        /// The rule.
        rule: Rename,
        /// The name.
        name: String,
    },
}

impl Rename {
    /// The name after the rule, or `None` if the rule does not fit.
    fn apply(&self, name: &str) -> Option<String> {
        let (from, segments): (Vec<_>, Vec<_>) = (self.from.split('.').collect(), name.split('.').collect());
        let at = segments.windows(from.len()).position(|run| run == from)?;
        let to = Some(self.to.as_str()).filter(|to| !to.is_empty());
        let renamed =
            segments[..at].iter().copied().chain(to).chain(segments[at + from.len()..].iter().copied());
        Some(renamed.collect::<Vec<_>>().join("."))
    }
}

impl FromStr for Rename {
    type Err = RenameError;
    fn from_str(rule: &str) -> Result<Self, RenameError> {
        let syntax = || RenameError::Syntax { rule: rule.to_owned() };
        let (from, to) = rule.split_once('=').ok_or_else(syntax)?;
        let well_formed = |path: &str| path.split('.').all(|segment| !segment.is_empty());
        if !well_formed(from) || !(to.is_empty() || well_formed(to)) || to.contains('=') {
            return Err(syntax());
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }
}

impl TryFrom<String> for Rename {
    type Error = RenameError;
    fn try_from(rule: String) -> Result<Self, RenameError> {
        rule.parse()
    }
}

impl From<Rename> for String {
    fn from(rule: Rename) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.from, self.to)
    }
}

/// A well-known repository whose ResNets differ from torchvision's by names alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Variation {
    /// Where the names come from.
    pub repository: &'static str,
    /// A name that only this variation has.
    mark: &'static str,
    /// What its names are called here, as `(theirs, ours)`.
    pub names: &'static [(&'static str, &'static str)],
}

/// Most specific first.
static VARIATIONS: [Variation; 6] = [
    Variation {
        repository: "kuangliu/pytorch-cifar",
        mark: "layer2.0.shortcut.0.weight",
        names: &[("shortcut", "downsample"), ("linear", "fc")],
    },
    Variation {
        repository: "weiaicunzai/pytorch-cifar100",
        mark: "conv2_x.0.residual_function.0.weight",
        names: &[
            ("conv1.0", "conv1"),
            ("conv1.1", "bn1"),
            ("conv2_x", "layer1"),
            ("conv3_x", "layer2"),
            ("conv4_x", "layer3"),
            ("conv5_x", "layer4"),
            ("residual_function.0", "conv1"),
            ("residual_function.1", "bn1"),
            ("residual_function.3", "conv2"),
            ("residual_function.4", "bn2"),
            ("residual_function.6", "conv3"),
            ("residual_function.7", "bn3"),
            ("shortcut", "downsample"),
        ],
    },
    Variation {
        repository: "huggingface/transformers",
        mark: "resnet.embedder.embedder.convolution.weight",
        names: &[
            ("resnet.embedder.embedder.convolution", "conv1"),
            ("resnet.embedder.embedder.normalization", "bn1"),
            ("resnet.encoder.stages.0.layers", "layer1"),
            ("resnet.encoder.stages.1.layers", "layer2"),
            ("resnet.encoder.stages.2.layers", "layer3"),
            ("resnet.encoder.stages.3.layers", "layer4"),
            ("layer.0.convolution", "conv1"),
            ("layer.0.normalization", "bn1"),
            ("layer.1.convolution", "conv2"),
            ("layer.1.normalization", "bn2"),
            ("layer.2.convolution", "conv3"),
            ("layer.2.normalization", "bn3"),
            ("shortcut.convolution", "downsample.0"),
            ("shortcut.normalization", "downsample.1"),
            ("classifier.1", "fc"),
        ],
    },
    Variation {
        repository: "akamaster/pytorch_resnet_cifar10",
        mark: "linear.weight",
        names: &[("linear", "fc")],
    },
    // The usual attributes of a LightningModule for its network.
    Variation {
        repository: "Lightning-AI/pytorch-lightning, self.model",
        mark: "model.conv1.weight",
        names: &[("model", "")],
    },
    Variation {
        repository: "Lightning-AI/pytorch-lightning, self.net",
        mark: "net.conv1.weight",
        names: &[("net", "")],
    },
];

impl Weights {
    /// Renames by rules, one after the other.
    ///
    /// # Errors
    /// A [`RenameError`] if a rule fits no name or merges two; the weights are then unchanged.
    pub fn rename(&mut self, rules: &[Rename]) -> Result<(), RenameError> {
        let mut renamed = self.clone(); // shares the tensors
        for rule in rules {
            if !renamed.names().any(|name| rule.apply(name).is_some()) {
                let first = renamed.names().next().unwrap_or("no name").to_owned();
                return Err(RenameError::Unused { rule: rule.clone(), first });
            }
            renamed
                .rename_each(|name| rule.apply(name).unwrap_or_else(|| name.to_owned()))
                .map_err(|name| RenameError::Collision { rule: rule.clone(), name })?;
        }
        *self = renamed;
        Ok(())
    }

    /// Gives torchvision's names to weights in which a [`Variation`] is recognized, and says
    /// which it was.
    pub fn rename_known(&mut self) -> Option<&'static Variation> {
        let variation = VARIATIONS.iter().find(|variation| self.get(variation.mark).is_some())?;
        let rules = variation.names.iter().map(|&(from, to)| Rename { from: from.into(), to: to.into() });
        let rules: Vec<_> =
            rules.filter(|rule| self.names().any(|name| rule.apply(name).is_some())).collect();
        self.rename(&rules).ok()?;
        Some(variation)
    }
}

#[cfg(test)]
mod tests {
    use residual_tensor::Tensor;

    use super::*;

    fn weights(names: &[&str]) -> Weights {
        names.iter().map(|&name| (name, Tensor::<f32>::zeros([1]))).collect()
    }

    fn renamed(name: &str, rule: &str) -> Option<String> {
        rule.parse::<Rename>().unwrap().apply(name)
    }

    #[test]
    fn whole_segments_are_replaced() {
        assert_eq!(renamed("linear.weight", "linear=fc").unwrap(), "fc.weight");
        assert_eq!(
            renamed("layer2.0.shortcut.0.weight", "shortcut=downsample").unwrap(),
            "layer2.0.downsample.0.weight"
        );
        assert_eq!(renamed("head.linear.bias", "head.linear=fc").unwrap(), "fc.bias");
        assert_eq!(renamed("backbone.conv1.weight", "backbone=").unwrap(), "conv1.weight");
        assert_eq!(renamed("nonlinear.weight", "linear=fc"), None);
        assert_eq!(renamed("linear", "linear.weight=fc"), None);
    }

    #[test]
    fn malformed_rules_are_refused() {
        for rule in ["", "linear", "=fc", "a..b=c", "a=b.", ".=", "a=b=c"] {
            assert!(matches!(rule.parse::<Rename>(), Err(RenameError::Syntax { .. })), "{rule}");
        }
    }

    #[test]
    fn a_rule_that_fits_nothing_or_merges_names_changes_nothing() {
        let before = weights(&["linear.weight", "fc.weight"]);
        for (rules, message) in [
            (["lnear=fc"].as_slice(), "`lnear=fc` fits no name in the file, which begins with linear.weight"),
            (&["linear=fc"], "renaming by `linear=fc` would give two tensors the name `fc.weight`"),
            (&["fc=x", "typo=y"], "`typo=y` fits no name in the file, which begins with linear.weight"),
        ] {
            let rules: Vec<Rename> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
            let mut after = before.clone();
            assert_eq!(after.rename(&rules).unwrap_err().to_string(), message);
            assert_eq!(after, before);
        }
    }

    #[test]
    fn known_variations_get_torchvisions_names() {
        let mut akamaster = weights(&["layer2.0.conv1.weight", "linear.weight", "linear.bias"]);
        assert_eq!(akamaster.rename_known().unwrap().repository, "akamaster/pytorch_resnet_cifar10");
        assert_eq!(akamaster.names().collect::<Vec<_>>(), ["layer2.0.conv1.weight", "fc.weight", "fc.bias"]);
        let mut kuangliu = weights(&["layer2.0.shortcut.0.weight", "linear.weight"]);
        assert_eq!(kuangliu.rename_known().unwrap().repository, "kuangliu/pytorch-cifar");
        assert_eq!(kuangliu.names().collect::<Vec<_>>(), ["layer2.0.downsample.0.weight", "fc.weight"]);
        let mut lightning = weights(&["model.conv1.weight", "model.fc.bias", "criterion.weight"]);
        assert!(lightning.rename_known().unwrap().repository.contains("self.model"));
        assert_eq!(lightning.names().collect::<Vec<_>>(), ["conv1.weight", "fc.bias", "criterion.weight"]);
        assert_eq!(weights(&["layer2.0.downsample.0.weight", "fc.weight"]).rename_known(), None);
    }

    /// As their authors' `state_dict` has them.
    #[test]
    fn names_of_other_structure_are_rebuilt_from_their_parts() {
        let cases = [
            (
                "weiaicunzai/pytorch-cifar100",
                [
                    ("conv1.0.weight", "conv1.weight"),
                    ("conv1.1.running_mean", "bn1.running_mean"),
                    ("conv2_x.0.residual_function.0.weight", "layer1.0.conv1.weight"),
                    ("conv5_x.2.residual_function.7.num_batches_tracked", "layer4.2.bn3.num_batches_tracked"),
                    ("conv3_x.0.shortcut.1.bias", "layer2.0.downsample.1.bias"),
                    ("fc.weight", "fc.weight"),
                ],
            ),
            (
                "huggingface/transformers",
                [
                    ("resnet.embedder.embedder.convolution.weight", "conv1.weight"),
                    ("resnet.embedder.embedder.normalization.running_var", "bn1.running_var"),
                    ("resnet.encoder.stages.0.layers.0.layer.0.convolution.weight", "layer1.0.conv1.weight"),
                    ("resnet.encoder.stages.3.layers.2.layer.2.normalization.bias", "layer4.2.bn3.bias"),
                    (
                        "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight",
                        "layer2.0.downsample.0.weight",
                    ),
                    ("classifier.1.bias", "fc.bias"),
                ],
            ),
        ];
        for (repository, names) in cases {
            let mut found = weights(&names.map(|(theirs, _)| theirs));
            assert_eq!(found.rename_known().unwrap().repository, repository);
            assert_eq!(found.names().collect::<Vec<_>>(), names.map(|(_, ours)| ours));
        }
    }
}
