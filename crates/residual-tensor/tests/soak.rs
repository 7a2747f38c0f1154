//! A long-lived program with tensors of changing shapes: memory stays flat, goes back when asked
//! for or unused, and survives a fork. One test at a time, as they look at the whole process.

use std::{
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use residual_tensor::{Generator, Layout, Tensor, memory};

static ALONE: Mutex<()> = Mutex::new(());

/// One pass of something like a network at some batch and picture size: activations that live
/// until the pass returns, gradients that live for a step, a result that outlives it.
fn pass(generator: &mut Generator) -> Tensor<f32> {
    let (batch, size) = (1 + generator.below(8), 32 + generator.below(97));
    let mut saved = Vec::new();
    let (mut channels, mut side) = (8, size);
    for stage in 0..8 {
        let shape = [batch, channels, side, side];
        let mut activation = Tensor::<f32>::unfilled(shape, Layout::ChannelsLast);
        activation.as_mut_slice()[0] = stage as f32;
        saved.push(activation);
        if stage % 2 == 1 {
            (channels, side) = (channels * 2, side.div_ceil(2));
        }
    }
    let mut gradient = saved.last().expect("stages").clone();
    while let Some(activation) = saved.pop() {
        gradient = activation.map(|x| x + 1.0);
    }
    gradient.slice(0, 0..1).unwrap()
}

/// Bytes in use and kept, at each checkpoint of `threads` threads that make `passes` passes
/// between any two. Each keeps the last few results, and hands others to its neighbor to free.
fn footprints(threads: usize, passes: usize, checkpoints: usize) -> Vec<usize> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::sync_channel(8)).unzip();
    let mut workers: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(thread, received)| {
            let neighbor = senders[(thread + 1) % threads].clone();
            (Generator::new(1).split(thread), Vec::new(), neighbor, received)
        })
        .collect();
    (0..checkpoints)
        .map(|_| {
            thread::scope(|scope| {
                for (generator, kept, neighbor, received) in &mut workers {
                    scope.spawn(move || {
                        for _ in 0..passes {
                            kept.push(pass(generator));
                            if kept.len() > 20 {
                                let given: Tensor<f32> = kept.swap_remove(generator.below(20));
                                drop(neighbor.try_send(given)); // freed here if the neighbor is behind
                            }
                            received.try_iter().for_each(drop);
                        }
                    });
                }
            });
            let memory::Statistics { in_use, retained } = memory::statistics();
            in_use + retained
        })
        .collect()
}

#[test]
fn memory_stays_flat_while_shapes_change() {
    let _alone = ALONE.lock();
    memory::set_idle_period(None); // or time would decide
    memory::trim();
    let footprints = footprints(4, 40, 12);
    let early = footprints[..3].iter().max().unwrap();
    let late = footprints[9..].iter().max().unwrap();
    assert!(*late as f64 <= 2.0 * *early as f64, "{footprints:?}");
    memory::trim();
    assert_eq!(memory::statistics().retained, 0);
}

#[test]
#[ignore = "takes half a minute; prints a table"]
fn memory_stays_flat_for_long() {
    let _alone = ALONE.lock();
    memory::set_idle_period(None);
    memory::trim();
    let footprints = footprints(4, 4000, 16);
    for (checkpoint, bytes) in (1..).zip(&footprints) {
        println!(
            "{:>6} passes per thread: {:>7.1} MiB",
            checkpoint * 4000,
            *bytes as f64 / f64::from(1 << 20)
        );
    }
    let late = footprints[8..].iter().max().unwrap();
    assert!(*late as f64 <= 1.5 * *footprints[..8].iter().max().unwrap() as f64, "{footprints:?}");
}

/// The memory of this process that is not in files, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn trim_gives_back_what_lies_between_tensors_in_use() {
    const COUNT: usize = 64;
    let _alone = ALONE.lock();
    memory::set_idle_period(None);
    let mut tensors: Vec<_> = (0..COUNT).map(|_| Some(Tensor::full([1 << 19], 1.0f32))).collect();
    let full = resident();
    tensors.iter_mut().step_by(2).for_each(|tensor| *tensor = None);
    memory::trim();
    assert_eq!(memory::statistics().retained, 0);
    let given_back = full.saturating_sub(resident());
    assert!(given_back >= COUNT / 2 * (2 << 20) * 9 / 10, "{given_back}");
    assert!(tensors.iter().flatten().all(|tensor| tensor.as_slice().iter().all(|&x| x == 1.0)));
}

#[cfg(target_os = "linux")]
#[test]
fn unused_memory_goes_back_by_itself_and_then_no_thread_is_left() {
    let _alone = ALONE.lock();
    let is_running = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
            .any(|name| name.trim() == "residual-memory")
    };
    memory::trim();
    memory::set_idle_period(Some(Duration::from_millis(50)));
    let kept = Tensor::full([1 << 10], 2.0f32);
    drop(Tensor::full([32 << 20], 1.0f32));
    assert!(memory::statistics().retained >= 128 << 20);
    let patience = Instant::now() + Duration::from_secs(60);
    while memory::statistics().retained > 1 << 20 || is_running() {
        assert!(Instant::now() < patience, "{:?}", memory::statistics());
        thread::sleep(Duration::from_millis(10));
    }
    assert!(kept.as_slice().iter().all(|&x| x == 2.0));
    memory::set_idle_period(Some(memory::IDLE_PERIOD));
}

/// The child allocates while other threads of the parent, which hold locks at any moment, do.
#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_can_use_tensors() {
    let _alone = ALONE.lock();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let is_stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_stopped() {
                    drop(Tensor::<f32>::unfilled([2000], Layout::Contiguous))
                }
            });
        }
        let statuses: Vec<i32> =
            (0..50).map(|_| status_of_child()).take_while(|&status| status == 0).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(statuses.len(), 50, "a child hung or computed nonsense");
    });
}

/// Forks, and says how the child ended; zero if it could use tensors.
#[cfg(target_os = "linux")]
fn status_of_child() -> i32 {
    // SAFETY: the child allocates and leaves at once, without running anything else.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // Looks at all arenas, those of the other threads too.
        memory::trim();
        let sum: f32 = (0..100).map(|_| Tensor::full([3000], 1.0f32).as_slice()[2999]).sum();
        // SAFETY: it ends the child, and nothing of the parent.
        unsafe { libc::_exit(i32::from(sum != 100.0)) };
    }
    let (mut status, patience) = (-1, Instant::now() + Duration::from_secs(20));
    // SAFETY: the child is this process's own, and `status` outlives the call.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if Instant::now() > patience {
            // SAFETY: as above; a child that hangs is ended, so that the test can fail.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        thread::sleep(Duration::from_micros(200));
    }
    status
}
