//! Terms in Erlang's external term format, byte for byte what `:erlang.term_to_binary/1` gives, within a budget.
//!
//! The runtime's own encoder yields on a normal scheduler and takes its time; this one does neither, so it is for
//! terms that turn out to be small: it walks until the term is done or its [`Budget`] is spent. Then, and for the few
//! kinds of terms whose size or order cannot be known here (functions, maps of more than 32 keys, integers beyond 64
//! bits, bits that are no bytes), the answer is [`Beyond`], and the caller has Elixir encode the term.
//!
//! # Invariants
//! - `at <= bytes.len()`, and what lies below `at` was written by this walk or the ones before it.
//! - An atom's bytes are remembered under its word. Atoms are immediate terms that are never collected, so a word
//!   means one atom for as long as the VM lives.

use std::ops::Range;

use rustler::{Binary, Term, TermType};

use crate::terms::word;
use crate::words::{Flat, MOST_KEYS, Pairs, Words, elements};

const VERSION: u8 = 131;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const NEW_FLOAT: u8 = 70;
const SMALL_TUPLE: u8 = 104;
const LARGE_TUPLE: u8 = 105;
const NIL: u8 = 106;
const STRING: u8 = 107;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const MAP: u8 = 116;

/// Longer lists of bytes are no strings to the runtime: what a budget has terms for is always below it.
pub(crate) const LONGEST_STRING: usize = 0xFFFF;
/// How deeply the walk goes: its stack is the scheduler's.
const MAX_DEPTH: u32 = 64;
/// Atoms that are remembered, a power of two.
const ATOMS: usize = 256;
/// The longest encoding of an atom that is remembered.
const ATOM_BYTES: usize = 55;
/// Memory that is kept between calls.
const KEPT_BYTES: usize = 1 << 20;

/// The term needs more than the budget, or the runtime's own encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beyond;

/// How far a walk may go.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    /// Terms that may be looked at.
    pub(crate) terms: usize,
    /// Bytes that may be written.
    pub(crate) bytes: usize,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Atom {
    /// 0 is no term's word.
    word: usize,
    len: u8,
    bytes: [u8; ATOM_BYTES],
}

/// What a thread keeps for its walks: the bytes that they write, one walk after the other, and atoms.
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    at: usize,
    atoms: Vec<Atom>,
}

impl Scratch {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), at: 0, atoms: Vec::new() }
    }

    /// Forgets what was written, and gives memory back that only few calls need.
    pub(crate) fn begin(&mut self) {
        self.at = 0;
        if self.bytes.len() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        if self.atoms.is_empty() {
            self.atoms = vec![Atom { word: 0, len: 0, bytes: [0; ATOM_BYTES] }; ATOMS];
        }
    }

    /// Changes what is written for what another walk wrote: that goes on here, and this is kept there.
    pub(crate) fn exchange(&mut self, bytes: &mut Vec<u8>, at: &mut usize) {
        std::mem::swap(&mut self.bytes, bytes);
        std::mem::swap(&mut self.at, at);
    }

    /// How many bytes were written since [`Scratch::begin`].
    pub(crate) fn written(&self) -> usize {
        self.at
    }

    /// The bytes of this range of what was written.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// The text that was written there.
    pub(crate) fn text(&self, range: Range<usize>) -> &str {
        std::str::from_utf8(self.bytes(range)).unwrap_or_default()
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        if let Some(place) = self.bytes.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
            self.at += bytes.len();
        }
    }

    /// Writes a term, version byte and all. What was written of one that is [`Beyond`] is taken back; the budget is
    /// less by what was looked at and written in any case.
    pub(crate) fn encode(&mut self, term: Term<'_>, budget: &mut Budget) -> Result<(), Beyond> {
        let start = self.at;
        let limit = start.saturating_add(budget.bytes);
        let mut walk = Walk { scratch: self, terms: budget.terms, limit, words: Words::new() };
        walk.scratch.put([VERSION]);
        let result = walk.term(term, MAX_DEPTH);
        budget.terms = walk.terms;
        budget.bytes = limit.saturating_sub(self.at);
        if result.is_err() || self.at > limit {
            self.at = start;
            return Err(Beyond);
        }
        Ok(())
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let end = self.at + N;
        if end > self.bytes.len() {
            self.reserve(N);
        }
        if let Some(place) = self.bytes.get_mut(self.at..end) {
            place.copy_from_slice(&bytes);
            self.at = end;
        }
    }

    /// Writes the atom of this word if it is remembered.
    #[inline]
    fn put_known(&mut self, word: usize) -> bool {
        if self.bytes.len() - self.at < ATOM_BYTES {
            self.reserve(ATOM_BYTES);
        }
        // All of its place, since that is quicker than its length.
        let known = self.atoms.get(atom_slot(word)).filter(|atom| atom.word == word);
        let place = self.bytes.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut);
        let (Some(atom), Some(place)) = (known, place) else { return false };
        *place = atom.bytes;
        self.at += usize::from(atom.len);
        true
    }

    #[cold]
    fn reserve(&mut self, more: usize) {
        let needed = self.at + more;
        if needed > self.bytes.len() {
            self.bytes.resize(needed.next_power_of_two().max(4_096), 0);
        }
    }
}

struct Walk<'s> {
    scratch: &'s mut Scratch,
    terms: usize,
    limit: usize,
    words: Words,
}

impl Walk<'_> {
    #[inline]
    fn term(&mut self, term: Term<'_>, depth: u32) -> Result<(), Beyond> {
        let word = word(term);
        if let Some(value) = self.words.small(word) {
            self.count()?;
            self.integer(value);
            return Ok(());
        }
        self.larger(term, word, depth)
    }

    /// Any term but a small integer.
    fn larger(&mut self, term: Term<'_>, word: usize, depth: u32) -> Result<(), Beyond> {
        self.count()?;
        let depth = depth.checked_sub(1).ok_or(Beyond)?;
        if let Some(map) = self.words.flat(term) {
            return self.flat_map(map, depth);
        }
        if self.words.is_cell(word) {
            return self.list(term, depth);
        }
        // What is no atom is not looked for among them: that would fetch memory for nothing.
        if !self.words.is_boxed(word) && self.scratch.put_known(word) {
            return Ok(());
        }
        match term.get_type() {
            TermType::Integer => self.any_integer(term),
            TermType::Float => self.float(term),
            TermType::Binary => self.binary(term),
            TermType::List => self.list(term, depth),
            TermType::Tuple => self.tuple(term, depth),
            TermType::Map => self.map(term, depth),
            TermType::Atom => self.atom(term, word),
            TermType::Pid | TermType::Port | TermType::Ref => {
                let bytes = term.to_binary();
                self.scratch.write(bytes.get(1..).unwrap_or_default());
                Ok(())
            }
            TermType::Fun | TermType::Unknown => Err(Beyond),
        }
    }

    #[inline]
    fn count(&mut self) -> Result<(), Beyond> {
        if self.scratch.at > self.limit {
            return Err(Beyond);
        }
        self.terms = self.terms.checked_sub(1).ok_or(Beyond)?;
        Ok(())
    }

    #[inline]
    fn integer(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.scratch.put([SMALL_INTEGER, byte]);
        } else if let Ok(value) = i32::try_from(value) {
            let [a, b, c, d] = value.to_be_bytes();
            self.scratch.put([INTEGER, a, b, c, d]);
        } else {
            self.big(value < 0, value.unsigned_abs());
        }
    }

    fn any_integer(&mut self, term: Term<'_>) -> Result<(), Beyond> {
        if let Ok(value) = term.decode::<i64>() {
            self.integer(value);
        } else {
            self.big(false, term.decode::<u64>().map_err(|_| Beyond)?);
        }
        Ok(())
    }

    /// An integer beyond 32 bits: as many bytes as it needs, the lowest first.
    fn big(&mut self, negative: bool, magnitude: u64) {
        let size = 8 - magnitude.leading_zeros() / 8;
        self.scratch.put([SMALL_BIG, size as u8, negative.into()]);
        self.scratch.put(magnitude.to_le_bytes());
        self.scratch.at -= 8 - size as usize;
    }

    fn float(&mut self, term: Term<'_>) -> Result<(), Beyond> {
        let value = term.decode::<f64>().map_err(|_| Beyond)?;
        self.scratch.put([NEW_FLOAT]);
        self.scratch.put(value.to_be_bytes());
        Ok(())
    }

    fn binary(&mut self, term: Term<'_>) -> Result<(), Beyond> {
        // Bits that are no bytes are a type of their own only to the encoder: here they are no binary.
        let binary = Binary::from_term(term).map_err(|_| Beyond)?;
        let bytes = binary.as_slice();
        let size = u32::try_from(bytes.len()).map_err(|_| Beyond)?;
        if self.scratch.at.saturating_add(bytes.len()) > self.limit {
            return Err(Beyond);
        }
        let [a, b, c, d] = size.to_be_bytes();
        self.scratch.put([BINARY, a, b, c, d]);
        self.scratch.write(bytes);
        Ok(())
    }

    fn list(&mut self, list: Term<'_>, depth: u32) -> Result<(), Beyond> {
        if self.string(list)? {
            return Ok(());
        }
        let start = self.scratch.at;
        self.scratch.put([LIST, 0, 0, 0, 0]);
        let (mut count, mut bytes_only, mut rest) = (0_u32, true, list);
        while let Some((head, tail)) = self.words.cell(rest) {
            let before = self.scratch.at;
            self.term(head, depth)?;
            bytes_only &= self.scratch.bytes.get(before) == Some(&SMALL_INTEGER);
            count = count.checked_add(1).ok_or(Beyond)?;
            rest = tail;
        }
        if rest.is_empty_list() {
            if count == 0 {
                self.scratch.at = start;
            } else if bytes_only {
                self.as_string(start, count);
                return Ok(());
            }
            self.scratch.put([NIL]);
        } else {
            self.term(rest, depth)?;
        }
        if count > 0
            && let Some(place) = self.scratch.bytes.get_mut(start + 1..start + 5)
        {
            place.copy_from_slice(&count.to_be_bytes());
        }
        Ok(())
    }

    /// Writes a list of bytes as the string that it is to the runtime. Other lists are not written: the answer is false.
    fn string(&mut self, list: Term<'_>) -> Result<bool, Beyond> {
        let start = self.scratch.at;
        self.scratch.put([STRING, 0, 0]);
        let (mut count, mut rest) = (0, list);
        while let Some((head, tail)) = self.words.cell_of_small(rest) {
            let Ok(byte) = u8::try_from(head) else { break };
            if count == self.terms {
                return Err(Beyond);
            }
            self.scratch.put([byte]);
            count += 1;
            rest = tail;
        }
        // Budgets have fewer terms than a string may have bytes.
        let length = u16::try_from(count).ok().filter(|length| *length > 0 && rest.is_empty_list());
        let head = self.scratch.bytes.get_mut(start + 1..start + 3);
        let (Some(length), Some(head)) = (length, head) else {
            self.scratch.at = start;
            return Ok(false);
        };
        head.copy_from_slice(&length.to_be_bytes());
        self.terms -= count;
        Ok(true)
    }

    /// Writes a list that was written as such again, as the string of its bytes.
    fn as_string(&mut self, start: usize, count: u32) {
        let Some(bytes) = self.scratch.bytes.get_mut(start..self.scratch.at) else { return };
        let [high, low] = (count as u16).to_be_bytes();
        if let Some(head) = bytes.first_chunk_mut::<3>() {
            *head = [STRING, high, low];
        }
        // From the second byte of each pair behind the list's head to behind the string's head: always forward.
        for index in 0..count as usize {
            let byte = bytes.get(5 + 2 * index + 1).copied().unwrap_or_default();
            if let Some(place) = bytes.get_mut(3 + index) {
                *place = byte;
            }
        }
        self.scratch.at = start + 3 + count as usize;
    }

    fn tuple(&mut self, term: Term<'_>, depth: u32) -> Result<(), Beyond> {
        let elements = elements(term).ok_or(Beyond)?;
        if let Ok(arity) = u8::try_from(elements.len()) {
            self.scratch.put([SMALL_TUPLE, arity]);
        } else {
            let [a, b, c, d] = u32::try_from(elements.len()).map_err(|_| Beyond)?.to_be_bytes();
            self.scratch.put([LARGE_TUPLE, a, b, c, d]);
        }
        for element in elements {
            self.term(element, depth)?;
        }
        Ok(())
    }

    fn flat_map(&mut self, map: Flat<'_>, depth: u32) -> Result<(), Beyond> {
        self.scratch.put([MAP, 0, 0, 0, map.len() as u8]);
        for (key, value) in map.pairs() {
            self.term(key, depth)?;
            self.term(value, depth)?;
        }
        Ok(())
    }

    fn map(&mut self, map: Term<'_>, depth: u32) -> Result<(), Beyond> {
        let size = map.map_size().map_err(|_| Beyond)?;
        if size > MOST_KEYS {
            return Err(Beyond);
        }
        self.scratch.put([MAP, 0, 0, 0, size as u8]);
        for (key, value) in Pairs::new(map).ok_or(Beyond)? {
            self.term(key, depth)?;
            self.term(value, depth)?;
        }
        Ok(())
    }

    fn atom(&mut self, term: Term<'_>, word: usize) -> Result<(), Beyond> {
        // In the form of this release, which newer ones write in another way.
        let encoded = term.to_binary();
        let encoded = encoded.get(1..).ok_or(Beyond)?;
        self.scratch.write(encoded);
        let mut atom = Atom { word, len: encoded.len() as u8, bytes: [0; ATOM_BYTES] };
        if let (Some(bytes), Some(place)) =
            (atom.bytes.get_mut(..encoded.len()), self.scratch.atoms.get_mut(atom_slot(word)))
        {
            bytes.copy_from_slice(encoded);
            *place = atom;
        }
        Ok(())
    }
}

/// Atoms' words are their numbers, shifted by six bits.
fn atom_slot(word: usize) -> usize {
    (word >> 6) % ATOMS
}
