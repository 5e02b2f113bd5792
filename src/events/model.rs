//! What an event is: how one is handed in, what an append answers, and how a stored one is read.

use std::fmt;

use super::names::Names;
use super::record::{FLAG_TRUNCATED, Record};
use super::segment::Held;

/// Ids are at least 1 and below this.
pub const ID_LIMIT: u64 = 1 << 59;

/// Longest event type, node, pid and correlation id, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// Receipt level: the event is in memory and visible to every query that starts from now on.
pub const ACCEPTED: u32 = 1;

/// Receipt level: the event survives the end of the process.
pub const CRASH_SAFE: u32 = 2;

/// Receipt level: the event survives a loss of power.
pub const DURABLE: u32 = 3;

/// Receipt level: the store was full and drops what is newest. The event is not there; its `seq` is 0.
pub const DROPPED: u32 = 0;

/// How the bytes of an event's data are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Encoding {
    /// JSON text in UTF-8; no bytes at all means `null`.
    #[default]
    Json = 1,
    /// Erlang external term format, uncompressed.
    Etf = 2,
    /// Bytes that the store does not look into.
    Raw = 3,
}

impl Encoding {
    /// The encoding of this number, if there is one.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Json),
            2 => Some(Self::Etf),
            3 => Some(Self::Raw),
            _ => None,
        }
    }

    /// The word used in every language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Etf => "etf",
            Self::Raw => "raw",
        }
    }
}

/// An event type resolved once by [`super::EventStore::event_type`]; valid for that store only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeId {
    pub(crate) store: u32,
    pub(crate) name: u32,
}

impl TypeId {
    /// The type as one word, for tables of handles.
    pub fn to_raw(self) -> u64 {
        u64::from(self.store) << 32 | u64::from(self.name)
    }

    /// The type that [`TypeId::to_raw`] made the word from. A made-up word is refused when it is used.
    pub fn from_raw(raw: u64) -> Self {
        Self { store: (raw >> 32) as u32, name: raw as u32 }
    }
}

/// An event type, by name or resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType<'a> {
    /// The name: 1 to 255 bytes.
    Name(&'a str),
    /// What [`super::EventStore::event_type`] answered.
    Id(TypeId),
}

impl Default for EventType<'_> {
    fn default() -> Self {
        Self::Name("")
    }
}

impl<'a> From<&'a str> for EventType<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl From<TypeId> for EventType<'_> {
    fn from(id: TypeId) -> Self {
        Self::Id(id)
    }
}

/// An event to be stored. Everything but the type has a default.
///
/// ```
/// use elixirscope_foundation::events::NewEvent;
/// let event = NewEvent { event_type: "order_paid".into(), data: br#"{"total":12}"#, ..NewEvent::default() };
/// assert_eq!(event.event_id, None);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct NewEvent<'a> {
    /// What happened, by name or resolved.
    pub event_type: EventType<'a>,
    /// The identity; `None` lets the store choose.
    pub event_id: Option<u64>,
    /// Nanoseconds on the store's anchored clock; `None` is now.
    pub timestamp: Option<i64>,
    /// Nanoseconds since the Unix epoch, UTC; `None` is now.
    pub wall_time: Option<i64>,
    /// The producer's node, at most 255 bytes; empty is none.
    pub node: &'a str,
    /// The producing process or thread, at most 255 bytes; empty is none.
    pub pid: &'a str,
    /// What ties events of one chain of work together, at most 255 bytes.
    pub correlation_id: Option<&'a [u8]>,
    /// The event that caused this one.
    pub parent_id: Option<u64>,
    /// How `data` is to be read.
    pub encoding: Encoding,
    /// The payload.
    pub data: &'a [u8],
}

/// What an append answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// How safe the event is: [`ACCEPTED`] in memory, [`CRASH_SAFE`], [`DURABLE`], or [`DROPPED`].
    pub level: u32,
    /// The event's identity.
    pub event_id: u64,
    /// The event's position in the store; 0 if it was dropped.
    pub seq: u64,
}

/// A stored event, borrowed from a cursor or an [`EventRef`].
#[derive(Clone, Copy)]
pub struct EventView<'a> {
    pub(crate) record: Record<'a>,
    pub(crate) names: &'a Names,
}

impl<'a> EventView<'a> {
    /// The position in the store: dense, increasing.
    pub fn seq(&self) -> u64 {
        self.record.seq()
    }

    /// The identity.
    pub fn event_id(&self) -> u64 {
        self.record.event_id()
    }

    /// What happened.
    pub fn event_type(&self) -> &'a str {
        self.names.name(self.record.type_id())
    }

    /// Nanoseconds on the store's anchored clock.
    pub fn timestamp(&self) -> i64 {
        self.record.timestamp()
    }

    /// Nanoseconds since the Unix epoch, UTC.
    pub fn wall_time(&self) -> i64 {
        self.record.wall_time()
    }

    /// The producer's node; empty when none was given.
    pub fn node(&self) -> &'a str {
        self.names.name(self.record.node_id())
    }

    /// The producing process or thread; empty when none was given.
    pub fn pid(&self) -> &'a str {
        // Text when it came in; a record that says otherwise is shown as having none.
        std::str::from_utf8(self.record.pid()).unwrap_or_default()
    }

    /// The correlation id, if there is one.
    pub fn correlation_id(&self) -> Option<&'a [u8]> {
        self.record.correlation()
    }

    /// The event that caused this one, if known.
    pub fn parent_id(&self) -> Option<u64> {
        Some(self.record.parent_id()).filter(|id| *id != 0)
    }

    /// The configuration version in force when the event was stored.
    pub fn config_version(&self) -> u64 {
        self.record.config_version()
    }

    /// How [`EventView::data`] is to be read.
    pub fn encoding(&self) -> Encoding {
        self.record.encoding()
    }

    /// The payload, as it came in.
    pub fn data(&self) -> &'a [u8] {
        self.record.data()
    }

    /// Whether the payload was cut to the configured size.
    pub fn truncated(&self) -> bool {
        self.record.flags() & FLAG_TRUNCATED != 0
    }
}

impl fmt::Debug for EventView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventView")
            .field("seq", &self.seq())
            .field("event_id", &self.event_id())
            .field("event_type", &self.event_type())
            .field("timestamp", &self.timestamp())
            .field("data_bytes", &self.data().len())
            .finish_non_exhaustive()
    }
}

/// A stored event, kept alive by itself: it pins the segment that it is in.
#[derive(Clone)]
pub struct EventRef {
    segment: Held,
    index: u32,
}

impl EventRef {
    /// Answers `None` unless the segment has published an event at this index.
    pub(crate) fn new(segment: Held, index: u32) -> Option<Self> {
        segment.record(index)?;
        Some(Self { segment, index })
    }

    /// Notes that somebody reads it.
    pub(crate) fn note_read(&self) {
        self.segment.note_read();
    }

    /// The event.
    pub fn view(&self) -> EventView<'_> {
        let names = self.segment.names();
        let record = self.segment.record(self.index);
        // Published once is published for good, and `new` has seen it: the empty record is never taken.
        EventView { record: record.unwrap_or(Record::EMPTY), names }
    }
}

impl fmt::Debug for EventRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}
