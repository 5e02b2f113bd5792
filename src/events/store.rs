//! The store: appends, finds, forgets. It wires the parts; each part's own file says how it works.
//!
//! An append runs on the caller's thread: check, take the shard's lock, copy the record, take a `seq`, publish.
//! What can fail comes before the `seq` is taken, so sequence numbers have no holes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::again::OnDuplicate;
use super::cursor::Cursor;
use super::disk::{Disk, Recovered};
use super::durability::Level;
use super::frontier::Frontier;
use super::hash::Hash;
use super::ids::Ids;
use super::later::{Later, Limits};
use super::model::{DROPPED, EventRef, EventType, NewEvent, Receipt, TypeId};
use super::names::Names;
use super::options::{Cleanup, EventStoreOptions};
use super::overflow::{Overflow, Refusal, Room};
use super::plan::{self, Plan, Planned};
use super::query::Query;
use super::random;
use super::record::{Draft, FLAG_CONFIG, FLAG_FIRST, FLAG_LAST};
use super::recycle::{Budget, Pool};
use super::retention::{Reason, Retention, is_dead};
use super::seal::Sealing;
use super::segment::{Segment, Shape, Shared};
use super::shard::{Shard, own_shard};
use super::tail::Tails;
use super::validate;
use crate::error::{Code, Error, Result};
use crate::runtime::clock::AnchoredClock;

/// Memory of a store with files where nothing else is said, in bytes.
const DEFAULT_MEMORY: u64 = 512 << 20;

/// So many draws may meet a file that cannot be read before one is taken as it is.
const UNREAD_DRAWS: u32 = 8;

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
    pub(super) sealing: Sealing,
    pub(super) shape: Shape,
    pub(super) clock: AnchoredClock,
    pub(super) tails: Arc<Tails>,
    /// The files behind it, if there are any.
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) later: Later,
    config_version: Arc<AtomicU64>,
    pub(super) options: EventStoreOptions,
    /// Tells type handles of one store from those of another.
    number: u32,
    pub(super) refused: AtomicU64,
    pub(super) refused_full: AtomicU64,
    pub(super) dropped_newest: AtomicU64,
    pub(super) repeated: AtomicU64,
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
        Self::open_with(options, clock, config_version, None)
    }

    /// Opens a store with the files that were read. What is in them comes back; `clock` should be anchored behind
    /// [`Recovered::newest_time`].
    pub fn open_recovered(
        options: EventStoreOptions,
        clock: AnchoredClock,
        config_version: Arc<AtomicU64>,
        recovered: Recovered,
    ) -> Result<Self> {
        // Memory is a cache of the files: without a bound it would come to hold all of them.
        let max_memory_bytes =
            options.max_memory_bytes.or(Some(DEFAULT_MEMORY.max(4 * options.max_data_bytes as u64)));
        let options = EventStoreOptions { max_memory_bytes, ..options };
        Self::open_with(options, clock, config_version, Some(recovered))
    }

    fn open_with(
        options: EventStoreOptions,
        clock: AnchoredClock,
        config_version: Arc<AtomicU64>,
        recovered: Option<Recovered>,
    ) -> Result<Self> {
        options.check()?;
        let shards = options.shard_count();
        let shape = options.shape(shards);
        let pool = Pool::bounded(shape, options.max_memory_bytes, options.cleanup == Cleanup::Lru);
        let freed = Arc::clone(&pool.freed);
        let room = Room::new(options.overflow, options.block_timeout, options.max_events, freed);
        let hash_seed = recovered.as_ref().map_or_else(random::word, |read| read.manifest.hash_seed);
        let mut store = Self {
            shards: (0..shards).map(|_| Shard::new()).collect(),
            frontier: Frontier::new(shards),
            ids: Ids::new(shards),
            retention: Retention::new(room),
            shared: Arc::new(Shared::new(Names::new()?, pool, Hash::seeded(hash_seed), shape)),
            sealing: Sealing::new(),
            shape,
            clock,
            tails: Arc::new(Tails::new()),
            disk: None,
            later: Later::new(Limits {
                events: options.async_queue_events,
                bytes: options.async_queue_bytes,
            }),
            config_version,
            options,
            number: STORES.fetch_add(1, Ordering::Relaxed),
            refused: AtomicU64::new(0),
            refused_full: AtomicU64::new(0),
            dropped_newest: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
        };
        if let Some(recovered) = recovered {
            store.attach(recovered)?;
        }
        Ok(store)
    }

    /// Stores one event. When this has returned, every query that starts finds it.
    ///
    /// What happens when the store is full is its [`Overflow`] strategy; only [`Overflow::Block`] ever waits.
    ///
    /// A store with files answers when the event has the level of its mode; see [`EventStore::append_with`].
    pub fn append(&self, event: &NewEvent<'_>) -> Result<Receipt> {
        self.append_with(event, None)
    }

    /// Stores one event and answers when it is as safe as `level` says, whatever the store's mode; `None` is the
    /// level of the mode.
    ///
    /// Errors: those of [`EventStore::append`]; `io_error` or `no_space` if the disk would not take it: the event is
    /// in memory then, `context.event_id` and `context.seq` name it, and the store goes on trying.
    pub fn append_with(&self, event: &NewEvent<'_>, level: Option<Level>) -> Result<Receipt> {
        let mut receipt = self.append_in(Manner::Waiting, event, None)?;
        self.await_level(std::slice::from_mut(&mut receipt), level)?;
        Ok(receipt)
    }

    /// Like [`EventStore::append`] and never waits: where it would wait for room, it fails with `store_full`, and it
    /// does not wait for a disk: [`EventStore::when_durable`] tells when that is done.
    pub fn append_at_once(&self, event: &NewEvent<'_>) -> Result<Receipt> {
        let receipt = self.append_in(Manner::AtOnce, event, None)?;
        self.note_unsynced();
        Ok(receipt)
    }

    /// Stores a change of configuration, as an instance does.
    #[cfg(feature = "crash-tests")]
    pub fn append_change(&self, event: &NewEvent<'_>) -> Result<Receipt> {
        self.append_reserved(event)
    }

    /// Stores what must not be lost to a strategy: changes of configuration.
    pub(crate) fn append_reserved(&self, event: &NewEvent<'_>) -> Result<Receipt> {
        self.append_in(Manner::Reserved, event, None)
    }

    /// Stores an event that waited, with the times when it was handed in where it states none. As the store's strategy
    /// says where there is no room; nobody waits for a disk.
    pub(super) fn append_queued(&self, manner: Manner, event: &NewEvent<'_>, now: Now) -> Result<Receipt> {
        let mut receipt = self.append_in(manner, event, Some(now))?;
        self.await_level(std::slice::from_mut(&mut receipt), Some(Level::Accepted))?;
        Ok(receipt)
    }

    fn append_in(&self, manner: Manner, event: &NewEvent<'_>, now: Option<Now>) -> Result<Receipt> {
        match self.append_one(event, manner, now) {
            Ok(receipt) => Ok(receipt),
            Err(refusal) => {
                let again = || self.append_one(event, manner, now);
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
            // Memory that is full of what files have is no want of room.
            let lets_go = lack.is_some() && possible && self.let_go(manner)?;
            if lets_go || (drops_oldest && possible && self.evict_oldest()) {
                match again() {
                    Ok(stored) => return Ok(stored),
                    Err(next) => refusal = next,
                }
                continue;
            }
            if let Some(behind) =
                lack.as_ref().filter(|_| possible).and_then(|lack| self.behind(manner, lack))
            {
                // No decision yet, and so nothing to count.
                return Err(behind);
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
                let moment = room.moment();
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

    /// Removes the oldest events for good, where there are no files to keep them.
    fn evict_oldest(&self) -> bool {
        self.disk.is_none() && self.retention.evict_oldest(&self.shards, &self.frontier)
    }

    fn append_one(
        &self,
        event: &NewEvent<'_>,
        manner: Manner,
        now: Option<Now>,
    ) -> std::result::Result<Receipt, Refusal> {
        self.check_writable()?;
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
        let hash = self.correlation_hash(event);
        let (mut rotated, mut full) = (false, false);
        let receipt = {
            let (number, shard, mut active) = own_shard(&self.shards).ok_or_else(no_shard)?;
            // Read under the lock, so that events of a shard are in the order of their own timestamps.
            let config = if manner == Manner::Reserved { FLAG_CONFIG } else { 0 };
            let now = now.unwrap_or_else(|| self.now(event));
            let draft = draft(event, interned, now, FLAG_FIRST | FLAG_LAST | config);
            let staged = active.as_mut().filter(|w| !w.has_orphans()).and_then(|w| w.stage(&draft, hash));
            let index = if staged.is_some() {
                staged
            } else {
                let budget = if manner == Manner::Reserved { Budget::Reserved } else { Budget::Usual };
                let fresh = Segment::create_within(budget, &self.shared, self.shape, draft.length())?;
                shard.extend(std::slice::from_ref(&fresh));
                (rotated, full) = (true, active.is_some());
                active.insert(fresh).stage(&draft, hash)
            };
            let (Some(writer), Some(index)) = (active.as_mut(), index) else { return Err(no_shard().into()) };
            let flight = self.frontier.begin(number, 1).ok_or_else(no_shard)?;
            let seq = flight.first();
            let event_id = id.unwrap_or_else(|| self.ids.draw_for(number));
            writer.finish(index, seq, event_id, self.version());
            let level = self.copy_staged(number, writer);
            self.note_level(level, seq, 1);
            writer.publish();
            Receipt { level, event_id, seq }
        };
        claim.keep();
        self.tails.bell.stored();
        if rotated {
            self.note_rotation();
        }
        if rotated || (manner == Manner::Reserved && self.retention.room.beyond_ceiling()) {
            self.retention.make_room(&self.shards, &self.frontier);
        }
        if full {
            self.sealing.tell();
        }
        Ok(receipt)
    }

    /// The ids of the event's type and node, made known if they are new.
    pub(super) fn intern(&self, event: &NewEvent<'_>) -> Result<Interned> {
        let kind = self.type_of(event)?.name;
        Ok(Interned { kind, node: self.shared.names.intern(event.node)? })
    }

    /// The event's type, made known if it is new.
    pub(super) fn type_of(&self, event: &NewEvent<'_>) -> Result<TypeId> {
        let names = &self.shared.names;
        match event.event_type {
            EventType::Name(name) => Ok(TypeId { store: self.number, name: names.intern(name)? }),
            EventType::Id(id) if id.store == self.number && (1..=names.last()).contains(&id.name) => Ok(id),
            EventType::Id(id) => Err(Error::new(
                Code::InvalidEventType,
                "event_type is a type that was resolved by another store: resolve it with this one",
            )
            .with("type", id.to_raw())),
        }
    }

    /// The clocks, as far as the event needs them.
    pub(super) fn now(&self, event: &NewEvent<'_>) -> Now {
        Now {
            time: event.timestamp.unwrap_or_else(|| self.clock.now_ns()),
            wall: event.wall_time.unwrap_or_else(|| self.clock.wall_ns()),
        }
    }

    pub(super) fn correlation_hash(&self, event: &NewEvent<'_>) -> u64 {
        event.correlation_id.map_or(0, |id| self.shared.hash.bytes(id))
    }

    pub(super) fn version(&self) -> u64 {
        self.config_version.load(Ordering::Acquire)
    }

    pub(super) fn max_data_bytes(&self) -> usize {
        self.options.max_data_bytes
    }

    pub(super) fn overflow_strategy(&self) -> Overflow {
        self.options.overflow
    }

    pub(super) fn on_duplicate(&self) -> OnDuplicate {
        self.options.on_duplicate
    }

    pub(super) fn count_repeated(&self, events: u64) {
        self.repeated.fetch_add(events, Ordering::Relaxed);
    }

    /// The event of this id that is there. Only a file that cannot be read is an error.
    pub(super) fn holds(&self, id: u64) -> Result<Option<EventRef>> {
        if let Some(found) = self.in_memory(id) {
            return Ok(Some(found));
        }
        let Some(disk) = &self.disk else { return Ok(None) };
        let found = disk.find(id, self.store_low(disk))?;
        Ok(found.and_then(|(segment, index)| EventRef::new(segment, index)))
    }

    /// The event of this id that memory has.
    pub(super) fn in_memory(&self, id: u64) -> Option<EventRef> {
        let low = self.low();
        let present = |segment: &Segment, index, seq| seq >= low && !is_dead(segment, index);
        let (segment, index) = self.shards.iter().find_map(|shard| shard.find(id, &self.shared, present))?;
        EventRef::new(segment, index)
    }

    /// An id that no event has, with its stripe held.
    pub(super) fn draw_unused(&self) -> (u64, Option<std::sync::MutexGuard<'_, ()>>) {
        let mut unread = 0;
        loop {
            let id = self.ids.draw(1);
            let held = self.ids.lock(id);
            match self.holds(id) {
                Ok(None) => return (id, held),
                Ok(Some(_)) => {}
                // A file that cannot be read hides an id at worst, and another draw is as good, unless the file
                // may hold any: then there is no end to it.
                Err(_) if unread == UNREAD_DRAWS => return (id, held),
                Err(_) => unread += 1,
            }
        }
    }

    /// No event below it is there.
    pub(super) fn low(&self) -> u64 {
        self.retention.low(self.frontier.next(), &self.shards, &self.frontier)
    }

    /// No event below it is there, in memory or in files.
    pub(super) fn first_seq(&self) -> u64 {
        self.disk.as_ref().map_or_else(|| self.low(), |disk| self.store_low(disk))
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
        let event = self.holds(id)?.inspect(EventRef::note_read).ok_or_else(|| {
            Error::new(Code::DataNotFound, format!("no event has the id {id}; it may have been dropped"))
                .with("event_id", id)
        })?;
        // A batch is seen as a whole or not at all, here as in queries.
        self.frontier.wait(event.view().seq() + 1);
        Ok(event)
    }

    /// Finds events. The cursor shows the store as it is now and keeps what it shows in memory.
    pub fn query(&self, query: &Query) -> Result<Cursor> {
        Ok(self.plan(query, false)?.0.into_cursor(query))
    }

    /// How a query would be answered: which index finds the events, and why that one.
    pub fn explain(&self, query: &Query) -> Result<Plan> {
        Ok(self.plan(query, true)?.1)
    }

    fn plan(&self, query: &Query, explains: bool) -> Result<(Planned, Plan)> {
        let unread = self.disk.as_ref().is_some_and(|disk| !disk.archive.segments().is_empty());
        let asked = plan::Asked::new(query, &self.shared, unread)?;
        let asked = if explains { asked.explaining() } else { asked };
        let plan = |window| asked.plan(window, &self.shards);
        let (planned, mut plan) = self.retention.look(&self.shards, &self.frontier, plan);
        let Some(disk) = &self.disk else { return Ok((planned, plan)) };
        let low = self.store_low(disk);
        if explains {
            plan.events += disk.sealed_events(low, planned.window.low);
        }
        // The list is read after memory's mark was: what left memory since is in it, and below the mark.
        let planned = planned.with_files(disk, query, low, &mut plan);
        Ok((planned, plan))
    }

    /// Enters into the books what reading files found to be damaged.
    pub(super) fn account_damage(&self) {
        let damaged = self.disk.as_ref().map_or(0, |disk| disk.take_damaged());
        if damaged > 0 {
            self.retention.gone_from_files(damaged, Reason::Damage, &self.shards, &self.frontier);
        }
    }

    /// Events that are in files and that the bound on events hides.
    pub(super) fn hidden(&self) -> u64 {
        let Some(disk) = &self.disk else { return 0 };
        let (low, hot) = (self.store_low(disk), disk.hot());
        let segments = disk.archive.segments();
        let below =
            segments.iter().take_while(|sealed| sealed.row.first_seq < low && sealed.row.last_seq < hot);
        // A segment that cannot be read counts whole.
        below.map(|sealed| sealed.live_below(disk, low).unwrap_or_else(|_| sealed.live())).sum()
    }

    /// Removes every event with a timestamp below `timestamp`; how many those were.
    ///
    /// A store with files has them removed for good when this returns.
    pub fn prune_before(&self, timestamp: i64) -> Result<u64> {
        self.check_writable()?;
        self.remove_before(timestamp, Reason::Asked)
    }

    fn remove_before(&self, timestamp: i64, reason: Reason) -> Result<u64> {
        let in_memory = || self.retention.remove_before(timestamp, reason, &self.shards, &self.frontier);
        match &self.disk {
            None => Ok(in_memory().0),
            Some(disk) => self.prune_files(disk, timestamp, reason, in_memory),
        }
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
            // A disk that fails is tried again by the next clean-up.
            self.remove_before(oldest, Reason::Age).unwrap_or(0)
        });
        if let Some(disk) = &self.disk {
            disk.seal_news.tell();
            return Cleaned { expired, evicted: 0 };
        }
        let before = self.retention.settle(shards, frontier).evicted;
        let target = pool.limit() / 8 * 7;
        while pool.allocated().saturating_sub(pool.bytes()) > target {
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
pub(super) fn draft<'a>(event: &NewEvent<'a>, interned: Interned, now: Now, flags: u8) -> Draft<'a> {
    Draft {
        timestamp: event.timestamp.unwrap_or(now.time),
        wall_time: event.wall_time.unwrap_or(now.wall),
        parent_id: event.parent_id.unwrap_or(0),
        type_id: interned.kind,
        node_id: interned.node,
        flags,
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
