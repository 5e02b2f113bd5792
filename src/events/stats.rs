//! The books of a store, as numbers.

use serde::Serialize;

use super::overflow::Overflow;
use super::tail::TailsStats;

/// What a store holds and what has become of the rest. `stored = events + dropped_oldest + pruned + expired +
/// evicted + lost`, and
/// `offered = stored + refused + dropped_newest + repeated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EventStats {
    /// Events handed to the store.
    pub offered: u64,
    /// Events that are there now.
    pub events: u64,
    /// Events stored since the store was opened.
    pub stored: u64,
    /// Events refused: invalid, duplicate or beyond a limit. A refused batch counts all its events.
    pub refused: u64,
    /// Those of the refused events for which the store had no room.
    pub refused_full: u64,
    /// New events dropped because the store was full.
    pub dropped_newest: u64,
    /// Events that were stored already and got the receipt of the first time.
    pub repeated: u64,
    /// Events dropped because the store held `max_events`.
    pub dropped_oldest: u64,
    /// Events removed by `prune_before`.
    pub pruned: u64,
    /// Events removed because they were older than the store's age bound.
    pub expired: u64,
    /// Events removed to stay within the store's memory bound.
    pub evicted: u64,
    /// Events that a crash or damage to a file took.
    pub lost: u64,
    /// The most events that are held, if there is a bound.
    pub max_events: Option<u64>,
    /// What an append does that finds the store full.
    pub overflow_strategy: Overflow,
    /// The position that the next event gets.
    pub next_seq: u64,
    /// Every event below this position can be read.
    pub frontier: u64,
    /// No event below this position is there.
    pub oldest_seq: u64,
    /// Groups of producing threads.
    pub shards: usize,
    /// Segments in memory.
    pub segments: u64,
    /// Bytes allocated for events and columns, indexes apart.
    pub memory_bytes: u64,
    /// Bytes allocated for indexes.
    pub index_bytes: u64,
    /// Bytes of dropped segments that wait for reuse.
    pub pooled_bytes: u64,
    /// Bytes of segments that the store has dropped and that readers still hold.
    pub pinned_bytes: u64,
    /// The most bytes of segments in use, whoever holds them, if there is a bound.
    pub max_memory_bytes: Option<u64>,
    /// How old events may become, in milliseconds, if there is a bound.
    pub max_age_ms: Option<u64>,
    /// Distinct event types and nodes.
    pub names: u64,
    /// What tails were told.
    pub tails: TailsStats,
}
