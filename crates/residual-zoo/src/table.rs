//! The table of networks: names, blocks, depths. A variant is a row, not a function.

use residual_nn::{
    BlockKind::{self, Basic, Bottleneck},
    BlockOrder, BottleneckStride, Fan, Init, ShortcutKind,
};

use crate::{ResNetConfig, Result, Stem, ZooError};

/// ImageNet networks: name, block, depths (He et al. 2015, table 1), then what differs from it.
type Row = (&'static str, BlockKind, [usize; 4], fn(&mut ResNetConfig));

const IMAGENET: &[Row] = &[
    ("resnet18", Basic, [2, 2, 2, 2], |_| ()),
    ("resnet34", Basic, [3, 4, 6, 3], |_| ()),
    ("resnet50", Bottleneck, [3, 4, 6, 3], |_| ()),
    ("resnet101", Bottleneck, [3, 4, 23, 3], |_| ()),
    ("resnet152", Bottleneck, [3, 8, 36, 3], |_| ()),
    ("resnet50_v1", Bottleneck, [3, 4, 6, 3], v1),
    ("resnet101_v1", Bottleneck, [3, 4, 23, 3], v1),
    ("resnet152_v1", Bottleneck, [3, 8, 36, 3], v1),
    ("plain18", Basic, [2, 2, 2, 2], plain),
    ("plain34", Basic, [3, 4, 6, 3], plain),
    ("wide_resnet50_2", Bottleneck, [3, 4, 6, 3], |c| c.width_per_group = 128),
    ("wide_resnet101_2", Bottleneck, [3, 4, 23, 3], |c| c.width_per_group = 128),
    ("resnext50_32x4d", Bottleneck, [3, 4, 6, 3], |c| groups(c, 32, 4)),
    ("resnext101_32x8d", Bottleneck, [3, 4, 23, 3], |c| groups(c, 32, 8)),
    ("resnext101_64x4d", Bottleneck, [3, 4, 23, 3], |c| groups(c, 64, 4)),
    ("preresnet18", Basic, [2, 2, 2, 2], pre),
    ("preresnet34", Basic, [3, 4, 6, 3], pre),
    ("preresnet50", Bottleneck, [3, 4, 6, 3], pre),
    ("preresnet101", Bottleneck, [3, 4, 23, 3], pre),
    ("preresnet152", Bottleneck, [3, 8, 36, 3], pre),
    ("preresnet200", Bottleneck, [3, 24, 36, 3], pre),
];

/// The stride in the first 1×1, as the paper has it.
fn v1(config: &mut ResNetConfig) {
    config.bottleneck_stride = BottleneckStride::V1;
}

fn plain(config: &mut ResNetConfig) {
    config.residual = false;
}

/// Pre-activation (He et al. 2016).
fn pre(config: &mut ResNetConfig) {
    config.order = BlockOrder::Pre;
}

fn groups(config: &mut ResNetConfig, groups: usize, width_per_group: usize) {
    (config.groups, config.width_per_group) = (groups, width_per_group);
}

/// A family of CIFAR networks, of any depth that fits: `prefix` and the number of layers.
struct Family {
    prefix: &'static str,
    block: BlockKind,
    /// Depths that are published, and listed. Where two families allow a depth, the one that has it
    /// here is meant.
    depths: &'static [usize],
    adjust: fn(&mut ResNetConfig),
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

fn projected(config: &mut ResNetConfig) {
    config.shortcut = ShortcutKind::B;
}

/// Wide ResNets (Zagoruyko & Komodakis 2016, tables 4 and 5): depth and factor.
const WIDE: &[(usize, usize)] =
    &[(16, 4), (16, 8), (16, 10), (22, 8), (22, 10), (28, 10), (28, 12), (40, 1), (40, 2), (40, 4), (40, 8)];

/// ResNeXt on CIFAR (Xie et al. 2017, table 7): depth, groups and their width.
const GROUPED: &[(usize, usize, usize)] = &[(29, 8, 64), (29, 16, 64)];

/// What may follow a name: the stem of CIFAR networks after that of an ImageNet network, and the
/// shortcut after any but a plain one.
const CIFAR_STEM: &str = "_cifar";
const SHORTCUTS: &[(&str, ShortcutKind)] =
    &[("_a", ShortcutKind::A), ("_b", ShortcutKind::B), ("_c", ShortcutKind::C)];

/// Every name that is listed; families hold more, and suffixes make more of each.
pub fn names() -> Vec<String> {
    let imagenet = IMAGENET.iter().map(|(name, ..)| (*name).to_owned());
    let cifar =
        CIFAR.iter().flat_map(|family| family.depths.iter().map(|depth| format!("{}{depth}", family.prefix)));
    let wide = WIDE.iter().map(|(depth, factor)| format!("cifar_wrn{depth}_{factor}"));
    let grouped =
        GROUPED.iter().map(|(depth, groups, width)| format!("cifar_resnext{depth}_{groups}x{width}d"));
    imagenet.chain(cifar).chain(wide).chain(grouped).collect()
}

/// The configuration of this name.
pub(crate) fn find(name: &str) -> Result<ResNetConfig> {
    let unknown = || ZooError::Unknown { name: name.to_owned(), closest: closest(name, names()) };
    if let Some(found) = unadorned(name) {
        return found;
    }
    let mut shortcuts = SHORTCUTS.iter();
    let (base, shortcut) = shortcuts
        .find_map(|(suffix, kind)| Some((name.strip_suffix(suffix)?, Some(*kind))))
        .unwrap_or((name, None));
    let (base, cifar_stem) = base.strip_suffix(CIFAR_STEM).map_or((base, false), |base| (base, true));
    let mut config = unadorned(base).ok_or_else(unknown)??;
    if shortcut.is_some() && !config.residual || cifar_stem && config.stem == Stem::Cifar {
        return Err(unknown());
    }
    if cifar_stem {
        config = config.stem(Stem::Cifar).classes(10);
    }
    let shortcut = shortcut.unwrap_or(config.shortcut);
    Ok(ResNetConfig { name: name.to_owned(), shortcut, ..config })
}

/// The configuration of a name without suffix, if there is one.
fn unadorned(name: &str) -> Option<Result<ResNetConfig>> {
    if let Some((name, block, depths, adjust)) = IMAGENET.iter().find(|(row, ..)| *row == name) {
        let mut config = ResNetConfig::row(name, Stem::ImageNet, *block, depths, &[64, 128, 256, 512]);
        adjust(&mut config);
        return Some(Ok(config));
    }
    [cifar, wide, grouped].iter().find_map(|family| family(name))
}

/// Blocks per stage of a network with three stages and so many layers besides.
fn per_stage(depth: usize, block: BlockKind, besides: usize) -> Option<usize> {
    let layers = 3 * block.layers();
    let fits = depth >= layers + besides && (depth - besides).is_multiple_of(layers) && depth <= 10_000;
    fits.then(|| (depth - besides) / layers)
}

/// Three stages of equally many blocks, of 16, 32 and 64 channels.
fn cifar(name: &str) -> Option<Result<ResNetConfig>> {
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
    let mut config = ResNetConfig::row(name, Stem::Cifar, family.block, &[n; 3], &[16, 32, 64]);
    config.shortcut = ShortcutKind::A;
    config.init = Init::He(Fan::In);
    (family.adjust)(&mut config);
    Some(Ok(config))
}

/// `cifar_wrn28_10` is 6n + 4 = 28 layers deep and 10 times as wide. Pre-activated, projections
/// where the shape changes; the stem stays at 16.
fn wide(name: &str) -> Option<Result<ResNetConfig>> {
    let (depth, factor) = name.strip_prefix("cifar_wrn")?.split_once('_')?;
    let (depth, factor) = (depth.parse::<usize>().ok()?, factor.parse::<usize>().ok()?);
    let n = per_stage(depth, Basic, 4).filter(|_| (1..=100).contains(&factor));
    let Some(n) = n else {
        let (rule, example) = ("6n + 4, and the factor up to 100", 28);
        return Some(Err(ZooError::Depth { family: "cifar_wrn", depth, rule, example }));
    };
    let mut config =
        ResNetConfig::row(name, Stem::Cifar, Basic, &[n; 3], &[16, 32, 64].map(|width| width * factor));
    config.stem_width = Some(16);
    config.init = Init::He(Fan::In);
    pre(&mut config);
    Some(Ok(config))
}

/// `cifar_resnext29_8x64d` is 9n + 2 = 29 layers deep, its bottlenecks 8 groups of 64 channels wide
/// in the first stage (Xie et al. 2017, section 5.3).
fn grouped(name: &str) -> Option<Result<ResNetConfig>> {
    let (depth, shape) = name.strip_prefix("cifar_resnext")?.split_once('_')?;
    let (cardinality, width) = shape.strip_suffix('d')?.split_once('x')?;
    let [depth, cardinality, width] = [depth, cardinality, width].map(|number| number.parse::<usize>().ok());
    let (depth, cardinality, width) = (depth?, cardinality?, width?);
    let sizes = [cardinality, width].iter().all(|size| (1..=1024).contains(size));
    let Some(n) = per_stage(depth, Bottleneck, 2).filter(|_| sizes) else {
        let (rule, example) = ("9n + 2, with up to 1024 groups of up to 1024 channels", 29);
        return Some(Err(ZooError::Depth { family: "cifar_resnext", depth, rule, example }));
    };
    let mut config = ResNetConfig::row(name, Stem::Cifar, Bottleneck, &[n; 3], &[64, 128, 256]);
    config.init = Init::He(Fan::In);
    groups(&mut config, cardinality, width);
    Some(Ok(config))
}

/// The name with the smallest edit distance.
pub(crate) fn closest(name: &str, names: Vec<String>) -> String {
    let distance = |other: &String| strsim::damerau_levenshtein(name, other);
    names.into_iter().min_by_key(distance).expect("there are names")
}
