//! Published numbers: parameters, multiply-adds, state_dict entries, table 1, shortcuts.

use residual_nn::{BlockKind, Module, ShortcutKind};
use residual_tensor::Generator;
use residual_zoo::{Network, NetworkConfig, Stem, Summary, ZooError, names};

/// The network without values, which would take most of the time to draw.
fn build(name: &str) -> Network<f32> {
    NetworkConfig::named(name).unwrap().build_blank().unwrap()
}

/// Multiply-adds for one picture of the size that the network was made for.
fn multiply_adds(net: &Network<f32>) -> f64 {
    let [h, w] = net.config().native_size();
    Summary::of(net, [1, 3, h, w]).unwrap().multiply_adds as f64
}

#[test]
fn imagenet_networks_have_torchvisions_parameters_and_entries() {
    // torchvision 0.29.2; multiply-adds in 10⁹ as in He et al. 2015, table 1, computed exactly.
    let rows = [
        ("resnet18", 11_689_512, 122, 1.814),
        ("resnet34", 21_797_672, 218, 3.664),
        ("resnet50", 25_557_032, 320, 4.089),
        ("resnet50_v1", 25_557_032, 320, 3.858),
        ("resnet101", 44_549_160, 626, 7.801),
        ("resnet101_v1", 44_549_160, 626, 7.570),
        ("resnet152", 60_192_808, 932, 11.514),
        ("resnet152_v1", 60_192_808, 932, 11.282),
    ];
    for (name, parameters, entries, giga) in rows {
        let net = build(name);
        assert_eq!(net.parameter_count(), parameters, "{name}");
        assert_eq!(net.states().len(), entries, "{name}");
        assert!((multiply_adds(&net) / 1e9 - giga).abs() < 6e-4, "{name}: {}", multiply_adds(&net));
    }
}

#[test]
fn wide_and_grouped_networks_have_torchvisions_parameters() {
    let rows = [
        ("wide_resnet50_2", 68_883_240),
        ("wide_resnet101_2", 126_886_696),
        ("resnext50_32x4d", 25_028_904),
        ("resnext101_32x8d", 88_791_336),
        ("resnext101_64x4d", 83_455_272),
        // timm's.
        ("seresnet50", 28_088_024),
        ("resnet50d", 25_576_264),
        ("resnetblur50", 25_557_032),
        ("convnext_atto", 3_695_520),
        ("convnext_tiny", 28_589_128),
        // Parts of names in combinations that are not listed.
        ("seresnextaa101d_32x8d", 93_588_280),
        ("seresnext26t_32x4d", 16_806_976),
    ];
    for (name, parameters) in rows {
        assert_eq!(build(name).parameter_count(), parameters, "{name}");
    }
}

#[test]
fn cifar_networks_have_the_papers_parameters_and_their_plain_twins_too() {
    let rows = [
        (20, 269_722, 40.55),
        (32, 464_154, 68.86),
        (44, 658_586, 97.17),
        (56, 853_018, 125.49),
        (110, 1_727_962, 252.89),
        (1202, 19_421_274, 2829.0),
    ];
    for (depth, parameters, mega) in rows {
        let net = build(&format!("cifar_resnet{depth}"));
        assert_eq!(net.config().layers(), depth);
        assert_eq!(net.parameter_count(), parameters, "{depth}");
        assert!((multiply_adds(&net) / 1e6 - mega).abs() < mega * 2e-4, "{depth}: {}", multiply_adds(&net));
        let plain = build(&format!("cifar_plain{depth}"));
        assert_eq!(plain.parameter_count(), parameters, "option A has no parameters");
        assert_eq!(multiply_adds(&plain), multiply_adds(&net));
    }
}

#[test]
fn suffixes_choose_the_shortcut_and_the_stem() {
    let rows = [
        // Of kuangliu/pytorch-cifar; with a hundred classes, 11,220,132.
        ("resnet18_cifar", 11_173_962),
        // Of chenyaofo/pytorch-cifar-models: 0.27, 0.47, 0.66, 0.86 M.
        ("cifar_resnet20_b", 272_474),
        ("cifar_resnet32_b", 466_906),
        ("cifar_resnet44_b", 661_338),
        ("cifar_resnet56_b", 855_770),
        // Without the three projections and their normalization: 64·128 + 2·128 + ….
        ("resnet34_a", 21_797_672 - 64 * 128 - 128 * 256 - 256 * 512 - 2 * (128 + 256 + 512)),
        ("resnet34_b", 21_797_672),
    ];
    for (name, parameters) in rows {
        let net = build(name);
        assert_eq!(net.config().name, name);
        assert_eq!(net.parameter_count(), parameters, "{name}");
    }
    let grey = NetworkConfig::named("resnet50_cifar_c").unwrap().classes(7).input_channels(1);
    assert_eq!((grey.stem, grey.shortcut), (Stem::Cifar, ShortcutKind::C));
    let net = grey.build::<f32>(&mut Generator::new(0)).unwrap();
    assert_eq!(*Summary::of(&net, [2, 1, 32, 32]).unwrap().layers.last().unwrap().output, [2, 7]);
    // Letters of several bytes, digits of other scripts, and digits alone among them.
    let foreign = ["残差网络", "cifar_résnet20", "cifar_resnet２０", "é20", "20", "", "cifar_resnet20é_a"];
    let suffixes = ["plain18_a", "cifar_resnet20_cifar", "resnet18_a_b", "resnet18_d", "_a", "_cifar"];
    for nonsense in suffixes.into_iter().chain(foreign) {
        assert!(matches!(NetworkConfig::named(nonsense), Err(ZooError::Unknown { .. })), "{nonsense}");
    }
    let two_lines = NetworkConfig::named("resnet18\n").unwrap_err().to_string();
    assert!(two_lines.starts_with("unknown model 'resnet18\\n'; did you mean 'resnet18'?"), "{two_lines}");
}

#[test]
fn networks_for_cifar_in_minutes_have_the_published_layers() {
    // Jordan 2024 gives 1.97 M parameters (with a bias in the stem, and none in the classifier) and, by the
    // sizes 31², 15² and 7², 118 M multiply-adds.
    let net = build("cifar_speed_resnet");
    assert_eq!(net.parameter_count(), 1_972_778);
    let summary = Summary::of(&net, [1, 3, 32, 32]).unwrap();
    assert!((summary.multiply_adds as f64 / 1e6 - 118.15).abs() < 0.01, "{}", summary.multiply_adds);
    let output = |path: &str| summary.layers.iter().rfind(|layer| layer.path == path).unwrap().output.clone();
    assert_eq!(*output("conv1"), [1, 24, 31, 31]);
    for (stage, channels, size) in [(1, 64, 15), (2, 256, 7), (3, 256, 3)] {
        assert_eq!(*output(&format!("layer{stage}.0.conv2")), [1, channels, size, size]);
    }
    assert_eq!(*output("head_pool"), [1, 256, 1, 1]);
    let plain = build("cifar_speed_plain");
    assert_eq!(plain.parameter_count(), net.parameter_count());
    // Grey pictures have a third of the filters, which follow from the size of the window.
    let grey = NetworkConfig::named("cifar_speed_resnet").unwrap().input_channels(1);
    assert_eq!(grey.stem_channels(), 8);
    assert!(NetworkConfig::named("cifar_speed_resnet_b").is_err());
    let too_deep = NetworkConfig { depths: vec![3; 3], ..grey }.build::<f32>(&mut Generator::new(0));
    assert!(too_deep.unwrap_err().to_string().contains("halve the picture too often"));
}

#[test]
fn a_depth_of_two_rules_is_the_published_network() {
    // 164 = 6·27 + 2 = 9·18 + 2.
    for (name, block) in [
        ("cifar_preresnet164", BlockKind::Bottleneck),
        ("cifar_preresnet110", BlockKind::Basic),
        ("cifar_resnet164", BlockKind::Bottleneck),
        ("cifar_resnet20", BlockKind::Basic),
        ("cifar_resnet29", BlockKind::Bottleneck),
    ] {
        assert_eq!(NetworkConfig::named(name).unwrap().block, block, "{name}");
    }
}

#[test]
fn stages_have_the_shapes_of_table_1() {
    for (name, channels) in [("resnet34", [64, 128, 256, 512]), ("resnet50", [256, 512, 1024, 2048])] {
        let net = build(name);
        let summary = Summary::of(&net, [1, 3, 224, 224]).unwrap();
        let output = |path: &str| {
            let layer = summary.layers.iter().rfind(|layer| layer.path.starts_with(path)).unwrap();
            layer.output.clone()
        };
        assert_eq!(*output("conv1"), [1, 64, 112, 112]);
        assert_eq!(*output("maxpool"), [1, 64, 56, 56]);
        for (stage, (channels, size)) in channels.into_iter().zip([56, 28, 14, 7]).enumerate() {
            assert_eq!(*output(&format!("layer{}", stage + 1)), [1, channels, size, size]);
        }
        assert_eq!(*output("fc"), [1, 1000]);
    }
}

#[test]
fn the_first_block_of_a_stage_is_dashed() {
    // Of conv3_x to conv5_x always; of conv2_x where a bottleneck changes the depth.
    for (name, dashed_stages) in [("resnet34", 1..4), ("resnet50", 0..4), ("resnet152", 0..4)] {
        let net = build(name);
        let graph = net.graph();
        for (stage, &blocks) in net.config().depths.iter().enumerate() {
            for i in 0..blocks {
                let path = format!("layer{}.{i}.downsample.0", stage + 1);
                let dashed = graph.nodes().iter().any(|node| node.path == path);
                assert_eq!(dashed, i == 0 && dashed_stages.contains(&stage), "{name} {path}");
            }
        }
    }
}

#[test]
fn every_listed_network_can_be_built_and_described_in_toml() {
    for name in names() {
        let config = NetworkConfig::named(&name).unwrap();
        assert_eq!(config.name, name);
        let text = toml::to_string(&config).unwrap();
        assert_eq!(NetworkConfig::from_toml(&text).unwrap(), config, "{text}");
        if config.layers() <= 110 && !name.contains("101") {
            let grey = config.classes(7).input_channels(1).build_blank::<f32>().unwrap();
            let [h, w] = grey.config().native_size();
            let summary = Summary::of(&grey, [2, 1, h, w]).unwrap();
            assert_eq!(*summary.layers.last().unwrap().output, [2, 7], "{name}");
        }
    }
}

#[test]
fn shortcut_c_projects_everywhere() {
    let config = NetworkConfig::named("resnet34").unwrap().shortcut(ShortcutKind::C);
    let net = config.build_blank::<f32>().unwrap();
    let projections = net.states().iter().filter(|(path, _)| path.ends_with("downsample.0.weight")).count();
    assert_eq!(projections, 16);
}

#[test]
fn what_does_not_exist_says_what_does() {
    let message = |name: &str| NetworkConfig::named(name).unwrap_err().to_string();
    assert!(message("resnt18").contains("did you mean 'resnet18'?"));
    assert_eq!(
        message("cifar_resnet21"),
        "there is no cifar_resnet with 21 layers: the depth must be 6n + 2 or 9n + 2, such as 20"
    );
    assert!(message("cifar_plain21_a").contains("6n + 2, such as 20"));
    assert!(message("cifar_preresnet111").contains("6n + 2 or 9n + 2"));
    assert!(message("cifar_wrn29_10").contains("6n + 4"));
    assert!(message("cifar_resnext30_8x64d").contains("9n + 2"));
    assert!(message("cifar_resnext29_0x64d").contains("9n + 2, with up to 1024 groups"));
    let described = |text: &str| NetworkConfig::from_toml(text).unwrap_err();
    assert!(matches!(described("name = 3"), ZooError::Toml(_)));
    let base = "name='x'\nstem='cifar'\nblock='basic'\n";
    assert!(
        described(&format!("{base}depths=[1]\nwidths=[1,2]")).to_string().contains("1 depths and 2 widths")
    );
    assert!(described(&format!("{base}depths=[0]\nwidths=[1]")).to_string().contains("between 1 and"));
    assert!(
        described(&format!("{base}depths=[1]\nwidths=[1]\nshortcuts='A'")).to_string().contains("shortcuts")
    );
    let narrow = format!("{base}depths=[1]\nwidths=[4]").replace("'cifar'", "'tiered'");
    assert!(described(&narrow).to_string().contains("the stem has too few channels: 4"));
    let convnext = "name='x'\narchitecture='convnext'\ndepths=[1]\nwidths=[8]\n";
    assert!(NetworkConfig::from_toml(&format!("{convnext}conv_mlp=true\ndrop_path_rate=0.1")).is_ok());
    for (line, expected) in [
        ("stem='cifar'", "a ConvNeXt is described by depths, widths, conv_mlp and drop_path_rate alone"),
        ("drop_path_rate=1.0", "drop_path_rate must be at least 0 and below 1, but is 1"),
    ] {
        let message = described(&format!("{convnext}{line}")).to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(
        described(&format!("{base}depths=[1]\nwidths=[1]\nconv_mlp=true")).to_string().contains("ConvNeXts")
    );
    let plain = format!("{base}depths=[1]\nwidths=[1]\nresidual=false\ndrop_path_rate=0.1");
    assert!(described(&plain).to_string().contains("without shortcuts"));
    let shrinking = format!("{base}depths=[1,1]\nwidths=[8,4]\nshortcut='A'");
    assert!(described(&shrinking).to_string().contains("can only add channels"));
}

#[test]
fn an_input_that_does_not_fit_names_the_layer() {
    let error = Summary::of(&build("resnet18"), [1, 1, 224, 224]).unwrap_err().to_string();
    assert!(error.starts_with("conv1: ") && error.contains("[1, 1, 224, 224]"), "{error}");
}

#[test]
fn networks_that_no_memory_holds_are_refused_before_they_are_built() {
    let small = NetworkConfig::named("cifar_resnet20").unwrap();
    let wide = NetworkConfig { widths: vec![16, 32, 1 << 20], ..small.clone() };
    let deep = NetworkConfig { depths: vec![1 << 20; 3], ..small.clone() };
    for (config, expected) in [(wide, "parameters are too many"), (deep, "3145728 blocks are too many")] {
        let message = config.build::<f32>(&mut Generator::new(0)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    for name in names() {
        let config = NetworkConfig::named(&name).unwrap();
        let all = config.build_blank::<f32>().unwrap().parameter_count() as u128;
        let least = config.least_parameters();
        assert!(least < all && 4 * least > all, "{name}: {least} of {all}");
    }
}
