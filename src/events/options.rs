//! What a store is opened with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::again::OnDuplicate;
use super::later::{DEFAULT_ASYNC_BYTES, DEFAULT_ASYNC_EVENTS};
use super::overflow::Overflow;
use super::segment::Shape;
use crate::error::{Code, Error, Result};

/// Events that a store holds when nothing else is said.
pub const DEFAULT_MAX_EVENTS: u64 = 100_000;

/// How long an append of [`Overflow::Block`] waits when nothing else is said.
pub const DEFAULT_BLOCK_TIMEOUT: Duration = Duration::from_millis(100);

/// Which events the periodic clean-up removes when memory is nearly used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleanup {
    /// The oldest.
    #[default]
    Oldest,
    /// Those of the segment that nobody has read from for longest.
    Lru,
}

/// Most shards that a store may have.
pub const MAX_SHARDS: usize = 64;

/// Largest event data that can be allowed, in bytes: lengths in records are 32 bits wide.
pub const MAX_DATA_BYTES: usize = 1 << 30;

/// Most events that may be allowed to wait.
const MAX_ASYNC_EVENTS: u64 = 1 << 24;

/// About what the columns and indexes of a segment take for an event.
const INDEX_BYTES: usize = 64;
const MAX_SEGMENT_EVENTS: u32 = 32_768;
const MAX_SEGMENT_BYTES: usize = 8 << 20;

/// What a store is opened with; everything has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventStoreOptions {
    /// Most events held; `None` is no bound.
    pub max_events: Option<u64>,
    /// Most bytes of segments with their indexes, those included that only readers still hold; `None` is no bound.
    /// At least four times `max_data_bytes`.
    pub max_memory_bytes: Option<u64>,
    /// Events that are older than this are removed by [`EventStore::clean_up`](super::EventStore::clean_up).
    pub max_age: Option<Duration>,
    /// Which events `clean_up` removes when memory is nearly used up.
    pub cleanup: Cleanup,
    /// What an append does that finds the store full.
    pub overflow: Overflow,
    /// How long an append of [`Overflow::Block`] waits for room.
    pub block_timeout: Duration,
    /// What becomes of an event whose id is stored already.
    pub on_duplicate: OnDuplicate,
    /// Groups of producing threads with a lock each; `None` is one for each processor, at most 8.
    pub shards: Option<usize>,
    /// Largest event data in bytes.
    pub max_data_bytes: usize,
    /// Most events that wait to be stored by [`EventStore::append_async`](super::EventStore::append_async).
    pub async_queue_events: u64,
    /// Most bytes that they take, 100 or so an event beside its texts and data; at least `max_data_bytes` and 4 KiB.
    pub async_queue_bytes: u64,
    /// Events in a segment, rounded up to a power of two; `None` suits `max_events`, at most 32,768.
    pub segment_events: Option<u32>,
    /// Bytes of records in a segment; `None` suits `segment_events`, at most 8 MiB. A larger event gets a segment
    /// of its own.
    pub segment_bytes: Option<usize>,
}

impl Default for EventStoreOptions {
    fn default() -> Self {
        Self {
            max_events: Some(DEFAULT_MAX_EVENTS),
            max_memory_bytes: None,
            max_age: None,
            cleanup: Cleanup::default(),
            overflow: Overflow::default(),
            block_timeout: DEFAULT_BLOCK_TIMEOUT,
            on_duplicate: OnDuplicate::default(),
            shards: None,
            max_data_bytes: 1_000_000,
            async_queue_events: DEFAULT_ASYNC_EVENTS,
            async_queue_bytes: DEFAULT_ASYNC_BYTES,
            segment_events: None,
            segment_bytes: None,
        }
    }
}

impl EventStoreOptions {
    /// Checks the values; the error names the option.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |option: &str, value: u64, allowed: &str| {
            let message = format!("event_store.{option} is {value}; allowed is {allowed}");
            Err(Error::new(Code::InvalidInput, message).with("option", option).with("value", value))
        };
        if self.max_events == Some(0) {
            return wrong("max_events", 0, "at least 1");
        }
        if let Some(shards) = self.shards.filter(|shards| !(1..=MAX_SHARDS).contains(shards)) {
            return wrong("shards", shards as u64, "1 to 64");
        }
        if !(1..=MAX_DATA_BYTES).contains(&self.max_data_bytes) {
            return wrong("max_data_bytes", self.max_data_bytes as u64, "1 to 1073741824");
        }
        if !(1..=MAX_ASYNC_EVENTS).contains(&self.async_queue_events) {
            return wrong("async_queue_events", self.async_queue_events, "1 to 16777216");
        }
        let least = self.max_data_bytes as u64 + 4_096;
        if self.async_queue_bytes < least {
            let allowed = format!("at least {least}, 4096 more than max_data_bytes");
            return wrong("async_queue_bytes", self.async_queue_bytes, &allowed);
        }
        let least = 4 * self.max_data_bytes as u64;
        if let Some(bytes) = self.max_memory_bytes.filter(|bytes| *bytes < least) {
            return wrong("max_memory_bytes", bytes, &format!("at least {least}, four times max_data_bytes"));
        }
        if let Some(events) = self.segment_events.filter(|events| !(1..=1 << 24).contains(events)) {
            return wrong("segment_events", u64::from(events), "1 to 16777216");
        }
        if let Some(bytes) = self.segment_bytes.filter(|bytes| !(1024..=MAX_DATA_BYTES).contains(bytes)) {
            return wrong("segment_bytes", bytes as u64, "1024 to 1073741824");
        }
        Ok(())
    }

    /// How many shards there are.
    pub(crate) fn shard_count(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from).min(8);
        self.shards.unwrap_or_else(processors).clamp(1, MAX_SHARDS)
    }

    /// How large segments are. Dropped events are freed by the segment, so a small store has small ones.
    pub(crate) fn shape(&self, shards: usize) -> Shape {
        let events = self.segment_events.unwrap_or_else(|| {
            let share = self.max_events.unwrap_or(u64::MAX) / (8 * shards as u64);
            share.clamp(256, u64::from(MAX_SEGMENT_EVENTS)) as u32
        });
        let events = events.next_power_of_two();
        let suits = (events as usize).saturating_mul(512).clamp(64 << 10, MAX_SEGMENT_BYTES);
        // Memory is used and freed by the segment: a bound leaves each shard a few.
        let (events, suits) = match self.max_memory_bytes {
            Some(bytes) => {
                let share = (bytes / (8 * shards as u64)).min(1 << 30) as usize;
                let most = (share / 4 / INDEX_BYTES).clamp(64, 1 << 24) as u32;
                (events.min(1 << most.ilog2()), suits.min((share / 4 * 3).max(4_096)))
            }
            None => (events, suits),
        };
        Shape { events, bytes: self.segment_bytes.unwrap_or(suits).next_multiple_of(8) }
    }
}
