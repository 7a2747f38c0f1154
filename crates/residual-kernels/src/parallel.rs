//! How work is divided among threads: into chunks whose size depends on the data alone. Which
//! thread computes a chunk then makes no difference to the result, and neither does how many
//! threads there are.

use rayon::prelude::*;
use residual_tensor::{Float, Tensor};

use crate::{
    crew,
    isa::{Loop, vectorized},
};

/// Elements in a chunk of an element-wise loop: they fit the second cache.
pub(crate) const CHUNK: usize = 16 << 10;

/// How many neighbouring chunks of `elements` each should stay on one thread, for rayon's
/// `with_min_len`. Two [`CHUNK`]s are not worth waking another thread for.
pub(crate) fn chunks_per_task(elements: usize) -> usize {
    (2 * CHUNK).div_ceil(elements.max(1))
}

/// `f(x)` for each element, in the layout of `x`.
pub(crate) fn map<T: Float>(x: &Tensor<T>, f: impl Fn(T) -> T + Sync) -> Tensor<T> {
    let mut y = Tensor::unfilled(x.shape(), x.layout());
    zip_update(y.as_mut_slice(), x.as_slice(), |_, x| f(x));
    y
}

/// `f(a, b)` for each pair of elements, in the layout of `a`, which has the shape of `b`.
pub(crate) fn zip_map<T: Float>(a: &Tensor<T>, b: &Tensor<T>, f: impl Fn(T, T) -> T + Sync) -> Tensor<T> {
    debug_assert_eq!(a.shape(), b.shape());
    let b = b.to_layout(a.layout());
    let mut y = Tensor::unfilled(a.shape(), a.layout());
    y.as_mut_slice()
        .par_chunks_mut(CHUNK)
        .zip(a.as_slice().par_chunks(CHUNK).zip(b.as_slice().par_chunks(CHUNK)))
        .with_min_len(chunks_per_task(CHUNK))
        .for_each(|(y, (a, b))| vectorized(Zip { y, a, b, f: |_, a, b| f(a, b) }));
    y
}

/// `y = f(y, x)` for each pair of elements of slices that are equally long.
pub(crate) fn zip_update<T: Float>(y: &mut [T], x: &[T], f: impl Fn(T, T) -> T + Sync) {
    debug_assert_eq!(y.len(), x.len());
    y.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .with_min_len(chunks_per_task(CHUNK))
        .for_each(|(y, x)| vectorized(Zip { y, a: x, b: x, f: |y, x, _| f(y, x) }));
}

/// `y = f(y, a, b)` for each triple of elements.
struct Zip<'a, T, F> {
    y: &'a mut [T],
    a: &'a [T],
    b: &'a [T],
    f: F,
}

impl<T: Float, F: Fn(T, T, T) -> T> Loop for Zip<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((y, &a), &b) in self.y.iter_mut().zip(self.a).zip(self.b) {
            *y = (self.f)(*y, a, b);
        }
    }
}

/// `to[i] += from[i]`.
pub(crate) fn add_assign<T: Float>(to: &mut [T], from: &[T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

/// Calls `run` for each task below `count`, on all threads. Tasks are independent, and
/// neighbours tend to run on the same thread, one after the other.
pub(crate) fn for_each_task(count: usize, run: impl Fn(usize) + Sync) {
    if crew::for_each_task(count, &run) {
        return;
    }
    /// Pieces per thread: more make up for unequal speeds, but each costs some microseconds.
    const PIECES: usize = 4;
    let threads = rayon::current_num_threads();
    let piece = if threads == 1 { count } else { count.div_ceil(threads * PIECES) };
    halve(0, count, piece.max(1), &run);
}

/// Calls `run` for each chunk of `size` elements, with its number, on all threads.
pub(crate) fn for_each_chunk<T: Send + Sync>(
    to: &mut [T],
    size: usize,
    run: impl Fn(usize, &mut [T]) + Sync,
) {
    let (size, length) = (size.max(1), to.len());
    let per_task = chunks_per_task(size);
    let start = Start(to.as_mut_ptr());
    for_each_task(length.div_ceil(size).div_ceil(per_task), |task| {
        for chunk in task * per_task..length.div_ceil(size).min((task + 1) * per_task) {
            let first = chunk * size;
            // SAFETY: within the slice, and no other chunk has these elements.
            let chunk_elements =
                unsafe { std::slice::from_raw_parts_mut(start.at(first), size.min(length - first)) };
            run(chunk, chunk_elements);
        }
    });
}

/// The start of a slice whose chunks go to different threads.
struct Start<T>(*mut T);

// SAFETY: each thread makes a slice of other elements from it, and elements may be sent.
unsafe impl<T: Send> Sync for Start<T> {}

impl<T> Start<T> {
    fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}

fn halve(start: usize, end: usize, piece: usize, run: &(impl Fn(usize) + Sync)) {
    if end - start <= piece {
        return (start..end).for_each(run);
    }
    let middle = start + (end - start) / 2;
    rayon::join(|| halve(start, middle, piece, run), || halve(middle, end, piece, run));
}
