//! Laws that hold for every shape: layouts, views, copies, serialisation.

use proptest::prelude::*;
use residual_tensor::{Layout, Shape, Tensor, TensorError};

fn shape4() -> impl Strategy<Value = [usize; 4]> {
    [0usize..4, 1usize..20, 1usize..20, 1usize..20]
}

fn counting(shape: [usize; 4]) -> Tensor<f64> {
    let mut next = 0.0;
    Tensor::from_fn(shape, || {
        next += 1.0;
        next
    })
}

proptest! {
    #[test]
    fn a_layout_changes_memory_and_nothing_else(shape in shape4()) {
        let x = counting(shape);
        let last = x.to_layout(Layout::ChannelsLast);
        prop_assert_eq!(&last, &x);
        prop_assert_eq!(last.to_vec(), x.to_vec());
        let nhwc = x.permute(&[0, 2, 3, 1]).unwrap();
        prop_assert_eq!(last.as_slice(), nhwc.as_slice());
        let back = last.to_layout(Layout::Contiguous);
        prop_assert_eq!(back.as_slice(), x.as_slice());
    }

    #[test]
    fn a_view_finds_each_element_where_the_strides_say(shape in shape4(), last in any::<bool>()) {
        let layout = if last { Layout::ChannelsLast } else { Layout::Contiguous };
        let x = counting(shape).to_layout(layout);
        let strides = layout.strides(x.shape()).unwrap();
        for (index, &value) in x.view().indexed_iter() {
            let offset: usize = (0..4).map(|axis| index[axis] * strides[axis]).sum();
            prop_assert_eq!(x.as_slice()[offset], value);
        }
    }

    #[test]
    fn permuting_back_restores(shape in shape4(), seed in any::<u64>()) {
        let axes = residual_tensor::Generator::new(seed).permutation(4);
        let mut inverse = [0; 4];
        for (to, &from) in axes.iter().enumerate() {
            inverse[from] = to;
        }
        let x = counting(shape);
        prop_assert_eq!(x.permute(&axes).unwrap().permute(&inverse).unwrap(), x);
    }

    #[test]
    fn slices_put_together_give_the_whole(shape in shape4(), axis in 0usize..4, cut in 0usize..20, last in any::<bool>()) {
        let x = counting(shape).to_layout(if last { Layout::ChannelsLast } else { Layout::Contiguous });
        let cut = cut.min(shape[axis]);
        let parts = [x.slice(axis, 0..cut).unwrap(), x.slice(axis, cut..shape[axis]).unwrap()];
        let whole = ndarray::concatenate(ndarray::Axis(axis), &[parts[0].view(), parts[1].view()]).unwrap();
        prop_assert_eq!(Tensor::from(whole), x);
    }

    #[test]
    fn reshape_keeps_row_major_order(shape in shape4(), last in any::<bool>()) {
        let x = counting(shape);
        let y = if last { x.to_layout(Layout::ChannelsLast) } else { x.clone() };
        let flat = y.reshape([x.len()]).unwrap();
        prop_assert_eq!(flat.as_slice(), x.as_slice());
    }

    #[test]
    fn arrays_and_json_convert_both_ways(shape in shape4(), last in any::<bool>()) {
        let x = counting(shape).to_layout(if last { Layout::ChannelsLast } else { Layout::Contiguous });
        prop_assert_eq!(&Tensor::from(x.to_array()), &x);
        let json = serde_json::to_string(&x).unwrap();
        prop_assert_eq!(serde_json::from_str::<Tensor<f64>>(&json).unwrap(), x);
    }
}

/// Axes of any size, most of them absurd: small ones, powers of two and their neighbours.
fn axes() -> impl Strategy<Value = Vec<usize>> {
    let axis = prop_oneof![
        3 => 0usize..5,
        2 => (0u32..64, 0usize..3).prop_map(|(bits, off)| (1usize << bits).wrapping_add(off).wrapping_sub(1)),
        1 => any::<usize>(),
    ];
    proptest::collection::vec(axis, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// The same in debug and release builds: an error, or a count that did not wrap.
    #[test]
    fn a_size_is_right_or_an_error(axes in axes(), last in any::<bool>()) {
        let layout = if last { Layout::ChannelsLast } else { Layout::Contiguous };
        let wide = |axes: &[usize]| axes.iter().try_fold(1u128, |n, &axis| n.checked_mul(axis as u128));
        let nonzero: Vec<usize> = axes.iter().copied().filter(|&axis| axis > 0).collect();
        let possible = wide(&nonzero).is_some_and(|n| n <= isize::MAX as u128 / 8);
        let made = Shape::new(&*axes);
        prop_assert_eq!(made.is_ok(), possible);
        prop_assert_eq!(Shape::count(&axes).ok(), made.as_ref().ok().map(Shape::elements));
        let json = serde_json::to_string(&axes).unwrap();
        prop_assert_eq!(serde_json::from_str::<Shape>(&json).is_ok(), possible);
        prop_assert_eq!(Tensor::<u8>::from_vec(&*axes, vec![]).is_ok(), possible && axes.contains(&0));
        prop_assert_eq!(Tensor::<u8>::scalar(7).reshape(&*axes).is_ok(), axes.iter().all(|&axis| axis == 1));

        // A view that repeats one element, as large as ndarray allows.
        let one = ndarray::arr0(1.5f64);
        let few = possible && made.as_ref().unwrap().elements() < 1 << 16;
        if let Some(view) = one.broadcast(&*axes).filter(|_| few || !possible) {
            let fits = possible && (!last || axes.len() == 4);
            prop_assert_eq!(Tensor::from_view(view, layout).is_ok(), fits);
        }

        let Ok(shape) = made else {
            let is_too_large = |error| matches!(error, TensorError::TooLarge { .. });
            prop_assert!(is_too_large(Tensor::<u8>::try_unfilled(&*axes, layout).unwrap_err()));
            prop_assert!(is_too_large(Tensor::<f64>::try_zeros(axes).unwrap_err()));
            return Ok(());
        };
        prop_assert_eq!(Some(shape.elements() as u128), wide(&axes));
        match layout.strides(&shape) {
            Ok(strides) => for (axis, stride) in strides.into_iter().enumerate() {
                prop_assert!(stride as u128 * axes[axis].max(1) as u128 * 8 <= isize::MAX as u128);
            }
            Err(error) => prop_assert!(last && axes.len() != 4, "{error}"),
        }
        // Beyond what any machine has, but not beyond what memory can address.
        if shape.elements() > 1 << 50 {
            let error = Tensor::<f64>::try_zeros(&shape).unwrap_err();
            prop_assert_eq!(error, TensorError::OutOfMemory { bytes: shape.elements() * 8, shape });
        }
    }
}

#[test]
#[should_panic(expected = "a tensor of shape [4294967296, 4294967296] would have more elements than memory")]
fn a_constructor_without_a_result_panics_with_the_reason() {
    Tensor::<f32>::zeros([1 << 32, 1 << 32]);
}

#[test]
fn channels_last_is_for_four_axes() {
    assert_eq!(
        Tensor::<f32>::try_unfilled([2, 3], Layout::ChannelsLast).unwrap_err().to_string(),
        "channels-last needs 4 axes, but the shape is [2, 3]"
    );
}

#[test]
fn clones_share_until_one_is_written() {
    let x = Tensor::full([2, 3], 1.0f32);
    let mut y = x.clone();
    assert!(y.shares_memory_with(&x));
    y.view_mut()[[0, 0]] = 5.0;
    assert!(!y.shares_memory_with(&x));
    assert_eq!((x.view()[[0, 0]], y.view()[[0, 0]]), (1.0, 5.0));
}

#[test]
fn memory_is_aligned() {
    for len in [1, 7, 1000, 3_000_000] {
        let address = Tensor::<f32>::zeros([len]).as_slice().as_ptr() as usize;
        assert_eq!(address % residual_tensor::memory::ALIGNMENT, 0);
    }
}

#[test]
fn what_does_not_fit_is_an_error_with_both_shapes() {
    let x = Tensor::<f32>::zeros([2, 3]);
    let message = |e: TensorError| e.to_string();
    assert_eq!(
        message(x.reshape([4]).unwrap_err()),
        "cannot reshape [2, 3] (6 elements) to [4] (4 elements)"
    );
    assert_eq!(
        message(Tensor::from_vec([3], vec![1u8]).unwrap_err()),
        "shape [3] holds 3 elements, but 1 were given"
    );
    assert_eq!(
        message(x.permute(&[0, 0]).unwrap_err()),
        "axes [0, 0] are not a permutation of those of [2, 3]"
    );
    assert_eq!(message(x.slice(1, 2..4).unwrap_err()), "range 2..4 does not fit axis 1 of [2, 3]");
    assert_eq!(message(x.dims::<4>("conv2d").unwrap_err()), "conv2d needs 4 axes, but the shape is [2, 3]");
    assert!(serde_json::from_str::<Tensor<f32>>(r#"{"shape":[2],"elements":[1.0]}"#).is_err());
}
