//! Queries: batches of events.
//!
//! `event_query` answers `{:done, events}` when all fit into one batch, else `{:more, cursor, events}`, and
//! `cursor_next` goes on. What may take longer than a scheduler should goes through the dirty ones.

use std::sync::{Mutex, PoisonError};

use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::events::{Cursor, Query};
use elixirscope_foundation::handles::Instance;
use rustler::{Encoder, Env, Resource, ResourceArc, Term};

use crate::atoms;
use crate::boundary::guard;
use crate::conditions::decode_query;
use crate::events::{Seen, event_term};
use crate::instance::pinned;
use crate::terms::{mismatch, unsigned};

/// How many bytes of data one batch copies before it ends early, on a scheduler and on a dirty one.
const BATCH_BYTES: usize = 128 * 1024;
const DIRTY_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// The most events that a query may have to look at and still be begun on a scheduler.
const MAX_QUICK: usize = 1_024;
/// The most events that one batch may be asked for.
const MAX_BATCH: u64 = 10_000;

/// A cursor that a process holds on to between batches; `None` once it is closed.
struct Results {
    cursor: Mutex<Option<Cursor>>,
}

#[rustler::resource_impl]
impl Resource for Results {}

/// Begins a query by correlation: `{:done, events}` or `{:more, cursor, events}`; `:dirty` when that would keep the
/// scheduler too long, and for every other query.
#[rustler::nif]
fn event_query<'a>(env: Env<'a>, handle: Term<'a>, query: Term<'a>, batch: Term<'a>) -> Term<'a> {
    guard(env, || {
        let query = decode_query(query)?;
        pinned(handle, |instance| {
            let events = instance.foundation().events();
            match query.correlation_id.as_deref() {
                Some(id) if !events.correlation_exceeds(id, MAX_QUICK) => {
                    begin(env, instance, &query, batch, BATCH_BYTES)
                }
                _ => Ok(atoms::dirty().encode(env)),
            }
        })
    })
}

/// As [`event_query`], for queries that may have to look at many events before they answer.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_query_dirty<'a>(env: Env<'a>, handle: Term<'a>, query: Term<'a>, batch: Term<'a>) -> Term<'a> {
    guard(env, || {
        let query = decode_query(query)?;
        pinned(handle, |instance| begin(env, instance, &query, batch, DIRTY_BATCH_BYTES))
    })
}

/// Goes on with a query: `{:done, events}` or `{:more, events}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn cursor_next<'a>(env: Env<'a>, cursor: Term<'a>, batch: Term<'a>) -> Term<'a> {
    guard(env, || {
        let results = results(cursor)?;
        let batch = batch_size(batch)?;
        let mut open = results.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(cursor) = open.as_mut() else { return Ok((atoms::done(), no_events()).encode(env)) };
        let (events, ended) = take(env, cursor, batch, DIRTY_BATCH_BYTES)?;
        if ended {
            *open = None;
        }
        Ok((if ended { atoms::done() } else { atoms::more() }, events).encode(env))
    })
}

/// Ends a query before its end: what its cursor holds in memory is free at once instead of with the next garbage
/// collection of the process that has it. `:ok`, also when it has ended already.
#[rustler::nif(schedule = "DirtyCpu")]
fn cursor_close<'a>(env: Env<'a>, cursor: Term<'a>) -> Term<'a> {
    guard(env, || {
        let results = results(cursor)?;
        let closed = results.cursor.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(closed);
        Ok(atoms::ok().encode(env))
    })
}

fn results(term: Term<'_>) -> Result<ResourceArc<Results>, Error> {
    term.decode().map_err(|_| mismatch("the cursor", term, "what event_query/3 gave"))
}

fn no_events<'a>() -> Vec<Term<'a>> {
    vec![]
}

fn begin<'a>(
    env: Env<'a>,
    instance: &Instance,
    query: &Query,
    batch: Term<'a>,
    bytes: usize,
) -> Result<Term<'a>, Error> {
    let batch = batch_size(batch)?;
    let mut cursor = instance.foundation().events().query(query)?;
    let (events, ended) = take(env, &mut cursor, batch, bytes)?;
    if ended {
        return Ok((atoms::done(), events).encode(env));
    }
    let results = ResourceArc::new(Results { cursor: Mutex::new(Some(cursor)) });
    Ok((atoms::more(), results, events).encode(env))
}

fn batch_size(term: Term<'_>) -> Result<u64, Error> {
    match unsigned("the batch size", term)? {
        size @ 1..=MAX_BATCH => Ok(size),
        size => Err(Error::new(
            Code::InvalidInput,
            format!("the batch size is {size}; allowed are 1 to {MAX_BATCH}"),
        )),
    }
}

/// The next events and whether they were the last.
fn take<'a>(
    env: Env<'a>,
    cursor: &mut Cursor,
    batch: u64,
    bytes: usize,
) -> Result<(Vec<Term<'a>>, bool), Error> {
    let mut events = vec![];
    let mut seen = Seen::default();
    let mut copied = 0;
    while (events.len() as u64) < batch && copied < bytes {
        let Some(event) = cursor.try_next()? else { return Ok((events, true)) };
        copied += event.data().len();
        events.push(event_term(env, &event, &mut seen));
    }
    Ok((events, false))
}
