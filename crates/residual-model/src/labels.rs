//! The names of the classes of well-known data sets.

use residual_data::CIFAR10_CLASSES;

/// What networks for ImageNet tell apart, in torchvision's order and words.
const IMAGENET: &str = include_str!("imagenet.txt");

/// ImageNet's 1000.
pub(crate) fn imagenet() -> Vec<String> {
    IMAGENET.lines().map(str::to_owned).collect()
}

/// CIFAR-10's.
pub(crate) fn cifar10() -> Vec<String> {
    CIFAR10_CLASSES.map(str::to_owned).to_vec()
}

/// `0`, `1`, …: classes whose names nobody has said.
pub(crate) fn numbers(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_thousand_classes_in_its_order() {
        let names = imagenet();
        assert_eq!(names.len(), 1000);
        // torchvision.models.ResNet50_Weights.DEFAULT.meta["categories"]
        let known = [(0, "tench"), (1, "goldfish"), (281, "tabby"), (463, "bucket"), (999, "toilet tissue")];
        for (class, name) in known {
            assert_eq!(names[class], name);
        }
        assert!(names.iter().all(|name| !name.is_empty() && name.trim() == name));
    }
}
