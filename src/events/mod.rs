//! Structured events in memory: stored at the speed of a copy, found by id, time, type and correlation.
//!
//! [`EventStore`] is the door. An event ([`NewEvent`]) is checked (`validate`), copied as a record (`record`) into
//! the active segment (`segment`) of the producing thread's shard (`shard`), gets its place in the order
//! (`frontier`) and is visible. A [`Query`] becomes sorted runs over pinned segments, merged by a [`Cursor`].
//! What is no longer there is the business of `retention`; a [`Tail`] tells what is stored from now on. docs/file-format.md describes the bytes.

mod again;
mod aggregate;
mod base64;
mod batch;
mod by_time;
mod chains;
mod compact;
mod condition;
mod cursor;
mod disk;
mod durability;
mod estimate;
mod etf;
mod export;
mod file;
mod filter;
mod frontier;
mod hash;
mod hits;
mod ids;
mod import;
mod later;
mod memory;
mod model;
mod names;
mod options;
mod overflow;
mod pending;
mod plan;
mod query;
mod random;
mod record;
mod recycle;
mod retention;
mod seal;
mod segment;
mod shard;
mod sketch;
mod stats;
mod store;
mod tail;
mod trace;
mod validate;

pub use again::OnDuplicate;
pub use aggregate::{
    Aggregate, Bucket, CorrelationCount, FieldSummary, MAX_BUCKETS, MAX_TOP, Summary, TypeCount,
};
pub use batch::MAX_BATCH;
pub use condition::{Comparison, Condition, MAX_CHOICES, MAX_CONDITIONS, MAX_STEPS, Operand, Step, Test};
pub use cursor::{Cursor, MAX_CURSOR_BATCH};
pub use disk::{
    Compression, DiskOptions, DiskStats, Missing, MissingReason, Progress, Recovered, RecoveryReport,
    WhenSafe,
};
pub use durability::{Durability, Level};
pub use etf::{MAX_DEPTH, etf_to_json};
pub(crate) use later::ASYNC_WORKER;
pub use later::{AsyncStats, DEFAULT_ASYNC_BYTES, DEFAULT_ASYNC_EVENTS};
pub use model::{
    ACCEPTED, CRASH_SAFE, DROPPED, DURABLE, Encoding, EventRef, EventType, EventView, ID_LIMIT,
    MAX_NAME_BYTES, NewEvent, Receipt, TypeId,
};
pub use options::{
    Cleanup, DEFAULT_BLOCK_TIMEOUT, DEFAULT_MAX_EVENTS, EventStoreOptions, MAX_DATA_BYTES, MAX_SHARDS,
};
pub use overflow::Overflow;
pub use plan::{Estimate, Plan};
pub use query::{Order, Query};
pub use stats::EventStats;
pub use store::{Cleaned, EventStore};
pub(crate) use tail::WORKER as TAIL_WORKER;
pub use tail::{
    EndedTail, Gap, GapReason, MAX_TAILS, Tail, TailCallback, TailCounts, TailEvent, TailItem, TailOptions,
    TailStats, TailsStats,
};
pub use trace::{MAX_TRACE, Trace, Traced};

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
