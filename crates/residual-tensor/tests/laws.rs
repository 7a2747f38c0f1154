//! Laws that hold for every shape: layouts, views, copies, serialisation.

use proptest::prelude::*;
use residual_tensor::{Layout, Tensor, TensorError};

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
        let strides = layout.strides(x.shape());
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
        assert_eq!(address % residual_tensor::pool::ALIGNMENT, 0);
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
