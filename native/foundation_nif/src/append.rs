//! Appending one event: it comes in as its fields, and is stored, or copied to be stored later, when the call returns.
//!
//! Its data is encoded here when it is small (`encode`), straight into memory that the thread keeps. Else the answer
//! is `:encode`, which asks Elixir to have it done by the runtime, whose encoder yields. So a call stays far under a
//! millisecond, whatever the event holds. `batch` does the same for several events.

use std::cell::RefCell;
use std::time::Duration;

use elixirscope_foundation::error::Error;
use elixirscope_foundation::events::{Encoding, EventStore, ID_LIMIT, Level, NewEvent, Receipt, TypeId};
use rustler::schedule::consume_timeslice;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::boundary::guard;
use crate::encode::{Budget, Scratch};
use crate::instance::{Attached, pinned, with};
use crate::terms::{binary, bytes_of, integer, mismatch, optional, unsigned};
use crate::texts;

/// What a call on a normal scheduler encodes at most: about 100 µs of work.
pub(crate) const QUICK: Budget = Budget { terms: 16_000, bytes: 128 * 1024 };
/// Terms that are encoded, or events that are stored, in about a hundredth of a time slice.
const TERMS_A_PERCENT: usize = 400;
const EVENTS_A_PERCENT: usize = 25;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// An event's fields as terms, in the order of the NIF's arguments.
pub(crate) struct Fields<'a> {
    pub(crate) event_type: Term<'a>,
    pub(crate) event_id: Term<'a>,
    pub(crate) timestamp: Term<'a>,
    pub(crate) wall_time: Term<'a>,
    pub(crate) node: Term<'a>,
    pub(crate) pid: Term<'a>,
    pub(crate) correlation_id: Term<'a>,
    pub(crate) parent_id: Term<'a>,
    pub(crate) data: Term<'a>,
}

/// The fields that are read, but for data and the texts of node and pid.
pub(crate) struct Read<'a> {
    pub(crate) event_type: TypeId,
    pub(crate) event_id: Option<u64>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) wall_time: Option<i64>,
    pub(crate) correlation_id: Option<&'a [u8]>,
    pub(crate) parent_id: Option<u64>,
}

impl<'a> Read<'a> {
    #[inline]
    pub(crate) fn new(
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
pub(crate) fn with_scratch<R>(body: impl FnOnce(&mut Scratch) -> R) -> R {
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
pub(crate) fn answer<'a>(
    env: Env<'a>,
    events: &EventStore,
    stored: impl Encoder,
    receipts: &[Receipt],
) -> Term<'a> {
    let usual = events.usual_level();
    if usual > Level::Accepted {
        let lags = receipts.iter().filter(|receipt| receipt.seq > 0 && receipt.level < usual.number());
        if let Some(seq) = lags.map(|receipt| receipt.seq).max() {
            return (atoms::wait(), stored, seq).encode(env);
        }
    }
    (atoms::ok(), stored).encode(env)
}

/// The hundredths of a time slice that so much work is.
pub(crate) fn percent(terms: usize, events: usize) -> i32 {
    (1 + terms / TERMS_A_PERCENT + events / EVENTS_A_PERCENT).min(100) as i32
}
