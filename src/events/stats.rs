//! The books of a store, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::frontier::FIRST_SEQ;
use super::later::AsyncStats;
use super::overflow::Overflow;
use super::store::EventStore;
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
    /// What has become of asynchronous appends.
    pub later: AsyncStats,
    /// What tails were told.
    pub tails: TailsStats,
}

impl EventStore {
    /// The books, settled as of now.
    pub fn stats(&self) -> EventStats {
        self.account_damage();
        let books = self.retention.settle(&self.shards, &self.frontier);
        let (mut segments, mut memory, mut index) = (0, 0, 0);
        for shard in &self.shards {
            for entry in shard.segments().iter() {
                let (records, indexes) = entry.segment.bytes();
                segments += 1;
                memory += records as u64;
                index += indexes as u64;
            }
        }
        index += self.shared.filters.bytes();
        let stored = books.next - FIRST_SEQ;
        // Memory may have let go of events since the books were read.
        let events = (books.present + books.elsewhere).saturating_sub(self.hidden());
        let pooled = self.shared.pool.bytes();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (refused, dropped_newest, repeated) =
            (read(&self.refused), read(&self.dropped_newest), read(&self.repeated));
        EventStats {
            offered: stored + refused + dropped_newest + repeated,
            events,
            stored,
            refused,
            refused_full: read(&self.refused_full),
            dropped_newest,
            repeated,
            dropped_oldest: (stored - events)
                .saturating_sub(books.pruned + books.expired + books.evicted + books.lost),
            pruned: books.pruned,
            expired: books.expired,
            evicted: books.evicted,
            lost: books.lost,
            max_events: self.options.max_events,
            overflow_strategy: self.options.overflow,
            next_seq: books.next,
            frontier: self.frontier.stable(),
            oldest_seq: books.low,
            shards: self.shards.len(),
            segments,
            memory_bytes: memory,
            index_bytes: index,
            pooled_bytes: pooled,
            pinned_bytes: self.shared.pool.allocated().saturating_sub(memory + index + pooled),
            max_memory_bytes: self.options.max_memory_bytes,
            max_age_ms: self.options.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            names: u64::from(self.shared.names.last()),
            later: self.later.stats(),
            tails: self.tails.stats(),
        }
    }
}
