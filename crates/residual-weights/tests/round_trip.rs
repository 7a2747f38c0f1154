//! What is written is read back: every element type and shape, in every format.

use proptest::prelude::*;
use residual_tensor::{Layout, Shape, Tensor};
use residual_weights::{Entry, Weights, load_bytes, npy, pth, safetensors};

/// Scalars, empty tensors, and up to five axes.
fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0usize..5, 0..6)
}

/// Any bit pattern of any type, NaN included.
fn entry() -> impl Strategy<Value = Entry> {
    (shape(), 0..5, any::<u64>()).prop_map(|(shape, kind, seed)| {
        let mut bits = seed;
        let mut next = move || {
            bits = bits.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            bits ^ bits >> 32
        };
        match kind {
            0 => Tensor::from_fn(shape, || f32::from_bits(next() as u32)).into(),
            1 => Tensor::from_fn(shape, || f64::from_bits(next())).into(),
            2 => Tensor::from_fn(shape, || next() as i64).into(),
            3 => Tensor::from_fn(shape, || next() as i32).into(),
            _ => Tensor::from_fn(shape, || next() as u8).into(),
        }
    })
}

fn weights() -> impl Strategy<Value = Weights> {
    let names = r"[a-z]{1,8}(\.[a-z0-9_é/']{1,4}){0,3}";
    let metadata = prop::collection::btree_map(".{0,8}", ".{0,20}", 0..4);
    (prop::collection::hash_map(names, entry(), 0..8), metadata).prop_map(|(entries, metadata)| {
        let mut weights: Weights = entries.into_iter().collect();
        weights.metadata = metadata;
        weights
    })
}

/// Shape, type and bits, which unlike `==` finds NaN equal to itself.
fn bits(entry: &Entry) -> (Shape, &'static str, Vec<u64>) {
    let bits = match entry {
        Entry::F32(tensor) => tensor.to_vec().into_iter().map(|x| x.to_bits().into()).collect(),
        Entry::F64(tensor) => tensor.to_vec().into_iter().map(f64::to_bits).collect(),
        Entry::F16(tensor) => tensor.to_vec().into_iter().map(|x| x.to_bits().into()).collect(),
        Entry::I64(tensor) => tensor.to_vec().into_iter().map(|x| x as u64).collect(),
        Entry::I32(tensor) => tensor.to_vec().into_iter().map(|x| x as u64).collect(),
        Entry::U8(tensor) => tensor.to_vec().into_iter().map(u64::from).collect(),
    };
    (entry.shape().clone(), entry.dtype(), bits)
}

fn by_name(weights: &Weights) -> std::collections::BTreeMap<&str, (Shape, &'static str, Vec<u64>)> {
    weights.iter().map(|(name, entry)| (name, bits(entry))).collect()
}

proptest! {
    #[test]
    fn safetensors_keeps_everything_but_the_order(weights in weights()) {
        let bytes = safetensors::to_bytes(&weights).unwrap();
        let read = load_bytes(&bytes).unwrap();
        prop_assert_eq!(by_name(&read), by_name(&weights));
        prop_assert_eq!(&read.metadata, &weights.metadata);
        prop_assert_eq!(safetensors::to_bytes(&read).unwrap(), bytes);
    }

    #[test]
    fn what_safetensors_writes_its_own_reader_accepts(weights in weights()) {
        let bytes = safetensors::to_bytes(&weights).unwrap();
        let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(theirs.len(), weights.len());
        for (name, tensor) in theirs.iter() {
            prop_assert_eq!(tensor.shape(), &**weights.get(name).unwrap().shape());
            let offset = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
            prop_assert_eq!(offset % (tensor.dtype().bitsize() / 8), 0, "{} is not aligned", name);
        }
    }

    #[test]
    fn pth_keeps_tensors_and_their_order(weights in weights()) {
        prop_assume!(!weights.is_empty());
        let bytes = pth::to_bytes(&weights).unwrap();
        let read = load_bytes(&bytes).unwrap();
        prop_assert_eq!(by_name(&read), by_name(&weights));
        prop_assert!(read.names().eq(weights.names()));
        prop_assert_eq!(pth::to_bytes(&read).unwrap(), bytes);
    }

    #[test]
    fn npy_keeps_an_array(entry in entry()) {
        let bytes = npy::to_bytes(&entry).unwrap();
        prop_assert_eq!(bits(&npy::read_bytes(&bytes).unwrap()), bits(&entry));
    }

    #[test]
    fn the_layout_in_memory_does_not_reach_the_file(shape in prop::array::uniform4(1usize..4)) {
        let mut next = 0.0;
        let tensor = Tensor::<f32>::from_fn(shape, || { next += 1.0; next });
        let last: Weights = [("w", tensor.to_layout(Layout::ChannelsLast))].into_iter().collect();
        let contiguous: Weights = [("w", tensor)].into_iter().collect();
        prop_assert_eq!(safetensors::to_bytes(&last).unwrap(), safetensors::to_bytes(&contiguous).unwrap());
        prop_assert_eq!(pth::to_bytes(&last).unwrap(), pth::to_bytes(&contiguous).unwrap());
    }
}

#[test]
fn halves_are_read_as_what_they_stand_for() {
    let values = Tensor::from_vec([2, 2], vec![0.1f32, -65_504.0, 1e-7, f32::NEG_INFINITY]).unwrap();
    let weights: Weights = [("w", values)].into_iter().collect();
    let half = weights.to_half();
    let expected = Entry::from(half.get("w").unwrap().to_float::<f32>());
    let files = [safetensors::to_bytes(&half).unwrap(), pth::to_bytes(&half).unwrap()];
    for file in files {
        assert_eq!(load_bytes(&file).unwrap().get("w"), Some(&expected));
    }
    let array = npy::to_bytes(half.get("w").unwrap()).unwrap();
    assert_eq!(npy::read_bytes(&array).unwrap(), expected);
}

#[test]
fn storages_are_aligned_as_pytorch_has_them() {
    let weights: Weights = (1..9).map(|n| (format!("{n}"), Tensor::full([n], 1e30f32))).collect();
    let bytes = pth::to_bytes(&weights).unwrap();
    let mut at = 0;
    for n in 1..9 {
        let storage = 1e30f32.to_le_bytes().repeat(n);
        at += bytes[at..].windows(storage.len()).position(|window| window == storage).unwrap();
        assert_eq!(at % 64, 0);
        at += storage.len();
    }
}

#[test]
fn a_name_that_the_format_reserves_is_not_written() {
    let weights: Weights = [("__metadata__", Tensor::<f32>::zeros([1]))].into_iter().collect();
    assert!(safetensors::to_bytes(&weights).is_err());
}
