//! Slots at addresses that never change: chunks that are added and never taken away.
//!
//! Invariant: a chunk pointer is null or points to a leaked chunk whose slots are initialised; once set it
//! is never changed. So a reference to a slot is good for the process's lifetime, and readers need no lock.

use std::ptr;

use crate::runtime::sync::{AtomicPtr, Ordering};

/// The most slots that a table can have.
pub(super) const MAX_SLOTS: u32 = (CHUNKS * CHUNK) as u32;

#[cfg(not(loom))]
const CHUNK: usize = 1024;
#[cfg(not(loom))]
const CHUNKS: usize = 1024;
// Loom explores a few slots only.
#[cfg(loom)]
const CHUNK: usize = 2;
#[cfg(loom)]
const CHUNKS: usize = 2;

#[derive(Debug)]
pub(super) struct Chunks<S: 'static> {
    chunks: [AtomicPtr<[S; CHUNK]>; CHUNKS],
}

impl<S: 'static> Chunks<S> {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self { chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS] }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())) }
    }

    /// The slot of this index, if its chunk exists.
    #[inline]
    pub(super) fn get(&self, index: u64) -> Option<&'static S> {
        let chunk = self.chunks.get((index / CHUNK as u64) as usize)?.load(Ordering::Acquire);
        // SAFETY: by the module's invariant the pointer is null or points to an initialised chunk that is
        // never freed; the acquiring load makes its initialisation visible.
        let chunk: Option<&'static [S; CHUNK]> = unsafe { chunk.as_ref() };
        chunk?.get((index % CHUNK as u64) as usize)
    }

    /// The slot of this index; makes its chunk if there is none yet, each slot by its index. `None` when
    /// the index is beyond [`MAX_SLOTS`]. Callers hold the table's lock.
    pub(super) fn get_or_grow(&self, index: u64, make: impl Fn(u64) -> S) -> Option<&'static S> {
        let chunk = self.chunks.get((index / CHUNK as u64) as usize)?;
        if chunk.load(Ordering::Acquire).is_null() {
            let first = index - index % CHUNK as u64;
            // Collected on the heap: a chunk may be larger than a host's small thread stack.
            let slots: Box<[S]> = (first..first + CHUNK as u64).map(make).collect();
            let slots: Box<[S; CHUNK]> = slots.try_into().ok()?;
            chunk.store(Box::into_raw(slots), Ordering::Release);
        }
        self.get(index)
    }
}
