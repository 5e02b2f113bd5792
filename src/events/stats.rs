//! The books of a store, as numbers.

use serde::Serialize;

/// What a store holds and what has become of the rest. `stored = events + dropped_oldest + pruned`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EventStats {
    /// Events that are there now.
    pub events: u64,
    /// Events stored since the store was opened.
    pub stored: u64,
    /// Events refused: invalid, duplicate or beyond a limit. A refused batch counts all its events.
    pub refused: u64,
    /// Events dropped because the store held `max_events`.
    pub dropped_oldest: u64,
    /// Events removed by `prune_before`.
    pub pruned: u64,
    /// The most events that are held, if there is a bound.
    pub max_events: Option<u64>,
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
    /// Distinct event types and nodes.
    pub names: u64,
}
