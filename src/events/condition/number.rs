//! Numbers compared by value: integers of any size exactly, also with floats.

use std::borrow::Cow;
use std::cmp::Ordering;

/// Decimal integers of more digits are not compared: reading one takes time by the square of its length.
pub(super) const MAX_DIGITS: usize = 4_096;

/// Magnitudes of up to this many bytes are [`Number::Int`], so that every [`Number::Big`] is larger than those.
const INT_BYTES: usize = 15;

/// A number as it stands in data.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number<'a> {
    Int(i128),
    /// Little-endian, more than `INT_BYTES` long, the last byte not 0.
    Big {
        negative: bool,
        magnitude: Cow<'a, [u8]>,
    },
    /// Never not-a-number.
    Float(f64),
}

impl<'a> Number<'a> {
    /// From the little-endian magnitude of an integer.
    pub(super) fn from_magnitude(negative: bool, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        let bytes = bytes.into();
        let significant = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if significant <= INT_BYTES {
            let value =
                bytes.iter().take(significant).rev().fold(0, |sum, byte| sum << 8 | i128::from(*byte));
            return Self::Int(if negative { -value } else { value });
        }
        let magnitude = match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(..significant).unwrap_or_default()),
            Cow::Owned(mut bytes) => {
                bytes.truncate(significant);
                Cow::Owned(bytes)
            }
        };
        Self::Big { negative, magnitude }
    }

    /// From a number of JSON; `None` for one that is too large to be read.
    pub(super) fn from_json(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return text.parse().ok().and_then(Self::from_f64);
        }
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        if digits.len() > MAX_DIGITS {
            return None;
        }
        Some(Self::from_magnitude(negative, magnitude(digits)?))
    }

    /// From a float that is a number.
    pub(super) fn from_f64(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self::Float(value))
    }

    /// The nearest float, unless it is beyond all floats.
    pub(super) fn to_f64(&self) -> Option<f64> {
        let value = match self {
            Self::Int(value) => *value as f64,
            Self::Float(value) => *value,
            Self::Big { negative, magnitude } => {
                // Sixteen bytes hold more than a float can, so what lies below them decides nothing but ties.
                let top =
                    magnitude.iter().rev().take(16).fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
                let shift = i32::try_from(magnitude.len().saturating_sub(16) * 8).ok()?;
                let value = top as f64 * 2_f64.powi(shift);
                if *negative { -value } else { value }
            }
        };
        value.is_finite().then_some(value)
    }

    /// As a number of its own.
    pub(super) fn into_owned(self) -> Number<'static> {
        match self {
            Self::Int(value) => Number::Int(value),
            Self::Float(value) => Number::Float(value),
            Self::Big { negative, magnitude } => {
                Number::Big { negative, magnitude: Cow::Owned(magnitude.into_owned()) }
            }
        }
    }

    /// The order of two numbers by value.
    pub(super) fn compare(&self, other: &Number<'_>) -> Ordering {
        use Number::{Big, Float, Int};
        match (self, other) {
            (Int(a), Int(b)) => a.cmp(b),
            // Neither is not-a-number; -0.0 and 0.0 are equal by value.
            (Float(a), Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Int(a), Float(b)) => int_and_float(*a, *b),
            (Float(a), Int(b)) => int_and_float(*b, *a).reverse(),
            (Big { negative: a, magnitude }, Big { negative: b, magnitude: other }) => match (a, b) {
                (false, true) => Ordering::Greater,
                (true, false) => Ordering::Less,
                (false, false) => magnitudes(magnitude, other),
                (true, true) => magnitudes(other, magnitude),
            },
            (Big { negative, .. }, Int(_)) => beyond(*negative),
            (Int(_), Big { negative, .. }) => beyond(*negative).reverse(),
            (Big { negative, magnitude }, Float(b)) => big_and_float(*negative, magnitude, *b),
            (Float(a), Big { negative, magnitude }) => big_and_float(*negative, magnitude, *a).reverse(),
        }
    }
}

/// How what is larger than all others, or smaller, compares with them.
fn beyond(negative: bool) -> Ordering {
    if negative { Ordering::Less } else { Ordering::Greater }
}

fn magnitudes(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.iter().rev().cmp(b.iter().rev()))
}

fn int_and_float(int: i128, float: f64) -> Ordering {
    // Integers are below 2^120 and whole floats up to there are exact as i128.
    if float.abs() >= 2_f64.powi(121) {
        return beyond(float > 0.0);
    }
    let whole = float.trunc();
    int.cmp(&(whole as i128)).then_with(|| 0.0_f64.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal))
}

fn big_and_float(negative: bool, magnitude: &[u8], float: f64) -> Ordering {
    let smaller = (float < 0.0) != negative || float.abs() < 2_f64.powi(8 * INT_BYTES as i32);
    let by_size = if smaller {
        Ordering::Greater
    } else {
        // A float of this size is whole: 53 bits, shifted.
        let bits = float.to_bits();
        let mantissa = u128::from(bits & ((1 << 52) - 1) | 1 << 52);
        let shift = ((bits >> 52 & 0x7ff) as usize).saturating_sub(1_075);
        let mut bytes = vec![0; shift / 8];
        bytes.extend_from_slice(&(mantissa << (shift % 8)).to_le_bytes());
        let significant = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        magnitudes(magnitude, bytes.get(..significant).unwrap_or_default())
    };
    if negative { by_size.reverse() } else { by_size }
}

/// The little-endian bytes of a decimal number.
fn magnitude(digits: &str) -> Option<Vec<u8>> {
    const GROUP: usize = 18;
    let mut limbs: Vec<u64> = Vec::with_capacity(digits.len() / 19 + 1);
    let mut rest = digits;
    while !rest.is_empty() {
        // Groups of eighteen digits, the first one shorter.
        let size = (rest.len() - 1) % GROUP + 1;
        let (group, after) = rest.split_at_checked(size)?;
        let mut carry = u128::from(group.parse::<u64>().ok()?);
        let factor = 10_u128.pow(size as u32);
        for limb in &mut limbs {
            let value = u128::from(*limb) * factor + carry;
            *limb = value as u64;
            carry = value >> 64;
        }
        if carry > 0 {
            limbs.push(carry as u64);
        }
        rest = after;
    }
    Some(limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number<'static> {
        Number::from_json(text).unwrap()
    }

    #[test]
    fn numbers_of_all_kinds_are_in_order() {
        let ascending = [
            "-1e308",
            "-340282366920938463463374607431768211457",
            "-340282366920938463463374607431768211456",
            "-1329227995784915872903807060280344577",
            "-1329227995784915872903807060280344576",
            "-9007199254740993",
            "-9007199254740992.0",
            "-1.5",
            "-1",
            "-0.5",
            "0",
            "0.5",
            "1",
            "9007199254740992.0",
            "9007199254740993",
            "18446744073709551616",
            "1329227995784915872903807060280344575",
            "1329227995784915872903807060280344576",
            "340282366920938463463374607431768211455",
            "340282366920938463463374607431768211456.0",
            "340282366920938463463374607431768211457",
            "1e308",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(number(a).compare(&number(b)), i.cmp(&j), "{a} {b}");
            }
        }
        for (a, b) in
            [("0", "-0.0"), ("0.0", "-0"), ("1", "1.0"), ("1e36", "1000000000000000042420637374017961984")]
        {
            assert_eq!(number(a).compare(&number(b)), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_number() {
        assert_eq!(Number::from_json("1e400"), None);
        assert_eq!(Number::from_json(&"9".repeat(MAX_DIGITS + 1)), None);
        assert!(matches!(number(&"9".repeat(MAX_DIGITS)), Number::Big { .. }));
        assert_eq!(number(&"9".repeat(MAX_DIGITS)).to_f64(), None);
    }

    proptest! {
        #[test]
        fn decimal_and_bytes_agree(value in any::<i128>(), other in any::<i128>()) {
            let from_bytes =
                Number::from_magnitude(value < 0, value.unsigned_abs().to_le_bytes().to_vec());
            prop_assert_eq!(&from_bytes, &number(&value.to_string()));
            prop_assert_eq!(from_bytes.compare(&number(&other.to_string())), value.cmp(&other));
            let near = from_bytes.to_f64().unwrap();
            prop_assert!((near - value as f64).abs() <= near.abs() * f64::EPSILON);
        }
    }
}
