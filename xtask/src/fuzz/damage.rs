//! What can happen to a file, by accident or on purpose. Which files, and who reads them, is not
//! known here.

use residual_tensor::Generator;

/// Files do not grow beyond this.
const LONGEST: usize = 1 << 17;

/// Numbers at which arithmetic goes wrong.
const NUMBERS: [u64; 16] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x10000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x3fff_ffff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// The same, and others, as text.
const TEXTS: [&str; 20] = [
    "0",
    "-1",
    "1",
    "2",
    "127",
    "256",
    "65536",
    "1048577",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "1e308",
    "1e-320",
    "1e999",
    "nan",
    "inf",
    "-inf",
    "0.1",
];

/// Words of the formats, by which damage gets past their first bytes: JSON, TOML, CSV, tuples of
/// `.npy`, markers of JPEG, operations of pickle.
const WORDS: [&[u8]; 44] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"\"",
    b"'",
    b",",
    b":",
    b"=",
    b"\n",
    b"\r\n",
    b" ",
    b".",
    b"\\u0000",
    b"null",
    b"true",
    b"False",
    b"[[a]]",
    b"'''",
    b"F16",
    b"BF16",
    b"F8_E4M3",
    b"\xff\xc0",
    b"\xff\xc2",
    b"\xff\xc4",
    b"\xff\xda",
    b"\xff\xdd",
    b"N",
    b"J",
    b"K",
    b"M",
    b"\x8a",
    b"U",
    b"X",
    b"\x8c",
    b"q",
    b"h",
    b"\x85",
    b"\x87",
    b"\x94",
    b"R",
    b"b",
];

/// Changes a file in one way. `donor` is another file of its kind.
pub(super) fn apply(bytes: &mut Vec<u8>, donor: &[u8], random: &mut Generator) {
    let length = bytes.len();
    // Half of the damage is done where the sizes are.
    let reach = if random.chance(0.5) { length.min(96) } else { length };
    let at = random.below(reach.max(1)).min(length);
    match random.below(16) {
        0 => bytes.truncate(at),
        1 => bytes.truncate(length.saturating_sub(1 + random.below(16))),
        2..=4 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        5 | 6 => overwrite(bytes, at, &number(random)),
        7 => overwrite(bytes, at, &float(random)),
        8 => {
            let noise: Vec<u8> = (0..=random.below(8)).map(|_| random.below(256) as u8).collect();
            overwrite(bytes, at, &noise);
        }
        9 => insert(bytes, at, WORDS[random.below(WORDS.len())]),
        10 => overwrite(bytes, at, WORDS[random.below(WORDS.len())]),
        11 => replace_decimal(bytes, at, TEXTS[random.below(TEXTS.len())]),
        12 => drop(bytes.drain(part(length, at, random))),
        13 => {
            let times = [1, 2, 100, 10_000][random.below(4)];
            let again = bytes[part(length, at, random)].repeat(times);
            insert(bytes, at, &again);
        }
        14 => {
            let from = random.below(donor.len().max(1)).min(donor.len());
            let taken = donor[part(donor.len(), from, random)].to_vec();
            if random.chance(0.5) { insert(bytes, at, &taken) } else { overwrite(bytes, at, &taken) }
        }
        _ => {
            // The beginning of one file and the end of another.
            bytes.truncate(at);
            bytes.extend_from_slice(&donor[at.min(donor.len())..]);
        }
    }
    bytes.truncate(LONGEST);
}

fn number(random: &mut Generator) -> Vec<u8> {
    let number = NUMBERS[random.below(NUMBERS.len())];
    let size = 1 << random.below(4);
    let mut bytes = number.to_le_bytes()[..size].to_vec();
    if random.chance(0.5) {
        bytes.reverse();
    }
    bytes
}

fn float(random: &mut Generator) -> Vec<u8> {
    let value =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, -0.0][random.below(6)];
    if random.chance(0.5) { value.to_le_bytes().to_vec() } else { (value as f32).to_le_bytes().to_vec() }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes.iter_mut().skip(at).zip(with).for_each(|(byte, &with)| *byte = with);
}

fn insert(bytes: &mut Vec<u8>, at: usize, what: &[u8]) {
    bytes.splice(at..at, what.iter().copied());
}

/// From `at`, short or long.
fn part(length: usize, at: usize, random: &mut Generator) -> std::ops::Range<usize> {
    let most = [8, 64, 1024][random.below(3)];
    let count = random.below(most);
    at..(at + count).min(length)
}

/// Puts another number in place of the next one that is written in decimal.
fn replace_decimal(bytes: &mut Vec<u8>, from: usize, with: &str) {
    let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit) else { return };
    let start = from + start;
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(start..start + digits, with.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_can_be_damaged_and_none_without_end() {
        let mut random = Generator::new(7);
        let donor: Vec<u8> = b"[123, 4]".repeat(300);
        for start in [&b""[..], b"1", &donor] {
            let mut bytes = start.to_vec();
            let mut changes = 0;
            for _ in 0..3000 {
                let before = bytes.clone();
                apply(&mut bytes, &donor, &mut random);
                changes += usize::from(bytes != before);
                assert!(bytes.len() <= LONGEST);
            }
            assert!(changes > 1000, "{changes} changes");
        }
        apply(&mut Vec::new(), b"", &mut random);
    }

    #[test]
    fn a_decimal_number_is_replaced_as_a_whole() {
        let mut bytes = b"batch = 64, x".to_vec();
        replace_decimal(&mut bytes, 3, "nan");
        assert_eq!(bytes, b"batch = nan, x");
        replace_decimal(&mut bytes, 3, "1");
        assert_eq!(bytes, b"batch = nan, x");
    }
}
