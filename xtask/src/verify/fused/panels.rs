//! Arrays against arrays, panel by panel. Kernels compute 16 or 32 output channels at a time, and a
//! fault in one of them must not drown in the others: each panel is measured by its own largest
//! magnitude.

use super::{Arrays, Difference, Outcome};

/// Rows of the first axis that are compared as one panel.
pub(super) const ROWS: usize = 16;

/// Compares arrays and remembers the worst panel.
pub(super) struct Panels {
    tolerance: f64,
    elements: usize,
    worst: f64,
    place: String,
}

impl Panels {
    /// Nothing compared yet.
    pub(super) fn new(tolerance: f64) -> Self {
        Self { tolerance, elements: 0, worst: 0.0, place: String::new() }
    }

    /// Compares arrays by name: all of either side must be on the other.
    pub(super) fn all(&mut self, ours: &Arrays, exact: &Arrays) {
        for name in ours.keys().filter(|name| !exact.contains_key(*name)) {
            self.note(f64::INFINITY, format!("{name}, which the definition does not have"));
        }
        for (name, (rows, exact)) in exact {
            match ours.get(name) {
                Some((_, ours)) if ours.len() == exact.len() => self.array(name, *rows, ours, exact),
                Some((_, ours)) => {
                    self.note(f64::INFINITY, format!("{name}, {} elements, not {}", ours.len(), exact.len()));
                }
                None => self.note(f64::INFINITY, format!("{name}, which is missing")),
            }
        }
    }

    /// Compares two arrays of so many rows and the same length.
    fn array(&mut self, name: &str, rows: usize, ours: &[f64], exact: &[f64]) {
        self.elements += exact.len();
        let row = exact.len() / rows.max(1);
        let length = (ROWS * row).max(1);
        for (panel, (ours, exact)) in ours.chunks(length).zip(exact.chunks(length)).enumerate() {
            let largest = exact.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            for (at, (ours, exact)) in ours.iter().zip(exact).enumerate() {
                let difference = (ours - exact).abs();
                let error = match difference / largest {
                    _ if difference == 0.0 => 0.0,
                    error if error.is_nan() => f64::INFINITY,
                    error => error,
                };
                if error > self.worst {
                    let place = format!("{name}[{}]: {ours}, exactly {exact}", panel * length + at);
                    self.note(error, place);
                }
            }
        }
    }

    fn note(&mut self, error: f64, place: String) {
        if error > self.worst {
            (self.worst, self.place) = (error, place);
        }
    }

    /// The worst element in words, as a failure if it is beyond the tolerance.
    pub(super) fn outcome(self, what: &str) -> Outcome {
        let Self { tolerance, elements, worst, place } = self;
        if elements == 0 {
            return Err(format!("{what}: nothing to compare").into());
        }
        if worst <= tolerance {
            return Ok(format!("{what} {worst:.1e} of {tolerance:.0e} in {elements} numbers"));
        }
        Err(Difference::found(format!("{what} {worst:.1e} of {tolerance:.0e} at {place}")))
    }
}
