//! Numbers against PyTorch's: how far they are apart, and where most.

use indexmap::IndexMap;

use super::fixture::Digest;
use crate::verify::{Difference, Outcome};

/// Compares arrays of one kind and remembers the worst element.
pub(in crate::verify) struct Comparison {
    what: &'static str,
    worst: Option<Worst>,
}

struct Worst {
    /// The difference over the largest magnitude in the array.
    error: f64,
    place: String,
    ours: f64,
    theirs: f64,
}

impl Comparison {
    /// Nothing compared yet.
    pub(in crate::verify) fn new(what: &'static str) -> Self {
        Self { what, worst: None }
    }

    /// Compares two arrays, element by element.
    pub(in crate::verify) fn array(&mut self, name: &str, ours: &[f64], theirs: &[f64]) {
        if ours.len() != theirs.len() {
            let place = format!("{name}, whose lengths differ:");
            return self.note(f64::INFINITY, place, ours.len() as f64, theirs.len() as f64);
        }
        let scale = theirs.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        for (i, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
            self.element(|| format!("{name}[{i}]"), ours, theirs, scale);
        }
    }

    /// Compares two digests. Elements are measured by the largest one that the digest has, or the
    /// root of the mean square, if that is larger; so is the mean. Projections are measured by the
    /// L2 norm, which is about as large.
    pub(super) fn digest(&mut self, name: &str, ours: &Digest, theirs: &Digest) {
        // The average pool keeps two axes of length 1 there, but not here.
        let squeezed = |shape: &[usize]| shape.iter().copied().filter(|&axis| axis != 1).collect::<Vec<_>>();
        if squeezed(&ours.shape) != squeezed(&theirs.shape) {
            let place = format!("{name}, {:?} here, {:?} there:", ours.shape, theirs.shape);
            return self.note(f64::INFINITY, place, ours.elements(), theirs.elements());
        }
        let rms = theirs.l2 / theirs.elements().sqrt();
        let seen = theirs.first8.iter().chain(&theirs.last4);
        let scale = seen.fold(rms, |largest, value| largest.max(value.abs()));
        self.element(|| format!("{name} mean"), ours.mean, theirs.mean, scale);
        self.element(|| format!("{name} l2"), ours.l2, theirs.l2, theirs.l2);
        for (i, (&sum, &expected)) in ours.projections.iter().zip(&theirs.projections).enumerate() {
            self.element(|| format!("{name} projection[{i}]"), sum, expected, theirs.l2);
        }
        for (end, ours, theirs) in
            [("first", &ours.first8, &theirs.first8), ("last", &ours.last4, &theirs.last4)]
        {
            for (i, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
                self.element(|| format!("{name} {end}[{i}]"), ours, theirs, scale);
            }
        }
    }

    /// Compares digests by name: all that are there must be here.
    pub(super) fn digests(&mut self, ours: &IndexMap<String, Digest>, theirs: &IndexMap<String, Digest>) {
        for (name, theirs) in theirs {
            match ours.get(name) {
                Some(ours) => self.digest(name, ours, theirs),
                None => {
                    self.note(f64::INFINITY, format!("{name}, which is not here:"), 0.0, theirs.elements())
                }
            }
        }
    }

    /// There is nothing of the kind, here or there.
    pub(super) fn neither(&mut self) {
        self.note(0.0, "none here, none there".into(), 0.0, 0.0);
    }

    fn element(&mut self, place: impl FnOnce() -> String, ours: f64, theirs: f64, scale: f64) {
        let difference = (ours - theirs).abs();
        let error = match difference / scale {
            _ if difference == 0.0 => 0.0,
            error if error.is_nan() => f64::INFINITY,
            error => error,
        };
        if self.worst.as_ref().is_none_or(|worst| error > worst.error) {
            self.note(error, place(), ours, theirs);
        }
    }

    fn note(&mut self, error: f64, place: String, ours: f64, theirs: f64) {
        self.worst = Some(Worst { error, place, ours, theirs });
    }

    /// The largest difference over the largest magnitude in its array.
    pub(super) fn error(&self) -> f64 {
        self.worst.as_ref().map_or(0.0, |worst| worst.error)
    }

    /// The worst element in words, as a failure if its error is beyond the tolerance.
    pub(in crate::verify) fn outcome(self, tolerance: f64) -> Outcome {
        let Self { what, worst } = self;
        let Worst { error, place, ours, theirs } =
            worst.ok_or_else(|| format!("{what}: nothing to compare"))?;
        if error <= tolerance {
            return Ok(format!("{what} {error:.1e} of {tolerance:.0e} at {place}"));
        }
        let reason = format!("{what} {error:.1e} of {tolerance:.0e} at {place}: {ours}, PyTorch {theirs}");
        Err(Difference::found(reason))
    }
}

#[cfg(test)]
mod tests {
    use residual_tensor::{Generator, Tensor};

    use super::*;

    fn outcome(ours: &[f64], theirs: &[f64]) -> Result<String, String> {
        let mut comparison = Comparison::new("numbers");
        comparison.array("a", ours, theirs);
        comparison.outcome(1e-3).map_err(|failure| failure.to_string())
    }

    #[test]
    fn differences_are_measured_by_the_largest_magnitude() {
        let told = outcome(&[1000.0, 0.5], &[1000.0, 0.0]).unwrap();
        assert_eq!(told, "numbers 5.0e-4 of 1e-3 at a[1]");
        assert!(outcome(&[1000.0, 2.0], &[1000.0, 0.0]).unwrap_err().contains("a[1]: 2, PyTorch 0"));
    }

    #[test]
    fn one_per_cent_in_one_of_many_channels_is_seen() {
        let tensor = Generator::new(0).normal_tensor::<f64>([64, 5, 3, 3], 1.0);
        let of_one_channel = |value: f64, channel: usize| if channel == 40 { 1.01 * value } else { value };
        let changed = tensor.to_vec().into_iter().enumerate().map(|(i, value)| of_one_channel(value, i / 45));
        let changed = Tensor::from_vec([64, 5, 3, 3], changed.collect()).unwrap();
        let mut comparison = Comparison::new("gradients");
        comparison.digest("weight", &Digest::of(&changed), &Digest::of(&tensor));
        assert!(comparison.outcome(1e-4).is_err());
    }

    #[test]
    fn what_is_no_number_or_missing_fails() {
        for (ours, theirs) in
            [(&[f64::NAN][..], &[1.0][..]), (&[1.0], &[1.0, 2.0]), (&[], &[]), (&[1.0], &[0.0])]
        {
            assert!(outcome(ours, theirs).is_err(), "{ours:?} {theirs:?}");
        }
        assert!(outcome(&[0.0], &[0.0]).is_ok());
    }
}
