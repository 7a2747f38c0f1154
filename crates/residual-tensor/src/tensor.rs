//! The tensor: a shape, a layout and shared memory.

use std::{fmt, sync::Arc};

use ndarray::{Array, ArrayD, ArrayView, ArrayViewD, ArrayViewMutD, Axis, Dimension, IxDyn, Slice};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{Element, IntoShape, Layout, Result, Shape, TensorError, buffer::Buffer};

/// An n-dimensional array that owns its memory.
///
/// Cloning shares the memory; writing to shared memory copies it first. Four-dimensional
/// tensors may be [channels-last](Layout::ChannelsLast); their indices stay `[n, c, h, w]`.
///
/// A size that comes from a user or a file belongs in the functions that return a [`Result`].
/// For sizes known to be sensible, [`zeros`](Self::zeros) and its
/// siblings panic instead, as `Vec` does when its capacity overflows.
/// What copies a tensor that exists ([`to_layout`](Self::to_layout), [`map`](Self::map), writing to
/// shared memory) panics if the system has no memory for the copy.
#[derive(Clone)]
pub struct Tensor<T: Element> {
    shape: Shape,
    layout: Layout,
    data: Arc<Buffer<T>>,
}

impl<T: Element> Tensor<T> {
    /// A tensor of default values (zeros), row-major.
    ///
    /// # Panics
    /// If [`try_zeros`](Self::try_zeros) gives an error.
    #[track_caller]
    pub fn zeros(shape: impl IntoShape) -> Self {
        or_panic(Self::try_zeros(shape))
    }

    /// A tensor of default values (zeros), row-major.
    ///
    /// # Errors
    /// As [`try_unfilled`](Self::try_unfilled).
    pub fn try_zeros(shape: impl IntoShape) -> Result<Self> {
        Self::try_full(shape, T::default())
    }

    /// A tensor of one value, row-major.
    ///
    /// # Panics
    /// If [`try_full`](Self::try_full) gives an error.
    #[track_caller]
    pub fn full(shape: impl IntoShape, value: T) -> Self {
        or_panic(Self::try_full(shape, value))
    }

    /// A tensor of one value, row-major.
    ///
    /// # Errors
    /// As [`try_unfilled`](Self::try_unfilled).
    pub fn try_full(shape: impl IntoShape, value: T) -> Result<Self> {
        let mut tensor = Self::try_unfilled(shape, Layout::Contiguous)?;
        tensor.as_mut_slice().fill(value);
        Ok(tensor)
    }

    /// A tensor without axes, holding one value.
    pub fn scalar(value: T) -> Self {
        Self::full([], value)
    }

    /// A row-major tensor of successive results of `f`.
    ///
    /// # Panics
    /// If [`try_from_fn`](Self::try_from_fn) gives an error.
    #[track_caller]
    pub fn from_fn(shape: impl IntoShape, f: impl FnMut() -> T) -> Self {
        or_panic(Self::try_from_fn(shape, f))
    }

    /// A row-major tensor of successive results of `f`.
    ///
    /// # Errors
    /// As [`try_unfilled`](Self::try_unfilled).
    pub fn try_from_fn(shape: impl IntoShape, f: impl FnMut() -> T) -> Result<Self> {
        let mut tensor = Self::try_unfilled(shape, Layout::Contiguous)?;
        tensor.as_mut_slice().fill_with(f);
        Ok(tensor)
    }

    /// A tensor whose elements are unspecified: what recycled memory happened to hold.
    ///
    /// For kernels that write every element. Reading them is safe, but their values mean
    /// nothing.
    ///
    /// # Panics
    /// If [`try_unfilled`](Self::try_unfilled) gives an error.
    #[track_caller]
    pub fn unfilled(shape: impl IntoShape, layout: Layout) -> Self {
        or_panic(Self::try_unfilled(shape, layout))
    }

    /// A tensor whose elements are unspecified, like [`unfilled`](Self::unfilled).
    ///
    /// # Errors
    /// [`TensorError::TooLarge`] if the shape is impossible, [`TensorError::OutOfMemory`] if the
    /// system has no memory for it, [`TensorError::Rank`] if the shape cannot have the layout.
    pub fn try_unfilled(shape: impl IntoShape, layout: Layout) -> Result<Self> {
        let shape = shape.into_shape()?;
        layout.check(&shape)?;
        match Buffer::try_unfilled(shape.elements()) {
            Ok(buffer) => Ok(Self { shape, layout, data: Arc::new(buffer) }),
            Err(TensorError::OutOfMemory { bytes, .. }) => Err(TensorError::OutOfMemory { shape, bytes }),
            Err(error) => Err(error),
        }
    }

    /// A row-major tensor of the given elements.
    ///
    /// # Errors
    /// [`TensorError::Length`] if their number is not that of the shape; those of
    /// [`try_unfilled`](Self::try_unfilled).
    pub fn from_vec(shape: impl IntoShape, elements: Vec<T>) -> Result<Self> {
        Self::from_slice(shape, &elements)
    }

    /// A row-major tensor with a copy of the given elements.
    ///
    /// # Errors
    /// [`TensorError::Length`] if their number is not that of the shape; those of
    /// [`try_unfilled`](Self::try_unfilled).
    pub fn from_slice(shape: impl IntoShape, elements: &[T]) -> Result<Self> {
        let shape = shape.into_shape()?;
        if shape.elements() != elements.len() {
            return Err(TensorError::Length { shape, given: elements.len() });
        }
        let mut tensor = Self::try_unfilled(shape, Layout::Contiguous)?;
        tensor.as_mut_slice().copy_from_slice(elements);
        Ok(tensor)
    }

    /// A tensor with a copy of the view's elements, in the given layout.
    ///
    /// # Errors
    /// As [`try_unfilled`](Self::try_unfilled); a view that repeats its elements can be of any size.
    pub fn from_view<D: Dimension>(view: ArrayView<'_, T, D>, layout: Layout) -> Result<Self> {
        let mut tensor = Self::try_unfilled(view.shape(), layout)?;
        tensor.view_mut().assign(&view.into_dyn());
        Ok(tensor)
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The axes as an array of exactly `N`.
    ///
    /// # Errors
    /// [`TensorError::Rank`] naming `operation` if there are more or fewer.
    pub fn dims<const N: usize>(&self, operation: &'static str) -> Result<[usize; N]> {
        self.shape.dims(operation)
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// How the elements lie in memory.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// All elements in the order of memory, which [`layout`](Self::layout) tells.
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// All elements in the order of memory, for writing; copies them first if they are shared.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        if Arc::get_mut(&mut self.data).is_none() {
            let mut copy = Self::unfilled(&self.shape, self.layout);
            copy.as_mut_slice().copy_from_slice(self.as_slice());
            *self = copy;
        }
        Arc::get_mut(&mut self.data).expect("a buffer that nothing else shares")
    }

    /// The elements as an array view with this tensor's axes.
    pub fn view(&self) -> ArrayViewD<'_, T> {
        let (stored, axes) = self.stored_axes();
        ArrayViewD::from_shape(stored, &self.data)
            .expect("a buffer of the shape's length")
            .permuted_axes(axes)
    }

    /// The elements as an array view for writing; copies them first if they are shared.
    pub fn view_mut(&mut self) -> ArrayViewMutD<'_, T> {
        let (stored, axes) = self.stored_axes();
        ArrayViewMutD::from_shape(stored, self.as_mut_slice())
            .expect("a buffer of the shape's length")
            .permuted_axes(axes)
    }

    /// The axes in the order of memory, and for each axis of the shape where it is among them.
    fn stored_axes(&self) -> (IxDyn, IxDyn) {
        match (self.layout, &*self.shape) {
            (Layout::ChannelsLast, &[n, c, h, w]) => (IxDyn(&[n, h, w, c]), IxDyn(&[0, 3, 1, 2])),
            (_, shape) => (IxDyn(shape), IxDyn(&(0..shape.len()).collect::<Vec<_>>())),
        }
    }

    /// The single element of a tensor that has just one.
    ///
    /// # Errors
    /// [`TensorError::Reshape`] if there are more or none.
    pub fn item(&self) -> Result<T> {
        match *self.as_slice() {
            [value] => Ok(value),
            _ => Err(TensorError::Reshape { from: self.shape.clone(), to: Shape::default() }),
        }
    }

    /// The elements in row-major order.
    pub fn to_vec(&self) -> Vec<T> {
        match self.layout {
            Layout::Contiguous => self.as_slice().to_vec(),
            Layout::ChannelsLast => self.to_layout(Layout::Contiguous).as_slice().to_vec(),
        }
    }

    /// A copy as an owned array.
    pub fn to_array(&self) -> ArrayD<T> {
        self.view().to_owned()
    }

    /// The same elements in another layout. Shares memory where nothing has to move.
    ///
    /// # Panics
    /// If `layout` is channels-last and there are not four axes.
    pub fn to_layout(&self, layout: Layout) -> Self {
        if layout == self.layout || Layout::is_immaterial(&self.shape) {
            return Self { layout, ..self.clone() };
        }
        or_panic(Self::moved(&self.shape, self.as_slice(), layout))
    }

    /// A tensor in `layout` of elements that lie in the other layout.
    ///
    /// # Errors
    /// As [`try_unfilled`](Self::try_unfilled).
    pub(crate) fn moved(shape: &Shape, elements: &[T], layout: Layout) -> Result<Self> {
        let mut moved = Self::try_unfilled(shape, layout)?;
        let [n, c, h, w] = shape.dims("to_layout")?;
        if moved.is_empty() {
            return Ok(moved);
        }
        // Each image is a matrix of c rows and h·w columns, or its transpose.
        let (rows, columns) = match layout {
            Layout::ChannelsLast => (c, h * w),
            Layout::Contiguous => (h * w, c),
        };
        debug_assert_eq!(elements.len(), n * rows * columns);
        let images = elements.chunks_exact(rows * columns);
        for (from, to) in images.zip(moved.as_mut_slice().chunks_exact_mut(rows * columns)) {
            transpose(from, to, rows, columns);
        }
        Ok(moved)
    }

    /// The same elements, in row-major order, under another shape. Shares memory if the tensor
    /// is contiguous; a channels-last tensor is brought into row-major order first.
    ///
    /// # Errors
    /// [`TensorError::Reshape`] if the number of elements differs, [`TensorError::TooLarge`] if the
    /// shape is impossible.
    pub fn reshape(&self, shape: impl IntoShape) -> Result<Self> {
        let shape = shape.into_shape()?;
        if shape.elements() != self.len() {
            return Err(TensorError::Reshape { from: self.shape.clone(), to: shape });
        }
        Ok(Self { shape, ..self.to_layout(Layout::Contiguous) })
    }

    /// The tensor with its axes in another order, row-major. `axes[i]` is where axis `i` of the
    /// result comes from.
    ///
    /// # Errors
    /// [`TensorError::Axes`] if `axes` is not a permutation of all axes;
    /// [`TensorError::OutOfMemory`].
    pub fn permute(&self, axes: &[usize]) -> Result<Self> {
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.shape.rank()) {
            return Err(TensorError::Axes { axes: axes.to_vec(), shape: self.shape.clone() });
        }
        Self::from_view(self.view().permuted_axes(IxDyn(axes)), Layout::Contiguous)
    }

    /// The part of the tensor with indices `range` along `axis`, in the same layout.
    ///
    /// # Errors
    /// [`TensorError::Range`] if the range does not fit; [`TensorError::OutOfMemory`].
    pub fn slice(&self, axis: usize, range: std::ops::Range<usize>) -> Result<Self> {
        let fits = self.shape.get(axis).is_some_and(|&n| range.start <= range.end && range.end <= n);
        if !fits {
            let shape = self.shape.clone();
            return Err(TensorError::Range { axis, start: range.start, end: range.end, shape });
        }
        let view = self.view();
        Self::from_view(view.slice_axis(Axis(axis), Slice::from(range)), self.layout)
    }

    /// A tensor of the same shape and layout with each element converted.
    pub fn map<U: Element>(&self, mut f: impl FnMut(T) -> U) -> Tensor<U> {
        let mut mapped = Tensor::unfilled(&self.shape, self.layout);
        for (to, &from) in mapped.as_mut_slice().iter_mut().zip(self.as_slice()) {
            *to = f(from);
        }
        mapped
    }

    /// Whether both tensors look at the same memory.
    pub fn shares_memory_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.data, &other.data)
    }
}

/// The tensor; panics where there is none. The one place where this crate does.
#[track_caller]
fn or_panic<T: Element>(tensor: Result<Tensor<T>>) -> Tensor<T> {
    tensor.unwrap_or_else(|error| panic!("{error}"))
}

/// Writes the `rows` × `columns` matrix `from` to `to` with rows and columns exchanged, in
/// tiles that stay in the first cache.
fn transpose<T: Copy>(from: &[T], to: &mut [T], rows: usize, columns: usize) {
    const TILE: usize = 16;
    for row in (0..rows).step_by(TILE) {
        let tile_rows = row..rows.min(row + TILE);
        for column in (0..columns).step_by(TILE) {
            for j in column..columns.min(column + TILE) {
                for i in tile_rows.clone() {
                    to[j * rows + i] = from[i * columns + j];
                }
            }
        }
    }
}

/// Row-major. Panics if [`Tensor::from_view`] gives an error.
impl<T: Element, D: Dimension> From<ArrayView<'_, T, D>> for Tensor<T> {
    #[track_caller]
    fn from(view: ArrayView<'_, T, D>) -> Self {
        or_panic(Self::from_view(view, Layout::Contiguous))
    }
}

/// Row-major. Panics if [`Tensor::from_view`] gives an error.
impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor<T> {
    fn from(array: Array<T, D>) -> Self {
        array.view().into()
    }
}

impl<T: Element> From<Tensor<T>> for ArrayD<T> {
    fn from(tensor: Tensor<T>) -> Self {
        tensor.to_array()
    }
}

/// Equality is by shape and index; the layouts may differ.
impl<T: Element> PartialEq for Tensor<T> {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor<{}>{} {:?}", T::NAME, self.shape, self.view())
    }
}

/// As `{"shape": [...], "elements": [...]}`, row-major.
impl<T: Element + Serialize> Serialize for Tensor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Parts { shape: self.shape.clone(), elements: self.to_vec() }.serialize(serializer)
    }
}

impl<'de, T: Element + Deserialize<'de>> Deserialize<'de> for Tensor<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let Parts { shape, elements } = Parts::deserialize(deserializer)?;
        Self::from_vec(shape, elements).map_err(D::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct Parts<T> {
    shape: Shape,
    elements: Vec<T>,
}
