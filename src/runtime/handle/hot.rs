//! The hot table: two words a slot, read by a handful of loads.
//!
//! Invariants. A slot's `meta` is its live handle, or, while the slot is free, a word whose index is the
//! *neighbouring* slot's: whatever number a caller hands in leads to the slot of its own index, so it can
//! equal `meta` only if it is the live handle. That one comparison checks index, generation, tag and copy.
//! `words` are written only while `meta` is free and after that became visible (release fence), so a
//! reader that sees the live handle before and after has read the words that belong to it.

use std::collections::VecDeque;

use super::chunks::{Chunks, MAX_SLOTS};
use super::{GENERATION_SHIFT, INDEX_SHIFT, LAST_GENERATION, TableStats, Tag};
use super::{exhausted, generation_of, pack, stale};
use crate::error::{Code, Error, Result};
use crate::runtime::fork;
use crate::runtime::sync::{AtomicU64, Mutex, MutexGuard, Ordering, fence, lock};

/// Handles whose use must cost next to nothing: each stands for two words, such as a pointer to
/// type-stable memory (see [`pool`](crate::runtime::pool)) and what to know about it.
///
/// A table belongs in a `static`: its memory is never unmapped. Reading needs no lock and leaves no trace;
/// a handle that is freed while it is being read answers with its last words or not at all, never with a
/// mixture or another handle's.
#[derive(Debug)]
pub struct HotTable {
    tag: Tag,
    limit: u32,
    slots: Chunks<Slot>,
    state: Mutex<State>,
}

/// Half a cache line, and never across two.
#[derive(Debug)]
#[repr(align(32))]
struct Slot {
    meta: AtomicU64,
    words: [AtomicU64; 2],
}

/// A hot table at rest, until this is dropped.
pub(crate) struct HotRest<'a> {
    _table: MutexGuard<'a, State>,
}

#[derive(Debug)]
struct State {
    /// Free slots, the longest free first: a number comes back as late as possible.
    free: VecDeque<u32>,
    /// Slots that were ever in use: those below this.
    opened: u32,
    retired: u32,
}

impl HotTable {
    /// How many handles a table usually allows.
    pub const DEFAULT_LIMIT: u32 = MAX_SLOTS;

    /// An empty table for handles of this kind, at most `limit` at a time.
    #[cfg(not(loom))]
    pub const fn new(tag: Tag, limit: u32) -> Self {
        let state = Mutex::new(State { free: VecDeque::new(), opened: 0, retired: 0 });
        Self { tag, limit: if limit < MAX_SLOTS { limit } else { MAX_SLOTS }, slots: Chunks::new(), state }
    }

    /// As without loom, whose atomics cannot be made in a constant.
    #[cfg(loom)]
    pub fn new(tag: Tag, limit: u32) -> Self {
        let state = Mutex::new(State { free: VecDeque::new(), opened: 0, retired: 0 });
        Self { tag, limit: limit.min(MAX_SLOTS), slots: Chunks::new(), state }
    }

    /// A new handle for these words; `resource_exhausted` when the table is full.
    pub fn insert(&self, a: u64, b: u64) -> Result<u64> {
        fork::under_way_here()?;
        let mut state = lock(&self.state);
        let index = if let Some(index) = state.free.pop_front() {
            index
        } else if state.opened < self.limit {
            state.opened += 1;
            state.opened - 1
        } else {
            return Err(exhausted(self.tag, self.limit));
        };
        let index = u64::from(index);
        let Some(slot) = self.slots.get_or_grow(index, Slot::new) else {
            return Err(Error::new(
                Code::InternalError,
                format!("handle slot {index} lies outside its table"),
            ));
        };
        let handle = pack(self.tag, index, generation_of(slot.meta.load(Ordering::Relaxed)));
        let [word_a, word_b] = &slot.words;
        // Pairs with the fence in `load`: who reads one of the new words sees that the old handle is gone.
        fence(Ordering::Release);
        word_a.store(a, Ordering::Relaxed);
        word_b.store(b, Ordering::Relaxed);
        slot.meta.store(handle, Ordering::Release);
        Ok(handle)
    }

    /// The words of a live handle; `None` for anything else.
    #[inline]
    pub fn load(&self, handle: u64) -> Option<(u64, u64)> {
        let slot = self.slots.get(handle >> INDEX_SHIFT)?;
        if slot.meta.load(Ordering::Acquire) != handle {
            return None;
        }
        let [word_a, word_b] = &slot.words;
        let words = (word_a.load(Ordering::Relaxed), word_b.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        (slot.meta.load(Ordering::Relaxed) == handle).then_some(words)
    }

    /// The words of a live handle; `stale_handle`, saying what was handed in, for anything else.
    #[inline]
    pub fn get(&self, handle: u64) -> Result<(u64, u64)> {
        self.load(handle).ok_or_else(|| self.stale(handle))
    }

    /// The error for a handle that [`load`](Self::load) does not know, saying what was handed in.
    #[cold]
    pub fn stale(&self, handle: u64) -> Error {
        stale(self.tag, handle)
    }

    /// Makes the handle stale and answers the words it stood for, so that the owner can give them back.
    pub fn free(&self, handle: u64) -> Result<(u64, u64)> {
        fork::under_way_here()?;
        let mut state = lock(&self.state);
        let words = self.get(handle)?;
        let index = handle >> INDEX_SHIFT;
        let Some(slot) = self.slots.get(index) else { return Err(stale(self.tag, handle)) };
        let generation = generation_of(handle);
        if generation == LAST_GENERATION {
            state.retired += 1;
            slot.meta.store(free_meta(index, generation), Ordering::Relaxed);
        } else {
            slot.meta.store(free_meta(index, generation + 1), Ordering::Relaxed);
            state.free.push_back(index as u32);
        }
        Ok(words)
    }

    /// Lets no handle be made or freed while the answer is kept, for a fork; reading goes on.
    pub(crate) fn rest(&self) -> HotRest<'_> {
        HotRest { _table: lock(&self.state) }
    }

    /// How full the table is.
    pub fn stats(&self) -> TableStats {
        let state = lock(&self.state);
        let (opened, free) = (u64::from(state.opened), state.free.len() as u64);
        let retired = u64::from(state.retired);
        TableStats { live: opened - free - retired, limit: u64::from(self.limit), retired }
    }
}

impl Slot {
    fn new(index: u64) -> Self {
        Self { meta: AtomicU64::new(free_meta(index, 0)), words: [AtomicU64::new(0), AtomicU64::new(0)] }
    }
}

/// What a free slot shows: its next generation, under the index of its neighbour.
fn free_meta(index: u64, generation: u64) -> u64 {
    (index ^ 1) << INDEX_SHIFT | generation << GENERATION_SHIFT
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_handle_answers_its_words_until_it_is_freed() {
        static TABLE: HotTable = HotTable::new(Tag::Counter, HotTable::DEFAULT_LIMIT);
        let first = TABLE.insert(1, 2).unwrap();
        let second = TABLE.insert(3, 4).unwrap();
        assert_eq!(TABLE.load(first), Some((1, 2)));
        assert_eq!(TABLE.get(second).unwrap(), (3, 4));
        assert_eq!(TABLE.free(first).unwrap(), (1, 2));
        assert_eq!(TABLE.load(first), None);
        assert_eq!(TABLE.free(first).unwrap_err().code(), Code::StaleHandle);
        let third = TABLE.insert(5, 6).unwrap();
        assert_eq!(third >> INDEX_SHIFT, first >> INDEX_SHIFT, "the slot is used again");
        assert_ne!(third, first);
        assert_eq!((TABLE.load(first), TABLE.load(third)), (None, Some((5, 6))));
        assert_eq!(TABLE.stats(), TableStats { live: 2, limit: 1 << 20, retired: 0 });
    }

    #[test]
    fn no_other_number_is_a_handle() {
        static TABLE: HotTable = HotTable::new(Tag::Gauge, 100);
        static OTHER: HotTable = HotTable::new(Tag::Counter, 100);
        let handle = TABLE.insert(1, 2).unwrap();
        let foreign = OTHER.insert(1, 2).unwrap();
        let free = TABLE.insert(3, 4).unwrap();
        TABLE.free(free).unwrap();
        assert_eq!(TABLE.load(foreign), None);
        for bit in 0..64 {
            assert_eq!(TABLE.load(handle ^ 1 << bit), None, "bit {bit}");
        }
        // The very words that free slots show, those of slots never used among them.
        for index in 0..1024 {
            for generation in 0..3 {
                assert_eq!(TABLE.load(free_meta(index, generation)), None);
            }
        }
        assert_eq!(TABLE.load(0), None);
    }

    #[test]
    fn the_limit_is_named_and_freeing_makes_room() {
        static TABLE: HotTable = HotTable::new(Tag::ConfigKey, 3);
        let handles: Vec<_> = (0..3).map(|n| TABLE.insert(n, n).unwrap()).collect();
        let error = TABLE.insert(9, 9).unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert_eq!(error.context()["limit"], 3);
        TABLE.free(handles[1]).unwrap();
        assert!(TABLE.insert(9, 9).is_ok());
    }

    #[test]
    fn a_slot_without_generations_is_retired() {
        static TABLE: HotTable = HotTable::new(Tag::Histogram, 1);
        let handle = TABLE.insert(1, 1).unwrap();
        TABLE.free(handle).unwrap();
        let slot = TABLE.slots.get(0).unwrap();
        slot.meta.store(free_meta(0, LAST_GENERATION), Ordering::Relaxed);
        let last = TABLE.insert(2, 2).unwrap();
        assert_eq!(TABLE.load(last), Some((2, 2)));
        TABLE.free(last).unwrap();
        assert_eq!((TABLE.load(last), TABLE.stats().retired), (None, 1));
        assert_eq!(TABLE.insert(3, 3).unwrap_err().code(), Code::ResourceExhausted);
    }

    #[test]
    fn tables_grow_chunk_by_chunk() {
        static TABLE: HotTable = HotTable::new(Tag::EventType, 5_000);
        let handles: Vec<_> = (0..5_000).map(|n| TABLE.insert(n, !n).unwrap()).collect();
        for (n, handle) in (0..5_000).zip(&handles) {
            assert_eq!(TABLE.load(*handle), Some((n, !n)));
        }
        assert!(TABLE.insert(0, 0).is_err());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// A reader against free and reuse of the same slot: its own words, or nothing.
    #[test]
    fn loom_hot_load_never_mixes_two_handles() {
        loom::model(|| {
            let table = Arc::new(HotTable::new(Tag::Counter, 1));
            let first = table.insert(1, 1).unwrap();
            let reader = {
                let table = table.clone();
                thread::spawn(move || {
                    let words = table.load(first);
                    assert!(matches!(words, None | Some((1, 1))), "{words:?}");
                })
            };
            table.free(first).unwrap();
            let second = table.insert(2, 2).unwrap();
            assert_eq!(second >> INDEX_SHIFT, first >> INDEX_SHIFT);
            assert_eq!((table.load(first), table.load(second)), (None, Some((2, 2))));
            reader.join().unwrap();
        });
    }

    /// A slot is published whole, also the first of a new chunk: a handle that was passed on without
    /// ordering is not found or found with its words.
    #[test]
    fn loom_hot_insert_publishes_whole() {
        loom::model(|| {
            let table = Arc::new(HotTable::new(Tag::Counter, 4));
            let passed = Arc::new(AtomicU64::new(0));
            let writer = {
                let (table, passed) = (table.clone(), passed.clone());
                thread::spawn(move || {
                    let handle = table.insert(7, 8).unwrap();
                    passed.store(handle, Ordering::Relaxed);
                })
            };
            let words = table.load(passed.load(Ordering::Relaxed));
            assert!(matches!(words, None | Some((7, 8))), "{words:?}");
            writer.join().unwrap();
        });
    }

    /// Two threads free the same handle: one of them succeeds.
    #[test]
    fn loom_hot_free_succeeds_once() {
        loom::model(|| {
            let table = Arc::new(HotTable::new(Tag::Counter, 1));
            let handle = table.insert(1, 1).unwrap();
            let other = {
                let table = table.clone();
                thread::spawn(move || table.free(handle).is_ok())
            };
            let here = table.free(handle).is_ok();
            assert!(here ^ other.join().unwrap());
            assert_eq!(table.stats().live, 0);
        });
    }
}
