//! Pictures inside a page: small, and as text.

use residual_data::{Image, ImageShape, Preprocess};

use crate::Result;

/// Larger pictures are shrunk to cover this side.
const SIDE: usize = 96;

/// The picture, not much larger than it is shown.
pub(crate) fn shrunk(picture: Image) -> Result<Image> {
    if picture.height().min(picture.width()) <= SIDE {
        return Ok(picture);
    }
    let shown = Preprocess::new(ImageShape::new(picture.channels(), SIDE, SIDE));
    Ok(shown.resize(picture)?)
}

/// A PNG file as the address of a picture (RFC 2397).
pub(crate) fn png(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64(bytes))
}

/// Base64 (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standards() {
        // RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xFB, 0xFF, 0xFE]), "+//+");
    }
}
