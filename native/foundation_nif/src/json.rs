//! JSON data as terms: `null` is nil, keys are text, and integers of any size are themselves.
//!
//! `serde_json`'s value keeps integers of 64 bits only. Text that has a longer one is taken apart level by level
//! instead, each level read anew, which is slower and rare.

use std::collections::HashMap;

use elixirscope_foundation::error::{Code, Error};
use rustler::{Encoder, Env, Term};
use serde_json::value::RawValue;

use crate::atoms;
use crate::terms::{Keys, from_value};

/// How deeply data may be nested, as in `serde_json`.
const MAX_DEPTH: u32 = 128;
/// Fewer digits than this fit into 64 bits.
const LONG: usize = 19;
/// An integer of more digits becomes a float: what it takes to convert one grows with their square.
const MAX_DIGITS: usize = 4_096;

/// More bytes than this are not taken apart level by level on a scheduler.
const MAX_QUICK: usize = 2 << 10;

/// Whether some integer may be longer than 64 bits.
fn has_long_integer(text: &[u8]) -> bool {
    let mut digits = 0;
    text.iter().any(|byte| {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        digits >= LONG
    })
}

/// Whether reading this takes longer than a scheduler should give.
pub(crate) fn is_slow(text: &[u8]) -> bool {
    text.len() > MAX_QUICK && has_long_integer(text)
}

/// The term that this JSON stands for.
fn json_term<'a>(env: Env<'a>, text: &[u8]) -> Result<Term<'a>, Error> {
    if has_long_integer(text) {
        let raw: &RawValue = serde_json::from_slice(text).map_err(|error| wrong(&error))?;
        return part(env, raw, MAX_DEPTH);
    }
    let value = serde_json::from_slice(text).map_err(|error| wrong(&error))?;
    Ok(from_value(env, &value, Keys::Strings))
}

fn wrong(error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::DeserializationFailed, format!("the data is not JSON: {error}"))
}

fn part<'a>(env: Env<'a>, raw: &RawValue, depth: u32) -> Result<Term<'a>, Error> {
    let text = raw.get();
    let deeper = || depth.checked_sub(1).ok_or_else(|| wrong(&"it is nested too deeply"));
    match text.as_bytes().first() {
        Some(b'{') => {
            let depth = deeper()?;
            let fields: HashMap<String, &RawValue> =
                serde_json::from_str(text).map_err(|error| wrong(&error))?;
            let pairs = fields.into_iter().map(|(key, raw)| Ok((key.encode(env), part(env, raw, depth)?)));
            let pairs: Vec<(Term<'a>, Term<'a>)> = pairs.collect::<Result<_, Error>>()?;
            Term::map_from_pairs(env, &pairs).map_err(|_| wrong(&"it has a key twice"))
        }
        Some(b'[') => {
            let depth = deeper()?;
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| wrong(&error))?;
            let items: Vec<Term<'a>> =
                items.into_iter().map(|raw| part(env, raw, depth)).collect::<Result<_, Error>>()?;
            Ok(items.encode(env))
        }
        Some(b'-' | b'0'..=b'9') if text.len() >= LONG => match integer(env, text) {
            Some(term) => Ok(term),
            None => scalar(env, text),
        },
        _ => scalar(env, text),
    }
}

fn scalar<'a>(env: Env<'a>, text: &str) -> Result<Term<'a>, Error> {
    let value = serde_json::from_str(text).map_err(|error| wrong(&error))?;
    Ok(from_value(env, &value, Keys::Strings))
}

/// The integer of these digits; `None` for a number that is none, and for one of too many digits.
fn integer<'a>(env: Env<'a>, text: &str) -> Option<Term<'a>> {
    if let Ok(small) = text.parse::<i64>() {
        return Some(small.encode(env));
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Little-endian, in the external term format's big integers.
    let magnitude = magnitude(digits);
    let mut bytes = vec![131];
    if let Ok(length) = u8::try_from(magnitude.len()) {
        bytes.extend([110, length]);
    } else {
        bytes.push(111);
        bytes.extend((magnitude.len() as u32).to_be_bytes());
    }
    bytes.push(u8::from(negative));
    bytes.extend(magnitude);
    env.binary_to_term(&bytes).map(|(term, _)| term)
}

/// The bytes of a decimal, the lowest first, without zeros at the end.
fn magnitude(digits: &str) -> Vec<u8> {
    let mut limbs: Vec<u32> = vec![];
    for chunk in digits.as_bytes().chunks(9) {
        let value = chunk.iter().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        let mut carry = value;
        let scale = 10_u64.pow(chunk.len() as u32);
        for limb in &mut limbs {
            let product = u64::from(*limb) * scale + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    }
    let mut bytes: Vec<u8> = limbs.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
    bytes
}

/// The term of data that may be absent: no bytes at all are null.
pub(crate) fn data_term<'a>(env: Env<'a>, text: &[u8]) -> Result<Term<'a>, Error> {
    if text.is_empty() { Ok(atoms::nil().encode(env)) } else { json_term(env, text) }
}
