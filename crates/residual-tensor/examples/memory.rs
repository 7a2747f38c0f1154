//! What allocating costs, alone and against other threads: nanoseconds of processor time per tensor
//! that is made and freed, without touching its elements.
//!
//! ```text
//! cargo run --release -p residual-tensor --example memory
//! ```

use std::{sync::Barrier, thread, time::Duration};

use residual_tensor::{Generator, Layout, Tensor};

/// Tensors of 64 KiB to 4 MiB that a thread holds at a time.
const HELD: usize = 16;
const TURNS: usize = 200_000;

fn main() {
    println!("{:>7}  {:>16}  {:>18}", "threads", "ns of own thread", "ns until all end");
    for threads in [1, 2, 4, 8] {
        let barrier = Barrier::new(threads);
        let run = |thread: usize| {
            let mut generator = Generator::new(1).split(thread);
            let mut held: Vec<Tensor<u8>> = Vec::new();
            let sizes: Vec<usize> =
                (0..1024).map(|_| (64 << 10) + generator.below(63 * (64 << 10))).collect();
            barrier.wait();
            let (start, spent) = (std::time::Instant::now(), processor_time());
            for turn in 0..TURNS {
                if held.len() == HELD {
                    held.swap_remove(turn * 7 % HELD);
                }
                held.push(Tensor::unfilled([sizes[turn % sizes.len()]], Layout::Contiguous));
            }
            (processor_time() - spent, start.elapsed())
        };
        let times: Vec<(Duration, Duration)> = thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|thread| {
                    let run = &run;
                    scope.spawn(move || run(thread))
                })
                .collect();
            running.into_iter().map(|thread| thread.join().expect("a thread that ends")).collect()
        });
        let own: f64 = times.iter().map(|times| times.0.as_secs_f64()).sum::<f64>() / threads as f64;
        let all = times.iter().map(|times| times.1.as_secs_f64()).fold(0.0, f64::max);
        let each = 1e9 / TURNS as f64;
        println!("{threads:>7}  {:>16.0}  {:>18.0}", own * each, all * each);
    }
}

/// What the calling thread has used of a processor.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time`, which outlives it.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Elsewhere all time counts.
#[cfg(not(target_os = "linux"))]
fn processor_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}
