//! Numbers as people read them.

/// `1,179,648`
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!(
            [0, 999, 1_000, 69_632, 1_179_648].map(grouped),
            ["0", "999", "1,000", "69,632", "1,179,648"]
        );
    }
}
