//! The indexes of a segment that is being filled: small hash tables whose chains lead from newer to older events.
//!
//! # Invariants
//! - Heads and links are atomics and may be followed past what is published: `next[i] < i + 1` always (events are
//!   stored plus one, 0 ends a chain), so that every walk ends; readers skip events that they may not read yet.
//! - Only the segment's writer links. Whoever walks holds the `Chained`, so its memory is cleared for another segment
//!   only when nobody walks it.

use std::sync::Arc as StoreArc;

use super::recycle::Tables;
use super::segment::{Index, Shared};
use crate::runtime::sync::{AtomicU32, Ordering};

/// The chains of one segment; their memory goes back to the pool when nobody holds them.
pub(crate) struct Chained {
    /// Present until `drop` gives it back.
    tables: Option<Tables>,
    shared: StoreArc<Shared>,
}

impl Chained {
    pub(super) fn new(tables: Tables, shared: StoreArc<Shared>) -> Self {
        Self { tables: Some(tables), shared }
    }

    fn of(&self, index: Index) -> (&[AtomicU32], &[AtomicU32]) {
        self.tables.as_ref().and_then(|tables| tables.of(index)).unwrap_or((&[], &[]))
    }

    /// Puts an event at the head of its chain. Only the segment's writer does this.
    pub(super) fn link(&self, index: Index, hash: u64, event: u32) {
        let (heads, next) = self.of(index);
        if let (Some(head), Some(next)) = (head(heads, hash), next.get(event as usize)) {
            next.store(head.load(Ordering::Relaxed), Ordering::Relaxed);
            // Release: whoever finds this event through the head also finds where the chain goes on.
            head.store(event + 1, Ordering::Release);
        }
    }

    /// Where the chain of this hash begins.
    pub(super) fn begin(&self, index: Index, hash: u64) -> u32 {
        if let Some(tables) = &self.tables {
            tables.shadow.read(0);
        }
        head(self.of(index).0, hash).map_or(0, |head| head.load(Ordering::Acquire))
    }

    /// The event at this position, which moves on.
    pub(super) fn step(&self, index: Index, at: &mut u32) -> Option<u32> {
        if let Some(tables) = &self.tables {
            tables.shadow.read(0);
        }
        let event = at.checked_sub(1)?;
        *at = self.of(index).1.get(event as usize).map_or(0, |next| next.load(Ordering::Acquire));
        Some(event)
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> usize {
        self.tables.as_ref().map_or(0, Tables::bytes)
    }
}

impl Drop for Chained {
    fn drop(&mut self) {
        if let Some(tables) = self.tables.take() {
            self.shared.pool.give_tables(tables);
        }
    }
}

fn head(heads: &[AtomicU32], hash: u64) -> Option<&AtomicU32> {
    heads.get(hash as usize & (heads.len().wrapping_sub(1)))
}
