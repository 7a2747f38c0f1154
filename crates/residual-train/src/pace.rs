//! How fast a run is, smoothed over the last seconds. Only shown, never computed with.

use std::time::Instant;

/// Images and time, weighted by how recent they are.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<Instant>,
    seconds: f64,
    images: f64,
    steps: f64,
}

/// What remains of the weight of a step after the next one.
const MEMORY: f64 = 0.97;

impl Pace {
    /// Time starts to count (again).
    pub(crate) fn resume(&mut self) {
        self.last = Some(Instant::now());
    }

    /// A step with so many images has been made; it took the time since the last call.
    pub(crate) fn add(&mut self, images: usize) {
        let now = Instant::now();
        let seconds = self.last.map_or(0.0, |last| (now - last).as_secs_f64());
        self.last = Some(now);
        self.seconds = MEMORY * self.seconds + seconds;
        self.images = MEMORY * self.images + images as f64;
        self.steps = MEMORY * self.steps + 1.0;
    }

    pub(crate) fn images_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.images / self.seconds } else { 0.0 }
    }

    /// The time that so many steps take.
    pub(crate) fn seconds_for(&self, steps: u64) -> f64 {
        steps as f64 * self.seconds / self.steps.max(1.0)
    }
}
