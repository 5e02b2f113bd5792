//! The store: appends, finds, forgets. It wires the parts; each part's own file says how it works.
//!
//! An append runs on the caller's thread: check, take the shard's lock, copy the record, take a `seq`, publish.
//! What can fail comes before the `seq` is taken, so sequence numbers have no holes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::again::OnDuplicate;
use super::cursor::Cursor;
use super::frontier::{FIRST_SEQ, Frontier};
use super::ids::Ids;
use super::model::{ACCEPTED, DROPPED, EventRef, EventType, NewEvent, Receipt, TypeId};
use super::names::Names;
use super::options::{Cleanup, EventStoreOptions};
use super::overflow::{Overflow, Refusal, Room};
use super::plan::{self, Plan};
use super::query::Query;
use super::record::Draft;
use super::recycle::{Budget, Pool};
use super::retention::{Reason, Retention, is_dead};
use super::segment::{Segment, Shape, Shared};
use super::shard::{Shard, of_this_thread};
use super::stats::EventStats;
use super::tail::Tails;
use super::validate;
use crate::error::{Code, Error, Result};
use crate::runtime::clock::AnchoredClock;

static STORES: AtomicU32 = AtomicU32::new(1);

/// Structured events in memory, bounded, found again by id, time, type and correlation.
///
/// ```
/// use std::sync::Arc;
/// use elixirscope_foundation::events::{EventStore, EventStoreOptions, NewEvent, Query};
/// use elixirscope_foundation::runtime::clock::{AnchoredClock, SystemClock};
///
/// # fn main() -> elixirscope_foundation::error::Result<()> {
/// let clock = AnchoredClock::new(Arc::new(SystemClock), 0);
/// let store = EventStore::open(EventStoreOptions::default(), clock, Arc::default())?;
/// let event = NewEvent {
///     event_type: "order_paid".into(),
///     correlation_id: Some(b"order-7"),
///     data: br#"{"total":12}"#,
///     ..NewEvent::default()
/// };
/// let receipt = store.append(&event)?;
/// let mut found = store.query(&Query { correlation_id: Some(b"order-7".to_vec()), ..Query::default() })?;
/// assert_eq!(found.next().map(|event| event.event_id()), Some(receipt.event_id));
/// assert!(found.next().is_none());
/// # Ok(())
/// # }
/// ```
pub struct EventStore {
    pub(super) shards: Box<[Shard]>,
    pub(super) frontier: Frontier,
    pub(super) ids: Ids,
    pub(super) retention: Retention,
    pub(super) shared: Arc<Shared>,
    pub(super) shape: Shape,
    pub(super) clock: AnchoredClock,
    pub(super) tails: Arc<Tails>,
    config_version: Arc<AtomicU64>,
    options: EventStoreOptions,
    /// Tells type handles of one store from those of another.
    number: u32,
    refused: AtomicU64,
    refused_full: AtomicU64,
    dropped_newest: AtomicU64,
    repeated: AtomicU64,
}

/// The ids of an event's type and node.
#[derive(Clone, Copy)]
pub(super) struct Interned {
    pub(super) kind: u32,
    pub(super) node: u32,
}

/// How an append treats a full store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As the strategy says.
    Waiting,
    /// As the strategy says, without waiting.
    AtOnce,
    /// It has room reserved.
    Reserved,
}

/// What [`EventStore::clean_up`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleaned {
    /// Events older than the age bound.
    pub expired: u64,
    /// Events removed to make room in memory.
    pub evicted: u64,
}

/// The clocks at one moment.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) time: i64,
    pub(super) wall: i64,
}

impl EventStore {
    /// Opens an empty store. `config_version` is what events are stamped with; the configuration moves it.
    pub fn open(
        options: EventStoreOptions,
        clock: AnchoredClock,
        config_version: Arc<AtomicU64>,
    ) -> Result<Self> {
        options.check()?;
        let shards = options.shard_count();
        let shape = options.shape(shards);
        let pool = Pool::bounded(shape, options.max_memory_bytes, options.cleanup == Cleanup::Lru);
        let freed = Arc::clone(&pool.freed);
        let room = Room::new(options.overflow, options.block_timeout, options.max_events, freed);
        Ok(Self {
            shards: (0..shards).map(|_| Shard::new()).collect(),
            frontier: Frontier::new(shards),
            ids: Ids::new(),
            retention: Retention::new(room),
            shared: Arc::new(Shared { names: Names::new()?, pool }),
            shape,
            clock,
            tails: Arc::new(Tails::new()),
            config_version,
            options,
            number: STORES.fetch_add(1, Ordering::Relaxed),
            refused: AtomicU64::new(0),
            refused_full: AtomicU64::new(0),
            dropped_newest: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
        })
    }

    /// Stores one event. When this has returned, every query that starts finds it.
    ///
    /// What happens when the store is full is its [`Overflow`] strategy; only [`Overflow::Block`] ever waits.
    pub fn append(&self, event: &NewEvent<'_>) -> Result<Receipt> {
        self.append_in(Manner::Waiting, event)
    }

    /// Like [`EventStore::append`] and never waits: where it would, it fails with `store_full`.
    pub fn append_at_once(&self, event: &NewEvent<'_>) -> Result<Receipt> {
        self.append_in(Manner::AtOnce, event)
    }

    /// Stores what must not be lost to a strategy: changes of configuration.
    pub(crate) fn append_reserved(&self, event: &NewEvent<'_>) -> Result<Receipt> {
        self.append_in(Manner::Reserved, event)
    }

    fn append_in(&self, manner: Manner, event: &NewEvent<'_>) -> Result<Receipt> {
        match self.append_one(event, manner) {
            Ok(receipt) => Ok(receipt),
            Err(refusal) => {
                let again = || self.append_one(event, manner);
                let dropped = || Ok(self.dropped(event));
                self.overflow(manner, 1, refusal, again, dropped)
            }
        }
    }

    /// Does with so many events, for which there was no room, what the strategy says; counts what is lost.
    pub(super) fn overflow<T>(
        &self,
        manner: Manner,
        events: u64,
        refusal: Refusal,
        mut again: impl FnMut() -> std::result::Result<T, Refusal>,
        dropped: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let room = &self.retention.room;
        let (mut refusal, mut until) = (refusal, None);
        loop {
            let (lack, possible) = match refusal {
                Refusal::Wrong(error) => {
                    self.refused.fetch_add(events, Ordering::Relaxed);
                    return Err(error);
                }
                Refusal::Full => (None, true),
                Refusal::OutOfMemory(error) => (Some(error), true),
                Refusal::TooLarge(error) => (Some(error), false),
            };
            let drops_oldest = room.strategy() == Overflow::DropOldest || manner == Manner::Reserved;
            if drops_oldest && possible && self.retention.evict_oldest(&self.shards, &self.frontier) {
                match again() {
                    Ok(stored) => return Ok(stored),
                    Err(next) => refusal = next,
                }
                continue;
            }
            if room.strategy() == Overflow::DropNewest && manner != Manner::Reserved {
                let result = dropped();
                let count = if result.is_ok() { &self.dropped_newest } else { &self.refused };
                count.fetch_add(events, Ordering::Relaxed);
                return result;
            }
            let waits = room.strategy() == Overflow::Block && manner == Manner::Waiting;
            if waits && possible && !room.hopeless(events) {
                let until = *until.get_or_insert_with(|| room.patience());
                // The moment comes before the look, so that what is freed in between ends the wait at once.
                let moment = room.freed.moment();
                match again() {
                    Ok(stored) => return Ok(stored),
                    Err(next) => refusal = next,
                }
                if matches!(refusal, Refusal::Wrong(_)) || room.wait(moment, until, &refusal) {
                    continue;
                }
            }
            self.refused.fetch_add(events, Ordering::Relaxed);
            self.refused_full.fetch_add(events, Ordering::Relaxed);
            return Err(lack.unwrap_or_else(|| room.full(events)));
        }
    }

    /// The receipt of an event that is dropped. It has an id, by which it will not be found.
    pub(super) fn dropped(&self, event: &NewEvent<'_>) -> Receipt {
        Receipt { level: DROPPED, event_id: event.event_id.unwrap_or_else(|| self.generate_id()), seq: 0 }
    }

    fn append_one(&self, event: &NewEvent<'_>, manner: Manner) -> std::result::Result<Receipt, Refusal> {
        validate::check(event, self.options.max_data_bytes)?;
        let interned = self.intern(event)?;
        if event.event_id.is_none() {
            self.ids.check_left()?;
        }
        // Held until the event is published, so that two appends of one id meet.
        let (id, _held) = match event.event_id {
            Some(id) => {
                let held = self.ids.lock(id);
                if let Some(receipt) = self.duplicate(event, id)? {
                    self.repeated.fetch_add(1, Ordering::Relaxed);
                    return Ok(receipt);
                }
                (Some(id), held)
            }
            None if self.ids.scattered() => {
                let (id, held) = self.draw_unused();
                (Some(id), held)
            }
            None => (None, None),
        };
        let claim = self.retention.room.claim(1, manner == Manner::Reserved).ok_or(Refusal::Full)?;
        let number = of_this_thread(self.shards.len());
        let shard = self.shards.get(number).ok_or_else(no_shard)?;
        let mut rotated = false;
        let receipt = {
            let mut active = shard.lock();
            // Read under the lock, so that events of a shard are in the order of their own timestamps.
            let draft = draft(event, interned, self.now(event));
            let hash = self.correlation_hash(event);
            let staged = active.as_mut().filter(|w| !w.has_orphans()).and_then(|w| w.stage(&draft, hash));
            let index = if staged.is_some() {
                staged
            } else {
                let budget = if manner == Manner::Reserved { Budget::Reserved } else { Budget::Usual };
                let fresh = Segment::create_within(budget, &self.shared, self.shape, draft.length())?;
                shard.extend(std::slice::from_ref(&fresh));
                rotated = true;
                active.insert(fresh).stage(&draft, hash)
            };
            let (Some(writer), Some(index)) = (active.as_mut(), index) else { return Err(no_shard().into()) };
            let flight = self.frontier.begin(number, 1).ok_or_else(no_shard)?;
            let seq = flight.first();
            let event_id = id.unwrap_or_else(|| self.ids.draw(1));
            writer.finish(index, seq, event_id, self.version());
            writer.publish();
            Receipt { level: ACCEPTED, event_id, seq }
        };
        claim.keep();
        self.tails.bell.stored();
        if rotated || (manner == Manner::Reserved && self.retention.room.beyond_ceiling()) {
            self.retention.make_room(&self.shards, &self.frontier);
        }
        Ok(receipt)
    }

    /// The ids of the event's type and node, made known if they are new.
    pub(super) fn intern(&self, event: &NewEvent<'_>) -> Result<Interned> {
        let names = &self.shared.names;
        let kind = match event.event_type {
            EventType::Name(name) => names.intern(name)?,
            EventType::Id(id) if id.store == self.number && (1..=names.last()).contains(&id.name) => id.name,
            EventType::Id(id) => {
                return Err(Error::new(
                    Code::InvalidEventType,
                    "event_type is a type that was resolved by another store: resolve it with this one",
                )
                .with("type", id.to_raw()));
            }
        };
        Ok(Interned { kind, node: names.intern(event.node)? })
    }

    /// The clocks, as far as the event needs them.
    fn now(&self, event: &NewEvent<'_>) -> Now {
        Now {
            time: event.timestamp.unwrap_or_else(|| self.clock.now_ns()),
            wall: event.wall_time.unwrap_or_else(|| self.clock.wall_ns()),
        }
    }

    pub(super) fn correlation_hash(&self, event: &NewEvent<'_>) -> u64 {
        event.correlation_id.map_or(0, |id| self.shared.names.hash(id))
    }

    pub(super) fn version(&self) -> u64 {
        self.config_version.load(Ordering::Acquire)
    }

    pub(super) fn max_data_bytes(&self) -> usize {
        self.options.max_data_bytes
    }

    pub(super) fn on_duplicate(&self) -> OnDuplicate {
        self.options.on_duplicate
    }

    pub(super) fn count_repeated(&self, events: u64) {
        self.repeated.fetch_add(events, Ordering::Relaxed);
    }

    /// The event of this id that is there.
    pub(super) fn holds(&self, id: u64) -> Option<EventRef> {
        let low = self.low();
        let present = |segment: &Segment, index, seq| seq >= low && !is_dead(segment, index);
        let found = self.shards.iter().find_map(|shard| shard.find(id, present));
        found.and_then(|(segment, index)| EventRef::new(segment, index))
    }

    /// An id that no event has, with its stripe held.
    pub(super) fn draw_unused(&self) -> (u64, Option<std::sync::MutexGuard<'_, ()>>) {
        loop {
            let id = self.ids.draw(1);
            let held = self.ids.lock(id);
            if self.holds(id).is_none() {
                return (id, held);
            }
        }
    }

    /// No event below it is there.
    pub(super) fn low(&self) -> u64 {
        self.retention.low(self.frontier.next(), &self.shards, &self.frontier)
    }

    /// An id for an event that the caller is about to store: no event has it, and nobody else is given it.
    pub fn generate_id(&self) -> u64 {
        if self.ids.scattered() { self.draw_unused().0 } else { self.ids.draw(1) }
    }

    /// Resolves an event type, for callers that append many of one type.
    pub fn event_type(&self, name: &str) -> Result<TypeId> {
        validate::check_type(name)?;
        Ok(TypeId { store: self.number, name: self.shared.names.intern(name)? })
    }

    /// The event of this id, or `data_not_found`.
    pub fn get(&self, id: u64) -> Result<EventRef> {
        let event = self.holds(id).inspect(EventRef::note_read).ok_or_else(|| {
            Error::new(Code::DataNotFound, format!("no event has the id {id}; it may have been dropped"))
                .with("event_id", id)
        })?;
        // A batch is seen as a whole or not at all, here as in queries.
        self.frontier.wait(event.view().seq() + 1);
        Ok(event)
    }

    /// Finds events. The cursor shows the store as it is now and keeps what it shows in memory.
    pub fn query(&self, query: &Query) -> Result<Cursor> {
        let asked = plan::Asked::new(query, &self.shared.names)?;
        let plan = |window| asked.plan(window, &self.shards).0;
        let planned = self.retention.look(&self.shards, &self.frontier, plan);
        Ok(planned.into_cursor(query))
    }

    /// How a query would be answered: which index finds the events, and why that one.
    pub fn explain(&self, query: &Query) -> Result<Plan> {
        let asked = plan::Asked::new(query, &self.shared.names)?;
        let plan = |window| asked.plan(window, &self.shards).1;
        Ok(self.retention.look(&self.shards, &self.frontier, plan))
    }

    /// Removes every event with a timestamp below `timestamp`; how many those were.
    pub fn prune_before(&self, timestamp: i64) -> Result<u64> {
        Ok(self.retention.remove_before(timestamp, Reason::Asked, &self.shards, &self.frontier))
    }

    /// Whether there is a bound for which [`EventStore::clean_up`] must be called at intervals.
    pub fn needs_cleaning(&self) -> bool {
        self.options.max_age.is_some() || self.options.max_memory_bytes.is_some()
    }

    /// Removes what is older than the store's age bound, and makes room where memory is nearly used up: a few
    /// segments' worth, so that appends find some. An instance with such a bound does this at intervals.
    pub fn clean_up(&self) -> Cleaned {
        let (shards, frontier, pool) = (&self.shards, &self.frontier, &self.shared.pool);
        let expired = self.options.max_age.map_or(0, |age| {
            let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
            let oldest = self.clock.now_ns().saturating_sub(age);
            self.retention.remove_before(oldest, Reason::Age, shards, frontier)
        });
        let before = self.retention.settle(shards, frontier).evicted;
        let target = pool.limit() / 8 * 7;
        while pool.allocated().saturating_sub(pool.bytes() as u64) > target {
            let removed = match self.options.cleanup {
                Cleanup::Oldest => self.retention.evict_oldest(shards, frontier),
                Cleanup::Lru => self.retention.evict_least_read(shards, frontier),
            };
            if !removed {
                break;
            }
        }
        Cleaned { expired, evicted: self.retention.settle(shards, frontier).evicted - before }
    }

    /// The books, settled as of now.
    pub fn stats(&self) -> EventStats {
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
        let stored = books.next - FIRST_SEQ;
        let pooled = self.shared.pool.bytes() as u64;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (refused, dropped_newest, repeated) =
            (read(&self.refused), read(&self.dropped_newest), read(&self.repeated));
        EventStats {
            offered: stored + refused + dropped_newest + repeated,
            events: books.present,
            stored,
            refused,
            refused_full: read(&self.refused_full),
            dropped_newest,
            repeated,
            dropped_oldest: stored - books.present - books.pruned - books.expired - books.evicted,
            pruned: books.pruned,
            expired: books.expired,
            evicted: books.evicted,
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
            tails: self.tails.stats(),
        }
    }
}

impl Drop for EventStore {
    fn drop(&mut self) {
        self.tails.close();
    }
}

impl std::fmt::Debug for EventStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStore").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The record of an event, with the clocks of `now` where the event has none of its own.
pub(super) fn draft<'a>(event: &NewEvent<'a>, interned: Interned, now: Now) -> Draft<'a> {
    Draft {
        timestamp: event.timestamp.unwrap_or(now.time),
        wall_time: event.wall_time.unwrap_or(now.wall),
        parent_id: event.parent_id.unwrap_or(0),
        type_id: interned.kind,
        node_id: interned.node,
        flags: 0,
        encoding: event.encoding,
        correlation: event.correlation_id,
        pid: event.pid.as_bytes(),
        data: event.data,
    }
}

/// What cannot be: a shard number beyond the shards, or no room in a fresh segment.
pub(super) fn no_shard() -> Error {
    Error::new(Code::InternalError, "the event store has no shard or segment for this event")
}
