//! Appending one event: its struct comes in, and it is stored, or copied to be stored later, when the call returns.
//!
//! Its data is encoded here when it is small (`encode`), straight into memory that the thread keeps. Else the answer
//! is `:encode`, which asks Elixir to have it done by the runtime, whose encoder yields. So a call stays far under a
//! millisecond, whatever the event holds. `batch` does the same for several events.

#![allow(clippy::inline_always, reason = "measured: else results and fields are copied from call to call")]

use std::cell::RefCell;
use std::time::Duration;

use elixirscope_foundation::error::Error;
use elixirscope_foundation::events::{Encoding, EventStore, ID_LIMIT, Level, NewEvent, Receipt, TypeId};
use rustler::schedule::consume_timeslice;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::boundary::{guard, quick_nif};
use crate::encode::{Beyond, Budget, Scratch};
use crate::instance::{Attached, pinned, with};
use crate::shapes::EVENT;
use crate::terms::{binary, bytes_of, date_time_ns, integer, is_nil, mismatch, optional, unsigned};
use crate::texts;

/// What a call on a normal scheduler encodes at most: about 100 µs of work.
pub(crate) const QUICK: Budget = Budget { terms: 16_000, bytes: 128 * 1024 };
/// Terms that are encoded, or events that are stored, in about a hundredth of a time slice.
const TERMS_A_PERCENT: usize = 400;
const EVENTS_A_PERCENT: usize = 25;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// An event's fields as terms.
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

impl<'a> Fields<'a> {
    /// The fields of an event struct; `None` for a term that is none.
    #[inline(always)]
    pub(crate) fn of(event: Term<'a>) -> Option<Self> {
        let fields = EVENT.of(event);
        if !(atoms::event_module() == fields.get(0)?) {
            return None;
        }
        Some(Self {
            event_type: fields.get(1)?,
            event_id: fields.get(2)?,
            timestamp: fields.get(3)?,
            wall_time: fields.get(4)?,
            node: fields.get(5)?,
            pid: fields.get(6)?,
            correlation_id: fields.get(7)?,
            parent_id: fields.get(8)?,
            data: fields.get(9)?,
        })
    }

    /// The wall time; [`Beyond`] for one that only Elixir understands, if anybody.
    #[inline]
    pub(crate) fn wall_time_ns(&self) -> Result<Option<i64>, Beyond> {
        if is_nil(self.wall_time) { Ok(None) } else { date_time_ns(self.wall_time).ok_or(Beyond).map(Some) }
    }

    /// The wall time of an event that Elixir has looked at: it may be in nanoseconds.
    pub(crate) fn encoded_wall_time(&self) -> Result<Option<i64>, Error> {
        match self.wall_time_ns() {
            Ok(known) => Ok(known),
            Err(Beyond) => integer("wall_time", self.wall_time).map(Some),
        }
    }
}

/// The fields that are read, but for data and the texts of node and pid.
pub(crate) struct Read<'a> {
    pub(crate) event_type: TypeId,
    pub(crate) event_id: u64,
    pub(crate) timestamp: i64,
    pub(crate) wall_time: Option<i64>,
    pub(crate) correlation_id: Option<&'a [u8]>,
    pub(crate) parent_id: Option<u64>,
}

impl<'a> Read<'a> {
    #[inline(always)]
    pub(crate) fn new(
        attached: &Attached,
        events: &EventStore,
        fields: &Fields<'a>,
        wall_time: Option<i64>,
    ) -> Result<Self, Error> {
        given("event_id", fields.event_id)?;
        given("event_type", fields.event_type)?;
        given("timestamp", fields.timestamp)?;
        let correlation = optional(fields.correlation_id, |term| binary("correlation_id", term))?;
        Ok(Self {
            event_type: attached.types.resolve(events, fields.event_type)?,
            event_id: id("event_id", fields.event_id)?,
            timestamp: integer("timestamp", fields.timestamp)?,
            wall_time,
            correlation_id: correlation.as_ref().map(bytes_of),
            parent_id: optional(fields.parent_id, |term| id("parent_id", term))?,
        })
    }

    #[inline(always)]
    fn event<'t>(&self, node: &'t str, pid: &'t str, data: &'t [u8]) -> NewEvent<'t>
    where
        'a: 't,
    {
        NewEvent {
            event_type: self.event_type.into(),
            event_id: Some(self.event_id),
            timestamp: Some(self.timestamp),
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

/// A field that the store can draw by itself, but not for Elixir: there it must be given.
#[inline]
fn given(name: &str, term: Term<'_>) -> Result<(), Error> {
    if is_nil(term) { Err(mismatch(name, term, "given")) } else { Ok(()) }
}

/// An event's id.
pub(crate) fn id(name: &str, term: Term<'_>) -> Result<u64, Error> {
    match term.decode::<u64>() {
        Ok(id) if id > 0 && id < ID_LIMIT => Ok(id),
        _ => Err(mismatch(name, term, "an integer above 0 and below 2^59")),
    }
}

/// Calls `body` with the thread's scratch memory.
#[inline]
pub(crate) fn with_scratch<R>(body: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with(|scratch| {
        let mut kept = scratch.try_borrow_mut().ok();
        let mut other;
        let scratch = if let Some(scratch) = kept.as_deref_mut() {
            scratch
        } else {
            // The thread is here already, which no NIF makes happen: it works with other memory.
            other = Scratch::new();
            &mut other
        };
        scratch.begin();
        body(scratch)
    })
}

/// Stores an event: `{:ok, event_id}` once every query finds it, `{:wait, event_id, seq}` where it has yet to become as
/// safe as the store's mode says, `:behind` where memory has no room until the disk has caught up, or `:encode` where
/// Elixir is to encode its data and look at its wall time, for [`event_append_encoded`].
fn event_append<'a>(env: Env<'a>, handle: Term<'a>, event: Term<'a>) -> Term<'a> {
    guard(env, || encode_and_append(env, handle, event, store_now))
}

quick_nif!(event_append(handle, event));

/// As [`event_append`], with data in external term format and a wall time that may be in nanoseconds.
#[rustler::nif]
fn event_append_encoded<'a>(env: Env<'a>, handle: Term<'a>, event: Term<'a>) -> Term<'a> {
    guard(env, || append_encoded(env, handle, event, store_now))
}

/// As [`event_append`], but the event is stored a moment later: `{:ok, event_id}` once it is copied.
fn event_append_async<'a>(env: Env<'a>, handle: Term<'a>, event: Term<'a>) -> Term<'a> {
    guard(env, || encode_and_append(env, handle, event, store_later))
}

quick_nif!(event_append_async(handle, event));

/// As [`event_append_encoded`], but the event is stored a moment later.
#[rustler::nif]
fn event_append_async_encoded<'a>(env: Env<'a>, handle: Term<'a>, event: Term<'a>) -> Term<'a> {
    guard(env, || append_encoded(env, handle, event, store_later))
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

/// A scheduler never waits for room: where the strategy is to block, this is `store_full`.
#[inline]
fn store_now(events: &EventStore, event: &NewEvent<'_>) -> Result<Receipt, Error> {
    events.append_at_once(event)
}

/// It has no position yet.
fn store_later(events: &EventStore, event: &NewEvent<'_>) -> Result<Receipt, Error> {
    events.append_async(event).map(|event_id| Receipt { event_id, ..Receipt::default() })
}

#[inline(always)]
fn encode_and_append<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    event: Term<'a>,
    store: impl FnOnce(&EventStore, &NewEvent<'_>) -> Result<Receipt, Error>,
) -> Result<Term<'a>, Error> {
    let fields = Fields::of(event).ok_or_else(|| no_event(event))?;
    let Ok(wall_time) = fields.wall_time_ns() else { return Ok(atoms::encode().encode(env)) };
    with_scratch(|scratch| {
        let mut budget = QUICK;
        if scratch.encode(fields.data, &mut budget).is_err() {
            return Ok(atoms::encode().encode(env));
        }
        let looked_at = QUICK.terms - budget.terms;
        if looked_at >= TERMS_A_PERCENT {
            consume_timeslice(env, percent(looked_at, 1));
        }
        append(env, handle, &fields, wall_time, scratch.bytes(0..scratch.written()), store)
    })
}

/// The data is in external term format.
fn append_encoded<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    event: Term<'a>,
    store: impl FnOnce(&EventStore, &NewEvent<'_>) -> Result<Receipt, Error>,
) -> Result<Term<'a>, Error> {
    let fields = Fields::of(event).ok_or_else(|| no_event(event))?;
    let wall_time = fields.encoded_wall_time()?;
    append(env, handle, &fields, wall_time, bytes_of(&binary("data", fields.data)?), store)
}

#[cold]
fn no_event(term: Term<'_>) -> Error {
    mismatch("the event", term, "an event struct")
}

#[inline(always)]
fn append<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    fields: &Fields<'a>,
    wall_time: Option<i64>,
    data: &[u8],
    store: impl FnOnce(&EventStore, &NewEvent<'_>) -> Result<Receipt, Error>,
) -> Result<Term<'a>, Error> {
    with(handle, |attached| {
        let instance = attached.pin()?;
        let events = instance.foundation().events();
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
