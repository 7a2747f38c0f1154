//! What the threads of a process do when there is nothing to do, and what a child without threads does.
//! A process of its own, and a single test: nobody else may use the threads meanwhile.
#![cfg(target_os = "linux")]

use std::{
    fs,
    time::{Duration, Instant},
};

use residual_kernels::relu;
use residual_tensor::{Generator, Tensor};

/// Processor time that the workers have used, in ticks of ten milliseconds, and how many there are.
fn workers() -> (u64, usize) {
    let (mut ticks, mut count) = (0, 0);
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (name, fields) = stat.split_once(") ").unwrap();
        if name.contains("(residual-") {
            // In user mode and in the system's.
            let times = fields.split(' ').skip(11).take(2);
            ticks += times.map(|time| time.parse::<u64>().unwrap()).sum::<u64>();
            count += 1;
        }
    }
    (ticks, count)
}

#[test]
fn workers_sleep_and_a_child_does_without_them() {
    let x: Tensor<f32> = Generator::new(1).normal_tensor([8, 32, 64, 64], 1.0);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let y = pool.install(|| relu::forward(&x)).unwrap();

    std::thread::sleep(Duration::from_millis(200));
    let (before, count) = workers();
    std::thread::sleep(Duration::from_millis(300));
    let (after, _) = workers();
    assert_eq!(count, 3, "workers beside the caller");
    // Three threads that look all the time would have used dozens.
    assert!(after - before <= 1, "{} ticks while idle", after - before);

    std::thread::sleep(Duration::from_millis(10));
    pool.install(|| in_a_child(|| relu::forward(&x).unwrap().as_slice() == y.as_slice()));
    // At once after a loop, workers are still on their way out of it, or about to sleep.
    for _ in 0..200 {
        pool.install(|| {
            let y = relu::forward(&x).unwrap();
            in_a_child(|| relu::forward(&x).unwrap().as_slice() == y.as_slice());
        });
    }
    // Ends with workers asleep.
}

/// Runs a check in a child of this process.
fn in_a_child(check: impl FnOnce() -> bool) {
    // SAFETY: the child calls nothing but a kernel, whose locks no other thread holds, and ends.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: ends the child at once, which must not run the destructors of its parent.
        unsafe { libc::_exit(if check() { 0 } else { 1 }) };
    }
    let start = Instant::now();
    let mut status = 0;
    // SAFETY: `status` is there to be written.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if start.elapsed() > Duration::from_secs(60) {
            // SAFETY: the child of above, which has not been waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(status, 0, "the child's result is the parent's");
}
