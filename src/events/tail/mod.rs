//! Tails: events told as they are stored, from now on or from a position in the past, without a hole or a double.
//!
//! A tail is a position and a filter, no queue: it reads the store itself (`reader`), up to the frontier, whenever
//! it is asked or its worker comes to it (`deliver`). So a slow reader costs no memory, and what the store has
//! dropped before the tail came to it is told as a gap (`item`). Appends only ring a bell (`bell`), and only while
//! somebody waits.

mod bell;
mod deliver;
mod handle;
mod item;
mod matcher;
mod reader;
mod registry;

use serde::Serialize;

use super::query::Query;

#[cfg(loom)]
pub(crate) use bell::Bell;
pub(crate) use deliver::WORKER;
pub use handle::{EndedTail, Tail};
pub use item::{Gap, GapReason, TailEvent, TailItem};
pub(crate) use registry::Tails;

/// How many tails one store has at most.
pub const MAX_TAILS: usize = 4_096;

/// What a tail is opened with; the default tells every event that is stored from now on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TailOptions {
    /// Which events to tell: a query's conditions. `seq_range`, order, offset, limit and timeout are refused.
    pub filter: Query,
    /// The first position to tell; `None` is what is stored from now on. At most the store's `next_seq`.
    pub from_seq: Option<u64>,
    /// How many events, matching or not, the tail may be behind the newest; older ones are passed over, with a gap.
    /// `None` is as many as the store holds.
    pub capacity: Option<u64>,
    /// How many items a callback may have been called with and not [acknowledged](Tail::acknowledge); then it waits.
    /// `None` is without acknowledgements. For callbacks only.
    pub window: Option<u32>,
}

/// What is called with each item.
pub type TailCallback = Box<dyn Fn(&TailItem) + Send>;

/// What became of the events that a tail has come to: each is in one of these, or read and not yet told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TailCounts {
    /// Events told.
    pub delivered: u64,
    /// Events that did not match.
    pub filtered: u64,
    /// Events in gaps because the store no longer had them.
    pub missed_removed: u64,
    /// Events in gaps because the tail was too far behind.
    pub missed_lagged: u64,
    /// Conditions of the filter that could not be compared with what stands in the data.
    pub uncomparable: u64,
}

/// How one tail is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TailStats {
    /// The first position that it has not looked at: what to go on from with another tail, once `unread` is 0.
    pub position: u64,
    /// Events that are stored and that it has not looked at; 0 when its store is gone.
    pub behind: u64,
    /// Items that it has read and not told.
    pub unread: u64,
    /// Items told to a callback and not acknowledged; 0 without a window.
    pub unacknowledged: u64,
    /// What it has told.
    #[serde(flatten)]
    pub counts: TailCounts,
}

/// What all tails of a store together have told, those included that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TailsStats {
    /// How many tails there are.
    pub tails: u64,
    /// Calls of callbacks that panicked.
    pub callback_panics: u64,
    /// How often a tail with a callback could not go on because a file could not be read; it tries again.
    pub failed_reads: u64,
    /// What they have told.
    #[serde(flatten)]
    pub counts: TailCounts,
}
