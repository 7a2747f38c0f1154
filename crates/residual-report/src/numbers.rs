//! Numbers in sentences and tables.

/// A fraction as a percentage.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// A number of any size in three digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        _ if value == 0.0 || !value.is_finite() => value.to_string(),
        0.01..1.0 => format!("{value:.3}"),
        1.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        100.0..100_000.0 => format!("{value:.0}"),
        _ => format!("{value:.1e}"),
    }
}

/// A count with its thousands set apart.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

/// Bytes as mebibytes.
pub(crate) fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", short(bytes as f64 / f64::from(1 << 20)))
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The least of several times: whatever else a machine does can only make one longer.
pub(crate) fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The standard deviation of what the values were drawn from; 0 of a single value.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / values.len().saturating_sub(1).max(1) as f64).sqrt()
}

/// Names in a sentence: `a, b and c`.
pub(crate) fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0.0, 0.0312, 1.5, 12.34, 1234.0, 1e-7].map(short),
            ["0", "0.031", "1.50", "12.3", "1234", "1.0e-7"]
        );
        assert_eq!([7, 1234, 1_179_648].map(count), ["7", "1,234", "1,179,648"]);
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }

    #[test]
    fn means_and_deviations_are_those_of_the_definition() {
        assert_eq!((least(&[3.0, 1.0, 2.0]), mean(&[1.0, 2.0, 6.0])), (1.0, 3.0));
        assert_eq!((deviation(&[1.0, 3.0]), deviation(&[5.0])), (2.0f64.sqrt(), 0.0));
    }
}
