//! A walk along a path through JSON text, in place: nothing is built but the value at its end is found.
//!
//! The text is read to its end, so that malformed text never satisfies a condition; of a key that is there twice
//! the last counts, as everywhere. What is passed over is passed over without recursion; the walk itself goes as
//! deep as the path, which is bounded.

use std::borrow::Cow;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::number::Number;
use super::{Found, Scalar, Step};

/// What stands at the end of the path.
pub(super) fn find<'a>(data: &'a [u8], path: &[Step]) -> Found<'a> {
    if data.is_empty() {
        // No bytes at all mean null, which has nothing inside.
        return Found::Missing;
    }
    let mut reader = serde_json::Deserializer::from_slice(data);
    let found = Walk(path).deserialize(&mut reader);
    match (found, reader.end()) {
        (Ok(Some(value)), Ok(())) => scalar(value.get()).map_or(Found::Other, Found::Scalar),
        (Ok(None), Ok(())) => Found::Missing,
        _ => Found::Unreadable,
    }
}

/// The scalar that this valid JSON is; `None` for an array, an object and a number beyond reading.
pub(super) fn scalar(text: &str) -> Option<Scalar<'_>> {
    match text.as_bytes().first()? {
        b'n' => Some(Scalar::Null),
        b't' => Some(Scalar::Bool(true)),
        b'f' => Some(Scalar::Bool(false)),
        b'"' if text.contains('\\') => {
            let text: String = serde_json::from_str(text).ok()?;
            Some(Scalar::Text(Cow::Owned(text.into_bytes())))
        }
        b'"' => {
            let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'))?;
            Some(Scalar::Text(Cow::Borrowed(inside.as_bytes())))
        }
        b'[' | b'{' => None,
        _ => Number::from_json(text).map(Scalar::Number),
    }
}

#[derive(Clone, Copy)]
struct Walk<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            <&RawValue>::deserialize(reader).map(Some)
        } else {
            reader.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some((Step::Key(wanted), rest)) = self.0.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(KeyIs(wanted))? {
            if is_wanted {
                found = map.next_value_seed(Walk(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Some((Step::Index(wanted), rest)) = self.0.split_first() {
            let mut before = *wanted;
            while before > 0 && list.next_element::<IgnoredAny>()?.is_some() {
                before -= 1;
            }
            if before == 0 {
                found = list.next_element_seed(Walk(rest))?.flatten();
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E: Error>(self, _value: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _value: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _value: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _value: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a key of an object is this one.
struct KeyIs<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}
