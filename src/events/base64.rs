//! Base64 of the standard alphabet, padded: how JSON carries bytes that are not text.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4_usize {
            let digit = (word >> (18 - 6 * place)) as usize & 63;
            let letter = ALPHABET.get(digit).filter(|_| place <= chunk.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

/// The bytes of padded Base64; `None` for anything else.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let (chunks, []) = text.as_bytes().as_chunks::<4>() else { return None };
    let mut bytes = Vec::with_capacity(chunks.len() * 3);
    for (index, chunk) in chunks.iter().enumerate() {
        let padding = chunk.iter().rev().take_while(|letter| **letter == b'=').count();
        if padding > 2 || (padding > 0 && index + 1 != chunks.len()) {
            return None;
        }
        let digits = chunk.iter().take(4 - padding);
        let word = digits.clone().try_fold(0_u32, |word, letter| {
            let digit = ALPHABET.iter().position(|known| known == letter)?;
            Some(word << 6 | digit as u32)
        })?;
        let [_, decoded @ ..] = (word << (6 * padding)).to_be_bytes();
        let (used, unused) = decoded.split_at(3 - padding);
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(used);
    }
    Some(bytes)
}

#[cfg(all(test, not(loom)))]
mod tests {
    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Zg===", "====", "Zg==Zg==", "Z!==", "Zh==", "Zm9=", "Zg= ", "Z=g="] {
            assert_eq!(super::decode(text), None, "{text}");
        }
    }

    #[test]
    fn the_standard_examples() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in cases {
            assert_eq!(super::encode(bytes.as_bytes()), text);
            assert_eq!(super::decode(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(super::encode(&[0xfb, 0xff, 0xfe]), "+//+");
        assert_eq!(super::decode("+//+").unwrap(), [0xfb, 0xff, 0xfe]);
    }
}
