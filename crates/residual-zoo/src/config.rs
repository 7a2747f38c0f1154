//! The definition that all networks share.

use residual_nn::{
    BlockConfig, BlockKind, BlockOrder, BottleneckStride, Fan, Init, Module, Plugin, ShortcutKind,
};
use residual_tensor::{Float, Generator, Shape};
use serde::{Deserialize, Serialize};

use crate::{Network, Result, Stem, ZooError, table};

/// A network as data; serialises to a few lines of TOML.
///
/// ```
/// let described = "
///     name = 'small'
///     stem = 'cifar'
///     block = 'basic'
///     depths = [1, 1, 1]
///     widths = [16, 32, 64]
///     shortcut = 'A'
/// ";
/// let config = residual_zoo::NetworkConfig::from_toml(described)?;
/// assert_eq!(config.layers(), 8);
/// # Ok::<(), residual_zoo::ZooError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// What it is called.
    pub name: String,
    /// How it begins.
    pub stem: Stem,
    /// The kind of block.
    pub block: BlockKind,
    /// Blocks of each stage; every stage but the first halves height and width.
    pub depths: Vec<usize>,
    /// Channels of each stage, before a bottleneck's expansion.
    pub widths: Vec<usize>,
    /// Channels of the stem; those of the first stage if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stem_width: Option<usize>,
    /// Groups of a bottleneck's 3×3 (ResNeXt).
    #[serde(default = "one")]
    pub groups: usize,
    /// Channels of a group where the stage has 64 (ResNeXt, Wide ResNet).
    #[serde(default = "sixty_four")]
    pub width_per_group: usize,
    /// Which convolution of a bottleneck has the stride.
    #[serde(default = "v1_5")]
    pub bottleneck_stride: BottleneckStride,
    /// Where normalization and activation stand.
    #[serde(default = "post")]
    pub order: BlockOrder,
    /// The shortcut.
    #[serde(default = "option_b")]
    pub shortcut: ShortcutKind,
    /// Whether there are shortcuts at all.
    #[serde(default = "yes")]
    pub residual: bool,
    /// Whether each block's last γ starts at 0.
    #[serde(default)]
    pub zero_init_residual: bool,
    /// First weights of the convolutions.
    #[serde(default = "he_fan_out")]
    pub init: Init,
    /// The side of squares whose maximum is taken before what is left of the picture is averaged.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub head_pool: usize,
    /// What the classifier's outputs are multiplied by.
    #[serde(default = "unchanged", skip_serializing_if = "is_unchanged")]
    pub logit_scale: f64,
    /// What else there is in the branch of each block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Plugin>,
    /// Channels of the input: 3 for colour, 1 for grey.
    #[serde(default = "three")]
    pub input_channels: usize,
    /// Classes of the output.
    #[serde(default = "ten")]
    pub classes: usize,
}

/// A hundred times as deep as anything published.
const MOST_BLOCKS: usize = 100_000;
/// Stages, of which each halves the picture.
const MOST_HALVINGS: usize = 8;
/// What 16 GB hold in single precision.
const MOST_PARAMETERS: u128 = 1 << 32;

fn one() -> usize {
    1
}
fn is_one(number: &usize) -> bool {
    *number == 1
}
fn unchanged() -> f64 {
    1.0
}
fn is_unchanged(factor: &f64) -> bool {
    *factor == 1.0
}
fn three() -> usize {
    3
}
fn ten() -> usize {
    10
}
fn sixty_four() -> usize {
    64
}
fn yes() -> bool {
    true
}
fn v1_5() -> BottleneckStride {
    BottleneckStride::V1_5
}
fn post() -> BlockOrder {
    BlockOrder::Post
}
fn option_b() -> ShortcutKind {
    ShortcutKind::B
}
fn he_fan_out() -> Init {
    Init::He(Fan::Out)
}

impl NetworkConfig {
    /// The network of this name: torchvision's (`resnet18`, `wide_resnet50_2`), or the papers' on
    /// CIFAR-10 (`cifar_resnet20`, `cifar_plain56`, `cifar_wrn28_10`, any depth that the rule
    /// allows). Any name may be followed by the shortcut (`resnet34_a`, `cifar_resnet20_b`), that of
    /// an ImageNet network by the stem of CIFAR networks (`resnet18_cifar`).
    ///
    /// # Errors
    /// [`ZooError::Unknown`] with the closest name, [`ZooError::Depth`] with the rule.
    pub fn named(name: &str) -> Result<Self> {
        table::find(name)
    }

    /// A network described in TOML.
    ///
    /// # Errors
    /// [`ZooError::Toml`] with the line that is wrong, [`ZooError::Invalid`].
    pub fn from_toml(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// Sets the number of classes.
    #[must_use]
    pub fn classes(self, classes: usize) -> Self {
        Self { classes, ..self }
    }

    /// Sets the number of input channels.
    #[must_use]
    pub fn input_channels(self, input_channels: usize) -> Self {
        Self { input_channels, ..self }
    }

    /// Sets how it begins.
    #[must_use]
    pub fn stem(self, stem: Stem) -> Self {
        Self { stem, ..self }
    }

    /// Sets the shortcut.
    #[must_use]
    pub fn shortcut(self, shortcut: ShortcutKind) -> Self {
        Self { shortcut, ..self }
    }

    /// Builds the network with new weights.
    ///
    /// # Errors
    /// [`ZooError::Invalid`] if the configuration contradicts itself.
    pub fn build<T: Float>(&self, generator: &mut Generator) -> Result<Network<T>> {
        self.build_from(self.init, generator)
    }

    /// Builds the network for weights that are loaded next; what it holds until then is
    /// unspecified. Unlike [`build`](Self::build), it draws no random numbers and fills no memory.
    ///
    /// # Errors
    /// [`ZooError::Invalid`] if the configuration contradicts itself.
    pub fn build_blank<T: Float>(&self) -> Result<Network<T>> {
        self.build_from(Init::Blank, &mut Generator::new(0))
    }

    fn build_from<T: Float>(&self, init: Init, generator: &mut Generator) -> Result<Network<T>> {
        self.check()?;
        let net = Network::new(self, init, generator).map_err(|error| self.invalid(error.to_string()))?;
        // Whatever else is wrong shows on the smallest picture that has a pixel in every stage.
        let side = self.smallest_input();
        let shape = Shape::new([1, self.input_channels, side, side])
            .map_err(|error| self.invalid(error.to_string()))?;
        net.trace(&shape).map_err(|error| self.invalid(error.to_string()))?;
        Ok(net)
    }

    /// The size of picture that the network was made for, `[height, width]`.
    pub fn native_size(&self) -> [usize; 2] {
        match self.stem {
            Stem::Cifar | Stem::Whitening => [32, 32],
            _ => [224, 224],
        }
    }

    fn smallest_input(&self) -> usize {
        let halvings = match self.block {
            BlockKind::Pooled => self.depths.iter().sum(),
            BlockKind::Basic | BlockKind::Bottleneck => self.depths.len() - 1,
        };
        self.head_pool * (self.stem.reduction() << halvings) + self.stem.margin()
    }

    /// The path of the first convolution, whose weight has an axis for the input channels.
    pub fn first_convolution(&self) -> &'static str {
        self.stem.first_convolution()
    }

    /// The path of the classifier, whose weight has an axis for the classes.
    pub fn classifier(&self) -> &'static str {
        "fc"
    }

    /// The paths of the stages, in order, and of the classifier.
    pub(crate) fn stage_paths(&self) -> Vec<String> {
        let stages = (1..=self.depths.len()).map(|number| format!("layer{number}"));
        stages.chain([self.classifier().to_owned()]).collect()
    }

    /// The number of layers with weights on the longest path: what networks are named by.
    pub fn layers(&self) -> usize {
        2 + self.block.layers() * self.depths.iter().sum::<usize>()
    }

    /// Channels that leave the stem.
    pub fn stem_channels(&self) -> usize {
        self.stem.channels_for(self.input_channels).or(self.stem_width).unwrap_or(self.widths[0])
    }

    /// Channels that reach the classifier.
    pub fn features(&self) -> usize {
        self.widths.last().map_or(0, |width| width * self.block.expansion())
    }

    /// A number of parameters that the network has at least, found without building it: those of a
    /// basic block's second convolution, of a bottleneck's second and third, and of the classifier.
    pub fn least_parameters(&self) -> u128 {
        let wide = |n: usize| n as u128;
        let [groups, per_group] = [self.groups, self.width_per_group].map(wide);
        let stages = self.widths.iter().zip(&self.depths).map(|(&channels, &depth)| {
            let channels = wide(channels);
            let width = (channels.saturating_mul(per_group) / 64).saturating_mul(groups);
            let block = match self.block {
                BlockKind::Basic | BlockKind::Pooled => channels.saturating_mul(channels).saturating_mul(9),
                BlockKind::Bottleneck => {
                    let second = (width.saturating_mul(width) / groups.max(1)).saturating_mul(9);
                    second.saturating_add(width.saturating_mul(channels).saturating_mul(4))
                }
            };
            block.saturating_mul(wide(depth))
        });
        let classifier = wide(self.widths.last().copied().unwrap_or(0)) * wide(self.classes);
        stages.fold(classifier, u128::saturating_add)
    }

    /// The blocks of each stage, in order, with these first weights.
    pub(crate) fn stages(&self, init: Init) -> Vec<Vec<BlockConfig>> {
        let mut in_channels = self.stem_channels();
        let stages = self.widths.iter().zip(&self.depths).enumerate();
        let stages = stages.map(|(stage, (&channels, &depth))| {
            let block = |i| {
                let out_channels = channels * self.block.expansion();
                let width = match self.block {
                    BlockKind::Basic | BlockKind::Pooled => channels,
                    BlockKind::Bottleneck => channels * self.width_per_group / 64 * self.groups,
                };
                let block = BlockConfig {
                    kind: self.block,
                    in_channels,
                    width,
                    out_channels,
                    stride: if stage > 0 && i == 0 { 2 } else { 1 },
                    bottleneck_stride: self.bottleneck_stride,
                    groups: self.groups,
                    order: self.order,
                    shortcut: self.shortcut,
                    residual: self.residual,
                    zero_init: self.zero_init_residual,
                    init,
                    plugins: self.plugins.clone(),
                };
                in_channels = out_channels;
                block
            };
            (0..depth).map(block).collect()
        });
        stages.collect()
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |why: String| Err(self.invalid(why));
        if self.depths.is_empty() || self.depths.len() != self.widths.len() {
            let (depths, widths) = (self.depths.len(), self.widths.len());
            return invalid(format!("{depths} depths and {widths} widths; give one of each per stage"));
        }
        if self.depths.len() > MOST_HALVINGS {
            return invalid(format!("{} stages halve the picture too often; at most 8", self.depths.len()));
        }
        let counts =
            [self.groups, self.width_per_group, self.input_channels, self.classes, self.stem_channels()];
        if counts.iter().chain(&self.depths).chain(&self.widths).any(|&n| n == 0 || n > 1 << 20) {
            return invalid(
                "depths, widths, groups, channels and classes must be between 1 and 1048576".into(),
            );
        }
        if !self.stem.has_channels(self.stem_channels()) {
            return invalid(format!("the stem has too few channels: {}", self.stem_channels()));
        }
        let blocks: usize = self.depths.iter().sum();
        if blocks > MOST_BLOCKS {
            return invalid(format!("{blocks} blocks are too many; at most {MOST_BLOCKS}"));
        }
        if Plugin::contradict(&self.plugins) {
            return invalid("each plugin can be there once, and only one can take over the stride".into());
        }
        let least = self.least_parameters();
        if least > MOST_PARAMETERS {
            return invalid(format!("more than {least} parameters are too many; at most {MOST_PARAMETERS}"));
        }
        if self.block != BlockKind::Bottleneck && (self.groups, self.width_per_group) != (1, 64) {
            return invalid(
                "basic blocks have no groups and no width_per_group; use block = 'bottleneck'".into(),
            );
        }
        if self.block == BlockKind::Pooled {
            if !self.plugins.is_empty() || self.order == BlockOrder::Pre {
                return invalid("pooled blocks have no plugins and are not pre-activated".into());
            }
            if blocks > MOST_HALVINGS {
                return invalid(format!("{blocks} pooled blocks halve the picture too often; at most 8"));
            }
        }
        if !(1..=64).contains(&self.head_pool) {
            return invalid("head_pool must be between 1 and 64".into());
        }
        if !(self.logit_scale.is_finite() && self.logit_scale > 0.0) {
            return invalid("logit_scale must be a number above 0".into());
        }
        let shrinks = |blocks: &[BlockConfig]| blocks.iter().any(|b| b.out_channels < b.in_channels);
        if self.shortcut == ShortcutKind::A
            && self.residual
            && self.stages(self.init).iter().any(|s| shrinks(s))
        {
            return invalid("shortcut A can only add channels, but a stage has fewer than its input".into());
        }
        Ok(())
    }

    fn invalid(&self, why: String) -> ZooError {
        ZooError::Invalid { name: self.name.clone(), why }
    }

    /// A row of the table: everything else is as in torchvision's `resnet18`.
    pub(crate) fn row(name: &str, stem: Stem, block: BlockKind, depths: &[usize], widths: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            stem,
            block,
            depths: depths.to_vec(),
            widths: widths.to_vec(),
            stem_width: None,
            groups: one(),
            width_per_group: sixty_four(),
            bottleneck_stride: v1_5(),
            order: post(),
            shortcut: option_b(),
            residual: yes(),
            zero_init_residual: false,
            init: he_fan_out(),
            head_pool: one(),
            logit_scale: unchanged(),
            plugins: Vec::new(),
            input_channels: three(),
            classes: match stem {
                Stem::Cifar | Stem::Whitening => ten(),
                _ => 1000,
            },
        }
    }
}
