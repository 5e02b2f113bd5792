//! Key handles: a path resolved once, then read in one or two loads.
//!
//! A [`Key`] holds the memory it reads alive. A [`RawKey`] is the same without ownership, two machine
//! words that a handle table can store. Invariants that make reading a raw key sound at any time:
//! - its cell and its head come from pools whose values are leaked once and never retyped or unmapped
//!   (`runtime::pool`), so the references are valid for as long as the process lives;
//! - all that is read through them is atomic.
//!
//! After its configuration is gone, a raw key reads what was last there or, later still, another
//! configuration's word: an answer without meaning, never memory. The handle table's generation keeps
//! callers from seeing it.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::planes::{Head, Line, fill};
use super::schema::{KeyKind, KeySpec, Schema, schema};
use crate::error::{Code, Error, Result};
use crate::runtime::pool::Pool;
use crate::runtime::sync::{AtomicU32, Ordering};

static HEADS: Pool<Head> = Pool::new(Head::new);
static CELLS: Pool<Cell> = Pool::new(Cell::new);

/// The memory of one key: its planes, and in the next cache line what rarely matters.
#[derive(Debug)]
#[repr(align(64))]
struct Cell {
    line: Line<8>,
    /// The number of the key in the schema.
    position: AtomicU32,
}

impl Cell {
    fn new() -> Self {
        Self { line: Line::new(), position: AtomicU32::new(0) }
    }

    fn spec(&self) -> &'static KeySpec {
        // A cell's number is a key's of the only schema there is.
        schema().spec(self.position.load(Ordering::Relaxed) as usize)
    }
}

/// The cells of one configuration, given back when neither it nor a [`Key`] of it is left.
#[derive(Debug)]
pub(crate) struct Cells {
    schema: &'static Schema,
    head: &'static Head,
    all: Vec<&'static Cell>,
}

impl Cells {
    /// Cells for every key of the schema. Nothing may be read before a first version is published.
    pub(crate) fn take(schema: &'static Schema) -> Self {
        let cell = |position| {
            let cell = CELLS.take();
            cell.position.store(position as u32, Ordering::Relaxed);
            cell
        };
        Self { schema, head: HEADS.take(), all: (0..schema.keys().len()).map(cell).collect() }
    }

    pub(crate) fn head(&self) -> &'static Head {
        self.head
    }

    /// Writes the values of a version that is not published yet. The caller is the only writer.
    pub(crate) fn fill(&self, version: u64, values: &[Value]) {
        let words =
            self.schema.keys().iter().zip(values).map(|(spec, value)| spec.encode(value).unwrap_or(0));
        fill(version, self.all.iter().map(|cell| &cell.line).zip(words));
    }

    #[inline]
    pub(crate) fn key(&self, position: usize) -> Option<RawKey> {
        let cell = *self.all.get(position)?;
        let kind = self.schema.keys().get(position)?.kind;
        Some(RawKey { cell, head: self.head, tag: Tag::of(kind) })
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        for cell in self.all.drain(..) {
            CELLS.give(cell);
        }
        HEADS.give(self.head);
    }
}

/// What a word means: the kind of the key without its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Bool,
    Int,
    Float,
    Str,
    Enum,
    EnumOrInt,
}

impl Tag {
    #[inline]
    fn of(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Bool => Self::Bool,
            KeyKind::Int { .. } => Self::Int,
            KeyKind::Float { .. } => Self::Float,
            KeyKind::Str { .. } => Self::Str,
            KeyKind::Enum { .. } => Self::Enum,
            KeyKind::EnumOrInt { .. } => Self::EnumOrInt,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Str => "text",
            Self::Enum => "a word",
            Self::EnumOrInt => "a word or a whole number",
        }
    }
}

/// A resolved key; cheap to clone, readable from any thread, never blocked by a writer.
#[derive(Debug, Clone)]
pub struct Key {
    raw: RawKey,
    _owner: Arc<Cells>,
}

impl Key {
    pub(crate) fn new(raw: RawKey, owner: Arc<Cells>) -> Self {
        Self { raw, _owner: owner }
    }

    /// The value of a boolean key.
    #[inline]
    pub fn get_bool(&self) -> Result<bool> {
        self.raw.get_bool()
    }

    /// The value of a whole-number key.
    #[inline]
    pub fn get_i64(&self) -> Result<i64> {
        self.raw.get_i64()
    }

    /// The value of a number key.
    #[inline]
    pub fn get_f64(&self) -> Result<f64> {
        self.raw.get_f64()
    }

    /// The value of a key that holds one of a few words.
    #[inline]
    pub fn get_enum(&self) -> Result<&'static str> {
        self.raw.get_enum()
    }

    /// What the key holds. Text is read from a [`Snapshot`](super::Snapshot), by path.
    pub fn kind(&self) -> KeyKind {
        self.raw.spec().kind
    }

    /// The path that was resolved.
    pub fn path(&self) -> &'static str {
        self.raw.spec().path
    }

    /// The key without ownership, for a handle table.
    pub fn raw(&self) -> RawKey {
        self.raw
    }
}

/// A key without ownership: two words, valid memory for as long as the process lives.
#[derive(Clone, Copy)]
pub struct RawKey {
    cell: &'static Cell,
    head: &'static Head,
    tag: Tag,
}

impl RawKey {
    /// The value of a boolean key.
    #[inline]
    pub fn get_bool(self) -> Result<bool> {
        self.as_bool().ok_or_else(|| mismatch(self.cell, self.tag, Tag::Bool))
    }

    /// The value of a whole-number key.
    #[inline]
    pub fn get_i64(self) -> Result<i64> {
        self.as_i64().ok_or_else(|| mismatch(self.cell, self.tag, Tag::Int))
    }

    /// The value of a number key.
    #[inline]
    pub fn get_f64(self) -> Result<f64> {
        self.as_f64().ok_or_else(|| mismatch(self.cell, self.tag, Tag::Float))
    }

    /// As [`get_bool`](Self::get_bool), for callers that want no details of a mismatch.
    #[inline]
    pub fn as_bool(self) -> Option<bool> {
        if self.tag == Tag::Bool { Some(self.word() != 0) } else { None }
    }

    /// As [`get_i64`](Self::get_i64), for callers that want no details of a mismatch.
    #[inline]
    pub fn as_i64(self) -> Option<i64> {
        match self.tag {
            Tag::Int => Some(self.word() as i64),
            Tag::EnumOrInt => Some(self.word() as i64).filter(|number| *number > 0),
            _ => None,
        }
    }

    /// As [`get_f64`](Self::get_f64), for callers that want no details of a mismatch.
    #[inline]
    pub fn as_f64(self) -> Option<f64> {
        if self.tag == Tag::Float { Some(f64::from_bits(self.word())) } else { None }
    }

    /// The value of a key that holds one of a few words.
    #[inline]
    pub fn get_enum(self) -> Result<&'static str> {
        let place = match self.tag {
            Tag::Enum => self.word(),
            // Words are stored as negative numbers; a positive number becomes a place that no word has.
            Tag::EnumOrInt => !self.word(),
            _ => return Err(mismatch(self.cell, self.tag, Tag::Enum)),
        };
        let (KeyKind::Enum { allowed } | KeyKind::EnumOrInt { allowed, .. }) = self.spec().kind else {
            return Err(mismatch(self.cell, self.tag, Tag::Enum));
        };
        allowed.get(place as usize).copied().ok_or_else(|| mismatch(self.cell, self.tag, Tag::Enum))
    }

    /// The value, if its word says all there is to say about it without the snapshot: not text and words,
    /// not a whole number in a number's place (it is given back as it was set), and not what may be
    /// unchecked.
    pub(crate) fn exact_value(self) -> Option<Value> {
        match self.tag {
            Tag::Bool => Some((self.word() != 0).into()),
            Tag::Int if self.spec().checked_when.is_none() => Some((self.word() as i64).into()),
            Tag::Float => {
                let number = f64::from_bits(self.word());
                let broken = number.abs() < 1e15 && (number as i64 as f64 - number) != 0.0;
                broken.then(|| number.into())
            }
            _ => None,
        }
    }

    /// The two words to store in a handle table; never 0.
    pub fn to_words(self) -> (u64, u64) {
        let cell = std::ptr::from_ref(self.cell).expose_provenance();
        let head = std::ptr::from_ref(self.head).expose_provenance();
        (cell as u64, head as u64 | self.tag as u64)
    }

    /// The key of two stored words.
    ///
    /// # Safety
    /// Both words come, as a pair, from [`to_words`](Self::to_words) in this process.
    #[inline]
    pub unsafe fn from_words(a: u64, b: u64) -> Self {
        let tag = match b & 63 {
            0 => Tag::Bool,
            1 => Tag::Int,
            2 => Tag::Float,
            3 => Tag::Str,
            4 => Tag::Enum,
            _ => Tag::EnumOrInt,
        };
        let cell = std::ptr::with_exposed_provenance::<Cell>(a as usize);
        let head = std::ptr::with_exposed_provenance::<Head>((b & !63) as usize);
        // SAFETY: the caller promises that the words were made by `to_words` from references to a cell and
        // a head of the pools, which stay valid for the life of the process; a head is aligned to 64, so
        // the low six bits that hold the tag are no part of its address.
        let (cell, head) = unsafe { (&*cell, &*head) };
        Self { cell, head, tag }
    }

    #[inline]
    fn word(self) -> u64 {
        self.head.read(&self.cell.line)
    }

    fn spec(self) -> &'static KeySpec {
        self.cell.spec()
    }
}

/// The error of a read of another type. It takes words, not the key, so that the key stays in registers
/// where the types agree.
#[cold]
fn mismatch(cell: &Cell, tag: Tag, asked: Tag) -> Error {
    let found = match (tag, asked) {
        (Tag::EnumOrInt, Tag::Int) => Tag::Enum,
        (Tag::EnumOrInt, Tag::Enum) => Tag::Int,
        (tag, _) => tag,
    };
    type_mismatch(cell.spec().path, asked.name(), found.name())
}

/// The error of a typed read of another type.
#[cold]
pub(crate) fn type_mismatch(path: &str, asked: &str, found: &str) -> Error {
    Error::new(Code::TypeMismatch, format!("{path} is {found}, not {asked}"))
        .with("path", path)
        .with("expected", asked)
        .with("found", found)
}

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawKey").field("path", &self.spec().path).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_key_survives_the_trip_through_two_words() {
        let cells = Cells::take(schema());
        let values: Vec<_> = schema().keys().iter().map(|key| key.default.to_value()).collect();
        cells.fill(1, &values);
        cells.head().start(1);
        for (at, spec) in schema().keys().iter().enumerate() {
            let key = cells.key(at).unwrap();
            let (a, b) = key.to_words();
            assert!(a != 0 && b != 0);
            // SAFETY: the words come from `to_words`.
            let back = unsafe { RawKey::from_words(a, b) };
            assert_eq!(back.spec().path, spec.path);
            assert_eq!(back.tag, key.tag);
            let read = match spec.kind {
                KeyKind::Bool => Value::from(back.get_bool().unwrap()),
                KeyKind::Int { .. } => back.get_i64().unwrap().into(),
                KeyKind::Float { .. } => back.get_f64().unwrap().into(),
                KeyKind::Enum { .. } | KeyKind::EnumOrInt { .. } => back.get_enum().unwrap().into(),
                KeyKind::Str { .. } => continue,
            };
            assert_eq!(read, spec.default.to_value(), "{}", spec.path);
        }
    }

    #[test]
    fn tags_fit_below_the_alignment_of_a_head() {
        assert!((Tag::EnumOrInt as usize) < align_of::<Head>());
        assert_eq!(align_of::<Head>(), 64);
    }

    #[test]
    fn a_word_or_number_key_reads_as_what_it_holds() {
        let cells = Cells::take(schema());
        let at = schema().position("capture.ring_buffer.num_buffers").unwrap();
        let mut values: Vec<_> = schema().keys().iter().map(|key| key.default.to_value()).collect();
        cells.fill(1, &values);
        cells.head().start(1);
        let key = cells.key(at).unwrap();
        assert_eq!(key.get_enum().unwrap(), "schedulers");
        assert_eq!(key.get_i64().unwrap_err().context()["found"], "a word");
        values[at] = 4.into();
        cells.fill(2, &values);
        cells.head().publish(2);
        assert_eq!(key.get_i64().unwrap(), 4);
        assert_eq!(key.get_enum().unwrap_err().context()["found"], "a whole number");
    }
}
