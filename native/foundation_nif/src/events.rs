//! Events: find by id, prune, count; `append` stores them and `query` finds them by anything else.
//!
//! An event goes out as the tuple `{event_type, event_id, timestamp, {year, …, microsecond}, node, pid, correlation_id, parent_id, encoding,
//! data, seq, config_version}`, from which Elixir makes the struct.

use elixirscope_foundation::error::Error;
use elixirscope_foundation::events::EventView;
use rustler::types::tuple::make_tuple;
use rustler::{Encoder, Env, Term};

use crate::append::id;
use crate::atoms;
use crate::boundary::{guard, quick_nif};
use crate::instance::pinned;
use crate::json::{data_term, is_slow};
use crate::terms::{binary, bytes_of, civil, integer, known_atom, new_binary, serialized};
use crate::texts;

/// `{:ok, event}` of an id, or `:dirty` where a file has to be read for it.
fn event_get<'a>(env: Env<'a>, handle: Term<'a>, event_id: Term<'a>) -> Term<'a> {
    guard(env, || {
        let id = id("event_id", event_id)?;
        pinned(handle, |instance| {
            let Some(event) = instance.foundation().events().get_in_memory(id)? else {
                return Ok(atoms::dirty().encode(env));
            };
            Ok((atoms::ok(), event_term(env, &event.view(), &mut Seen::default())).encode(env))
        })
    })
}

quick_nif!(event_get(handle, event_id));

/// As [`event_get`], for events that are in files.
#[rustler::nif(schedule = "DirtyIo")]
fn event_get_dirty<'a>(env: Env<'a>, handle: Term<'a>, event_id: Term<'a>) -> Term<'a> {
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

/// `{:ok, counts}` of the event store. Those of a store with files may ask a file.
#[rustler::nif(schedule = "DirtyIo")]
fn event_stats<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| {
            let stats = serde_json::to_value(instance.foundation().events().stats());
            Ok((atoms::ok(), serialized(env, "the counts", stats)?).encode(env))
        })
    })
}

/// Decodes JSON data of an event that another language stored: `{:ok, term}`, keys as text; `:dirty` when that would
/// keep the scheduler too long.
#[rustler::nif]
fn json_decode<'a>(env: Env<'a>, data: Term<'a>) -> Term<'a> {
    guard(env, || {
        let bytes = bytes_of(&binary("the data", data)?);
        if is_slow(bytes) { Ok(atoms::dirty().encode(env)) } else { decode_json(env, data) }
    })
}

/// As [`json_decode`], for data that takes longer than a scheduler should.
#[rustler::nif(schedule = "DirtyCpu")]
fn json_decode_dirty<'a>(env: Env<'a>, data: Term<'a>) -> Term<'a> {
    guard(env, || decode_json(env, data))
}

fn decode_json<'a>(env: Env<'a>, data: Term<'a>) -> Result<Term<'a>, Error> {
    let data = binary("the data", data)?;
    Ok((atoms::ok(), data_term(env, bytes_of(&data))?).encode(env))
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
    let pid = if event.pid().is_empty() { nil } else { texts::pid_from_text(env, event.pid(), None) };
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
