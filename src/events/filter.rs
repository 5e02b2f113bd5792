//! Which segments may hold a key, asked of 64 segments at once.
//!
//! [`Bits`] is the filter of one segment: a Bloom filter of [`PLACES`] places a key. It is a value of its own, which
//! files carry too. A [`Matrix`] holds the filters of up to 64 segments on their sides: a row for each place, a
//! column for each segment, so that one word says which of them have that bit set and a key is looked up in
//! [`PLACES`] words. [`Filters`] hands out the columns of a store's segments, one matrix for each kind of key.
//!
//! # Invariants
//! - A filter never denies a key that was inserted.
//! - A column belongs to one segment from `claim` until the segment is dropped. Whoever knows of the column holds the
//!   segment, so a column is never filled while somebody looks at it.
//! - Columns are filled one at a time (`filling`), so plain loads and stores of words suffice.

#[cfg(not(loom))]
use super::memory::Block;
use crate::error::Result;
use crate::runtime::sync::{AtomicU64, Mutex, OnceLock, Ordering, lock};

/// Bits that a key sets.
pub(crate) const PLACES: usize = 3;

/// Columns of a matrix.
const COLUMNS: usize = 64;

/// Groups of segments that have columns: those of 16,384 segments. More segments are looked at one by one.
const MAX_GROUPS: usize = if cfg!(loom) { 1 } else { 256 };

/// Rows for each event of a segment: 8 bits for each key give a filter that is wrong in 3 of 100 cases.
const ROWS_PER_EVENT: usize = 8;

/// The places of a hash in a filter with so many rows, a power of two.
fn places(hash: u64, rows: usize) -> [usize; PLACES] {
    let (first, step) = (hash as usize, (hash >> 32) as usize | 1);
    std::array::from_fn(|turn| first.wrapping_add(turn.wrapping_mul(step)) & rows.wrapping_sub(1))
}

/// The filter of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Box<[u64]>,
}

impl Bits {
    /// A filter with this many rows, rounded up to a power of two of at least 64; nothing is in it.
    pub(crate) fn new(rows: usize) -> Self {
        Self { words: vec![0; rows.next_power_of_two().max(64) / 64].into_boxed_slice() }
    }

    /// The filter that [`Bits::as_words`] showed; `None` if no filter has so many words.
    pub(crate) fn from_words(words: Box<[u64]>) -> Option<Self> {
        words.len().is_power_of_two().then_some(Self { words })
    }

    /// The bits, row 0 lowest in the first word.
    pub(crate) fn as_words(&self) -> &[u64] {
        &self.words
    }

    /// How many rows it has.
    pub(crate) fn rows(&self) -> usize {
        self.words.len() * 64
    }

    pub(crate) fn insert(&mut self, hash: u64) {
        for place in places(hash, self.rows()) {
            if let Some(word) = self.words.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
    }

    /// Whether this key may have been inserted.
    #[cfg_attr(any(not(test), loom), allow(dead_code, reason = "for one file by itself"))]
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        places(hash, self.rows())
            .iter()
            .all(|place| self.words.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0))
    }

    fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

#[cfg(not(loom))]
type Rows = Block<AtomicU64>;

/// The same of loom's atomics.
#[cfg(loom)]
struct Rows(Box<[AtomicU64]>);

#[cfg(loom)]
impl Rows {
    fn new(len: usize) -> Result<Self> {
        Ok(Self((0..len).map(|_| AtomicU64::new(0)).collect()))
    }

    fn shared(&self) -> &[AtomicU64] {
        &self.0
    }

    fn bytes(&self) -> usize {
        self.0.len() * 8
    }
}

/// The filters of up to 64 segments, on their sides.
pub(crate) struct Matrix {
    rows: Rows,
}

impl Matrix {
    /// A matrix for filters of this many rows, all columns empty; `no_memory` when there is none to be had.
    pub(crate) fn new(rows: usize) -> Result<Self> {
        Ok(Self { rows: Rows::new(rows)? })
    }

    /// Makes a column show this filter, or nothing. Only one column is set at a time.
    pub(crate) fn set_column(&self, column: u8, bits: Option<&Bits>) {
        let mask = 1_u64 << (column % COLUMNS as u8);
        let words = bits.map_or(&[][..], |bits| &bits.words);
        let mut words = words.iter().copied();
        for rows in self.rows.shared().chunks(64) {
            let mut word = words.next().unwrap_or(0);
            for row in rows {
                let old = row.load(Ordering::Relaxed);
                let new = if word & 1 != 0 { old | mask } else { old & !mask };
                if new != old {
                    row.store(new, Ordering::Relaxed);
                }
                word >>= 1;
            }
        }
    }

    /// The columns whose filter may hold this key, as a mask.
    pub(crate) fn candidates(&self, hash: u64) -> u64 {
        let rows = self.rows.shared();
        places(hash, rows.len()).iter().fold(u64::MAX, |mask, place| {
            mask & rows.get(*place).map_or(0, |row| row.load(Ordering::Relaxed))
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.bytes()
    }
}

/// What kinds of keys have filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Correlation,
    Parent,
    Pid,
    EventId,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 4;

/// Where a segment's filters stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    group: u8,
    number: u8,
}

impl Column {
    /// Whether a group's masks name it.
    pub(crate) fn is_in(self, masks: &[u64]) -> bool {
        masks.get(usize::from(self.group)).is_none_or(|mask| mask >> self.number & 1 != 0)
    }
}

/// A segment's filters by kind; what has none may hold anything.
pub(crate) type Sides = [Option<Bits>; KINDS];

#[derive(Default)]
struct Group {
    matrices: [OnceLock<Matrix>; KINDS],
    /// Columns that may hold anything, by kind.
    open: [AtomicU64; KINDS],
}

/// The filters of a store.
pub(crate) struct Filters {
    rows: usize,
    groups: Box<[OnceLock<Box<Group>>]>,
    /// Columns in use, by group; as many as there are groups.
    used: Mutex<Vec<u64>>,
    filling: Mutex<()>,
    bytes: AtomicU64,
}

impl Filters {
    /// Filters for segments of so many events. Nothing is allocated for them until a column is claimed.
    pub(crate) fn new(events: u32) -> Self {
        Self {
            rows: (events as usize * ROWS_PER_EVENT).next_power_of_two().max(64),
            groups: (0..MAX_GROUPS).map(|_| OnceLock::new()).collect(),
            used: Mutex::new(Vec::new()),
            filling: Mutex::new(()),
            bytes: AtomicU64::new(0),
        }
    }

    /// An empty filter of the right size.
    pub(crate) fn bits(&self) -> Bits {
        Bits::new(self.rows)
    }

    /// The most bytes that the next [`Filters::claim`] allocates.
    pub(crate) fn most_bytes(&self) -> usize {
        KINDS * self.rows * size_of::<u64>()
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A column for a segment, filled with its filters; `None` when there are too many segments. The memory that
    /// was allocated for it, in bytes, comes with it.
    pub(crate) fn claim(&self, sides: &Sides) -> Option<(Column, u64)> {
        let column = self.take_column()?;
        let _filling = lock(&self.filling);
        let group = self.groups.get(usize::from(column.group))?.get_or_init(Box::default);
        let mask = 1_u64 << column.number;
        let mut allocated = 0;
        for ((side, matrix), open) in sides.iter().zip(&group.matrices).zip(&group.open) {
            let needed = side.as_ref().is_some_and(|bits| !bits.is_empty());
            if needed && matrix.get().is_none() {
                // Without memory for it the column may hold anything.
                if let Ok(made) = Matrix::new(self.rows) {
                    allocated += made.bytes() as u64;
                    matrix.get_or_init(|| made);
                }
            }
            let shown = side.is_some() && (!needed || matrix.get().is_some());
            if let Some(matrix) = matrix.get() {
                matrix.set_column(column.number, side.as_ref());
            }
            if shown {
                open.fetch_and(!mask, Ordering::Relaxed);
            } else {
                open.fetch_or(mask, Ordering::Relaxed);
            }
        }
        self.bytes.fetch_add(allocated, Ordering::Relaxed);
        Some((column, allocated))
    }

    fn take_column(&self) -> Option<Column> {
        let mut used = lock(&self.used);
        let free = used.iter().position(|columns| *columns != u64::MAX);
        let group = free.unwrap_or(used.len());
        if group >= MAX_GROUPS {
            return None;
        }
        if free.is_none() {
            used.push(0);
        }
        let columns = used.get_mut(group)?;
        let number = columns.trailing_ones();
        *columns |= 1 << number;
        Some(Column { group: group as u8, number: number as u8 })
    }

    /// Gives a column back. Nobody looks at it any more.
    pub(crate) fn release(&self, column: Column) {
        let mut used = lock(&self.used);
        if let Some(columns) = used.get_mut(usize::from(column.group)) {
            *columns &= !(1 << column.number);
        }
    }

    /// Whether the segment of this column may hold this key.
    pub(crate) fn may_hold(&self, column: Column, kind: Kind, hash: u64) -> bool {
        let group = self.groups.get(usize::from(column.group)).and_then(OnceLock::get);
        let mask = 1_u64 << column.number;
        group.is_none_or(|group| {
            let open = group.open.get(kind as usize).map_or(0, |open| open.load(Ordering::Relaxed));
            let matrix = group.matrices.get(kind as usize).and_then(OnceLock::get);
            open & mask != 0 || matrix.is_some_and(|matrix| matrix.candidates(hash) & mask != 0)
        })
    }

    /// For each group, which columns may hold any of these keys; narrowed by what `masks` says already.
    pub(crate) fn narrow(&self, kind: Kind, hashes: &[u64], masks: &mut Vec<u64>) {
        let groups = self.groups.iter().map_while(OnceLock::get);
        for (at, group) in groups.enumerate() {
            let kind = kind as usize;
            let (Some(matrix), Some(open)) = (group.matrices.get(kind), group.open.get(kind)) else { return };
            let any = matrix
                .get()
                .map_or(0, |matrix| hashes.iter().fold(0, |any, hash| any | matrix.candidates(*hash)));
            let may = any | open.load(Ordering::Relaxed);
            match masks.get_mut(at) {
                Some(mask) => *mask &= may,
                None => masks.push(may),
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        super::super::hash::Hash::seeded(9).id(n)
    }

    #[test]
    fn a_filter_holds_what_was_inserted_and_little_else() {
        let mut bits = Bits::new(8 * 1_000);
        assert_eq!(bits.rows(), 8_192);
        (0..1_000).for_each(|n| bits.insert(hash(n)));
        assert!((0..1_000).all(|n| bits.may_hold(hash(n))));
        let wrong = (1_000..11_000).filter(|n| bits.may_hold(hash(*n))).count();
        assert!(wrong < 500, "{wrong} of 10,000 are wrongly thought to be there");
        let again = Bits::from_words(bits.as_words().into()).unwrap();
        assert_eq!(again, bits);
        assert!(Bits::from_words(vec![0; 3].into()).is_none());
    }

    #[test]
    fn a_matrix_says_of_all_columns_what_each_filter_says() {
        let matrix = Matrix::new(512).unwrap();
        let filters: Vec<Bits> = (0..64_u64)
            .map(|column| {
                let mut bits = Bits::new(512);
                (0..40).for_each(|n| bits.insert(hash(column * 1_000 + n)));
                bits
            })
            .collect();
        for (column, bits) in filters.iter().enumerate() {
            // What stood there before does not shine through.
            matrix.set_column(column as u8, Some(&filters[63 - column]));
            matrix.set_column(column as u8, Some(bits));
        }
        matrix.set_column(5, None);
        for key in (0..70_000).step_by(7).map(hash) {
            let expected = filters.iter().enumerate().filter(|(c, bits)| *c != 5 && bits.may_hold(key));
            let expected = expected.fold(0_u64, |mask, (column, _)| mask | 1 << column);
            assert_eq!(matrix.candidates(key), expected);
        }
    }

    #[test]
    fn columns_are_handed_out_reused_and_limited() {
        let filters = Filters::new(8);
        let with = |key: Option<u64>| {
            let mut bits = filters.bits();
            if let Some(key) = key {
                bits.insert(hash(key));
            }
            [Some(bits), None, Some(filters.bits()), Some(filters.bits())]
        };
        let columns: Vec<Column> =
            (0..130).map(|n| filters.claim(&with(Some(n))).map(|(column, _)| column).unwrap()).collect();
        assert!(columns.iter().enumerate().all(|(n, c)| columns[..n].iter().all(|other| other != c)));
        assert_eq!(filters.bytes(), 3 * 64 * 8, "one matrix in each of three groups");
        let masks = |kind, key| {
            let mut masks = Vec::new();
            filters.narrow(kind, &[hash(key)], &mut masks);
            masks
        };
        assert!((0..130).all(|n| columns[n as usize].is_in(&masks(Kind::Correlation, n))));
        let found = columns.iter().filter(|column| column.is_in(&masks(Kind::Correlation, 7))).count();
        assert!(found < 40, "{found} of 130");
        assert!(columns.iter().all(|column| column.is_in(&masks(Kind::Parent, 7))), "no filter: anything");
        assert!(!columns.iter().any(|column| column.is_in(&masks(Kind::Pid, 7))), "an empty one: nothing");
        filters.release(columns[70]);
        let (again, allocated) = filters.claim(&with(None)).unwrap();
        assert_eq!((again, allocated), (columns[70], 0));
        assert!(!again.is_in(&masks(Kind::Correlation, 70)), "what it held before is gone");
        let more = (0..).map_while(|_| filters.claim(&with(None))).count();
        assert_eq!(columns.len() + more, MAX_GROUPS * 64);
    }
}
