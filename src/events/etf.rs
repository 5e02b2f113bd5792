//! Erlang's external term format, read as JSON. docs/data-conversion.md is the table that this follows.
//!
//! What JSON can say is said plainly. What it cannot is an object with one key that starts with `$`, so that
//! nothing is lost silently. Nesting is bounded, every length is checked against the bytes that are there, and
//! memory is bounded by the size of the input.

use std::collections::HashSet;

use serde_json::{Map, Number, Value, json};

use super::base64;
use super::validate::{ETF_COMPRESSED, ETF_VERSION};
use crate::error::{Code, Error, Result};

/// Deepest nesting of lists, tuples and maps.
pub const MAX_DEPTH: usize = 128;

/// Big integers up to this many bytes are written in decimal, larger ones in hexadecimal.
const DECIMAL_BYTES: usize = 256;

/// Converts a term of the external format, version byte first, to JSON.
///
/// ```
/// use elixirscope_foundation::events::etf_to_json;
/// // `{:ok, 7}`
/// let json = etf_to_json(&[131, 104, 2, 119, 2, b'o', b'k', 97, 7]).unwrap();
/// assert_eq!(json, serde_json::json!(["ok", 7]));
/// ```
pub fn etf_to_json(bytes: &[u8]) -> Result<Value> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.u8()? != ETF_VERSION {
        return Err(wrong("it does not start with the byte 131", 0));
    }
    if bytes.get(1) == Some(&ETF_COMPRESSED) {
        return Err(wrong("it is compressed", 1));
    }
    let value = reader.term(0)?;
    if reader.at < bytes.len() {
        return Err(wrong("bytes follow the term", reader.at));
    }
    Ok(value)
}

fn wrong(what: &str, at: usize) -> Error {
    Error::new(Code::DeserializationFailed, format!("the Erlang term cannot be read at byte {at}: {what}"))
        .with("offset", at)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let taken = self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| wrong("it ends too early", self.bytes.len()))?;
        self.at += n;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.first_chunk().copied().ok_or_else(|| wrong("it ends too early", self.at))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<usize> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn u32(&mut self) -> Result<usize> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }

    /// A count of terms: each takes at least one byte, so a larger count than bytes left is a lie.
    fn count(&mut self) -> Result<usize> {
        let count = self.u32()?;
        if count > self.bytes.len() - self.at {
            return Err(wrong("a count is larger than what follows", self.at));
        }
        Ok(count)
    }

    fn term(&mut self, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            let message = format!("the Erlang term is nested more than {MAX_DEPTH} deep");
            return Err(Error::new(Code::TooDeep, message).with("limit", MAX_DEPTH).with("offset", self.at));
        }
        // Only what nests is recursive, and in as small frames as may be: a host's thread can have little stack.
        match self.bytes.get(self.at) {
            Some(104 | 105) => self.tuple(depth),
            Some(108) => self.list(depth),
            Some(116) => self.map(depth),
            _ => self.leaf(),
        }
    }

    /// A term without terms in it.
    #[inline(never)]
    fn leaf(&mut self) -> Result<Value> {
        let start = self.at;
        let tag = self.u8()?;
        Ok(match tag {
            97 => self.u8()?.into(),
            98 => i32::from_be_bytes(self.array()?).into(),
            110 => {
                let size = usize::from(self.u8()?);
                self.big(size)?
            }
            111 => {
                let size = self.u32()?;
                self.big(size)?
            }
            70 => float(f64::from_be_bytes(self.array()?)),
            99 => {
                let text = self.take(31)?;
                let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
                let text = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
                float(text.ok_or_else(|| wrong("a float is not a number", start))?)
            }
            100 | 115 | 118 | 119 => match self.atom_text(tag)? {
                text if text == "true" => true.into(),
                text if text == "false" => false.into(),
                text if text == "nil" => Value::Null,
                text => text.into(),
            },
            109 => {
                let size = self.u32()?;
                text_or_bytes(self.take(size)?)
            }
            77 => {
                let size = self.u32()?;
                let bits = self.u8()?;
                json!({"$bits": {"bytes": base64::encode(self.take(size)?), "last": bits}})
            }
            106 => Value::Array(Vec::new()),
            107 => {
                let size = self.u16()?;
                self.take(size)?.iter().map(|byte| Value::from(*byte)).collect()
            }
            88 | 103 => self.pid(tag)?,
            89 | 102 | 120 => self.port(tag)?,
            90 | 101 | 114 => self.reference(tag)?,
            113 => {
                let (module, function, [small, arity]) = (self.atom()?, self.atom()?, self.array()?);
                if small != 97 {
                    return Err(wrong("an arity is not a small integer", start));
                }
                json!({"$fun": format!("{module}.{function}/{arity}")})
            }
            112 => self.fun()?,
            _ => return Err(wrong(&format!("the tag {tag} is not known"), start)),
        })
    }

    fn terms(&mut self, count: usize, depth: usize) -> Result<Value> {
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.term(depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn tuple(&mut self, depth: usize) -> Result<Value> {
        let count = if self.u8()? == 104 { usize::from(self.u8()?) } else { self.count()? };
        self.terms(count, depth)
    }

    fn list(&mut self, depth: usize) -> Result<Value> {
        self.u8()?;
        let count = self.count()?;
        let items = self.terms(count, depth)?;
        if self.bytes.get(self.at) == Some(&106) {
            self.at += 1;
            return Ok(items);
        }
        let tail = self.term(depth + 1)?;
        Ok(members([("$improper", members([("items", items), ("tail", tail)]))]))
    }

    fn map(&mut self, depth: usize) -> Result<Value> {
        self.u8()?;
        let count = self.count()?;
        let mut pairs = Vec::new();
        let mut plain = true;
        for _ in 0..count {
            let (key, named) = self.key(depth)?;
            plain &= named;
            pairs.push((key, self.term(depth + 1)?));
        }
        Ok(object(pairs, plain))
    }

    /// A key, and whether it is an atom or a text that a key of JSON can stand for.
    fn key(&mut self, depth: usize) -> Result<(Value, bool)> {
        let key = match self.bytes.get(self.at) {
            Some(100 | 115 | 118 | 119) => Value::String(self.atom()?),
            Some(109) => self.leaf()?,
            _ => return Ok((self.term(depth + 1)?, false)),
        };
        let named = key.as_str().is_some_and(|key| !key.starts_with('$'));
        Ok((key, named))
    }

    /// The text of an atom, tag included.
    fn atom(&mut self) -> Result<String> {
        let at = self.at;
        match self.u8()? {
            tag @ (100 | 115 | 118 | 119) => self.atom_text(tag),
            _ => Err(wrong("an atom was expected", at)),
        }
    }

    fn atom_text(&mut self, tag: u8) -> Result<String> {
        let size = if matches!(tag, 115 | 119) { usize::from(self.u8()?) } else { self.u16()? };
        let at = self.at;
        let bytes = self.take(size)?;
        if matches!(tag, 100 | 115) {
            // Latin-1: each byte is the code point of its value.
            return Ok(bytes.iter().map(|byte| char::from(*byte)).collect());
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| wrong("an atom is not UTF-8", at))
    }

    fn big(&mut self, size: usize) -> Result<Value> {
        let negative = self.u8()? != 0;
        let digits = self.take(size)?;
        let significant = digits.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let digits = digits.get(..significant).unwrap_or_default();
        if significant <= 8 {
            let magnitude = digits.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            if !negative {
                return Ok(magnitude.into());
            }
            if let Some(value) = 0_i64.checked_sub_unsigned(magnitude) {
                return Ok(value.into());
            }
        }
        let sign = if negative { "-" } else { "" };
        let text = if significant <= DECIMAL_BYTES { decimal(digits) } else { hexadecimal(digits) };
        Ok(json!({"$integer": format!("{sign}{text}")}))
    }

    fn pid(&mut self, tag: u8) -> Result<Value> {
        let node = self.atom()?;
        let (id, serial) = (self.u32()?, self.u32()?);
        let creation = if tag == 88 { self.u32()? } else { usize::from(self.u8()?) };
        Ok(json!({"$pid": format!("{node} {id}.{serial} {creation}")}))
    }

    fn port(&mut self, tag: u8) -> Result<Value> {
        let node = self.atom()?;
        let id = if tag == 120 { u64::from_be_bytes(self.array()?) } else { self.u32()? as u64 };
        let creation = if tag == 102 { usize::from(self.u8()?) } else { self.u32()? };
        Ok(json!({"$port": format!("{node} {id} {creation}")}))
    }

    fn reference(&mut self, tag: u8) -> Result<Value> {
        let words = if tag == 101 { 1 } else { self.u16()? };
        let node = self.atom()?;
        let creation = if tag == 90 {
            self.u32()?
        } else if tag == 114 {
            usize::from(self.u8()?)
        } else {
            0
        };
        let ids: Result<Vec<String>> = (0..words).map(|_| Ok(self.u32()?.to_string())).collect();
        let ids = ids?.join(".");
        let creation = if tag == 101 { usize::from(self.u8()?) } else { creation };
        Ok(json!({"$ref": format!("{node} {ids} {creation}")}))
    }

    /// A closure: its environment stays in the event, JSON gets which function it is.
    fn fun(&mut self) -> Result<Value> {
        let start = self.at;
        let size = self.u32()?;
        let arity = self.u8()?;
        self.take(16)?;
        let index = self.u32()?;
        self.u32()?;
        let module = self.atom()?;
        let end = start.checked_add(size).filter(|end| *end >= self.at && *end <= self.bytes.len());
        self.at = end.ok_or_else(|| wrong("a fun's size is wrong", start))?;
        Ok(json!({"$fun": format!("{module}.#{index}/{arity}")}))
    }
}

/// An object of these members, which are moved: `json!` would copy all that is in them at each level.
fn members<const N: usize>(members: [(&str, Value); N]) -> Value {
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()
}

/// A map whose keys are all plain, or not.
#[inline(never)]
fn object(pairs: Vec<(Value, Value)>, plain: bool) -> Value {
    // `:a` and `"a"` are two keys in Erlang and one in JSON.
    let mut seen = HashSet::with_capacity(pairs.len());
    if plain && pairs.iter().all(|(key, _)| seen.insert(key.as_str())) {
        let named = |(key, value)| match key {
            Value::String(key) => Some((key, value)),
            _ => None,
        };
        return pairs.into_iter().filter_map(named).collect::<Map<_, _>>().into();
    }
    let pair = |(key, value)| Value::Array(vec![key, value]);
    let pairs: Vec<Value> = pairs.into_iter().map(pair).collect();
    members([("$map", pairs.into())])
}

fn float(value: f64) -> Value {
    // Not-a-number and infinities are no terms of Erlang's; only a made-up term has them.
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// Text as a string, other bytes in Base64.
pub(super) fn text_or_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"$bytes": base64::encode(bytes)}),
    }
}

/// A little-endian magnitude in decimal, by repeated division.
fn decimal(digits: &[u8]) -> String {
    let mut left = digits.to_vec();
    let mut groups: Vec<u32> = Vec::new();
    while left.last().is_some() {
        let mut rest = 0_u64;
        for byte in left.iter_mut().rev() {
            let value = rest << 8 | u64::from(*byte);
            *byte = (value / 1_000_000_000) as u8;
            rest = value % 1_000_000_000;
        }
        groups.push(rest as u32);
        while left.last() == Some(&0) {
            left.pop();
        }
    }
    let mut groups = groups.iter().rev();
    let first = groups.next().map_or_else(|| "0".to_owned(), u32::to_string);
    groups.fold(first, |text, group| format!("{text}{group:09}"))
}

fn hexadecimal(digits: &[u8]) -> String {
    digits.iter().rev().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn json_of(term: &[u8]) -> Value {
        etf_to_json(&[&[131], term].concat()).unwrap()
    }

    #[test]
    fn each_kind_of_term_is_converted_as_the_table_says() {
        let cases: Vec<(&[u8], Value)> = vec![
            (&[97, 255], json!(255)),
            (&[98, 255, 255, 255, 254], json!(-2)),
            (&[110, 8, 0, 255, 255, 255, 255, 255, 255, 255, 255], json!(u64::MAX)),
            (&[110, 8, 1, 0, 0, 0, 0, 0, 0, 0, 128], json!(i64::MIN)),
            (&[110, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], json!({"$integer": "18446744073709551616"})),
            (&[110, 8, 1, 1, 0, 0, 0, 0, 0, 0, 128], json!({"$integer": "-9223372036854775809"})),
            (&[111, 0, 0, 0, 2, 0, 1, 2], json!(513)),
            (&[70, 63, 248, 0, 0, 0, 0, 0, 0], json!(1.5)),
            (&[119, 4, b't', b'r', b'u', b'e'], json!(true)),
            (&[119, 5, b'f', b'a', b'l', b's', b'e'], json!(false)),
            (&[100, 0, 3, b'n', b'i', b'l'], Value::Null),
            (&[115, 1, 0xe9], json!("é")),
            (&[118, 0, 2, 0xc3, 0xa9], json!("é")),
            (&[109, 0, 0, 0, 2, b'h', b'i'], json!("hi")),
            (&[109, 0, 0, 0, 1, 255], json!({"$bytes": "/w=="})),
            (&[77, 0, 0, 0, 1, 3, 0xa0], json!({"$bits": {"bytes": "oA==", "last": 3}})),
            (&[106], json!([])),
            (&[107, 0, 2, 1, 2], json!([1, 2])),
            (&[104, 2, 97, 1, 106], json!([1, []])),
            (&[105, 0, 0, 0, 1, 97, 1], json!([1])),
            (&[108, 0, 0, 0, 1, 97, 1, 106], json!([1])),
            (&[108, 0, 0, 0, 1, 97, 1, 97, 2], json!({"$improper": {"items": [1], "tail": 2}})),
            (&[116, 0, 0, 0, 2, 119, 1, b'a', 97, 1, 109, 0, 0, 0, 1, b'b', 97, 2], json!({"a": 1, "b": 2})),
            (
                &[116, 0, 0, 0, 2, 119, 1, b'a', 97, 1, 109, 0, 0, 0, 1, b'a', 97, 2],
                json!({"$map": [["a", 1], ["a", 2]]}),
            ),
            (&[116, 0, 0, 0, 1, 97, 1, 97, 2], json!({"$map": [[1, 2]]})),
            (&[116, 0, 0, 0, 1, 119, 1, b'$', 97, 2], json!({"$map": [["$", 2]]})),
            (&[116, 0, 0, 0, 1, 119, 4, b't', b'r', b'u', b'e', 97, 2], json!({"true": 2})),
            (&[88, 119, 1, b'n', 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9], json!({"$pid": "n 5.0 9"})),
            (&[103, 119, 1, b'n', 0, 0, 0, 5, 0, 0, 0, 1, 2], json!({"$pid": "n 5.1 2"})),
            (&[89, 119, 1, b'n', 0, 0, 0, 5, 0, 0, 0, 9], json!({"$port": "n 5 9"})),
            (&[120, 119, 1, b'n', 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 9], json!({"$port": "n 5 9"})),
            (&[90, 0, 2, 119, 1, b'n', 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2], json!({"$ref": "n 1.2 9"})),
            (&[114, 0, 1, 119, 1, b'n', 9, 0, 0, 0, 1], json!({"$ref": "n 1 9"})),
            (&[113, 119, 1, b'm', 119, 1, b'f', 97, 2], json!({"$fun": "m.f/2"})),
        ];
        for (term, expected) in cases {
            assert_eq!(json_of(term), expected, "{term:?}");
        }
        let fun =
            [&[112, 0, 0, 0, 32, 1][..], &[7; 16], &[0, 0, 0, 3, 0, 0, 0, 0, 119, 1, b'm', 106]].concat();
        let size = fun.len() as u8 - 1;
        let fun = [&[104, 2, 112, 0, 0, 0, size][..], &fun[5..], &[97, 1]].concat();
        assert_eq!(json_of(&fun), json!([{"$fun": "m.#3/1"}, 1]));
    }

    #[test]
    fn big_integers_are_exact() {
        // 2^2048 has 257 bytes; one less has 256.
        let below = [&[111, 0, 0, 1, 0, 0][..], &[255; 256]].concat();
        let text = json_of(&below)["$integer"].as_str().unwrap().to_owned();
        assert_eq!(text.len(), 617);
        assert!(
            text.starts_with("3231700607131100730071487668866995196044")
                && text.ends_with("55853611059596230655"),
            "{text}"
        );
        let above = [&[111, 0, 0, 1, 1, 1][..], &[0; 256], &[1]].concat();
        assert_eq!(json_of(&above)["$integer"], format!("-0x01{}", "00".repeat(256)));
    }

    #[test]
    fn damaged_terms_are_errors_that_say_where() {
        let cases: [(&[u8], &str); 10] = [
            (&[], "ends too early"),
            (&[130, 97, 1], "byte 131"),
            (&[131, 80, 0, 0, 0, 1, 0], "compressed"),
            (&[131, 97, 1, 0], "bytes follow"),
            (&[131, 98, 1], "ends too early"),
            (&[131, 1], "tag 1 is not known"),
            (&[131, 108, 255, 255, 255, 255, 97], "count is larger"),
            (&[131, 112, 0, 0, 0, 1, 1], "ends too early"),
            (&[131, 113, 97, 1], "an atom was expected"),
            (&[131, 113, 119, 1, b'm', 119, 1, b'f', 98, 0], "an arity is not"),
        ];
        for (bytes, text) in cases {
            let error = etf_to_json(bytes).unwrap_err();
            assert_eq!(error.code(), Code::DeserializationFailed);
            assert!(error.message().contains(text), "{error} should say {text}");
        }
        let deep = [&[131][..], &[104, 1].repeat(100_000), &[106]].concat();
        assert_eq!(etf_to_json(&deep).unwrap_err().code(), Code::TooDeep);
    }

    #[test]
    fn the_deepest_term_is_read_with_the_stack_of_a_dirty_scheduler() {
        let units: [&[u8]; 4] = [
            &[104, 1],
            &[108, 0, 0, 0, 1, 97, 1],
            &[116, 0, 0, 0, 1, 97, 1],
            &[116, 0, 0, 0, 1, 119, 1, b'k'],
        ];
        let read = move || {
            for unit in units {
                let term = [&[131][..], &unit.repeat(MAX_DEPTH), &[97, 7]].concat();
                // Taken apart from the outside, so that only the reading is measured.
                let mut value = etf_to_json(&term).unwrap();
                while value.is_object() || value.is_array() {
                    value = match value {
                        Value::Object(map) => map.into_iter().next_back().unwrap().1,
                        Value::Array(mut items) => items.pop().unwrap(),
                        other => other,
                    };
                }
                assert_eq!(value, 7);
            }
        };
        // Erlang gives 320 KiB; what our caller has taken of it is left free here.
        #[allow(clippy::disallowed_methods, reason = "the size of the stack is what this is about")]
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(read).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn no_bytes_whatsoever_make_it_panic() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let tags = [
            97, 98, 70, 100, 104, 105, 106, 107, 108, 109, 77, 110, 111, 116, 88, 89, 90, 112, 113, 119, 120,
        ];
        for _ in 0..20_000 {
            let mut bytes = vec![131];
            for _ in 0..24 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let byte = (seed >> 32) as u8;
                bytes.push(match seed % 3 {
                    0 => tags[usize::from(byte) % tags.len()],
                    1 => byte % 4,
                    _ => byte,
                });
            }
            let _ = etf_to_json(&bytes);
        }
    }
}
