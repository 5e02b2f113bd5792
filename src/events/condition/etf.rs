//! A walk along a path through a term in Erlang's external format, in place.
//!
//! Terms that are passed over are counted, not recursed into; every length is checked against the bytes that are
//! there. Of an atom key and a binary key of equal text in one map the first in the bytes counts.

use std::borrow::Cow;

use super::super::validate::ETF_VERSION;
use super::number::Number;
use super::{Found, Scalar, Step};

/// What stands at the end of the path.
pub(super) fn find<'a>(data: &'a [u8], path: &[Step]) -> Found<'a> {
    walk(data, path).unwrap_or(Found::Unreadable)
}

/// The scalar that these bytes are, version byte first; `None` for any other term and for what is no term.
pub(super) fn scalar(data: &[u8]) -> Option<Scalar<'_>> {
    let mut reader = Reader { left: data };
    if reader.u8()? != ETF_VERSION {
        return None;
    }
    match reader.value()? {
        Found::Scalar(scalar) if reader.left.is_empty() => Some(scalar),
        _ => None,
    }
}

fn walk<'a>(data: &'a [u8], path: &[Step]) -> Option<Found<'a>> {
    let mut reader = Reader { left: data };
    if reader.u8()? != ETF_VERSION {
        return None;
    }
    let mut steps = path.iter();
    while let Some(step) = steps.next() {
        let tag = reader.peek()?;
        match (step, tag) {
            (Step::Key(key), 116) => {
                reader.u8()?;
                let mut pairs = reader.u32()?;
                loop {
                    if pairs == 0 {
                        return Some(Found::Missing);
                    }
                    if reader.key_is(key.as_bytes())? {
                        break;
                    }
                    reader.skip(1)?;
                    pairs -= 1;
                }
            }
            (Step::Index(index), 104 | 105 | 108) => {
                reader.u8()?;
                let count = if tag == 104 { u32::from(reader.u8()?) } else { reader.u32()? };
                if *index >= count {
                    return Some(Found::Missing);
                }
                reader.skip(u64::from(*index))?;
            }
            // A list of bytes, each of which is an integer.
            (Step::Index(index), 107) => {
                reader.u8()?;
                let count = reader.u16()?;
                let byte = reader.take(count)?.get(*index as usize);
                let found = byte.filter(|_| steps.len() == 0);
                let number = |byte: &u8| Found::Scalar(Scalar::Number(Number::Int(i128::from(*byte))));
                return Some(found.map_or(Found::Missing, number));
            }
            _ => {
                // Nothing inside, as far as this step goes; but it must be a term.
                reader.skip(1)?;
                return Some(Found::Missing);
            }
        }
    }
    reader.value()
}

struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(n)?;
        self.left = left;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.left.split_first_chunk::<N>()?;
        self.left = left;
        Some(*taken)
    }

    fn peek(&self) -> Option<u8> {
        self.left.first().copied()
    }

    fn u8(&mut self) -> Option<u8> {
        Some(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.array()?))
    }

    /// The text of an atom whose tag has been read.
    fn atom_text(&mut self, tag: u8) -> Option<Cow<'a, [u8]>> {
        let size = if matches!(tag, 115 | 119) { usize::from(self.u8()?) } else { self.u16()? };
        let bytes = self.take(size)?;
        if matches!(tag, 100 | 115) && !bytes.is_ascii() {
            // Latin-1: each byte is the code point of its value.
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            return Some(Cow::Owned(text.into_bytes()));
        }
        Some(Cow::Borrowed(bytes))
    }

    fn skip_atom(&mut self) -> Option<()> {
        let tag = self.u8().filter(|tag| matches!(tag, 100 | 115 | 118 | 119))?;
        self.atom_text(tag).map(|_| ())
    }

    /// Reads a key and says whether it is an atom or a binary of this text.
    fn key_is(&mut self, wanted: &[u8]) -> Option<bool> {
        match self.peek()? {
            tag @ (100 | 115 | 118 | 119) => {
                self.u8()?;
                Some(*self.atom_text(tag)? == *wanted)
            }
            109 => {
                self.u8()?;
                let size = self.u32()? as usize;
                Some(self.take(size)? == wanted)
            }
            _ => {
                self.skip(1)?;
                Some(false)
            }
        }
    }

    /// The term that is next.
    fn value(&mut self) -> Option<Found<'a>> {
        let number = |number| Found::Scalar(Scalar::Number(number));
        Some(match self.peek()? {
            97 => {
                self.u8()?;
                number(Number::Int(i128::from(self.u8()?)))
            }
            98 => {
                self.u8()?;
                number(Number::Int(i128::from(i32::from_be_bytes(self.array()?))))
            }
            tag @ (110 | 111) => {
                self.u8()?;
                let size = if tag == 110 { usize::from(self.u8()?) } else { self.u32()? as usize };
                let negative = self.u8()? != 0;
                number(Number::from_magnitude(negative, self.take(size)?))
            }
            70 => {
                self.u8()?;
                Number::from_f64(f64::from_be_bytes(self.array()?)).map_or(Found::Other, number)
            }
            99 => {
                self.u8()?;
                let text = self.take(31)?.split(|byte| *byte == 0).next().unwrap_or_default();
                let value: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
                Number::from_f64(value).map_or(Found::Other, number)
            }
            tag @ (100 | 115 | 118 | 119) => {
                self.u8()?;
                let text = self.atom_text(tag)?;
                Found::Scalar(match &*text {
                    b"nil" => Scalar::Null,
                    b"true" => Scalar::Bool(true),
                    b"false" => Scalar::Bool(false),
                    _ => Scalar::Text(text),
                })
            }
            109 => {
                self.u8()?;
                let size = self.u32()? as usize;
                Found::Scalar(Scalar::Text(Cow::Borrowed(self.take(size)?)))
            }
            _ => {
                self.skip(1)?;
                Found::Other
            }
        })
    }

    /// Passes over this many terms.
    fn skip(&mut self, terms: u64) -> Option<()> {
        let mut left = terms;
        while left > 0 {
            left -= 1;
            let bytes = match self.u8()? {
                97 => 1,
                98 => 4,
                110 => usize::from(self.u8()?) + 1,
                111 | 77 => (self.u32()? as usize).checked_add(1)?,
                70 => 8,
                99 => 31,
                100 | 118 | 107 => self.u16()?,
                115 | 119 => usize::from(self.u8()?),
                109 => self.u32()? as usize,
                106 => 0,
                104 => {
                    left += u64::from(self.u8()?);
                    0
                }
                105 => {
                    left += u64::from(self.u32()?);
                    0
                }
                108 => {
                    // Its tail is one more.
                    left += u64::from(self.u32()?) + 1;
                    0
                }
                116 => {
                    left += 2 * u64::from(self.u32()?);
                    0
                }
                88 | 120 => self.after_atom(12)?,
                103 => self.after_atom(9)?,
                89 => self.after_atom(8)?,
                102 | 101 => self.after_atom(5)?,
                tag @ (114 | 90) => {
                    let words = self.u16()?;
                    self.after_atom(4 * words + if tag == 90 { 4 } else { 1 })?
                }
                113 => {
                    self.skip_atom()?;
                    self.skip_atom()?;
                    left += 1;
                    0
                }
                112 => (self.u32()? as usize).checked_sub(4)?,
                _ => return None,
            };
            self.take(bytes)?;
        }
        Some(())
    }

    /// Passes over an atom; answers the bytes that follow it.
    fn after_atom(&mut self, bytes: usize) -> Option<usize> {
        self.skip_atom()?;
        Some(bytes)
    }
}
