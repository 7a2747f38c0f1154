//! How work is divided among threads: into chunks whose size depends on the data alone. Which
//! thread computes a chunk then makes no difference to the result, and neither does how many
//! threads there are.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use residual_tensor::{Float, Tensor, TensorView};

use crate::{
    Result,
    engine::{
        isa::{InstructionSet, Loop, vectorized},
        shared::Shared,
        threads,
    },
};

/// Elements in a chunk of an element-wise loop: they fit the second cache.
pub(crate) const CHUNK: usize = 16 << 10;

/// How many neighbouring chunks of `elements` each make a task. Two [`CHUNK`]s are not worth waking
/// another thread for.
pub(crate) fn chunks_per_task(elements: usize) -> usize {
    (2 * CHUNK).div_ceil(elements.max(1))
}

/// `f(x)` for each element, in the layout of `x`.
///
/// # Errors
/// If there is no memory for the result, and those of [`zip_update`].
pub(crate) fn map<T: Float>(x: &TensorView<'_, T>, f: impl Fn(T) -> T + Sync) -> Result<Tensor<T>> {
    let mut y = Tensor::try_unfilled(x.shape(), x.layout())?;
    zip_update(y.as_mut_slice(), x.as_slice(), |_, x| f(x))?;
    Ok(y)
}

/// `f(a, b)` for each pair of elements, in the layout of `a`, which has the shape of `b`.
///
/// # Errors
/// If there is no memory for the result, and those of [`zip_into`].
pub(crate) fn zip_map<T: Float>(
    a: &TensorView<'_, T>,
    b: TensorView<'_, T>,
    f: impl Fn(T, T) -> T + Sync,
) -> Result<Tensor<T>> {
    debug_assert_eq!(a.shape(), b.shape());
    let b = b.into_layout(a.layout())?;
    let mut y = Tensor::try_unfilled(a.shape(), a.layout())?;
    zip_into(a.as_slice(), b.as_slice(), y.as_mut_slice(), f)?;
    Ok(y)
}

/// `y = f(a, b)` for each triple of elements of slices that are equally long.
///
/// # Errors
/// As [`InstructionSet::active`].
pub(crate) fn zip_into<T: Float>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Sync) -> Result<()> {
    debug_assert!(a.len() == y.len() && b.len() == y.len());
    let set = InstructionSet::active()?;
    for_each_run(y, CHUNK, |run, y| {
        let (a, b) = (&a[run.clone()], &b[run]);
        vectorized(set, Zip { y, a, b, f: |_, a, b| f(a, b) });
    });
    Ok(())
}

/// `y = f(y, x)` for each pair of elements of slices that are equally long.
///
/// # Errors
/// As [`InstructionSet::active`].
pub(crate) fn zip_update<T: Float>(y: &mut [T], x: &[T], f: impl Fn(T, T) -> T + Sync) -> Result<()> {
    debug_assert_eq!(y.len(), x.len());
    let set = InstructionSet::active()?;
    for_each_run(y, CHUNK, |run, y| {
        let x = &x[run];
        vectorized(set, Zip { y, a: x, b: x, f: |y, x, _| f(y, x) });
    });
    Ok(())
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
    threads::for_each(count, &run);
}

/// Calls `run` for each chunk of `size` elements, with its number, on all threads.
pub(crate) fn for_each_chunk<T: Send + Sync>(
    to: &mut [T],
    size: usize,
    run: impl Fn(usize, &mut [T]) + Sync,
) {
    for_each_chunk_in_groups(to, size, chunks_per_task(size.max(1)), run);
}

/// [`for_each_chunk`] of which each is work enough for a task, and can fail.
///
/// # Errors
/// That of one of the chunks.
pub(crate) fn try_for_each_chunk<T: Send + Sync>(
    to: &mut [T],
    size: usize,
    run: impl Fn(usize, &mut [T]) -> Result<()> + Sync,
) -> Result<()> {
    let failure = Mutex::new(Ok(()));
    for_each_chunk_in_groups(to, size, 1, |chunk, to| {
        if let Err(error) = run(chunk, to) {
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn for_each_chunk_in_groups<T: Send + Sync>(
    to: &mut [T],
    size: usize,
    per_task: usize,
    run: impl Fn(usize, &mut [T]) + Sync,
) {
    let (size, length) = (size.max(1), to.len());
    let start = Shared::new(to);
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

/// [`for_each_chunk`] that tells where the chunk lies.
pub(crate) fn for_each_run<T: Send + Sync>(
    to: &mut [T],
    size: usize,
    run: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    for_each_chunk(to, size, |chunk, to| run(chunk * size..chunk * size + to.len(), to));
}

/// [`for_each_run`] of which each has a result: all of them, in order.
pub(crate) fn collect_runs<T: Send + Sync, R: Send + Sync>(
    to: &mut [T],
    size: usize,
    run: impl Fn(Range<usize>, &mut [T]) -> R + Sync,
) -> Vec<R> {
    let (size, length) = (size.max(1), to.len());
    let start = Shared::new(to);
    collect(length.div_ceil(size), |chunk| {
        let range = chunk * size..length.min((chunk + 1) * size);
        // SAFETY: within the slice, and no other chunk has these elements.
        let elements = unsafe { std::slice::from_raw_parts_mut(start.at(range.start), range.len()) };
        run(range, elements)
    })
}

/// [`for_each_run`] over two slices that are equally long.
pub(crate) fn for_each_run_of_two<T: Send + Sync, U: Send + Sync>(
    to: &mut [T],
    beside: &mut [U],
    size: usize,
    run: impl Fn(Range<usize>, &mut [T], &mut [U]) + Sync,
) {
    assert_eq!(to.len(), beside.len());
    let start = Shared::new(beside);
    for_each_run(to, size, |range, to| {
        // SAFETY: within the slice, which is as long as `to`, and no other run has these elements.
        let beside = unsafe { std::slice::from_raw_parts_mut(start.at(range.start), to.len()) };
        run(range, to, beside);
    });
}

/// The results of `f` for each number below `count`, in order.
pub(crate) fn collect<R: Send + Sync>(count: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = (0..count).map(|_| None).collect();
    let start = Shared::new(&mut results);
    // SAFETY: an element of the vector, which no other task has.
    for_each_task(count, |task| unsafe { *start.at(task) = Some(f(task)) });
    results.into_iter().map(|result| result.expect("every task has run")).collect()
}
