//! Events: append, find, prune.
//!
//! An event comes in as its fields, its data as bytes that Elixir made with `term_to_binary`; it goes out as the
//! tuple `{event_type, event_id, timestamp, {year, …, microsecond}, node, pid, correlation_id, parent_id, encoding,
//! data, seq, config_version}`, from which Elixir makes the struct.

use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::events::{Encoding, EventStore, EventView, ID_LIMIT, NewEvent, Receipt};
use rustler::types::tuple::{get_tuple, make_tuple};
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::boundary::guard;
use crate::instance::{Attached, pinned, with};
use crate::terms::{
    Items, Keys, binary, bytes_of, civil, from_value, integer, known_atom, mismatch, new_binary, optional,
};
use crate::texts;

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

/// The event that the fields describe, given the texts of its node and pid.
#[inline]
fn borrow_event<'a: 't, 't>(
    attached: &Attached,
    events: &EventStore,
    fields: &Fields<'a>,
    node: &'t str,
    pid: &'t str,
) -> Result<NewEvent<'t>, Error> {
    let correlation = optional(fields.correlation_id, |term| binary("correlation_id", term))?;
    Ok(NewEvent {
        event_type: attached.types.resolve(events, fields.event_type)?.into(),
        event_id: optional(fields.event_id, |term| id("event_id", term))?,
        timestamp: optional(fields.timestamp, |term| integer("timestamp", term))?,
        wall_time: optional(fields.wall_time, |term| integer("wall_time", term))?,
        node,
        pid,
        correlation_id: correlation.as_ref().map(bytes_of),
        parent_id: optional(fields.parent_id, |term| id("parent_id", term))?,
        encoding: Encoding::Etf,
        data: bytes_of(&binary("data", fields.data)?),
    })
}

fn id(name: &str, term: Term<'_>) -> Result<u64, Error> {
    match term.decode::<u64>() {
        Ok(id) if id > 0 && id < ID_LIMIT => Ok(id),
        _ => Err(mismatch(name, term, "an integer above 0 and below 2^59")),
    }
}

/// Stores an event: `{:ok, event_id}` once every query finds it.
#[rustler::nif]
#[allow(clippy::too_many_arguments, reason = "fields as arguments cost nothing, a tuple is taken apart")]
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
        with(handle, |attached| {
            let instance = attached.pin()?;
            let events = instance.foundation().events();
            let receipt = texts::with_node(fields.node, |node| {
                texts::with_pid(fields.pid, |pid| {
                    // A scheduler never waits for room: where the strategy is to block, this is `store_full`.
                    events.append_at_once(&borrow_event(attached, events, &fields, node, pid)?)
                })
            })?;
            Ok((atoms::ok(), receipt.event_id).encode(env))
        })
    })
}

/// Stores all events of the list or none: `{:ok, ids}`. Each is a tuple of the fields of [`event_append`].
#[rustler::nif]
fn event_append_batch<'a>(env: Env<'a>, handle: Term<'a>, events: Term<'a>) -> Term<'a> {
    guard(env, || append_batch(env, handle, events, EventStore::append_batch_at_once))
}

/// As [`event_append_batch`], for batches that take longer than a scheduler should.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_append_batch_dirty<'a>(env: Env<'a>, handle: Term<'a>, events: Term<'a>) -> Term<'a> {
    guard(env, || append_batch(env, handle, events, EventStore::append_batch))
}

fn append_batch<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    events: Term<'a>,
    append: impl Fn(&EventStore, &[NewEvent<'_>]) -> Result<Vec<Receipt>, Error>,
) -> Result<Term<'a>, Error> {
    with(handle, |attached| {
        let instance = attached.pin()?;
        // What the borrowed events point to: texts of nodes and pids.
        let mut names: Vec<(String, String)> = vec![];
        let mut rows: Vec<Vec<Term<'a>>> = vec![];
        for (index, item) in Items::new("the events", events).enumerate() {
            let row = get_tuple(item?).unwrap_or_default();
            let fields = fields_of(&row).ok_or_else(|| batch_error(index, item_error(events)))?;
            let text = texts::with_node(fields.node, |node| {
                texts::with_pid(fields.pid, |pid| Ok((node.to_owned(), pid.to_owned())))
            });
            names.push(text.map_err(|error| batch_error(index, error))?);
            rows.push(row);
        }
        let events = instance.foundation().events();
        let mut batch: Vec<NewEvent<'_>> = Vec::with_capacity(rows.len());
        for (index, (row, (node, pid))) in rows.iter().zip(&names).enumerate() {
            let event = fields_of(row)
                .ok_or_else(|| item_error(handle))
                .and_then(|fields| borrow_event(attached, events, &fields, node, pid))
                .map_err(|error| batch_error(index, error))?;
            batch.push(event);
        }
        let ids: Vec<u64> = append(events, &batch)?.into_iter().map(|receipt| receipt.event_id).collect();
        Ok((atoms::ok(), ids).encode(env))
    })
}

fn fields_of<'a>(row: &[Term<'a>]) -> Option<Fields<'a>> {
    let [event_type, event_id, timestamp, wall_time, node, pid, correlation_id, parent_id, data] = row else {
        return None;
    };
    Some(Fields {
        event_type: *event_type,
        event_id: *event_id,
        timestamp: *timestamp,
        wall_time: *wall_time,
        node: *node,
        pid: *pid,
        correlation_id: *correlation_id,
        parent_id: *parent_id,
        data: *data,
    })
}

#[cold]
fn item_error(term: Term<'_>) -> Error {
    mismatch("an event of the batch", term, "a tuple of nine fields")
}

#[cold]
fn batch_error(index: usize, error: Error) -> Error {
    error.with("index", index)
}

/// `{:ok, event}` of an id.
#[rustler::nif]
fn event_get<'a>(env: Env<'a>, handle: Term<'a>, event_id: Term<'a>) -> Term<'a> {
    guard(env, || {
        let id = id("event_id", event_id)?;
        pinned(handle, |instance| {
            let event = instance.foundation().events().get(id)?;
            Ok((atoms::ok(), event_term(env, &event.view(), &mut Seen::default())).encode(env))
        })
    })
}

/// Removes what is older than the timestamp: `{:ok, how many}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_prune<'a>(env: Env<'a>, handle: Term<'a>, timestamp: Term<'a>) -> Term<'a> {
    guard(env, || {
        let timestamp = integer("the timestamp", timestamp)?;
        pinned(handle, |instance| {
            Ok((atoms::ok(), instance.foundation().events().prune_before(timestamp)?).encode(env))
        })
    })
}

/// `{:ok, counts}` of the event store.
#[rustler::nif]
fn event_stats<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| {
            let stats = serde_json::to_value(instance.foundation().events().stats())
                .map_err(|e| Error::new(Code::SerializationFailed, format!("the counts: {e}")))?;
            Ok((atoms::ok(), from_value(env, &stats, Keys::Atoms)).encode(env))
        })
    })
}

/// Decodes JSON data of an event that another language stored: `{:ok, term}`, keys as text.
#[rustler::nif]
fn json_decode<'a>(env: Env<'a>, data: Term<'a>) -> Term<'a> {
    guard(env, || decode_json(env, data))
}

/// As [`json_decode`], for data that takes longer than a scheduler should.
#[rustler::nif(schedule = "DirtyCpu")]
fn json_decode_dirty<'a>(env: Env<'a>, data: Term<'a>) -> Term<'a> {
    guard(env, || decode_json(env, data))
}

fn decode_json<'a>(env: Env<'a>, data: Term<'a>) -> Result<Term<'a>, Error> {
    let data = binary("the data", data)?;
    if data.is_empty() {
        return Ok((atoms::ok(), atoms::nil()).encode(env));
    }
    let value = serde_json::from_slice(bytes_of(&data))
        .map_err(|e| Error::new(Code::DeserializationFailed, format!("the data is not JSON: {e}")))?;
    Ok((atoms::ok(), from_value(env, &value, Keys::Strings)).encode(env))
}

/// The atoms of the names seen last: events of a batch mostly share their node, and often their type.
#[derive(Default)]
pub(crate) struct Seen<'a> {
    event_type: Option<(String, Term<'a>)>,
    node: Option<(String, Term<'a>)>,
}

fn seen_atom<'a>(env: Env<'a>, last: &mut Option<(String, Term<'a>)>, name: &str) -> Term<'a> {
    if let Some((text, atom)) = last
        && text == name
    {
        return *atom;
    }
    let atom = known_atom(env, name);
    *last = Some((name.to_owned(), atom));
    atom
}

/// An event as its tuple.
pub(crate) fn event_term<'a>(env: Env<'a>, event: &EventView<'_>, seen: &mut Seen<'a>) -> Term<'a> {
    let (year, month, day, hour, minute, second, microsecond) = civil(event.wall_time());
    let nil = atoms::nil().encode(env);
    let node = if event.node().is_empty() { nil } else { seen_atom(env, &mut seen.node, event.node()) };
    let pid = if event.pid().is_empty() { nil } else { texts::pid_from_text(env, event.pid()) };
    make_tuple(
        env,
        &[
            seen_atom(env, &mut seen.event_type, event.event_type()),
            event.event_id().encode(env),
            event.timestamp().encode(env),
            (year, month, day, hour, minute, second, microsecond).encode(env),
            node,
            pid,
            event.correlation_id().map_or(nil, |id| new_binary(env, id)),
            event.parent_id().encode(env),
            (event.encoding() as u8).encode(env),
            new_binary(env, event.data()),
            event.seq().encode(env),
            event.config_version().encode(env),
        ],
    )
}
