//! Which algorithm is chosen.

use super::*;

/// The choice where it has been measured (AVX-512, two cores, weights not in a cache).
#[test]
fn algorithms_are_chosen_as_measured() {
    let Some(isa) = available::<f32>().into_iter().find(|isa| isa.lanes == 16) else {
        return println!("skipped: no AVX-512");
    };
    let three = |batch, channels, size| {
        let shape = Shape::new([batch, channels, size, size]).unwrap();
        Conv2dGeometry::new(3, 3)
            .padding(1)
            .resolve(&shape, &Shape::new([channels, channels, 3, 3]).unwrap())
            .unwrap()
    };
    let packed = |shape: Conv2dShape| cost::forward_packed(&shape, isa);
    assert_eq!(packed(three(1, 64, 56)), Algorithm::Winograd4);
    assert_eq!(packed(three(1, 128, 28)), Algorithm::Winograd4);
    assert_eq!(packed(three(1, 256, 14)), Algorithm::Winograd2);
    assert_eq!(packed(three(1, 512, 7)), Algorithm::Blocked);
    for (channels, size) in [(64, 56), (128, 28), (256, 14), (512, 7)] {
        let shape = three(32, channels, size);
        assert_eq!(packed(shape), Algorithm::Winograd4);
        assert_eq!(cost::forward(&shape, isa), Algorithm::Winograd4);
        assert_eq!(cost::backward_data(&shape, isa), Algorithm::Winograd4);
        assert_eq!(cost::backward_weights(&shape, isa), Algorithm::Winograd4);
    }
    let groups = |batch, group: usize, size| {
        let [x, weight] = [[batch, 32 * group, size, size], [32 * group, group, 3, 3]];
        let geometry = Conv2dGeometry::new(3, 3).padding(1).groups(32);
        geometry.resolve(&Shape::new(x).unwrap(), &Shape::new(weight).unwrap()).unwrap()
    };
    assert_eq!(packed(groups(1, 8, 28)), Algorithm::Grouped);
    for (group, size) in [(16, 14), (32, 7)] {
        let shape = groups(16, group, size);
        assert_eq!(cost::forward(&shape, isa), Algorithm::Winograd4);
        assert_eq!(cost::backward_data(&shape, isa), Algorithm::Winograd4);
        assert_eq!(cost::backward_weights(&shape, isa), Algorithm::Winograd4);
    }
    let strided = Conv2dGeometry::new(3, 3).padding(1).stride(2);
    let strided = strided
        .resolve(&Shape::new([1, 64, 56, 56]).unwrap(), &Shape::new([128, 64, 3, 3]).unwrap())
        .unwrap();
    assert_eq!(packed(strided), Algorithm::Blocked);
}

/// Kernels of lanes compute groups that share a register, in every direction, and no others: those fill
/// blocks, or tiles where there is no stride.
#[test]
fn groups_of_few_channels_share_registers() {
    for isa in available::<f32>() {
        for (group, stride) in [1, 2, 4, 8, 16, 32, 64].into_iter().flat_map(|group| [(group, 1), (group, 2)])
        {
            let geometry = Conv2dGeometry::new(3, 3).padding(1).stride(stride).groups(32);
            let [x, weight] = [[1, 32 * group, 28, 28], [32 * group, group, 3, 3]];
            let shape = geometry.resolve(&Shape::new(x).unwrap(), &Shape::new(weight).unwrap()).unwrap();
            let share = 2 * group <= isa.lanes;
            for chosen in [
                cost::forward(&shape, isa),
                cost::forward_packed(&shape, isa),
                cost::backward_data(&shape, isa),
                cost::backward_weights(&shape, isa),
            ] {
                assert_eq!(chosen == Algorithm::Grouped, share, "{chosen:?}, {isa:?} {shape:?}");
                assert!(
                    stride == 1 || share || chosen == Algorithm::Blocked,
                    "{chosen:?}, {isa:?} {shape:?}"
                );
            }
        }
    }
}
