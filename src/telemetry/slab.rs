//! Memory of counters: dense rows, one for each stripe, that are never unmapped.
//!
//! A chunk holds [`SLOTS`] counters as one row of cells for each stripe. A CPU adds in its own row only, so
//! no cache line is written by two CPUs, and yet a counter costs 8 bytes a stripe and not a cache line.
//!
//! Invariants that the `unsafe` code below rests on:
//! - A chunk is `stripe::count()` rows, leaked: it lives and keeps its type until the process ends.
//! - A [`Slot`] points into the first row of a chunk and may reach into its other rows: cell `s` of it lies
//!   `s * ROW_BYTES` further on.
//! - A slot that was given back is handed out again only after [`QUARANTINE`] others, zeroed. A stale handle
//!   that still adds to it changes a number and never memory of another kind.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::stripe;
use crate::runtime::pool::QUARANTINE;

/// Counters of one chunk.
const SLOTS: usize = 64;

/// The cells of one stripe. Aligned to a pair of lines, since CPUs prefetch by pairs.
#[repr(C, align(128))]
struct Row([AtomicU64; SLOTS]);

const ROW_BYTES: usize = size_of::<Row>();

/// One counter's cells. Copies of it point to the same cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(NonNull<AtomicU64>);

// SAFETY: a slot points to atomics that live until the process ends (first invariant).
unsafe impl Send for Slot {}
// SAFETY: as above; atomics may be used by many threads at once.
unsafe impl Sync for Slot {}

struct Free {
    /// Slots that were never used.
    fresh: Vec<Slot>,
    /// Slots that were given back, oldest first.
    used: VecDeque<Slot>,
}

static FREE: Mutex<Free> = Mutex::new(Free { fresh: Vec::new(), used: VecDeque::new() });

fn free() -> MutexGuard<'static, Free> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    /// A slot whose cells are all zero.
    pub(super) fn take() -> Self {
        let mut free = free();
        if free.used.len() > QUARANTINE
            && let Some(slot) = free.used.pop_front()
        {
            for stripe in 0..stripe::count() {
                slot.cell(stripe).store(0, Ordering::Relaxed);
            }
            return slot;
        }
        loop {
            if let Some(slot) = free.fresh.pop() {
                return slot;
            }
            add_chunk(&mut free.fresh);
        }
    }

    /// Gives the slot back, for others to use once it has rested.
    pub(super) fn give(self) {
        free().used.push_back(self);
    }

    /// Adds to the cell of the calling CPU.
    #[inline]
    pub(super) fn add(self, n: u64) {
        self.cell(stripe::index()).fetch_add(n, Ordering::Relaxed);
    }

    /// The sum of all cells.
    pub(super) fn sum(self) -> u64 {
        (0..stripe::count())
            .fold(0, |sum: u64, stripe| sum.wrapping_add(self.cell(stripe).load(Ordering::Relaxed)))
    }

    /// Bytes of one slot's cells.
    pub(super) fn bytes() -> usize {
        stripe::count() * size_of::<AtomicU64>()
    }

    /// The slot as a word, for handle tables.
    pub(super) fn to_raw(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The slot of this word.
    ///
    /// # Safety
    /// The word came from [`Slot::to_raw`] in this process.
    #[inline]
    pub(super) unsafe fn from_raw(raw: u64) -> Self {
        // SAFETY: by the caller the word is the address of a slot, which is never null.
        Self(unsafe { NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(raw as usize)) })
    }

    #[inline]
    fn cell(self, stripe: usize) -> &'static AtomicU64 {
        debug_assert!(stripe < stripe::count());
        // SAFETY: `stripe` is less than `stripe::count()`, here and at every caller: the loops say so and
        // `stripe::index` is masked. So the address lies in the chunk, aligned, and is an atomic that lives
        // until the process ends (first and second invariant).
        unsafe { self.0.byte_add(stripe * ROW_BYTES).as_ref() }
    }
}

fn add_chunk(fresh: &mut Vec<Slot>) {
    let rows: Vec<Row> = (0..stripe::count()).map(|_| Row([const { AtomicU64::new(0) }; SLOTS])).collect();
    // The pointer is made from the whole chunk, so that it may reach all of it.
    let base = NonNull::from(Box::leak(rows.into_boxed_slice())).cast::<AtomicU64>();
    fresh.extend((0..SLOTS).rev().map(|slot| {
        // SAFETY: `slot` is less than the length of the first row.
        Slot(unsafe { base.add(slot) })
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_rests_before_it_is_used_again_and_comes_back_zeroed() {
        let mut seen = Vec::new();
        let first = Slot::take();
        first.add(7);
        first.give();
        // Other tests take and give as well, so the exact turn is not known: only that it comes, late.
        for turn in 0.. {
            let slot = Slot::take();
            assert_eq!(slot.sum(), 0);
            if slot == first {
                assert!(turn >= QUARANTINE / 2, "came back after {turn}");
                break;
            }
            seen.push(slot);
            slot.add(1);
            slot.give();
        }
        first.give();
    }

    #[test]
    fn neighbours_do_not_touch_each_other() {
        let slots: Vec<Slot> = (0..SLOTS as u64 * 2).map(|_| Slot::take()).collect();
        for (n, slot) in slots.iter().enumerate() {
            for stripe in 0..stripe::count() {
                slot.cell(stripe).fetch_add(n as u64, Ordering::Relaxed);
            }
        }
        for (n, slot) in slots.into_iter().enumerate() {
            assert_eq!(slot.sum(), (n * stripe::count()) as u64);
            slot.give();
        }
    }
}
