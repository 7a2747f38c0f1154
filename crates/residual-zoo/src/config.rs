//! The definition that all networks share.

use residual_nn::{BlockKind, BlockOrder, BottleneckStride, DropPath, Init, Module, Plugin, ShortcutKind};
use residual_tensor::{Float, Generator, Shape};
use serde::{Deserialize, Serialize};

use crate::{
    Architecture, Network, Result, Stem, ZooError,
    architecture::{self, Outline},
    table::closest,
};

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
    /// The kind of network. What others than ResNets do not know must be left at its default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: Architecture,
    /// How it begins.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stem: Stem,
    /// The kind of block.
    #[serde(default, skip_serializing_if = "is_default")]
    pub block: BlockKind,
    /// Blocks of each stage; every stage but the first halves height and width.
    pub depths: Vec<usize>,
    /// Channels of each stage, before a bottleneck's expansion.
    pub widths: Vec<usize>,
    /// Channels of the stem; those of the first stage if absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stem_width: Option<usize>,
    /// Groups of a bottleneck's 3×3 (ResNeXt).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub groups: usize,
    /// Channels of a group where the stage has 64 (ResNeXt, Wide ResNet).
    #[serde(default = "sixty_four", skip_serializing_if = "is_sixty_four")]
    pub width_per_group: usize,
    /// Which convolution of a bottleneck has the stride.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bottleneck_stride: BottleneckStride,
    /// Where normalization and activation stand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub order: BlockOrder,
    /// The shortcut.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shortcut: ShortcutKind,
    /// Whether there are shortcuts at all.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub residual: bool,
    /// Whether each block's last γ starts at 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub zero_init_residual: bool,
    /// First weights of the convolutions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub init: Init,
    /// The side of squares whose maximum is taken before what is left of the picture is averaged.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub head_pool: usize,
    /// What the classifier's outputs are multiplied by.
    #[serde(default = "unchanged", skip_serializing_if = "is_unchanged")]
    pub logit_scale: f64,
    /// What else there is in the branch of each block.
    #[serde(default, skip_serializing_if = "is_default")]
    pub plugins: Vec<Plugin>,
    /// Whether the layers behind a ConvNeXt's depth-wise convolutions have the weights of 1×1 convolutions,
    /// rather than matrices. It is a matter of files; results agree.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conv_mlp: bool,
    /// How often training leaves out the last block's branch for a sample; earlier ones less, the first never
    /// ([stochastic depth](residual_nn::DropPath)).
    #[serde(default, skip_serializing_if = "is_default")]
    pub drop_path_rate: f64,
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
pub(crate) const MOST_HALVINGS: usize = 8;
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
fn is_sixty_four(number: &usize) -> bool {
    *number == sixty_four()
}
fn yes() -> bool {
    true
}
fn is_yes(answer: &bool) -> bool {
    *answer == yes()
}
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl NetworkConfig {
    /// The network of this name: torchvision's (`resnet18`, `wide_resnet50_2`), timm's (`seresnet50`,
    /// `convnext_tiny`), or the papers' on CIFAR-10 (`cifar_resnet20`, `cifar_plain56`, `cifar_wrn28_10`, any
    /// depth that the rule allows). The name of a ResNet may be followed by the shortcut (`resnet34_a`,
    /// `cifar_resnet20_b`), that of an ImageNet network by the stem of CIFAR networks (`resnet18_cifar`).
    ///
    /// # Errors
    /// [`ZooError::Unknown`] with the closest name, [`ZooError::Depth`] with the rule.
    pub fn named(name: &str) -> Result<Self> {
        architecture::named(name).unwrap_or_else(|| {
            Err(ZooError::Unknown { name: name.to_owned(), closest: closest(name, architecture::names()) })
        })
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

    fn outline(&self) -> Outline {
        self.architecture.outline(self)
    }

    /// The size of picture that the network was made for, `[height, width]`.
    pub fn native_size(&self) -> [usize; 2] {
        [self.outline().native_side; 2]
    }

    /// The smallest height and width that have a pixel in every stage whatever the padding; a network may
    /// take less.
    pub fn smallest_input(&self) -> usize {
        (self.outline().smallest_input)(self)
    }

    /// The path of the first convolution, whose weight has an axis for the input channels.
    pub fn first_convolution(&self) -> &'static str {
        self.outline().first_convolution
    }

    /// The path of the classifier, whose weight has an axis for the classes.
    pub fn classifier(&self) -> &'static str {
        self.outline().classifier
    }

    /// The paths of the stages, in order: `layer1`, … of a ResNet, `stages.0`, … of a ConvNeXt.
    pub fn stages(&self) -> Vec<String> {
        (0..self.depths.len()).map(self.outline().stage).collect()
    }

    /// The number of layers with weights on the longest path: what networks are named by.
    pub fn layers(&self) -> usize {
        self.outline().layers
    }

    /// Channels that leave the stem.
    pub fn stem_channels(&self) -> usize {
        self.stem.channels_for(self.input_channels).or(self.stem_width).unwrap_or(self.widths[0])
    }

    /// Channels that reach the classifier.
    pub fn features(&self) -> usize {
        self.outline().features
    }

    /// A number of parameters that the network has at least, found without building it: those of the largest
    /// layers of each block, and of the classifier.
    pub fn least_parameters(&self) -> u128 {
        let blocks = self.widths.iter().zip(&self.depths).map(|(&channels, &depth)| {
            self.architecture.least_parameters_of_block(self, channels as u128).saturating_mul(depth as u128)
        });
        let classifier = self.widths.last().map_or(0, |&width| width as u128) * self.classes as u128;
        blocks.fold(classifier, u128::saturating_add)
    }

    /// How often training leaves out the branch of each block, in order.
    pub(crate) fn drop_path_rates(&self) -> impl Iterator<Item = f64> + use<> {
        let (rate, blocks) = (self.drop_path_rate, self.depths.iter().sum());
        (0..blocks).map(move |block| DropPath::linear(rate, block, blocks))
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
        let blocks: usize = self.depths.iter().sum();
        if blocks > MOST_BLOCKS {
            return invalid(format!("{blocks} blocks are too many; at most {MOST_BLOCKS}"));
        }
        let least = self.least_parameters();
        if least > MOST_PARAMETERS {
            return invalid(format!("more than {least} parameters are too many; at most {MOST_PARAMETERS}"));
        }
        if !(1..=64).contains(&self.head_pool) {
            return invalid("head_pool must be between 1 and 64".into());
        }
        if !(self.logit_scale.is_finite() && self.logit_scale > 0.0) {
            return invalid("logit_scale must be a number above 0".into());
        }
        if !(0.0..1.0).contains(&self.drop_path_rate) {
            return invalid(format!(
                "drop_path_rate must be at least 0 and below 1, but is {}",
                self.drop_path_rate
            ));
        }
        self.architecture.check(self).or_else(invalid)
    }

    fn invalid(&self, why: String) -> ZooError {
        ZooError::Invalid { name: self.name.clone(), why }
    }

    /// A row of a table: everything else is at its default, and there are a thousand classes.
    pub(crate) fn row(name: &str, architecture: Architecture, depths: &[usize], widths: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            architecture,
            stem: Stem::default(),
            block: BlockKind::default(),
            depths: depths.to_vec(),
            widths: widths.to_vec(),
            stem_width: None,
            groups: one(),
            head_pool: one(),
            logit_scale: unchanged(),
            width_per_group: sixty_four(),
            bottleneck_stride: BottleneckStride::default(),
            order: BlockOrder::default(),
            shortcut: ShortcutKind::default(),
            residual: yes(),
            zero_init_residual: false,
            init: Init::default(),
            plugins: Vec::new(),
            conv_mlp: false,
            drop_path_rate: 0.0,
            input_channels: three(),
            classes: 1000,
        }
    }
}
