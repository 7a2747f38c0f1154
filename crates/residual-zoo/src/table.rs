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
    rule: &'static str,
    /// Depths that are published, and listed.
    depths: &'static [usize],
    adjust: fn(&mut ResNetConfig),
}

/// He et al. 2015, section 4.2 (6n+2 layers, option A); He et al. 2016 (pre-activation; bottleneck
/// from 164 layers on).
const CIFAR: &[Family] = &[
    Family {
        prefix: "cifar_resnet",
        block: Basic,
        rule: "6n + 2",
        depths: &[20, 32, 44, 56, 110, 1202],
        adjust: |_| (),
    },
    Family {
        prefix: "cifar_plain",
        block: Basic,
        rule: "6n + 2",
        depths: &[20, 32, 44, 56, 110],
        adjust: plain,
    },
    Family { prefix: "cifar_preresnet", block: Basic, rule: "6n + 2", depths: &[110], adjust: pre },
    Family {
        prefix: "cifar_preresnet",
        block: Bottleneck,
        rule: "6n + 2 or 9n + 2",
        depths: &[164, 1001],
        adjust: |config| {
            pre(config);
            config.shortcut = ShortcutKind::B;
        },
    },
];

/// Every name that is listed; families hold more.
pub fn names() -> Vec<String> {
    let imagenet = IMAGENET.iter().map(|(name, ..)| (*name).to_owned());
    let cifar =
        CIFAR.iter().flat_map(|family| family.depths.iter().map(|depth| format!("{}{depth}", family.prefix)));
    imagenet.chain(cifar).chain(["cifar_wrn28_10".to_owned()]).collect()
}

/// The configuration of this name.
pub(crate) fn find(name: &str) -> Result<ResNetConfig> {
    if let Some((name, block, depths, adjust)) = IMAGENET.iter().find(|(row, ..)| *row == name) {
        let mut config = ResNetConfig::row(name, Stem::ImageNet, *block, depths, &[64, 128, 256, 512]);
        adjust(&mut config);
        return Ok(config);
    }
    if let Some(config) = wide(name) {
        return config;
    }
    let mut refused = None;
    for family in CIFAR {
        let Some(Ok(depth)) = name.strip_prefix(family.prefix).map(str::parse::<usize>) else { continue };
        match cifar(name, family, depth) {
            Some(config) => return Ok(config),
            None => refused = Some((family, depth)),
        }
    }
    if let Some((family, depth)) = refused {
        let (rule, example) = (family.rule, family.depths[0]);
        return Err(ZooError::Depth { family: family.prefix, depth, rule, example });
    }
    Err(ZooError::Unknown { name: name.to_owned(), closest: closest(name) })
}

/// Three stages of equally many blocks, of 16, 32 and 64 channels.
fn cifar(name: &str, family: &Family, depth: usize) -> Option<ResNetConfig> {
    let per_stage = match family.block {
        Basic => 6,
        Bottleneck => 9,
    };
    if depth < per_stage + 2 || !(depth - 2).is_multiple_of(per_stage) || depth > 10_000 {
        return None;
    }
    let n = (depth - 2) / per_stage;
    let mut config = ResNetConfig::row(name, Stem::Cifar, family.block, &[n; 3], &[16, 32, 64]);
    config.shortcut = ShortcutKind::A;
    config.init = Init::He(Fan::In);
    (family.adjust)(&mut config);
    Some(config)
}

/// Wide ResNets (Zagoruyko & Komodakis 2016): `cifar_wrn28_10` is 6n + 4 = 28 layers deep and 10
/// times as wide. Pre-activated, projections where the shape changes; the stem stays at 16.
fn wide(name: &str) -> Option<Result<ResNetConfig>> {
    let (depth, factor) = name.strip_prefix("cifar_wrn")?.split_once('_')?;
    let (depth, factor) = (depth.parse::<usize>().ok()?, factor.parse::<usize>().ok()?);
    if depth < 10 || !(depth - 4).is_multiple_of(6) || depth > 10_000 || !(1..=100).contains(&factor) {
        let (rule, example) = ("6n + 4, and the factor up to 100", 28);
        return Some(Err(ZooError::Depth { family: "cifar_wrn", depth, rule, example }));
    }
    let widths = [16, 32, 64].map(|width| width * factor);
    let mut config = ResNetConfig::row(name, Stem::Cifar, Basic, &[(depth - 4) / 6; 3], &widths);
    config.stem_width = Some(16);
    config.init = Init::He(Fan::In);
    pre(&mut config);
    Some(Ok(config))
}

/// The listed name with the smallest edit distance.
fn closest(name: &str) -> String {
    let distance = |other: &String| strsim::damerau_levenshtein(name, other);
    names().into_iter().min_by_key(distance).expect("the table is not empty")
}
