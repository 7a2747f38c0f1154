//! The loader's promises: what is in a batch depends on seed, epoch and index alone; errors
//! arrive in order; dropping an epoch ends it.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use residual_data::{
    Arrays, Augment, Automatic, Batch, Cutout, DataError, Dataset, Faces, HorizontalFlip, ImageShape, Loader,
    LoaderConfig, PadAndCrop, PaddingMode, Picture, Pictures, Preprocess, RandomErasing, RandomResizedCrop,
    Result, Rotation, Sample, Samples, Split, Standardise, Transform,
};
use residual_tensor::{Generator, Tensor};

fn config(workers: usize) -> LoaderConfig {
    LoaderConfig { workers, ..LoaderConfig::train(16, 5) }
}

fn loader(samples: usize, config: LoaderConfig) -> Loader {
    let faces = Arc::new(Faces::new(3, Split::Train, samples));
    let preprocess = Preprocess::new(Faces::SHAPE).fit(&*faces, Standardise::Channel, 50).unwrap();
    let vary = Augment::CIFAR.transforms(&preprocess);
    Loader::new(Pictures::new(faces, preprocess).unwrap().varied(vary).unwrap(), config).unwrap()
}

fn epoch(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch).unwrap().map(|batch| batch.unwrap()).collect()
}

#[test]
fn workers_do_not_change_a_bit() {
    let reference = loader(100, config(1));
    let expected = [epoch(&reference, 0), epoch(&reference, 1)];
    assert_eq!(expected[0].len(), 6);
    assert_ne!(expected[0][0].indices, expected[1][0].indices);
    for workers in [2, 5, 50] {
        let loader = loader(100, config(workers));
        // The second epoch comes out of the cache, the third run of it not.
        assert_eq!([epoch(&loader, 0), epoch(&loader, 1)], expected);
        assert_eq!(epoch(&self::loader(100, config(workers)), 1), expected[1]);
    }
}

#[test]
fn an_epoch_goes_on_where_it_was_left() {
    let whole = epoch(&loader(100, config(2)), 7);
    for first in 0..=whole.len() + 1 {
        let rest = loader(100, config(3)).epoch_from(7, first).unwrap();
        assert_eq!(rest.len(), whole.len().saturating_sub(first));
        let rest: Vec<Batch> = rest.map(|batch| batch.unwrap()).collect();
        assert_eq!(rest, whole[first.min(whole.len())..]);
    }
}

#[test]
fn every_sample_comes_once() {
    let shuffled = LoaderConfig { drop_last: false, ..config(2) };
    let batches = epoch(&loader(100, shuffled), 0);
    assert_eq!(
        batches.iter().map(|batch| batch.targets.len()).collect::<Vec<_>>(),
        [16, 16, 16, 16, 16, 16, 4]
    );
    let seen: HashSet<usize> = batches.iter().flat_map(|batch| batch.indices.iter().copied()).collect();
    assert_eq!(seen.len(), 100);

    let in_order = epoch(&loader(20, LoaderConfig::eval(8)), 0);
    let indices: Vec<usize> = in_order.iter().flat_map(|batch| batch.indices.iter().copied()).collect();
    assert_eq!(indices, (0..20).collect::<Vec<_>>());
    let labels: Vec<usize> = in_order.iter().flat_map(|batch| batch.targets.iter().copied()).collect();
    assert_eq!(labels, (0..20).map(|index| index % 7).collect::<Vec<_>>());

    // A single incomplete batch is better than none.
    assert_eq!(epoch(&loader(5, config(1)), 0).len(), 1);
}

#[test]
fn another_seed_gives_another_order_and_other_variations() {
    let other = LoaderConfig { seed: 6, ..config(1) };
    let (a, b) = (epoch(&loader(100, config(1)), 0), epoch(&loader(100, other), 0));
    assert_ne!(a[0].indices, b[0].indices);
    let fixed = LoaderConfig { shuffle: false, ..config(1) };
    let fixed = loader(16, fixed);
    assert_ne!(epoch(&fixed, 0)[0].inputs, epoch(&fixed, 1)[0].inputs);
}

/// Pictures of one pixel whose reading can fail, and is counted.
struct Brittle {
    classes: Vec<String>,
    corrupt: Option<usize>,
    explosive: Option<usize>,
    reads: AtomicUsize,
}

impl Brittle {
    fn new(corrupt: Option<usize>, explosive: Option<usize>) -> Arc<Self> {
        Arc::new(Self { classes: vec!["only".into()], corrupt, explosive, reads: AtomicUsize::new(0) })
    }
}

impl Dataset for Brittle {
    fn name(&self) -> &str {
        "brittle"
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn len(&self) -> usize {
        1000
    }
    fn shape(&self) -> Option<ImageShape> {
        None
    }
    fn label(&self, _: usize) -> Result<usize> {
        Ok(0)
    }
    fn get(&self, index: usize) -> Result<Sample> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.corrupt == Some(index) {
            return Err(DataError::Picture { path: PathBuf::from("cat.png"), reason: "cut short".into() });
        }
        assert_ne!(self.explosive, Some(index), "on purpose");
        Ok(Sample { image: Picture::new(ImageShape::new(1, 1, 1), vec![index as u8])?, label: 0 })
    }
}

fn brittle_loader(data: Arc<Brittle>) -> Loader {
    let config = LoaderConfig { workers: 3, ..LoaderConfig::eval(10) };
    Loader::new(pixels(data), config).unwrap()
}

fn pixels(data: Arc<Brittle>) -> Pictures {
    Pictures::new(data, Preprocess::new(ImageShape::new(1, 1, 1))).unwrap()
}

#[test]
fn an_error_arrives_in_its_place_and_ends_the_epoch() {
    let results: Vec<_> = brittle_loader(Brittle::new(Some(75), None)).epoch(0).unwrap().collect();
    assert_eq!(results.len(), 8);
    assert!(results[..7].iter().all(|batch| batch.is_ok()));
    assert!(results[7].as_ref().unwrap_err().to_string().contains("cat.png"));
}

#[test]
fn a_panic_in_the_data_set_becomes_an_error() {
    let results: Vec<_> = brittle_loader(Brittle::new(None, Some(42))).epoch(0).unwrap().collect();
    assert!(matches!(results.last(), Some(Err(DataError::WorkerStopped { batch: 4, .. }))));
}

#[test]
fn a_dropped_epoch_stops_reading() {
    let data = Brittle::new(None, None);
    let mut epoch = brittle_loader(data.clone()).epoch(0).unwrap();
    epoch.next().unwrap().unwrap();
    drop(epoch);
    let reads = data.reads.load(Ordering::SeqCst);
    // At most one batch taken, and for each worker one ready, one waiting and one begun.
    assert!(reads <= 100, "{reads} of 1000 pictures were read");
}

#[test]
fn pictures_are_decoded_once_as_long_as_there_is_room() {
    for (cache_bytes, expected) in [(1 << 20, 1000), (400, 1600), (0, 2000)] {
        let data = Brittle::new(None, None);
        let config = LoaderConfig { workers: 2, ..LoaderConfig::eval(10) };
        let loader = Loader::new(pixels(data.clone()).cached(cache_bytes), config).unwrap();
        assert_eq!(epoch(&loader, 0), epoch(&loader, 1));
        assert_eq!(data.reads.load(Ordering::SeqCst), expected, "with {cache_bytes} bytes");
    }
}

#[test]
fn impossible_requests_are_refused() {
    let faces = |len| Arc::new(Faces::new(0, Split::Val, len));
    let preprocess = Preprocess::new(Faces::SHAPE);
    let pictures = |len| Pictures::new(faces(len), preprocess.clone()).unwrap();
    assert!(matches!(Loader::new(pictures(0), LoaderConfig::eval(1)), Err(DataError::Empty { .. })));
    assert!(matches!(Loader::new(pictures(1), LoaderConfig::eval(0)), Err(DataError::BatchSize)));
    let broken = Preprocess { mean: Vec::new(), ..preprocess.clone() };
    assert!(matches!(Pictures::new(faces(1), broken), Err(DataError::Preprocess { .. })));
    let late = vec![HorizontalFlip::default().into(), Rotation { degrees: 10.0 }.into()];
    let message = pictures(1).varied(late).err().unwrap().to_string();
    assert!(message.starts_with("Rotation(Rotation { degrees: 10.0 }) makes new pixels"), "{message}");
    let none = Arrays::new("none", Tensor::<f32>::zeros([2, 3, 4]), vec![0, 1]).unwrap_err().to_string();
    assert!(none.contains("inputs of [2, 3, 4] and 2 targets"), "{none}");
}

/// A shift and a mirror image that are written are those that are made of pixels.
#[test]
fn what_is_placed_is_what_is_made_of_pixels() {
    let preprocess = Preprocess::new(Faces::SHAPE);
    let faces = Arc::new(Faces::new(3, Split::Train, 40));
    for transforms in [
        vec![PadAndCrop::new(9).into(), HorizontalFlip::default().into()],
        vec![HorizontalFlip::default().into(), PadAndCrop::new(9).into()],
        vec![PadAndCrop { padding: 9, mode: PaddingMode::Reflect }.into(), Cutout { side: 7 }.into()],
        vec![Automatic::Trivial.into(), HorizontalFlip::default().into()],
        vec![
            Rotation { degrees: 30.0 }.into(),
            RandomErasing { probability: 1.0, ..Default::default() }.into(),
        ],
        vec![RandomResizedCrop::new(48, 48).into(), HorizontalFlip { probability: 1.0 }.into()],
    ] {
        let pictures = Pictures::new(faces.clone(), preprocess.clone()).unwrap();
        let pictures = pictures.varied(transforms.clone()).unwrap();
        for index in 0..40 {
            let mut written = vec![f32::NAN; Faces::SHAPE.elements()];
            pictures.write(index, &mut Generator::new(9).split(index), &mut written).unwrap();
            let face = faces.get(index).unwrap().image;
            let made = Transform::apply_all(&transforms, face, &mut Generator::new(9).split(index)).unwrap();
            assert_eq!(written, preprocess.apply(made).unwrap().as_slice(), "{transforms:?}");
        }
    }
}

/// Pictures that grow: those of a small epoch are the whole ones resized, and are varied in their own size.
#[test]
fn epochs_have_sizes_of_their_own() {
    let preprocess = Preprocess::new(Faces::SHAPE);
    let faces = Arc::new(Faces::new(3, Split::Train, 20));
    let size = |epoch| [if epoch == 0 { 24 } else { 48 }; 2];
    let crop = RandomResizedCrop { scale: [1.0, 1.0], ratio: [1.0, 1.0], ..RandomResizedCrop::new(48, 48) };
    for transforms in [vec![], vec![crop.into()], vec![PadAndCrop::new(4).into(), Cutout { side: 5 }.into()]]
    {
        let pictures = Pictures::new(faces.clone(), preprocess.clone()).unwrap();
        let pictures = pictures.varied(transforms.clone()).unwrap().sized(size);
        let loader =
            Loader::new(pictures, LoaderConfig { shuffle: false, ..LoaderConfig::train(20, 5) }).unwrap();
        for number in [0, 1, 0] {
            let inputs = epoch(&loader, number).remove(0).inputs;
            let [height, width] = size(number);
            assert_eq!(inputs.shape()[..], [20, 1, height, width]);
            if transforms.len() < 2 {
                let face =
                    faces.get(7).unwrap().image.resize(height, width, preprocess.interpolation).unwrap();
                let input = ImageShape { height, width, ..Faces::SHAPE };
                let preprocess = Preprocess { input, ..preprocess.clone() };
                let length = height * width;
                assert_eq!(
                    &inputs.as_slice()[7 * length..][..length],
                    preprocess.apply(face).unwrap().as_slice()
                );
            }
        }
    }
}

/// Whoever looks at two epochs sees each picture from both sides.
#[test]
fn alternating_flips_follow_the_epoch() {
    let preprocess = Preprocess::new(Faces::SHAPE);
    let faces = Arc::new(Faces::new(3, Split::Train, 30));
    let augment = Augment { flip: true, alternating_flip: true, ..Augment::default() };
    let pictures = Pictures::new(faces, preprocess.clone()).unwrap();
    let pictures = pictures.varied(augment.transforms(&preprocess)).unwrap();
    let fixed = LoaderConfig { shuffle: false, drop_last: false, ..LoaderConfig::train(30, 5) };
    let loader = Loader::new(pictures, fixed).unwrap();
    let [first, second, third] = [0, 1, 2].map(|number| epoch(&loader, number).remove(0).inputs);
    assert_eq!(first, third);
    let mirrored = |inputs: &Tensor<f32>, n: usize| -> Vec<f32> {
        let view = inputs.view();
        (0..48 * 48).map(|at| view[[n, 0, at / 48, 47 - at % 48]]).collect()
    };
    let as_it_is = |inputs: &Tensor<f32>, n: usize| inputs.slice(0, n..n + 1).unwrap().to_vec();
    assert!((0..30).all(|n| mirrored(&first, n) == as_it_is(&second, n)));
}

#[test]
fn arrays_of_any_channels_are_samples() {
    let inputs = Tensor::from_vec([5, 2, 3, 4], (0..120).map(|i| i as f32).collect()).unwrap();
    let targets: Vec<[f32; 2]> = (0..5).map(|n| [n as f32, -1.0]).collect();
    let samples = Arrays::new("counted", inputs, targets).unwrap();
    let batches: Vec<_> =
        Loader::new(samples, LoaderConfig::train(2, 1)).unwrap().epoch(0).unwrap().collect();
    assert_eq!(batches.len(), 2);
    for batch in batches {
        let batch = batch.unwrap();
        for (place, (&index, target)) in batch.indices.iter().zip(&batch.targets).enumerate() {
            assert_eq!(target[0], index as f32);
            // The last row and column of the second channel, channels innermost.
            assert_eq!(batch.inputs.as_slice()[place * 24 + 23], (index * 24 + 23) as f32);
            assert_eq!(batch.inputs.as_slice()[place * 24 + 22], (index * 24 + 11) as f32);
        }
    }
}
