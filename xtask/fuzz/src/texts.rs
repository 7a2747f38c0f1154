//! What is given on the command line in a few characters: rules to rename by, data sets.

use std::hint::black_box;

use residual_data::DataSpec;
use residual_tensor::Tensor;
use residual_weights::{Rename, Weights};

use crate::{Target, few_times_the_file, say};

/// `--rename linear=fc`. Lines with `=` are rules, the others names of tensors.
pub(crate) const RENAME: Target = Target {
    name: "rename",
    about: "tensors are renamed by rules, and as known variations are",
    run: |bytes, _| {
        let text = String::from_utf8_lossy(bytes);
        let mut weights = Weights::new();
        let mut rules: Vec<Rename> = Vec::new();
        for line in text.lines().take(40) {
            if line.contains('=') {
                let rule: Rename = line.parse().map_err(say)?;
                assert_eq!(rule.to_string().parse().as_ref(), Ok(&rule));
                rules.push(rule);
            } else {
                weights.insert(line, Tensor::<f32>::scalar(0.0));
            }
        }
        let tensors = weights.len();
        let known = weights.rename_known();
        black_box(known.map(|variation| variation.repository));
        assert_eq!(weights.len(), tensors);
        weights.strip_prefix("model.");
        weights.rename(&rules).map_err(say)?;
        assert_eq!(weights.len(), tensors);
        Ok(())
    },
    seeds: || {
        let texts = [
            "linear=fc\nlinear.weight\nnonlinear.weight\nlinear.bias",
            "model.backbone=\nmodel.backbone.conv1.weight\nmodel.backbone.a.b",
            "layer2.0.shortcut.0.weight\nlinear.bias\nlayer1.0.conv1.weight",
            "conv2_x.0.residual_function.0.weight\nconv1.0.weight\nconv1.1.bias",
            "resnet.embedder.embedder.convolution.weight\nclassifier.1.weight",
            "a.b=c.d.e\nx.a.b.y\na=b\nb\na",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
    fixtures: None,
    most_memory: few_times_the_file,
};

/// `--data folder:DIR`.
pub(crate) const DATA_SPEC: Target = Target {
    name: "data-spec",
    about: "a data set's name is read, and written again",
    run: |bytes, _| {
        let spec: DataSpec = String::from_utf8_lossy(bytes).parse().map_err(say)?;
        assert_eq!(spec.to_string().parse::<DataSpec>().map_err(say)?, spec);
        Ok(())
    },
    seeds: || {
        let specs = ["faces", "faces:700", "fer2013:fer2013.csv", "folder:pets", "idx:mnist", "cifar100:x"];
        specs.map(|text| text.as_bytes().to_vec()).to_vec()
    },
    fixtures: None,
    most_memory: few_times_the_file,
};
