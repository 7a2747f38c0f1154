//! The table of ResNets: names, blocks, depths. A variant is a row, not a function.

use residual_nn::{
    BlockKind::{self, Basic, Bottleneck},
    BlockOrder, BottleneckStride, Fan, Init, Plugin, ShortcutKind,
};

use crate::{Architecture, NetworkConfig, Result, Stem, ZooError};

/// Blocks of each stage of an ImageNet network, by its number of layers (He et al. 2015, table 1, and
/// 2016; those of 10, 14, 26 and 269 layers are timm's).
const DEPTHS: &[(usize, BlockKind, [usize; 4])] = &[
    (10, Basic, [1, 1, 1, 1]),
    (14, Bottleneck, [1, 1, 1, 1]),
    (18, Basic, [2, 2, 2, 2]),
    (26, Bottleneck, [2, 2, 2, 2]),
    (34, Basic, [3, 4, 6, 3]),
    (50, Bottleneck, [3, 4, 6, 3]),
    (101, Bottleneck, [3, 4, 23, 3]),
    (152, Bottleneck, [3, 8, 36, 3]),
    (200, Bottleneck, [3, 24, 36, 3]),
    (269, Bottleneck, [3, 30, 48, 8]),
];

/// Where in a name a part may stand, once: before the kind of network, behind it, or behind the number of
/// layers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Front,
    Middle,
    Behind,
}

/// Parts of names, and what they change.
type Part = (At, &'static str, fn(&mut NetworkConfig));

const PARTS: &[Part] = &[
    (At::Front, "se", |config| config.plugins.push(Plugin::SqueezeExcite)),
    (At::Middle, "aa", |config| config.plugins.push(Plugin::AvgPool)),
    (At::Middle, "blur", |config| config.plugins.push(Plugin::BlurPool)),
    // Letters of timm, the first two also of He et al. 2019, "Bag of Tricks".
    (At::Behind, "c", |config| config.stem = Stem::Deep),
    (At::Behind, "d", |config| (config.stem, config.shortcut) = (Stem::Deep, ShortcutKind::D)),
    (At::Behind, "s", |config| (config.stem, config.stem_width) = (Stem::Deep, Some(128))),
    (At::Behind, "t", |config| (config.stem, config.shortcut) = (Stem::Tiered, ShortcutKind::D)),
];

/// Kinds of ImageNet networks: how their names begin, and what the kind and the end of the name say about the
/// network, if that can be the end.
type Kind = (&'static str, fn(&mut NetworkConfig, &str) -> Option<()>);

const KINDS: &[Kind] = &[
    // The stride is in the 3×3 as in torchvision, or in the first 1×1 as in the paper.
    ("resnet", |config, end| match end {
        "" => Some(()),
        "_v1" => {
            config.bottleneck_stride = BottleneckStride::V1;
            Some(())
        }
        _ => None,
    }),
    // `_32x4d`: 32 groups of 4 channels (Xie et al. 2017).
    ("resnext", |config, end| {
        let (cardinality, width) = end.strip_prefix('_')?.strip_suffix('d')?.split_once('x')?;
        groups(config, cardinality.parse().ok()?, width.parse().ok()?);
        Some(())
    }),
    // Twice as wide (Zagoruyko & Komodakis 2016).
    ("wide_resnet", |config, end| (end == "_2").then(|| config.width_per_group = 128)),
    ("preresnet", |config, end| end.is_empty().then(|| pre(config))),
    ("plain", |config, end| end.is_empty().then(|| plain(config))),
];

/// ImageNet networks that are published, and listed; parts of names make more of them.
const IMAGENET: &[&str] = &[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet50_v1",
    "resnet101_v1",
    "resnet152_v1",
    "plain18",
    "plain34",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "preresnet18",
    "preresnet34",
    "preresnet50",
    "preresnet101",
    "preresnet152",
    "preresnet200",
    "seresnet18",
    "seresnet34",
    "seresnet50",
    "seresnet101",
    "seresnet152",
    "seresnext50_32x4d",
    "resnet50c",
    "resnet18d",
    "resnet26d",
    "resnet34d",
    "resnet50d",
    "resnet101d",
    "resnet152d",
    "resnet200d",
    "resnet10t",
    "resnext50d_32x4d",
    "resnetblur18",
    "resnetblur50",
];

fn plain(config: &mut NetworkConfig) {
    config.residual = false;
}

/// Pre-activation (He et al. 2016).
fn pre(config: &mut NetworkConfig) {
    config.order = BlockOrder::Pre;
}

fn groups(config: &mut NetworkConfig, groups: usize, width_per_group: usize) {
    (config.groups, config.width_per_group) = (groups, width_per_group);
}

/// A family of CIFAR networks, of any depth that fits: `prefix` and the number of layers.
struct Family {
    prefix: &'static str,
    block: BlockKind,
    /// Depths that are published, and listed. Where two families allow a depth, the one that has it
    /// here is meant.
    depths: &'static [usize],
    adjust: fn(&mut NetworkConfig),
}

/// He et al. 2015, section 4.2 (6n+2 layers, option A); He et al. 2016 (pre-activation; 9n+2 layers
/// of bottlenecks, option B).
const CIFAR: &[Family] = &[
    Family { prefix: "cifar_resnet", block: Basic, depths: &[20, 32, 44, 56, 110, 1202], adjust: |_| () },
    Family { prefix: "cifar_resnet", block: Bottleneck, depths: &[164, 1001], adjust: projected },
    Family { prefix: "cifar_plain", block: Basic, depths: &[20, 32, 44, 56, 110], adjust: plain },
    Family { prefix: "cifar_preresnet", block: Basic, depths: &[110], adjust: pre },
    Family {
        prefix: "cifar_preresnet",
        block: Bottleneck,
        depths: &[164, 1001],
        adjust: |config| {
            pre(config);
            projected(config);
        },
    },
];

fn projected(config: &mut NetworkConfig) {
    config.shortcut = ShortcutKind::B;
}

/// Wide ResNets (Zagoruyko & Komodakis 2016, tables 4 and 5): depth and factor.
const WIDE: &[(usize, usize)] =
    &[(16, 4), (16, 8), (16, 10), (22, 8), (22, 10), (28, 10), (28, 12), (40, 1), (40, 2), (40, 4), (40, 8)];

/// ResNeXt on CIFAR (Xie et al. 2017, table 7): depth, groups and their width.
const GROUPED: &[(usize, usize, usize)] = &[(29, 8, 64), (29, 16, 64)];

/// Networks made to learn CIFAR-10 fast, and their plain twins: the layers of Jordan 2024 ("94 % on
/// CIFAR-10 in 3.29 seconds on a single GPU"; widths of its networks for 94 and for 95 %), in which shortcuts
/// stand for the second identity that convolutions begin with there.
const SPEED: &[(&str, [usize; 3], bool)] = &[
    ("cifar_speed_resnet", [64, 256, 256], true),
    ("cifar_speed_resnet_wide", [128, 384, 384], true),
    ("cifar_speed_plain", [64, 256, 256], false),
    ("cifar_speed_plain_wide", [128, 384, 384], false),
];

/// What may follow a name: the stem of CIFAR networks after that of an ImageNet network, and the
/// shortcut after any but a plain one.
const CIFAR_STEM: &str = "_cifar";
const SHORTCUTS: &[(&str, ShortcutKind)] =
    &[("_a", ShortcutKind::A), ("_b", ShortcutKind::B), ("_c", ShortcutKind::C)];

/// Every name that is listed; families hold more, and suffixes make more of each.
pub(crate) fn names() -> Vec<String> {
    let imagenet = IMAGENET.iter().map(|&name| name.to_owned());
    let cifar =
        CIFAR.iter().flat_map(|family| family.depths.iter().map(|depth| format!("{}{depth}", family.prefix)));
    let wide = WIDE.iter().map(|(depth, factor)| format!("cifar_wrn{depth}_{factor}"));
    let grouped =
        GROUPED.iter().map(|(depth, groups, width)| format!("cifar_resnext{depth}_{groups}x{width}d"));
    let speed = SPEED.iter().map(|(name, ..)| (*name).to_owned());
    imagenet.chain(cifar).chain(wide).chain(grouped).chain(speed).collect()
}

/// The configuration of this name, if there is one.
pub(crate) fn find(name: &str) -> Option<Result<NetworkConfig>> {
    if let Some(found) = unadorned(name) {
        return Some(found);
    }
    let mut shortcuts = SHORTCUTS.iter();
    let (base, shortcut) = shortcuts
        .find_map(|(suffix, kind)| Some((name.strip_suffix(suffix)?, Some(*kind))))
        .unwrap_or((name, None));
    let (base, cifar_stem) = base.strip_suffix(CIFAR_STEM).map_or((base, false), |base| (base, true));
    let mut config = match unadorned(base)? {
        Ok(config) => config,
        Err(error) => return Some(Err(error)),
    };
    let is_fixed = !config.residual || config.block == BlockKind::Pooled;
    if shortcut.is_some() && is_fixed || cifar_stem && config.native_size() == [32, 32] {
        return None;
    }
    if cifar_stem {
        config = config.stem(Stem::Cifar).classes(10);
    }
    let shortcut = shortcut.unwrap_or(config.shortcut);
    Some(Ok(NetworkConfig { name: name.to_owned(), shortcut, ..config }))
}

/// A row of the table: everything else is as in torchvision's `resnet18`.
fn row(name: &str, stem: Stem, block: BlockKind, depths: &[usize], widths: &[usize]) -> NetworkConfig {
    let row = NetworkConfig::row(name, Architecture::ResNet, depths, widths);
    NetworkConfig {
        stem,
        block,
        classes: if matches!(stem, Stem::Cifar | Stem::Whitening) { 10 } else { row.classes },
        ..row
    }
}

/// The configuration of a name without suffix, if there is one.
fn unadorned(name: &str) -> Option<Result<NetworkConfig>> {
    [imagenet, speed, cifar, wide, grouped].iter().find_map(|family| family(name))
}

/// `resnext50_32x4d`: a kind, the number of layers, and an end, with other parts between them.
fn imagenet(name: &str) -> Option<Result<NetworkConfig>> {
    let (front, rest) = part(At::Front, name);
    let (kind, rest) = KINDS.iter().find_map(|(prefix, kind)| Some((kind, rest.strip_prefix(prefix)?)))?;
    let (middle, rest) = part(At::Middle, rest);
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (layers, rest) = rest.split_at(digits);
    let layers = layers.parse::<usize>().ok()?;
    let (behind, end) = part(At::Behind, rest);
    let (_, block, depths) = DEPTHS.iter().find(|(depth, ..)| *depth == layers)?;
    let mut config = row(name, Stem::ImageNet, *block, depths, &[64, 128, 256, 512]);
    kind(&mut config, end)?;
    [front, middle, behind].into_iter().flatten().for_each(|change| change(&mut config));
    Some(config.check().map(|()| config))
}

/// What a part at the beginning of `name` changes, if there is one, and the rest.
fn part(at: At, name: &str) -> (Option<fn(&mut NetworkConfig)>, &str) {
    let mut parts = PARTS.iter().filter(|part| part.0 == at);
    let found = parts.find_map(|(_, text, change)| Some((Some(*change), name.strip_prefix(text)?)));
    found.unwrap_or((None, name))
}

/// Blocks per stage of a network with three stages and so many layers besides.
fn per_stage(depth: usize, block: BlockKind, besides: usize) -> Option<usize> {
    let layers = 3 * block.layers();
    let fits = depth >= layers + besides && (depth - besides).is_multiple_of(layers) && depth <= 10_000;
    fits.then(|| (depth - besides) / layers)
}

/// Three stages of equally many blocks, of 16, 32 and 64 channels.
fn cifar(name: &str) -> Option<Result<NetworkConfig>> {
    let prefix = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let depth = name.strip_prefix(prefix)?.parse::<usize>().ok()?;
    let mut families: Vec<_> = CIFAR.iter().filter(|family| family.prefix == prefix).collect();
    families.sort_by_key(|family| !family.depths.contains(&depth));
    let first = families.first()?;
    let fitting = families.iter().find_map(|family| Some((family, per_stage(depth, family.block, 2)?)));
    let Some((family, n)) = fitting else {
        let rule = if families.len() == 1 { "6n + 2" } else { "6n + 2 or 9n + 2" };
        let (family, example) = (first.prefix, first.depths[0]);
        return Some(Err(ZooError::Depth { family, depth, rule, example }));
    };
    let mut config = row(name, Stem::Cifar, family.block, &[n; 3], &[16, 32, 64]);
    config.shortcut = ShortcutKind::A;
    config.init = Init::He(Fan::In);
    (family.adjust)(&mut config);
    Some(Ok(config))
}

/// `cifar_wrn28_10` is 6n + 4 = 28 layers deep and 10 times as wide. Pre-activated, projections
/// where the shape changes; the stem stays at 16.
fn wide(name: &str) -> Option<Result<NetworkConfig>> {
    let (depth, factor) = name.strip_prefix("cifar_wrn")?.split_once('_')?;
    let (depth, factor) = (depth.parse::<usize>().ok()?, factor.parse::<usize>().ok()?);
    let n = per_stage(depth, Basic, 4).filter(|_| (1..=100).contains(&factor));
    let Some(n) = n else {
        let (rule, example) = ("6n + 4, and the factor up to 100", 28);
        return Some(Err(ZooError::Depth { family: "cifar_wrn", depth, rule, example }));
    };
    let mut config = row(name, Stem::Cifar, Basic, &[n; 3], &[16, 32, 64].map(|width| width * factor));
    config.stem_width = Some(16);
    config.init = Init::He(Fan::In);
    pre(&mut config);
    Some(Ok(config))
}

/// `cifar_resnext29_8x64d` is 9n + 2 = 29 layers deep, its bottlenecks 8 groups of 64 channels wide
/// in the first stage (Xie et al. 2017, section 5.3).
fn grouped(name: &str) -> Option<Result<NetworkConfig>> {
    let (depth, shape) = name.strip_prefix("cifar_resnext")?.split_once('_')?;
    let (cardinality, width) = shape.strip_suffix('d')?.split_once('x')?;
    let [depth, cardinality, width] = [depth, cardinality, width].map(|number| number.parse::<usize>().ok());
    let (depth, cardinality, width) = (depth?, cardinality?, width?);
    let sizes = [cardinality, width].iter().all(|size| (1..=1024).contains(size));
    let Some(n) = per_stage(depth, Bottleneck, 2).filter(|_| sizes) else {
        let (rule, example) = ("9n + 2, with up to 1024 groups of up to 1024 channels", 29);
        return Some(Err(ZooError::Depth { family: "cifar_resnext", depth, rule, example }));
    };
    let mut config = row(name, Stem::Cifar, Bottleneck, &[n; 3], &[64, 128, 256]);
    config.init = Init::He(Fan::In);
    groups(&mut config, cardinality, width);
    Some(Ok(config))
}

/// A row of [`SPEED`].
fn speed(name: &str) -> Option<Result<NetworkConfig>> {
    let (_, widths, residual) = SPEED.iter().find(|(known, ..)| *known == name)?;
    let mut config = row(name, Stem::Whitening, BlockKind::Pooled, &[1; 3], widths);
    (config.residual, config.init) = (*residual, Init::Uniform);
    (config.head_pool, config.logit_scale) = (3, 1.0 / 9.0);
    Some(Ok(config))
}

/// The name with the smallest edit distance.
pub(crate) fn closest(name: &str, names: Vec<String>) -> String {
    let distance = |other: &String| strsim::damerau_levenshtein(name, other);
    names.into_iter().min_by_key(distance).expect("there are names")
}
