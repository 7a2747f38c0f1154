//! What lies in memory as an operation wants it is read where it is: the operation takes no more memory than
//! for a tensor. (One test: it counts what the whole process takes.)

use ndarray::{Array4, s};
use residual_kernels::{Pool2dGeometry, avg_pool, relu};
use residual_tensor::{Generator, Layout, Tensor, TensorView, pool};

/// How many pieces of memory tensors have taken meanwhile. Small ones do not count.
fn taken<R>(run: impl FnOnce() -> R) -> usize {
    let pieces = || pool::statistics().fresh + pool::statistics().reused;
    let before = pieces();
    let result = run();
    let taken = pieces() - before;
    drop(result);
    taken
}

#[test]
fn memory_that_fits_is_not_copied() {
    let shape = [2, 16, 40, 40];
    let x: Tensor<f32> = Generator::new(1).normal_tensor(shape, 1.0).to_layout(Layout::ChannelsLast);
    let nhwc: Array4<f32> = Array4::from_shape_vec([2, 40, 40, 16], x.as_slice().to_vec()).unwrap();
    let nchw = Array4::from_shape_vec(shape, x.to_vec()).unwrap();

    // The result, and nothing else, in either layout.
    assert_eq!(taken(|| relu(&x).unwrap()), 1);
    assert_eq!(taken(|| relu(nhwc.view().permuted_axes([0, 3, 1, 2])).unwrap()), 1);
    assert_eq!(
        taken(|| relu(TensorView::nhwc([2, 40, 40, 16], nhwc.as_slice().unwrap()).unwrap()).unwrap()),
        1
    );
    assert_eq!(taken(|| relu(nchw.view()).unwrap()), 1);
    // What lies otherwise is copied, once.
    assert_eq!(taken(|| relu(nchw.slice(s![.., .., ..;-1, ..])).unwrap()), 2);

    // A pooling wants channels last.
    let geometry = Pool2dGeometry::new(2, 2);
    assert_eq!(taken(|| avg_pool(&x, &geometry).unwrap()), 1);
    assert_eq!(taken(|| avg_pool(nhwc.view().permuted_axes([0, 3, 1, 2]), &geometry).unwrap()), 1);
    assert_eq!(taken(|| avg_pool(x.view(), &geometry).unwrap()), 1);
    assert_eq!(taken(|| avg_pool(&nchw, &geometry).unwrap()), 2);
}
