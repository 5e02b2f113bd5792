//! The memory of segments, and the small pool that it goes back to: the first touch of fresh pages costs more
//! than the copy of an event, so segments that have been dropped are filled again.

use std::sync::Arc;

use super::memory::Block;
use super::overflow::Signal;
use super::segment::{Index, Shape};
use crate::error::{Code, Error, Result};
use crate::runtime::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock};

/// How many segments' memory waits for reuse; what comes back beyond that is freed.
const KEPT: usize = 4;

/// Heads of the type index: most stores have few types.
const TYPE_HEADS: usize = 256;

/// Events for each head of the parent index: many events have no parent, and looking for children may take longer.
const EVENTS_PER_PARENT_HEAD: usize = 4;

/// The memory of one segment. Who may read or write what is said in `segment.rs`.
pub(crate) struct Buffers {
    /// Records; words, so that every record is aligned.
    pub(crate) arena: Block<u64>,
    /// Where each record starts.
    pub(crate) offsets: Block<u32>,
    /// Each event's timestamp.
    pub(crate) times: Block<i64>,
    heads: [Links; 4],
    next: [Links; 4],
    pub(crate) shadow: Shadow,
}

impl Buffers {
    fn new(shape: Shape) -> Result<Self> {
        let events = shape.events as usize;
        Ok(Self {
            arena: Block::unset(shape.bytes.div_ceil(8))?,
            offsets: Block::new(events)?,
            times: Block::new(events)?,
            heads: [
                Links::new(events)?,
                Links::new(events)?,
                Links::new(TYPE_HEADS.min(events))?,
                Links::new((events / EVENTS_PER_PARENT_HEAD).max(1))?,
            ],
            next: [Links::new(events)?, Links::new(events)?, Links::new(events)?, Links::new(events)?],
            shadow: Shadow::new(events),
        })
    }

    /// Heads and links of one index.
    pub(crate) fn index(&self, index: Index) -> (&[AtomicU32], &[AtomicU32]) {
        let [correlation, id, kind, parent] = &self.heads;
        let [next_correlation, next_id, next_kind, next_parent] = &self.next;
        match index {
            Index::Correlation => (correlation.shared(), next_correlation.shared()),
            Index::EventId => (id.shared(), next_id.shared()),
            Index::Type => (kind.shared(), next_kind.shared()),
            Index::Parent => (parent.shared(), next_parent.shared()),
        }
    }

    fn all_bytes(&self) -> u64 {
        let (records, indexes) = self.bytes();
        (records + indexes) as u64
    }

    /// Bytes of records and columns, and of indexes.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let indexes = self.heads.iter().chain(&self.next).map(|links| links.shared().len() * 4).sum();
        (self.arena.bytes() + self.offsets.bytes() + self.times.bytes(), indexes)
    }
}

/// The memory of a store's segments: all that is in use is counted and bounded here, and what dropped segments
/// leave is kept for the next ones, up to a few.
pub(crate) struct Pool {
    usual: Shape,
    kept: Mutex<Vec<Buffers>>,
    /// Bytes in segments, whether they are listed or only held by readers, and in `kept`.
    allocated: AtomicU64,
    limit: u64,
    /// Counts reads of segments, where it matters which was read last.
    reads: AtomicU64,
    counts_reads: bool,
    /// Tells of memory that came back.
    pub(crate) freed: Arc<Signal>,
}

/// Who asks for memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budget {
    /// An event that must find room under the bound.
    Usual,
    /// A change of configuration, for which two segments beyond the bound are reserved.
    Reserved,
    /// Events that come back from files when a store is opened: they were there before the bound.
    Recovery,
}

impl Pool {
    #[cfg(test)]
    pub(crate) fn new(usual: Shape) -> Self {
        Self::bounded(usual, None, false)
    }

    pub(crate) fn bounded(usual: Shape, limit: Option<u64>, counts_reads: bool) -> Self {
        Self {
            usual,
            kept: Mutex::new(Vec::with_capacity(KEPT)),
            allocated: AtomicU64::new(0),
            limit: limit.unwrap_or(u64::MAX),
            reads: AtomicU64::new(0),
            counts_reads,
            freed: Arc::new(Signal::new()),
        }
    }

    /// The moment of a read: later reads get larger numbers.
    pub(crate) fn read_now(&self) -> u64 {
        if self.counts_reads { self.reads.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 }
    }

    /// Counts fresh memory in, if the bound allows it.
    fn count_in(&self, bytes: u64, budget: Budget) -> bool {
        let reserve = match budget {
            Budget::Usual => 0,
            Budget::Reserved => bytes.saturating_mul(2),
            Budget::Recovery => u64::MAX,
        };
        let limit = self.limit.saturating_add(reserve);
        let fits = |allocated: u64| allocated.checked_add(bytes).filter(|all| *all <= limit);
        self.allocated.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    /// Memory for a segment: used before, or fresh. All chains are empty. `store_full` when the bound is reached.
    pub(crate) fn take(&self, shape: Shape, budget: Budget) -> Result<Buffers> {
        let used = if shape == self.usual { lock(&self.kept).pop() } else { None };
        if let Some(mut buffers) = used {
            // Only heads must be empty: everything else is written before it is read.
            buffers.heads.iter_mut().for_each(Links::clear);
            return Ok(buffers);
        }
        let buffers = Buffers::new(shape)?;
        let bytes = buffers.all_bytes();
        // What waits for reuse makes way for what is needed now.
        while !self.count_in(bytes, budget) {
            let Some(unused) = lock(&self.kept).pop() else { return Err(self.full(bytes)) };
            self.allocated.fetch_sub(unused.all_bytes(), Ordering::SeqCst);
        }
        Ok(buffers)
    }

    /// Takes memory back.
    pub(crate) fn give(&self, shape: Shape, buffers: Buffers) {
        if shape == self.usual {
            let mut kept = lock(&self.kept);
            if kept.len() < KEPT {
                kept.push(buffers);
                drop(kept);
                self.freed.tell();
                return;
            }
        }
        self.allocated.fetch_sub(buffers.all_bytes(), Ordering::SeqCst);
        drop(buffers);
        self.freed.tell();
    }

    /// The error of a store that may not use so many bytes more.
    pub(crate) fn full(&self, bytes: u64) -> Error {
        let limit = self.limit;
        let message =
            format!("the event store may use {limit} bytes of memory and needs {bytes} more for this");
        Error::new(Code::StoreFull, message).with("limit", limit).with("size", bytes)
    }

    /// How many bytes may be in use.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes in use or waiting for reuse.
    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::SeqCst)
    }

    /// Bytes that wait for reuse.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.kept).iter().map(|buffers| buffers.bytes().0 + buffers.bytes().1).sum()
    }
}

#[cfg(not(loom))]
mod links {
    use super::{AtomicU32, Block, Result};

    /// A column of links between events.
    pub(super) struct Links(Block<AtomicU32>);

    impl Links {
        pub(super) fn new(len: usize) -> Result<Self> {
            Block::new(len).map(Self)
        }

        pub(super) fn shared(&self) -> &[AtomicU32] {
            self.0.shared()
        }

        pub(super) fn clear(&mut self) {
            self.0.clear();
        }
    }

    /// Under loom, watches for races on record bytes; nothing otherwise.
    pub(crate) struct Shadow;

    impl Shadow {
        pub(super) fn new(_events: usize) -> Self {
            Self
        }

        #[inline]
        #[allow(clippy::unused_self, reason = "the loom twin uses it")]
        pub(crate) fn read(&self, _index: u32) {}

        #[inline]
        #[allow(clippy::unused_self, reason = "the loom twin uses it")]
        pub(crate) fn write(&self, _index: u32) {}
    }
}

#[cfg(loom)]
mod links {
    use super::{AtomicU32, Result};
    use crate::runtime::sync::Ordering;

    /// A column of links between events, of loom's atomics.
    pub(super) struct Links(Box<[AtomicU32]>);

    impl Links {
        pub(super) fn new(len: usize) -> Result<Self> {
            Ok(Self((0..len).map(|_| AtomicU32::new(0)).collect()))
        }

        pub(super) fn shared(&self) -> &[AtomicU32] {
            &self.0
        }

        pub(super) fn clear(&mut self) {
            self.0.iter().for_each(|link| link.store(0, Ordering::Relaxed));
        }
    }

    /// One loom cell for each record: loom reports a read of a record that races with a write of it.
    pub(crate) struct Shadow(Box<[loom::cell::UnsafeCell<()>]>);

    impl Shadow {
        pub(super) fn new(events: usize) -> Self {
            Self((0..events).map(|_| loom::cell::UnsafeCell::new(())).collect())
        }

        pub(crate) fn read(&self, index: u32) {
            if let Some(cell) = self.0.get(index as usize) {
                cell.with(|_| ());
            }
        }

        pub(crate) fn write(&self, index: u32) {
            if let Some(cell) = self.0.get(index as usize) {
                cell.with_mut(|_| ());
            }
        }
    }
}

use links::Links;
pub(crate) use links::Shadow;
