//! The memory of segments and of their chains, and the small pool that it goes back to: the first touch of fresh
//! pages costs more than the copy of an event, so segments that have been dropped are filled again, and where there
//! is a worker it prepares memory before it is needed.

use std::sync::Arc;

use super::compact::Compact;
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
    pub(crate) shadow: Shadow,
}

impl Buffers {
    fn new(shape: Shape) -> Result<Self> {
        let events = shape.events as usize;
        Ok(Self {
            arena: Block::unset(shape.bytes.div_ceil(8))?,
            offsets: Block::new(events)?,
            times: Block::new(events)?,
            shadow: Shadow::new(events),
        })
    }

    /// About how many bytes a segment of this shape takes, chains apart.
    fn size(shape: Shape) -> u64 {
        (shape.bytes + shape.events as usize * (size_of::<u32>() + size_of::<i64>())) as u64
    }

    /// Bytes of records and columns.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.bytes() + self.offsets.bytes() + self.times.bytes()
    }

    /// Has the kernel provide the memory now, in large pages if it has some, so that nobody waits for that later.
    fn touch(&mut self) {
        self.arena.touch();
        self.offsets.touch();
        self.times.touch();
    }
}

/// The memory of one segment's chains: heads and links of the indexes that it has while it is being filled.
pub(crate) struct Tables {
    events: u32,
    heads: [Links; 4],
    next: [Links; 4],
    pub(crate) shadow: Shadow,
}

impl Tables {
    fn new(shape_events: u32) -> Result<Self> {
        let events = shape_events as usize;
        Ok(Self {
            events: shape_events,
            heads: [
                Links::new(events)?,
                Links::new(events)?,
                Links::new(TYPE_HEADS.min(events))?,
                Links::new((events / EVENTS_PER_PARENT_HEAD).max(1))?,
            ],
            next: [Links::new(events)?, Links::new(events)?, Links::new(events)?, Links::new(events)?],
            shadow: Shadow::new(1),
        })
    }

    /// About how many bytes the chains of so many events take.
    fn size(events: u32) -> u64 {
        let events = events as usize;
        let heads = 2 * events + TYPE_HEADS + events / EVENTS_PER_PARENT_HEAD;
        ((heads + 4 * events) * size_of::<u32>()) as u64
    }

    /// Heads and links of one index; `None` for those that a segment has only once it is full.
    pub(crate) fn of(&self, index: Index) -> Option<(&[AtomicU32], &[AtomicU32])> {
        let [correlation, id, kind, parent] = &self.heads;
        let [next_correlation, next_id, next_kind, next_parent] = &self.next;
        let (heads, next) = match index {
            Index::Correlation => (correlation, next_correlation),
            Index::EventId => (id, next_id),
            Index::Type => (kind, next_kind),
            Index::Parent => (parent, next_parent),
            Index::Node | Index::Pid => return None,
        };
        Some((heads.shared(), next.shared()))
    }

    /// Makes all chains empty. Only heads must be: links are written before they are read.
    fn clear(&mut self) {
        self.shadow.write(0);
        self.heads.iter_mut().for_each(Links::clear);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.heads.iter().chain(&self.next).map(|links| links.shared().len() * 4).sum()
    }
}

/// Memory that waits for reuse.
#[derive(Default)]
struct Kept {
    buffers: Vec<Buffers>,
    /// Cleared.
    tables: Vec<Tables>,
}

impl Kept {
    fn bytes(&self) -> u64 {
        let tables: usize = self.tables.iter().map(Tables::bytes).sum();
        (self.buffers.iter().map(Buffers::bytes).sum::<usize>() + tables) as u64
    }
}

/// The memory of a store's segments: all that is in use is counted and bounded here, and what dropped segments
/// leave is kept for the next ones, up to a few.
pub(crate) struct Pool {
    usual: Shape,
    kept: Mutex<Kept>,
    /// Bytes in segments with their indexes, whether they are listed or only held by readers, in filters, and in
    /// `kept`.
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
    /// The indexes of a full segment, for which what events leave is enough: they replace its chains.
    Sealing,
}

impl Pool {
    #[cfg(test)]
    pub(crate) fn new(usual: Shape) -> Self {
        Self::bounded(usual, None, false)
    }

    pub(crate) fn bounded(usual: Shape, limit: Option<u64>, counts_reads: bool) -> Self {
        Self {
            usual,
            kept: Mutex::new(Kept::default()),
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

    /// Counts fresh memory in, if the bound allows it. `whole` is what all of the segment takes.
    fn count_in(&self, bytes: u64, whole: u64, budget: Budget) -> bool {
        let limit = match budget {
            Budget::Usual if self.limit == u64::MAX => u64::MAX,
            Budget::Usual => self.limit.saturating_sub(Compact::most_bytes(self.usual.events) as u64),
            Budget::Reserved => self.limit.saturating_add(whole.saturating_mul(2)),
            Budget::Recovery => u64::MAX,
            Budget::Sealing => self.limit,
        };
        let fits = |allocated: u64| allocated.checked_add(bytes).filter(|all| *all <= limit);
        self.allocated.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    /// Counts memory in that is taken beside segments, if the bound allows it.
    pub(crate) fn reserve(&self, bytes: u64) -> bool {
        self.count_in(bytes, bytes, Budget::Sealing)
    }

    /// Counts out what was counted in by [`Pool::reserve`] and is free again, or was not needed.
    pub(crate) fn count_out(&self, bytes: u64) {
        self.allocated.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Memory for a segment and its chains, which are empty: used before, or fresh. `store_full` when the bound is
    /// reached.
    pub(crate) fn take(&self, shape: Shape, budget: Budget) -> Result<(Buffers, Tables)> {
        let whole = Buffers::size(shape) + Tables::size(shape.events);
        let used = if shape == self.usual { lock(&self.kept).buffers.pop() } else { None };
        let buffers = match used {
            Some(buffers) => buffers,
            None => self.fresh((budget, whole), Buffers::bytes, || Buffers::new(shape))?,
        };
        let used = if shape.events == self.usual.events { lock(&self.kept).tables.pop() } else { None };
        let tables =
            used.map_or_else(|| self.fresh((budget, whole), Tables::bytes, || Tables::new(shape.events)), Ok);
        match tables {
            Ok(tables) => Ok((buffers, tables)),
            Err(error) => {
                self.give(shape, buffers);
                Err(error)
            }
        }
    }

    /// Fresh memory, counted in.
    fn fresh<T>(
        &self,
        (budget, whole): (Budget, u64),
        bytes: impl Fn(&T) -> usize,
        make: impl Fn() -> Result<T>,
    ) -> Result<T> {
        let memory = make()?;
        let bytes = bytes(&memory) as u64;
        // What waits for reuse makes way for what is needed now.
        while !self.count_in(bytes, whole, budget) {
            let unused = {
                let mut kept = lock(&self.kept);
                let buffers = kept.buffers.pop();
                let tables = if buffers.is_none() { kept.tables.pop() } else { None };
                (buffers, tables)
            };
            match unused {
                (Some(buffers), _) => self.count_out(buffers.bytes() as u64),
                (_, Some(tables)) => self.count_out(tables.bytes() as u64),
                (None, None) => return Err(self.full(bytes)),
            }
        }
        Ok(memory)
    }

    /// Sees to it that memory for a segment is at hand and touched, if the bound allows it. The caller has time.
    pub(crate) fn prepare(&self) {
        let (no_buffers, no_tables) = {
            let kept = lock(&self.kept);
            (kept.buffers.is_empty(), kept.tables.is_empty())
        };
        if no_buffers
            && let Ok(mut buffers) = Buffers::new(self.usual)
            && self.count_in(buffers.bytes() as u64, 0, Budget::Usual)
        {
            buffers.touch();
            self.give(self.usual, buffers);
        }
        if no_tables
            && let Ok(tables) = Tables::new(self.usual.events)
            && self.count_in(tables.bytes() as u64, 0, Budget::Usual)
        {
            self.give_tables(tables);
        }
    }

    /// Takes memory back.
    pub(crate) fn give(&self, shape: Shape, buffers: Buffers) {
        let usual = shape == self.usual;
        let left = if usual { keep(&mut lock(&self.kept).buffers, buffers) } else { Some(buffers) };
        if let Some(buffers) = left {
            self.count_out(buffers.bytes() as u64);
        }
        self.freed.tell();
    }

    /// Takes the memory of chains back, and clears it.
    pub(crate) fn give_tables(&self, mut tables: Tables) {
        let left = if tables.events == self.usual.events {
            tables.clear();
            keep(&mut lock(&self.kept).tables, tables)
        } else {
            Some(tables)
        };
        if let Some(tables) = left {
            self.count_out(tables.bytes() as u64);
        }
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
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.kept).bytes()
    }
}

/// Keeps memory for reuse where few wait already; else it is the caller's again.
fn keep<T>(kept: &mut Vec<T>, memory: T) -> Option<T> {
    if kept.len() >= KEPT {
        return Some(memory);
    }
    kept.push(memory);
    None
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
        pub(crate) fn read_below(&self, _end: u32) {}

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

    // SAFETY: the cells hold nothing, and loom looks at every access to them: that is what they are for.
    unsafe impl Sync for Shadow {}

    impl Shadow {
        pub(super) fn new(events: usize) -> Self {
            Self((0..events).map(|_| loom::cell::UnsafeCell::new(())).collect())
        }

        pub(crate) fn read(&self, index: u32) {
            if let Some(cell) = self.0.get(index as usize) {
                cell.with(|_| ());
            }
        }

        pub(crate) fn read_below(&self, end: u32) {
            (0..end).for_each(|index| self.read(index));
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
