//! Handles: numbers that hosts hold in place of pointers, and the tables behind them.
//!
//! A handle is 59 bits, so that it is a small integer on the BEAM, and never 0:
//!
//! ```text
//! 58            35 34            11 10    7 6     0
//! +---------------+----------------+-------+-------+
//! |   index: 24   | generation: 24 | tag:4 | copy:7|
//! +---------------+----------------+-------+-------+
//! ```
//!
//! `index` is a slot of the table of this `tag`; the slot's generation moves on whenever a handle is
//! freed, so a stale handle is an answer and never memory; `copy` tells copies of this library within one
//! process apart. A slot whose generations are used up is retired rather than started over.
//!
//! [`HotTable`] holds two words a slot and is read without a lock or a count (config keys, instruments,
//! event types); [`ColdTable`] holds values that are pinned for the call (instances, cursors,
//! subscriptions, tails, errors).

mod chunks;
mod cold;
mod hot;

pub use cold::{ColdTable, Pin};
pub use hot::HotTable;

use serde::Serialize;

use crate::error::{Code, Error};

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tag {
    /// An open instance.
    Instance = 1,
    /// A query's cursor.
    Cursor = 2,
    /// A subscription to changes of the configuration.
    Subscription = 3,
    /// An error that a call handed out.
    Error = 4,
    /// Text that a caller owns.
    Text = 5,
    /// A tail of the event store.
    Tail = 6,
    /// The tree of causes of an event.
    Trace = 7,
    /// A configuration key, resolved.
    ConfigKey = 8,
    /// A counter.
    Counter = 9,
    /// A gauge.
    Gauge = 10,
    /// A histogram.
    Histogram = 11,
    /// An event type, resolved.
    EventType = 12,
}

impl Tag {
    const ALL: [Self; 12] = [
        Self::Instance,
        Self::Cursor,
        Self::Subscription,
        Self::Error,
        Self::Text,
        Self::Tail,
        Self::Trace,
        Self::ConfigKey,
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::EventType,
    ];

    /// What the handle claims to stand for, if it is one of this copy of the library. Whether it still
    /// stands for anything is the table's to say.
    pub fn of(handle: u64) -> Option<Self> {
        if handle >> HANDLE_BITS != 0 || handle & COPY_MASK != copy() {
            return None;
        }
        Self::ALL.into_iter().find(|tag| u64::from(*tag as u8) == (handle >> TAG_SHIFT) & TAG_MASK)
    }

    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Cursor => "cursor",
            Self::Subscription => "subscription",
            Self::Error => "error",
            Self::Text => "text",
            Self::Tail => "tail",
            Self::Trace => "trace",
            Self::ConfigKey => "config key",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::EventType => "event type",
        }
    }
}

/// How full a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TableStats {
    /// Handles that stand for something now.
    pub live: u64,
    /// How many handles there may be at once.
    pub limit: u64,
    /// Slots that used up their generations; they count towards the limit.
    pub retired: u64,
}

const COPY_BITS: u32 = 7;
const TAG_SHIFT: u32 = COPY_BITS;
const GENERATION_SHIFT: u32 = TAG_SHIFT + 4;
const INDEX_SHIFT: u32 = GENERATION_SHIFT + 24;
const HANDLE_BITS: u32 = INDEX_SHIFT + 24;
const COPY_MASK: u64 = (1 << COPY_BITS) - 1;
const TAG_MASK: u64 = 0xf;
const GENERATION_MASK: u64 = (1 << 24) - 1;

/// The last generation that a slot hands out before it is retired.
const LAST_GENERATION: u64 = GENERATION_MASK;

fn pack(tag: Tag, index: u64, generation: u64) -> u64 {
    index << INDEX_SHIFT | generation << GENERATION_SHIFT | u64::from(tag as u8) << TAG_SHIFT | copy()
}

fn generation_of(handle: u64) -> u64 {
    (handle >> GENERATION_SHIFT) & GENERATION_MASK
}

/// Which copy of the library this is: 1 to 127, made from where it is loaded, so that two copies in one
/// process (which share no statics) very likely differ. Never 0, hence no handle is 0.
fn copy() -> u64 {
    static ANCHOR: u8 = 0;
    let page = (&raw const ANCHOR).addr() as u64 >> 12;
    (page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - COPY_BITS)).max(1)
}

#[cold]
fn stale(expected: Tag, handle: u64) -> Error {
    let message = match Tag::of(handle) {
        Some(tag) if tag == expected => format!("this {}'s handle is closed", expected.name()),
        Some(tag) => format!("a handle of {} was expected; this is one of {}", expected.name(), tag.name()),
        None => format!("a handle of {} was expected; this is none of this library's", expected.name()),
    };
    Error::new(Code::StaleHandle, message)
        .with("handle", format!("{handle:#x}"))
        .with("expected", expected.name())
}

#[cold]
fn exhausted(tag: Tag, limit: u32) -> Error {
    Error::new(
        Code::ResourceExhausted,
        format!("{limit} handles of {} are in use, which is the limit; free some", tag.name()),
    )
    .with("limit", limit)
    .with("kind", tag.name())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fill_59_bits_and_come_back() {
        assert_eq!(HANDLE_BITS, 59);
        let handle = pack(Tag::EventType, (1 << 24) - 1, LAST_GENERATION);
        assert!((1 << 58..1 << 59).contains(&handle));
        assert_eq!(Tag::of(handle), Some(Tag::EventType));
        assert_eq!(generation_of(handle), LAST_GENERATION);
        assert_ne!(pack(Tag::Instance, 0, 0), 0);
    }

    #[test]
    fn what_no_copy_of_ours_made_has_no_tag() {
        let ours = pack(Tag::Cursor, 5, 5);
        for foreign in [0, u64::MAX, ours ^ 1, ours | 1 << 59, ours & !(TAG_MASK << TAG_SHIFT)] {
            assert_eq!(Tag::of(foreign), None, "{foreign:#x}");
        }
    }

    #[test]
    fn errors_say_what_was_handed_in() {
        let error = stale(Tag::Cursor, pack(Tag::Counter, 1, 1));
        assert_eq!(error.code(), Code::StaleHandle);
        assert_eq!(error.message(), "a handle of cursor was expected; this is one of counter");
        assert!(stale(Tag::Cursor, 0).message().ends_with("none of this library's"));
        assert!(stale(Tag::Cursor, pack(Tag::Cursor, 1, 1)).message().ends_with("is closed"));
    }
}
