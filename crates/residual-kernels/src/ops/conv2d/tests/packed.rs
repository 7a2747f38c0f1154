//! Weights that are packed once.

use super::*;

#[test]
fn packed_convolutions_check_what_they_are_given() {
    let geometry = Conv2dGeometry::new(3, 3).padding(1);
    let weight = Tensor::<f32>::zeros([4, 2, 3, 3]);
    let shape = geometry.resolve(&Shape::new([1, 2, 5, 5]).unwrap(), weight.shape()).unwrap();
    let packed = PackedConv2d::new(&weight, &shape).unwrap();
    let run = |x: usize, y: usize, epilogue: &Epilogue<'_>| {
        packed.run(&vec![0.0; x], &mut vec![0.0; y], epilogue).map_err(|error| error.to_string())
    };
    assert_eq!(run(50, 100, &Epilogue::default()), Ok(()));
    let short = [0.0; 3];
    for result in [
        run(49, 100, &Epilogue::default()),
        run(50, 99, &Epilogue::default()),
        run(50, 100, &Epilogue { bias: Some(&short), ..Default::default() }),
        run(50, 100, &Epilogue { addend: Some(&short), ..Default::default() }),
    ] {
        assert!(result.unwrap_err().contains("elements, but"));
    }
    let addend = [0.0; 100];
    let both = Epilogue { addend: Some(&addend), accumulate: true, ..Default::default() };
    assert!(run(50, 100, &both).unwrap_err().contains("leave one out"));
    let other =
        geometry.resolve(&Shape::new([1, 3, 5, 5]).unwrap(), &Shape::new([4, 3, 3, 3]).unwrap()).unwrap();
    assert!(PackedConv2d::new(&weight, &other).is_err());
    let algorithm = |algorithm, shape: &Conv2dShape| {
        let packed = PackedConv2d::with(algorithm, &weight, shape);
        packed.map(|packed| packed.algorithm()).map_err(|error| error.to_string())
    };
    assert_eq!(algorithm(Algorithm::Winograd4, &shape), Ok(Algorithm::Winograd4));
    assert_eq!(
        algorithm(Algorithm::Im2col, &shape).unwrap_err(),
        "conv2d: im2col cannot compute a convolution with kernel [3, 3], stride [1, 1], padding [1, 1], \
         dilation [1, 1], groups 1: it does not pack weights"
    );
    let strided = geometry.stride(2).resolve(&Shape::new([1, 2, 5, 5]).unwrap(), weight.shape()).unwrap();
    assert_eq!(
        algorithm(Algorithm::Winograd4, &strided).unwrap_err(),
        "conv2d: winograd4 cannot compute a convolution with kernel [3, 3], stride [2, 2], padding [1, 1], \
         dilation [1, 1], groups 1: it needs a 3×3 kernel with stride 1 and dilation 1"
    );
}

#[test]
fn a_packed_weight_serves_other_shapes() {
    let mut generator = Generator::new(4);
    for (kernel, groups) in [(3, 1), (1, 1), (3, 4)] {
        let geometry = Conv2dGeometry::new(kernel, kernel).padding(kernel / 2).groups(groups);
        let weight: Tensor<f32> = generator.normal_tensor([24, 16 / groups, kernel, kernel], 1.0);
        let mut shared = 0;
        let mut packed: Option<PackedConv2d> = None;
        for [batch, height, width] in [[1, 14, 14], [3, 14, 14], [8, 9, 40], [1, 1, 1], [1, 14, 14]] {
            let x = generator.normal_tensor([batch, 16, height, width], 1.0).to_layout(Layout::ChannelsLast);
            let shape = geometry.resolve(x.shape(), weight.shape()).unwrap();
            let fresh = PackedConv2d::new(&weight, &shape).unwrap();
            let other = packed.as_ref().and_then(|packed| packed.reshaped(&shape).unwrap());
            if let Some(other) = &other {
                assert_eq!(other.algorithm(), fresh.algorithm());
                let mut weights = other.weights.iter().zip(&packed.as_ref().unwrap().weights);
                assert!(weights.all(|(one, other)| one.shares_memory_with(other)));
                shared += 1;
            }
            let run = |packed: &PackedConv2d| {
                let mut y = Tensor::<f32>::unfilled(shape.y(), Layout::ChannelsLast);
                packed.run(x.as_slice(), y.as_mut_slice(), &Epilogue::default()).unwrap();
                y.to_vec().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let other = other.unwrap_or_else(|| fresh.clone());
            assert_eq!(run(&other), run(&fresh), "{kernel} {groups} {shape:?}");
            packed = Some(other);
        }
        assert!(shared >= 1, "{kernel} {groups}");
    }
    let shape = |channels: usize, stride: usize| {
        let geometry = Conv2dGeometry::new(3, 3).stride(stride);
        let [x, weight] = [[1, channels, 9, 9], [4, channels, 3, 3]].map(|axes| Shape::new(axes).unwrap());
        geometry.resolve(&x, &weight).unwrap()
    };
    let packed = PackedConv2d::new(&Tensor::<f32>::zeros([4, 2, 3, 3]), &shape(2, 1)).unwrap();
    for other in [shape(3, 1), shape(2, 2)] {
        assert!(packed.reshaped(&other).unwrap().is_none(), "{other:?}");
    }
}
