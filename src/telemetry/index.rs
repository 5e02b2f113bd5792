//! The table that finds a series by name and labels without a lock.
//!
//! Series are only added while an instance lives. So the table is an open-addressed array of pointers that a
//! reader probes with plain loads; when half full, one of twice the size takes its place, and the old ones
//! stay until the end for readers that are still in them (together no larger than the new one).
//!
//! Invariants that the `unsafe` code below rests on:
//! - `current` points to the last of `owned.tables`; tables are dropped with the index only.
//! - Each pointer in a table is null or to a series in `owned.series`, which are dropped with the index only.
//! - Tables and slots are written under the lock of `owned`, with Release, once what they point to is whole.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::registry::Series;

/// Slots of the first table: 2 KiB.
const FIRST_SLOTS: usize = 256;

/// Finds series; see the top of the file.
#[derive(Debug)]
pub(super) struct Index {
    current: AtomicPtr<Table>,
    hasher: hashbrown::DefaultHashBuilder,
    owned: Mutex<Owned>,
}

#[derive(Debug)]
struct Owned {
    tables: Vec<Arc<Table>>,
    series: Vec<Arc<Series>>,
}

#[derive(Debug)]
struct Table(Box<[AtomicPtr<Series>]>);

impl Index {
    pub(super) fn new() -> Self {
        let table = Arc::new(Table::new(FIRST_SLOTS));
        let current = AtomicPtr::new(Arc::as_ptr(&table).cast_mut());
        let owned = Mutex::new(Owned { tables: vec![table], series: Vec::new() });
        Self { current, hasher: hashbrown::DefaultHashBuilder::default(), owned }
    }

    /// The hash of a series: the same for labels in any order, and with or without empty ones.
    #[inline]
    pub(super) fn hash<'a>(&self, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
        labels
            .filter(|(_, value)| !value.is_empty())
            .fold(self.hasher.hash_one(name), |sum, label| sum.wrapping_add(self.hasher.hash_one(label)))
    }

    /// The series of this name and these labels, which hash to `hash`.
    #[inline]
    pub(super) fn find(&self, hash: u64, name: &str, labels: &[(&str, &str)]) -> Option<&Series> {
        // SAFETY: the table lives as long as `self` (first invariant); Acquire pairs with the Release of
        // `insert`, so that its slots are seen.
        let table = unsafe { self.current.load(Ordering::Acquire).as_ref() }?;
        for slot in table.probe(hash) {
            // SAFETY: null or a series that lives as long as `self` (second invariant), whole when seen.
            let series = unsafe { slot.load(Ordering::Acquire).as_ref() }?;
            if series.hash == hash && series.is(name, labels) {
                return Some(series);
            }
        }
        None
    }

    /// Adds a series that is not there yet. Callers see to it that one at a time looks and inserts.
    pub(super) fn insert(&self, series: Arc<Series>) {
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.series.push(series);
        let Owned { tables, series } = &mut *owned;
        let slots = tables.last().map_or(0, |table| table.0.len());
        if series.len() * 2 > slots {
            let larger = Arc::new(Table::new((slots * 2).max(FIRST_SLOTS)));
            for series in series.iter() {
                larger.put(series);
            }
            self.current.store(Arc::as_ptr(&larger).cast_mut(), Ordering::Release);
            tables.push(larger);
        } else if let (Some(table), Some(series)) = (tables.last(), series.last()) {
            table.put(series);
        }
    }

    /// Bytes of all tables.
    pub(super) fn memory_bytes(&self) -> usize {
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.tables.iter().map(|table| size_of_val(&*table.0)).sum()
    }
}

impl Table {
    /// The number of slots is a power of two.
    fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| AtomicPtr::default()).collect())
    }

    /// All slots, beginning where the hash says.
    #[inline]
    fn probe(&self, hash: u64) -> impl Iterator<Item = &AtomicPtr<Series>> {
        let mask = self.0.len() - 1;
        (0..=mask).filter_map(move |step| self.0.get((hash as usize).wrapping_add(step) & mask))
    }

    fn put(&self, series: &Arc<Series>) {
        let empty = self.probe(series.hash).find(|slot| slot.load(Ordering::Relaxed).is_null());
        if let Some(slot) = empty {
            slot.store(Arc::as_ptr(series).cast_mut(), Ordering::Release);
        }
    }
}
