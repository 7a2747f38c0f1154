//! What a function reads, whoever owns it: the elements of a tensor, an array or a slice, in one of the
//! two layouts. Not here: writing, and arithmetic.

use std::borrow::Cow;

use ndarray::{ArrayBase, ArrayView, ArrayViewD, Data, Dimension, IxDyn};

use crate::{Element, IntoShape, Layout, Result, Shape, Tensor, TensorError};

/// A shape, a [`Layout`], and elements in memory that belongs to something else.
///
/// Functions take `impl IntoView<'a, T>`, and so read tensors, `ndarray` arrays and views of any
/// strides, and slices. Nothing is copied that lies in memory in one of the two layouts already.
///
/// ```
/// use ndarray::Array4;
/// use residual_tensor::{IntoView, Layout, TensorView};
///
/// // Four channels of one pixel each, two images, as a camera's or decoder's memory has them.
/// let pixels = [1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
/// let view = TensorView::nhwc([2, 1, 1, 4], &pixels)?;
/// assert_eq!(**view.shape(), [2, 4, 1, 1]); // indices are NCHW
///
/// let array = Array4::<f32>::zeros([1, 3, 8, 8]);
/// let view = array.view().into_view()?;
/// assert_eq!(view.layout(), Layout::Contiguous);
/// assert_eq!(view.as_slice().as_ptr(), array.as_ptr()); // no copy
/// # Ok::<(), residual_tensor::TensorError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TensorView<'a, T: Element> {
    shape: Cow<'a, Shape>,
    layout: Layout,
    elements: Elements<'a, T>,
}

#[derive(Debug, Clone)]
enum Elements<'a, T: Element> {
    Borrowed(&'a [T]),
    /// Of a tensor that was handed over, or a copy of what did not lie in memory as it had to.
    Owned(Tensor<T>),
}

impl<'a, T: Element> TensorView<'a, T> {
    /// Elements in row-major order: images as `[n, c, h, w]`, convolution weights as
    /// `[o, i, kh, kw]`, matrices, vectors.
    ///
    /// # Errors
    /// [`TensorError::Length`] if their number is not that of the shape; those of [`Shape::new`].
    pub fn from_slice(shape: impl IntoShape, elements: &'a [T]) -> Result<Self> {
        Self::borrowed(shape.into_shape()?, Layout::Contiguous, elements)
    }

    /// Images with the channels of a pixel next to each other. The view's shape is `[n, c, h, w]`.
    /// (Convolution weights `[o, kh, kw, i]` lie in memory in the same way.)
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    pub fn nhwc([n, h, w, c]: [usize; 4], elements: &'a [T]) -> Result<Self> {
        Self::borrowed(Shape::new([n, c, h, w])?, Layout::ChannelsLast, elements)
    }

    fn borrowed(shape: Shape, layout: Layout, elements: &'a [T]) -> Result<Self> {
        if shape.elements() != elements.len() {
            return Err(TensorError::Length { shape, given: elements.len() });
        }
        Ok(Self { shape: Cow::Owned(shape), layout, elements: Elements::Borrowed(elements) })
    }

    /// An array's elements where they are, or a copy of them if they lie in neither layout.
    fn of_array(array: ArrayViewD<'a, T>) -> Result<Self> {
        let shape = Shape::new(array.shape())?;
        if let Some(elements) = array.to_slice() {
            return Self::borrowed(shape, Layout::Contiguous, elements);
        }
        if shape.rank() != 4 {
            return Ok(Self::owned(Tensor::from_view(array, Layout::Contiguous)?));
        }
        let stored = array.clone().permuted_axes(IxDyn(&[0, 2, 3, 1]));
        match stored.to_slice() {
            Some(elements) => Self::borrowed(shape, Layout::ChannelsLast, elements),
            // Whatever reads four axes computes in this layout.
            None => Ok(Self::owned(Tensor::from_view(array, Layout::ChannelsLast)?)),
        }
    }

    fn owned(tensor: Tensor<T>) -> Self {
        let (shape, layout) = (Cow::Owned(tensor.shape().clone()), tensor.layout());
        Self { shape, layout, elements: Elements::Owned(tensor) }
    }

    /// The lengths of the axes, `[n, c, h, w]` if there are four.
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

    /// How the elements lie in memory.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// All elements in the order of memory, which [`layout`](Self::layout) tells.
    pub fn as_slice(&self) -> &[T] {
        match &self.elements {
            Elements::Borrowed(elements) => elements,
            Elements::Owned(tensor) => tensor.as_slice(),
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// The same elements in another layout, copied only where something has to move.
    ///
    /// # Errors
    /// As [`Tensor::try_unfilled`].
    pub fn into_layout(self, layout: Layout) -> Result<Self> {
        if layout == self.layout || Layout::is_immaterial(&self.shape) {
            return Ok(Self { layout, ..self });
        }
        let elements = Elements::Owned(Tensor::moved(&self.shape, self.as_slice(), layout)?);
        Ok(Self { layout, elements, ..self })
    }

    /// The same elements, in row-major order, under another shape. They are copied only if they lie in
    /// another order.
    ///
    /// # Errors
    /// [`TensorError::Reshape`] if the number of elements differs, [`TensorError::TooLarge`] if the
    /// shape is impossible; those of [`Tensor::try_unfilled`].
    pub fn into_reshaped(self, shape: impl IntoShape) -> Result<Self> {
        let shape = shape.into_shape()?;
        if shape.elements() != self.len() {
            return Err(TensorError::Reshape { from: self.shape.into_owned(), to: shape });
        }
        Ok(Self { shape: Cow::Owned(shape), ..self.into_layout(Layout::Contiguous)? })
    }

    /// A tensor of the same elements in the same layout: the one that was handed over, or a copy.
    ///
    /// # Errors
    /// As [`Tensor::try_unfilled`].
    pub fn into_tensor(self) -> Result<Tensor<T>> {
        match self.elements {
            Elements::Owned(tensor) if *tensor.shape() == *self.shape => Ok(tensor.to_layout(self.layout)),
            Elements::Owned(tensor) => Ok(tensor.reshape(&*self.shape)?.to_layout(self.layout)),
            Elements::Borrowed(elements) => {
                let mut tensor = Tensor::try_unfilled(&*self.shape, self.layout)?;
                tensor.as_mut_slice().copy_from_slice(elements);
                Ok(tensor)
            }
        }
    }
}

impl<'a, T: Element> From<&'a Tensor<T>> for TensorView<'a, T> {
    fn from(tensor: &'a Tensor<T>) -> Self {
        let elements = Elements::Borrowed(tensor.as_slice());
        Self { shape: Cow::Borrowed(tensor.shape()), layout: tensor.layout(), elements }
    }
}

/// What can be read as a [`TensorView`]: tensors, `ndarray` arrays and views of any strides, and views
/// made of slices. A tensor that is handed over by value may be written to by a function that says so.
///
/// The trait is sealed: no other crate implements it.
pub trait IntoView<'a, T: Element>: sealed::Sealed {
    /// The view. It copies elements only if they lie in memory in neither [`Layout`].
    ///
    /// # Errors
    /// [`TensorError::TooLarge`] if the shape is impossible, as that of an array that repeats its
    /// elements can be; [`TensorError::OutOfMemory`] if there is no memory for a copy.
    fn into_view(self) -> Result<TensorView<'a, T>>;
}

mod sealed {
    use super::{ArrayBase, Dimension, Element, Tensor, TensorView};

    pub trait Sealed {}
    impl<T: Element> Sealed for TensorView<'_, T> {}
    impl<T: Element> Sealed for &TensorView<'_, T> {}
    impl<T: Element> Sealed for Tensor<T> {}
    impl<T: Element> Sealed for &Tensor<T> {}
    impl<S: ndarray::RawData, D: Dimension> Sealed for ArrayBase<S, D> {}
    impl<S: ndarray::RawData, D: Dimension> Sealed for &ArrayBase<S, D> {}
}

impl<'a, T: Element> IntoView<'a, T> for TensorView<'a, T> {
    fn into_view(self) -> Result<TensorView<'a, T>> {
        Ok(self)
    }
}

impl<'a, T: Element> IntoView<'a, T> for &'a TensorView<'_, T> {
    fn into_view(self) -> Result<TensorView<'a, T>> {
        let elements = Elements::Borrowed(self.as_slice());
        Ok(TensorView { shape: Cow::Borrowed(self.shape()), layout: self.layout, elements })
    }
}

impl<'a, T: Element> IntoView<'a, T> for Tensor<T> {
    fn into_view(self) -> Result<TensorView<'a, T>> {
        Ok(TensorView::owned(self))
    }
}

impl<'a, T: Element> IntoView<'a, T> for &'a Tensor<T> {
    fn into_view(self) -> Result<TensorView<'a, T>> {
        Ok(self.into())
    }
}

impl<'a, T: Element, D: Dimension> IntoView<'a, T> for ArrayView<'a, T, D> {
    fn into_view(self) -> Result<TensorView<'a, T>> {
        TensorView::of_array(self.into_dyn())
    }
}

impl<'a, T: Element, S: Data<Elem = T>, D: Dimension> IntoView<'a, T> for &'a ArrayBase<S, D> {
    fn into_view(self) -> Result<TensorView<'a, T>> {
        TensorView::of_array(self.view().into_dyn())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array4, Axis, s};

    use super::*;

    fn counted(shape: [usize; 4]) -> Array4<f32> {
        let mut number = 0.0;
        Array4::from_shape_simple_fn(shape, || {
            number += 1.0;
            number
        })
    }

    /// Reads elements by index, whatever the layout.
    fn array(view: &TensorView<'_, f32>) -> ndarray::ArrayD<f32> {
        view.clone().into_tensor().unwrap().to_array()
    }

    #[test]
    fn what_fits_is_not_copied() {
        let nchw = counted([2, 3, 4, 5]);
        let nhwc = counted([2, 4, 5, 3]);
        let tensor = Tensor::from(nchw.view()).to_layout(Layout::ChannelsLast);
        let slice = nhwc.as_slice().unwrap();
        let fit = |view: TensorView<'_, f32>, layout, address| {
            assert_eq!((view.layout(), view.as_slice().as_ptr()), (layout, address));
            assert_eq!(**view.shape(), [2, 3, 4, 5]);
        };
        fit(nchw.view().into_view().unwrap(), Layout::Contiguous, nchw.as_ptr());
        fit((&nchw).into_view().unwrap(), Layout::Contiguous, nchw.as_ptr());
        let permuted = nhwc.view().permuted_axes([0, 3, 1, 2]);
        fit(permuted.into_view().unwrap(), Layout::ChannelsLast, nhwc.as_ptr());
        fit((&tensor).into_view().unwrap(), Layout::ChannelsLast, tensor.as_slice().as_ptr());
        fit(tensor.view().into_view().unwrap(), Layout::ChannelsLast, tensor.as_slice().as_ptr());
        fit(TensorView::nhwc([2, 4, 5, 3], slice).unwrap(), Layout::ChannelsLast, slice.as_ptr());
        fit(TensorView::from_slice([2, 3, 4, 5], slice).unwrap(), Layout::Contiguous, slice.as_ptr());
        let view = TensorView::nhwc([2, 4, 5, 3], slice).unwrap();
        fit((&view).into_view().unwrap(), Layout::ChannelsLast, slice.as_ptr());
        fit(view.into_layout(Layout::ChannelsLast).unwrap(), Layout::ChannelsLast, slice.as_ptr());
        let address = tensor.as_slice().as_ptr();
        let handed_over = tensor.into_view().unwrap().into_tensor().unwrap();
        assert_eq!(handed_over.as_slice().as_ptr(), address);
        // One channel lies in both ways at once.
        let gray = counted([2, 1, 4, 5]);
        let last = gray.view().into_view().unwrap().into_layout(Layout::ChannelsLast).unwrap();
        assert_eq!(last.as_slice().as_ptr(), gray.as_ptr());
    }

    #[test]
    fn any_strides_are_read() {
        let x = counted([4, 6, 5, 7]);
        for view in [
            x.slice(s![..;2, 1..4, .., ..;-1]),
            x.slice(s![1..3, .., ..;2, ..]),
            x.view().permuted_axes([1, 0, 3, 2]),
            x.slice(s![.., ..;-1, .., ..]),
            x.slice(s![0..0, .., .., ..]),
        ] {
            let read = view.into_view().unwrap();
            assert_eq!(array(&read), view.into_dyn());
            for layout in [Layout::Contiguous, Layout::ChannelsLast] {
                assert_eq!(array(&read.clone().into_layout(layout).unwrap()), view.into_dyn());
            }
        }
        let matrix = x.index_axis(Axis(0), 1);
        let matrix = matrix.index_axis(Axis(2), 3);
        assert_eq!(array(&matrix.into_view().unwrap()), matrix.into_dyn());
        let transposed: Array2<f32> = Array2::from_shape_fn([2, 3], |(i, j)| (10 * i + j) as f32);
        assert_eq!(array(&transposed.t().into_view().unwrap()), transposed.t().into_dyn());
        let one = ndarray::arr0(7.0f32);
        assert_eq!(one.view().into_view().unwrap().as_slice(), [7.0]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let message = |result: Result<TensorView<'_, f32>>| result.unwrap_err().to_string();
        assert_eq!(
            message(TensorView::nhwc([1, 2, 2, 3], &[0.0; 11])),
            "shape [1, 3, 2, 2] holds 12 elements, but 11 were given"
        );
        assert!(message(TensorView::from_slice([1 << 40, 1 << 40], &[])).contains("more elements than"));
        // Strides of zero make an array of any size out of one element.
        let one = ndarray::arr0(1.0f32);
        let huge = one.broadcast([1usize << 20, 1 << 20, 1 << 20]).unwrap();
        assert!(message(huge.into_view()).contains("more elements than"));
        let pixel = TensorView::from_slice([3], &[1.0, 2.0, 3.0]).unwrap();
        assert!(message(pixel.into_layout(Layout::ChannelsLast)).contains("needs 4 axes"));
    }
}
