//! Appending: an event comes in as its fields, and is stored when the call returns.
//!
//! Its data is encoded here when it is small (`encode`), straight into memory that the thread keeps. Else the answer
//! says who encodes it: `:encode` asks Elixir, whose encoder yields; `:dirty` asks for the same call on a dirty
//! scheduler. So a call on a normal scheduler stays far under a millisecond, whatever the events hold.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use elixirscope_foundation::error::Error;
use elixirscope_foundation::events::{Encoding, EventStore, ID_LIMIT, Level, NewEvent, Receipt, TypeId};
use rustler::schedule::consume_timeslice;
use rustler::sys::ErlNifTerm;
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::boundary::guard;
use crate::encode::{Beyond, Budget, Scratch};
use crate::instance::{Attached, pinned, with};
use crate::terms::{
    Items, binary, bytes_of, date_time_ns, field, integer, is_nil, mismatch, optional, unsigned,
};
use crate::texts;

/// What a call on a normal scheduler encodes at most: about 100 µs of work.
const QUICK: Budget = Budget { terms: 16_000, bytes: 128 * 1024 };
/// What a batch on a normal scheduler has at most.
const QUICK_EVENTS: usize = 250;
/// What a batch on a dirty scheduler encodes at most.
const DIRTY: Budget = Budget { terms: usize::MAX, bytes: 64 << 20 };
/// The largest data that is stored without Elixir's asking whether it is too large.
const LARGEST: usize = 1_000_000;
/// Terms that are encoded, or events that are stored, in about a hundredth of a time slice.
const TERMS_A_PERCENT: usize = 400;
const EVENTS_A_PERCENT: usize = 25;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// An event's fields as terms, in the order of the NIF's arguments.
struct Fields<'a> {
    event_type: Term<'a>,
    event_id: Term<'a>,
    timestamp: Term<'a>,
    wall_time: Term<'a>,
    node: Term<'a>,
    pid: Term<'a>,
    correlation_id: Term<'a>,
    parent_id: Term<'a>,
    data: Term<'a>,
}

/// The fields that are read, but for data and the texts of node and pid.
struct Read<'a> {
    event_type: TypeId,
    event_id: Option<u64>,
    timestamp: Option<i64>,
    wall_time: Option<i64>,
    correlation_id: Option<&'a [u8]>,
    parent_id: Option<u64>,
}

impl<'a> Read<'a> {
    #[inline]
    fn new(
        attached: &Attached,
        events: &EventStore,
        fields: &Fields<'a>,
        wall_time: Option<i64>,
    ) -> Result<Self, Error> {
        let correlation = optional(fields.correlation_id, |term| binary("correlation_id", term))?;
        Ok(Self {
            event_type: attached.types.resolve(events, fields.event_type)?,
            event_id: optional(fields.event_id, |term| id("event_id", term))?,
            timestamp: optional(fields.timestamp, |term| integer("timestamp", term))?,
            wall_time,
            correlation_id: correlation.as_ref().map(bytes_of),
            parent_id: optional(fields.parent_id, |term| id("parent_id", term))?,
        })
    }

    #[inline]
    fn event<'t>(&self, node: &'t str, pid: &'t str, data: &'t [u8]) -> NewEvent<'t>
    where
        'a: 't,
    {
        NewEvent {
            event_type: self.event_type.into(),
            event_id: self.event_id,
            timestamp: self.timestamp,
            wall_time: self.wall_time,
            node,
            pid,
            correlation_id: self.correlation_id,
            parent_id: self.parent_id,
            encoding: Encoding::Etf,
            data,
        }
    }
}

/// An event's id.
pub(crate) fn id(name: &str, term: Term<'_>) -> Result<u64, Error> {
    match term.decode::<u64>() {
        Ok(id) if id > 0 && id < ID_LIMIT => Ok(id),
        _ => Err(mismatch(name, term, "an integer above 0 and below 2^59")),
    }
}

/// Calls `body` with the thread's scratch memory.
fn with_scratch<R>(body: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with(|scratch| {
        if let Ok(mut scratch) = scratch.try_borrow_mut() {
            scratch.begin();
            return body(&mut scratch);
        }
        // The thread is here already, which no NIF makes happen: it works with other memory.
        let mut other = Scratch::new();
        other.begin();
        body(&mut other)
    })
}

/// Stores an event: `{:ok, event_id}` once every query finds it, `{:wait, event_id, seq}` where it has yet to become as
/// safe as the store's mode says, `:behind` where memory has no room until the disk has caught up, or `:encode` where
/// its data is for [`event_append_encoded`].
#[rustler::nif]
#[allow(clippy::too_many_arguments, reason = "fields as arguments cost nothing, a struct is taken apart")]
fn event_append<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    event_type: Term<'a>,
    event_id: Term<'a>,
    timestamp: Term<'a>,
    wall_time: Term<'a>,
    node: Term<'a>,
    pid: Term<'a>,
    correlation_id: Term<'a>,
    parent_id: Term<'a>,
    data: Term<'a>,
) -> Term<'a> {
    guard(env, || {
        let fields =
            Fields { event_type, event_id, timestamp, wall_time, node, pid, correlation_id, parent_id, data };
        encode_and_append(env, handle, &fields, store_now)
    })
}

/// As [`event_append`], with data in external term format.
#[rustler::nif]
#[allow(clippy::too_many_arguments, reason = "fields as arguments cost nothing, a struct is taken apart")]
fn event_append_encoded<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    event_type: Term<'a>,
    event_id: Term<'a>,
    timestamp: Term<'a>,
    wall_time: Term<'a>,
    node: Term<'a>,
    pid: Term<'a>,
    correlation_id: Term<'a>,
    parent_id: Term<'a>,
    data: Term<'a>,
) -> Term<'a> {
    guard(env, || {
        let fields =
            Fields { event_type, event_id, timestamp, wall_time, node, pid, correlation_id, parent_id, data };
        append(env, handle, &fields, bytes_of(&binary("data", data)?), store_now)
    })
}

/// As [`event_append`], but the event is stored a moment later: `{:ok, event_id}` once it is copied.
#[rustler::nif]
#[allow(clippy::too_many_arguments, reason = "fields as arguments cost nothing, a struct is taken apart")]
fn event_append_async<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    event_type: Term<'a>,
    event_id: Term<'a>,
    timestamp: Term<'a>,
    wall_time: Term<'a>,
    node: Term<'a>,
    pid: Term<'a>,
    correlation_id: Term<'a>,
    parent_id: Term<'a>,
    data: Term<'a>,
) -> Term<'a> {
    guard(env, || {
        let fields =
            Fields { event_type, event_id, timestamp, wall_time, node, pid, correlation_id, parent_id, data };
        encode_and_append(env, handle, &fields, store_later)
    })
}

/// As [`event_append_async`], with data in external term format.
#[rustler::nif]
#[allow(clippy::too_many_arguments, reason = "fields as arguments cost nothing, a struct is taken apart")]
fn event_append_async_encoded<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    event_type: Term<'a>,
    event_id: Term<'a>,
    timestamp: Term<'a>,
    wall_time: Term<'a>,
    node: Term<'a>,
    pid: Term<'a>,
    correlation_id: Term<'a>,
    parent_id: Term<'a>,
    data: Term<'a>,
) -> Term<'a> {
    guard(env, || {
        let fields =
            Fields { event_type, event_id, timestamp, wall_time, node, pid, correlation_id, parent_id, data };
        append(env, handle, &fields, bytes_of(&binary("data", data)?), store_later)
    })
}

/// Waits until the events that [`event_append_async`] took before are stored, or counted as not stored.
#[rustler::nif(schedule = "DirtyIo")]
fn event_flush_async<'a>(env: Env<'a>, handle: Term<'a>, timeout_ms: Term<'a>) -> Term<'a> {
    guard(env, || {
        let timeout = Duration::from_millis(unsigned("the timeout", timeout_ms)?);
        pinned(handle, |instance| {
            instance.foundation().events().flush_async(timeout)?;
            Ok(atoms::ok().encode(env))
        })
    })
}

type Store = fn(&EventStore, &NewEvent<'_>) -> Result<Receipt, Error>;

/// A scheduler never waits for room: where the strategy is to block, this is `store_full`.
fn store_now(events: &EventStore, event: &NewEvent<'_>) -> Result<Receipt, Error> {
    events.append_at_once(event)
}

/// It has no position yet.
fn store_later(events: &EventStore, event: &NewEvent<'_>) -> Result<Receipt, Error> {
    events.append_async(event).map(|event_id| Receipt { event_id, ..Receipt::default() })
}

#[inline]
fn encode_and_append<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    fields: &Fields<'a>,
    store: Store,
) -> Result<Term<'a>, Error> {
    with_scratch(|scratch| {
        let mut budget = QUICK;
        if scratch.encode(fields.data, &mut budget).is_err() {
            return Ok(atoms::encode().encode(env));
        }
        let looked_at = QUICK.terms - budget.terms;
        if looked_at >= TERMS_A_PERCENT {
            consume_timeslice(env, percent(looked_at, 1));
        }
        append(env, handle, fields, scratch.bytes(0..scratch.written()), store)
    })
}

fn append<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    fields: &Fields<'a>,
    data: &[u8],
    store: Store,
) -> Result<Term<'a>, Error> {
    with(handle, |attached| {
        let instance = attached.pin()?;
        let events = instance.foundation().events();
        let wall_time = optional(fields.wall_time, |term| integer("wall_time", term))?;
        let read = Read::new(attached, events, fields, wall_time)?;
        let stored = texts::with_node(fields.node, |node| {
            texts::with_pid(fields.pid, |pid| store(events, &read.event(node, pid, data)))
        });
        match stored {
            Ok(receipt) => Ok(answer(env, events, receipt.event_id, std::slice::from_ref(&receipt))),
            Err(error) if EventStore::is_behind(&error) => Ok(atoms::behind().encode(env)),
            Err(error) => Err(error),
        }
    })
}

/// `{:ok, stored}` where that is as safe as the store's mode makes it, else `{:wait, stored, seq}`: nobody waits for
/// a disk here.
#[inline]
fn answer<'a>(env: Env<'a>, events: &EventStore, stored: impl Encoder, receipts: &[Receipt]) -> Term<'a> {
    let usual = events.usual_level();
    if usual > Level::Accepted {
        let lags = receipts.iter().filter(|receipt| receipt.seq > 0 && receipt.level < usual.number());
        if let Some(seq) = lags.map(|receipt| receipt.seq).max() {
            return (atoms::wait(), stored, seq).encode(env);
        }
    }
    (atoms::ok(), stored).encode(env)
}

/// Stores all event structs of the list or none: `{:ok, ids}`, `{:wait, ids, seq}` and `:behind` as [`event_append`],
/// or `:dirty` where that is for [`event_append_batch_dirty`].
#[rustler::nif]
fn event_append_batch<'a>(env: Env<'a>, handle: Term<'a>, events: Term<'a>) -> Term<'a> {
    guard(env, || {
        with_scratch(|scratch| {
            if longer(events, QUICK_EVENTS) {
                return Ok(atoms::dirty().encode(env));
            }
            let mut budget = QUICK;
            let answer = Batch { env, handle, scratch, data: Data::Terms(&mut budget) }
                .append(events, EventStore::append_batch_at_once)?;
            let Some((count, answer)) = answer else { return Ok(atoms::dirty().encode(env)) };
            consume_timeslice(env, percent(QUICK.terms - budget.terms, count));
            Ok(answer)
        })
    })
}

/// As [`event_append_batch`], for batches that take longer than a scheduler should; `:encode` where some data is for
/// [`event_append_batch_encoded`].
#[rustler::nif(schedule = "DirtyCpu")]
fn event_append_batch_dirty<'a>(env: Env<'a>, handle: Term<'a>, events: Term<'a>) -> Term<'a> {
    guard(env, || {
        with_scratch(|scratch| {
            let mut budget = DIRTY;
            let answer =
                Batch { env, handle, scratch, data: Data::Terms(&mut budget) }.append(events, batch_now)?;
            Ok(answer.map_or_else(|| atoms::encode().encode(env), |(_count, answer)| answer))
        })
    })
}

/// As [`event_append_batch_dirty`], with data in external term format.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_append_batch_encoded<'a>(env: Env<'a>, handle: Term<'a>, events: Term<'a>) -> Term<'a> {
    guard(env, || {
        with_scratch(|scratch| {
            let answer = Batch { env, handle, scratch, data: Data::Encoded }.append(events, batch_now)?;
            Ok(answer.map_or_else(|| atoms::encode().encode(env), |(_count, answer)| answer))
        })
    })
}

/// How the data of a batch's events comes.
enum Data<'b> {
    /// As terms, to be encoded within the budget.
    Terms(&'b mut Budget),
    /// As binaries in external term format.
    Encoded,
}

/// A batch that is being read.
struct Batch<'s, 'b, 'a> {
    env: Env<'a>,
    handle: Term<'a>,
    scratch: &'s mut Scratch,
    data: Data<'b>,
}

/// One event of a batch: what was read, and where in the scratch memory its texts and data lie.
struct Row<'a> {
    read: Read<'a>,
    node: Range<usize>,
    pid: Range<usize>,
    data: Bytes<'a>,
}

enum Bytes<'a> {
    Scratch(Range<usize>),
    Term(&'a [u8]),
}

/// Why a batch was not read.
enum Unread {
    /// Something in it is more than this call may take, or not for it to understand.
    Beyond,
    /// Something in it is wrong.
    Wrong(Error),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

impl Unread {
    fn map(self, change: impl FnOnce(Error) -> Error) -> Self {
        match self {
            Self::Beyond => Self::Beyond,
            Self::Wrong(error) => Self::Wrong(change(error)),
        }
    }
}

/// A text that was written last, by the word of its term.
#[derive(Default)]
struct Text {
    of: Option<ErlNifTerm>,
    at: Range<usize>,
}

#[derive(Clone, Copy)]
enum Which {
    Node,
    Pid,
}

/// Waits for room where that is the strategy, but never for a disk.
fn batch_now(events: &EventStore, batch: &[NewEvent<'_>]) -> Result<Vec<Receipt>, Error> {
    if events.has_files() { events.append_batch_at_once(batch) } else { events.append_batch(batch) }
}

type Append = fn(&EventStore, &[NewEvent<'_>]) -> Result<Vec<Receipt>, Error>;

impl<'a> Batch<'_, '_, 'a> {
    /// Reads the events and stores them: how many they are, and `{:ok, ids}`. `None` if some data is beyond the budget.
    fn append(mut self, events: Term<'a>, append: Append) -> Result<Option<(usize, Term<'a>)>, Error> {
        let env = self.env;
        with(self.handle, |attached| {
            let instance = attached.pin()?;
            let store = instance.foundation().events();
            let rows = match self.rows(attached, store, events) {
                Ok(rows) => rows,
                Err(Unread::Beyond) => return Ok(None),
                Err(Unread::Wrong(error)) => return Err(error),
            };
            let scratch = &*self.scratch;
            let batch: Vec<NewEvent<'_>> = rows
                .iter()
                .map(|row| {
                    let data = match &row.data {
                        Bytes::Scratch(at) => scratch.bytes(at.clone()),
                        Bytes::Term(bytes) => bytes,
                    };
                    row.read.event(scratch.text(row.node.clone()), scratch.text(row.pid.clone()), data)
                })
                .collect();
            let receipts = match append(store, &batch) {
                Ok(receipts) => receipts,
                Err(error) if EventStore::is_behind(&error) => {
                    return Ok(Some((batch.len(), atoms::behind().encode(env))));
                }
                Err(error) => return Err(error),
            };
            let ids: Vec<u64> = receipts.iter().map(|receipt| receipt.event_id).collect();
            Ok(Some((ids.len(), answer(env, store, ids, &receipts))))
        })
    }

    fn rows(
        &mut self,
        attached: &Attached,
        store: &EventStore,
        events: Term<'a>,
    ) -> Result<Vec<Row<'a>>, Unread> {
        let mut rows = vec![];
        let (mut node, mut pid) = (Text::default(), Text::default());
        for (index, item) in Items::new("the events", events).enumerate() {
            let at = |error: Error| error.with("index", index);
            let fields = item.ok().and_then(fields_of).ok_or_else(|| at(item_error(events)))?;
            for (name, term) in [
                ("event_id", fields.event_id),
                ("event_type", fields.event_type),
                ("timestamp", fields.timestamp),
            ] {
                given(name, term).map_err(at)?;
            }
            let wall_time = self.wall_time(fields.wall_time).map_err(|unread| unread.map(at))?;
            let read = Read::new(attached, store, &fields, wall_time).map_err(at)?;
            let node = self.text(&mut node, Which::Node, fields.node).map_err(at)?;
            let pid = self.text(&mut pid, Which::Pid, fields.pid).map_err(at)?;
            let data = self.data(fields.data).map_err(|unread| unread.map(at))?;
            rows.push(Row { read, node, pid, data });
        }
        Ok(rows)
    }

    /// Nanoseconds since 1970, of a `DateTime` or as they are. What else there is only Elixir understands, if anybody.
    fn wall_time(&self, term: Term<'a>) -> Result<Option<i64>, Unread> {
        if is_nil(term) {
            return Ok(None);
        }
        match (&self.data, date_time_ns(term)) {
            (_, Some(ns)) => Ok(Some(ns)),
            (Data::Terms(_), None) => Err(Unread::Beyond),
            (Data::Encoded, None) => Ok(Some(integer("wall_time", term)?)),
        }
    }

    fn data(&mut self, term: Term<'a>) -> Result<Bytes<'a>, Unread> {
        let Data::Terms(budget) = &mut self.data else {
            return Ok(Bytes::Term(bytes_of(&binary("data", term)?)));
        };
        let from = self.scratch.written();
        self.scratch.encode(term, budget).map_err(|Beyond| Unread::Beyond)?;
        let to = self.scratch.written();
        if to - from > LARGEST { Err(Unread::Beyond) } else { Ok(Bytes::Scratch(from..to)) }
    }

    /// Where the text of a node or pid lies: events of a batch mostly share theirs.
    fn text(&mut self, last: &mut Text, which: Which, term: Term<'a>) -> Result<Range<usize>, Error> {
        if last.of != Some(term.as_c_arg()) {
            let from = self.scratch.written();
            let write = |text: &str| {
                self.scratch.write(text.as_bytes());
                Ok(())
            };
            match which {
                Which::Node => texts::with_node(term, write)?,
                Which::Pid => texts::with_pid(term, write)?,
            }
            *last = Text { of: Some(term.as_c_arg()), at: from..self.scratch.written() };
        }
        Ok(last.at.clone())
    }
}

/// Whether a list has more items than that.
fn longer(list: Term<'_>, than: usize) -> bool {
    let mut items = Items::new("the events", list);
    (0..=than).all(|_| items.step().is_some())
}

/// The hundredths of a time slice that so much work is.
fn percent(terms: usize, events: usize) -> i32 {
    (1 + terms / TERMS_A_PERCENT + events / EVENTS_A_PERCENT).min(100) as i32
}

/// The fields of an event struct; `None` for a term that is none.
fn fields_of(event: Term<'_>) -> Option<Fields<'_>> {
    let get = |key: Atom| field(event, key);
    if !(atoms::event_module() == get(atoms::__struct__())?) {
        return None;
    }
    Some(Fields {
        event_type: get(atoms::event_type())?,
        event_id: get(atoms::event_id())?,
        timestamp: get(atoms::timestamp())?,
        wall_time: get(atoms::wall_time())?,
        node: get(atoms::node())?,
        pid: get(atoms::pid())?,
        correlation_id: get(atoms::correlation_id())?,
        parent_id: get(atoms::parent_id())?,
        data: get(atoms::data())?,
    })
}

/// A field that the store can draw by itself, but not for Elixir: there it must be given.
fn given(name: &str, term: Term<'_>) -> Result<(), Error> {
    if is_nil(term) { Err(mismatch(name, term, "given")) } else { Ok(()) }
}

#[cold]
fn item_error(term: Term<'_>) -> Error {
    mismatch("an event of the batch", term, "an event struct")
}
