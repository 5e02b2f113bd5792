//! Interned names: event types and nodes become small numbers, found again without a lock.
//!
//! The table has a fixed number of slots and never rehashes; its pages are touched as they fill. A name is never
//! removed while the store lives, which bounds it: beyond [`LIMIT`] names the answer is `resource_exhausted`.
//!
//! # Invariants
//! - A non-null slot points to an entry leaked from a `Box`, valid until the table is dropped; it is written once,
//!   with release, after the entry is complete. Readers load with acquire.
//! - `by_id[n]` holds the entry of id `n`. It is set, and `count` raised to `n`, before the slot of `by_hash`, so
//!   that an id that was handed out can be resolved and is known to be one.
//! - Entries are freed in `drop` only, where `&mut` proves that no reader is left; results borrow the table.

use std::hash::BuildHasher;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use hashbrown::DefaultHashBuilder;

use super::memory::Block;
use crate::error::{Code, Error, Result};

/// How many names a store can hold.
pub(crate) const LIMIT: usize = 65_536;

const SLOTS: usize = LIMIT * 2;

struct Entry {
    hash: u64,
    id: u32,
    name: Box<str>,
}

/// The names of one store. Id 0 is the empty name.
pub(crate) struct Names {
    hasher: DefaultHashBuilder,
    by_hash: Block<AtomicPtr<Entry>>,
    by_id: Block<AtomicPtr<Entry>>,
    /// How many names there are, which is also the newest id.
    count: AtomicU32,
    writers: Mutex<()>,
}

impl Names {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            hasher: DefaultHashBuilder::default(),
            by_hash: Block::new(SLOTS)?,
            by_id: Block::new(LIMIT + 1)?,
            count: AtomicU32::new(0),
            writers: Mutex::new(()),
        })
    }

    /// The id of a name that is known already.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        if name.is_empty() {
            return Some(0);
        }
        let hash = self.hasher.hash_one(name);
        self.probe(hash, name).ok()
    }

    /// The id of a name, made known if it is new.
    pub(crate) fn intern(&self, name: &str) -> Result<u32> {
        if name.is_empty() {
            return Ok(0);
        }
        let hash = self.hasher.hash_one(name);
        if let Ok(id) = self.probe(hash, name) {
            return Ok(id);
        }
        let _writer = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added it before we had the lock.
        let slot = match self.probe(hash, name) {
            Ok(id) => return Ok(id),
            Err(slot) => slot,
        };
        let id = self.last() + 1;
        let (Some(slot), Some(place)) = (slot, self.by_id.shared().get(id as usize)) else {
            return Err(Error::new(
                Code::ResourceExhausted,
                format!(
                    "the store holds {LIMIT} distinct event types and nodes, which is its limit; \
                     put what varies into the data, not into the type: {name:?}"
                ),
            )
            .with("limit", LIMIT)
            .with("name", name));
        };
        let entry = Box::into_raw(Box::new(Entry { hash, id, name: name.into() }));
        place.store(entry, Ordering::Release);
        // Before the slot: whoever finds the id there finds it counted.
        self.count.store(id, Ordering::Release);
        slot.store(entry, Ordering::Release);
        Ok(id)
    }

    /// The id of the name, or the free slot where it would go (none when the table is full).
    fn probe(&self, hash: u64, name: &str) -> std::result::Result<u32, Option<&AtomicPtr<Entry>>> {
        let slots = self.by_hash.shared();
        for step in 0..SLOTS {
            let Some(slot) = slots.get((hash as usize).wrapping_add(step) & (SLOTS - 1)) else { break };
            let entry = slot.load(Ordering::Acquire);
            if entry.is_null() {
                return Err(Some(slot));
            }
            // SAFETY: a non-null slot points to a complete entry that lives as long as the table.
            let entry = unsafe { &*entry };
            if entry.hash == hash && *entry.name == *name {
                return Ok(entry.id);
            }
        }
        Err(None)
    }

    /// The name of an id; empty for 0 and for ids that were never given.
    pub(crate) fn name(&self, id: u32) -> &str {
        let entry =
            self.by_id.shared().get(id as usize).map_or(ptr::null_mut(), |e| e.load(Ordering::Acquire));
        if entry.is_null() {
            return "";
        }
        // SAFETY: as in `probe`; the result borrows the table.
        let entry: &Entry = unsafe { &*entry };
        &entry.name
    }

    /// The newest id, which is how many names there are.
    pub(crate) fn last(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for place in self.by_id.shared() {
            let entry = place.load(Ordering::Relaxed);
            if !entry.is_null() {
                // SAFETY: made by `Box::into_raw`, stored at exactly one id, and nobody borrows the table any more.
                drop(unsafe { Box::from_raw(entry) });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_get_dense_ids_and_keep_them() {
        let names = Names::new().unwrap();
        assert_eq!(names.find("a"), None);
        assert_eq!(names.intern("a").unwrap(), 1);
        assert_eq!(names.intern("b").unwrap(), 2);
        assert_eq!(names.intern("a").unwrap(), 1);
        assert_eq!(names.find("b"), Some(2));
        assert_eq!((names.name(1), names.name(2), names.name(3), names.name(0)), ("a", "b", "", ""));
        assert_eq!((names.intern("").unwrap(), names.last()), (0, 2));
    }

    #[test]
    fn the_limit_is_an_error_that_says_so_and_known_names_go_on() {
        let names = Names::new().unwrap();
        for i in 0..LIMIT {
            names.intern(&i.to_string()).unwrap();
        }
        let error = names.intern("one more").unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert!(error.message().contains("65536"), "{error}");
        assert_eq!(names.find("65535"), Some(65_536));
        assert_eq!(names.name(65_536), "65535");
    }

    #[test]
    fn threads_agree_on_ids() {
        let names = Names::new().unwrap();
        let ids: Vec<Vec<u32>> = std::thread::scope(|scope| {
            let run = || (0..500).map(|i| names.intern(&format!("n{}", i % 100)).unwrap()).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|other| *other == ids[0]));
        assert_eq!(names.last(), 100);
    }

    #[test]
    fn an_id_that_was_answered_is_among_the_known_ones() {
        for _ in 0..8 {
            let names = Names::new().unwrap();
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for i in 0..LIMIT {
                            let id = names.intern(&i.to_string()).unwrap();
                            let newest = names.last();
                            assert!(id <= newest, "{id} was answered and {newest} is the newest");
                        }
                    });
                }
            });
        }
    }
}
