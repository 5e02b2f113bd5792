//! The memory of segments, and the small pool that it goes back to: the first touch of fresh pages costs more
//! than the copy of an event, so segments that have been dropped are filled again.

use super::memory::Block;
use super::segment::{Index, Shape};
use crate::error::Result;
use crate::runtime::sync::{AtomicU32, Mutex, lock};

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
            arena: Block::new(shape.bytes.div_ceil(8))?,
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

    /// Bytes of records and columns, and of indexes.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let indexes = self.heads.iter().chain(&self.next).map(|links| links.shared().len() * 4).sum();
        (self.arena.bytes() + self.offsets.bytes() + self.times.bytes(), indexes)
    }
}

/// Memory of dropped segments, for the next ones. Bounded; what does not fit is freed.
pub(crate) struct Pool {
    usual: Shape,
    kept: Mutex<Vec<Buffers>>,
}

impl Pool {
    pub(crate) fn new(usual: Shape) -> Self {
        Self { usual, kept: Mutex::new(Vec::with_capacity(KEPT)) }
    }

    /// Memory for a segment: used before, or fresh. All chains are empty.
    pub(crate) fn take(&self, shape: Shape) -> Result<Buffers> {
        let used = if shape == self.usual { lock(&self.kept).pop() } else { None };
        match used {
            Some(mut buffers) => {
                // Only heads must be empty: everything else is written before it is read.
                buffers.heads.iter_mut().for_each(Links::clear);
                Ok(buffers)
            }
            None => Buffers::new(shape),
        }
    }

    /// Takes memory back.
    pub(crate) fn give(&self, shape: Shape, buffers: Buffers) {
        if shape == self.usual {
            let mut kept = lock(&self.kept);
            if kept.len() < KEPT {
                kept.push(buffers);
            }
        }
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
