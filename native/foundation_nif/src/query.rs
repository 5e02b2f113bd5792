//! Queries: from a tuple of conditions to batches of events.
//!
//! `event_query` answers `{:done, events}` when all fit into one batch, else `{:more, cursor, events}`, and
//! `cursor_next` goes on. What may take longer than a scheduler should goes through the dirty ones.

use std::sync::{Mutex, PoisonError};

use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::events::{Cursor, Order, Query};
use elixirscope_foundation::handles::Instance;
use rustler::types::tuple::get_tuple;
use rustler::{Encoder, Env, Resource, ResourceArc, Term};

use crate::atoms;
use crate::boundary::guard;
use crate::events::{Seen, event_term};
use crate::instance::pinned;
use crate::terms::{Items, atom_text, binary, bytes_of, integer, mismatch, optional, unsigned};

/// How many bytes of data one batch copies before it ends early, on a scheduler and on a dirty one.
const BATCH_BYTES: usize = 128 * 1024;
const DIRTY_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// The most events that a query may have to look at and still be begun on a scheduler.
const MAX_QUICK: usize = 1_024;
/// The most events that one batch may be asked for.
const MAX_BATCH: u64 = 10_000;

/// A cursor that a process holds on to between batches.
struct Results {
    cursor: Mutex<Cursor>,
}

#[rustler::resource_impl]
impl Resource for Results {}

/// The conditions: `{types, correlation_id, time_range, seq_range, order, direction, offset, limit}`.
pub(crate) fn decode_query(term: Term<'_>) -> Result<Query, Error> {
    let conditions = get_tuple(term).unwrap_or_default();
    let [types, correlation, times, seqs, order, direction, offset, limit] = conditions.as_slice() else {
        return Err(mismatch("the query", term, "a tuple of eight conditions"));
    };
    let types = Items::new("event_type", *types)
        .map(|item| {
            let item = item?;
            atom_text(item).ok_or_else(|| mismatch("event_type", item, "an atom"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Query {
        types,
        correlation_id: optional(*correlation, |term| {
            Ok(bytes_of(&binary("correlation_id", term)?).to_vec())
        })?,
        time_range: optional(*times, |term| range("time_range", term, integer))?,
        seq_range: optional(*seqs, |term| range("seq_range", term, unsigned))?,
        order: match *order {
            order if atoms::timestamp() == order => Order::Timestamp,
            order if atoms::seq() == order => Order::Seq,
            order => return Err(mismatch("the order", order, ":timestamp or :seq")),
        },
        descending: match *direction {
            direction if atoms::desc() == direction => true,
            direction if atoms::asc() == direction => false,
            direction => return Err(mismatch("the direction", direction, ":asc or :desc")),
        },
        offset: unsigned("offset", *offset)?,
        limit: optional(*limit, |term| unsigned("limit", term))?,
        ..Query::default()
    })
}

fn range<T>(
    name: &str,
    term: Term<'_>,
    decode: impl Fn(&str, Term<'_>) -> Result<T, Error>,
) -> Result<(T, T), Error> {
    match get_tuple(term).unwrap_or_default().as_slice() {
        [first, last] => Ok((decode(name, *first)?, decode(name, *last)?)),
        _ => Err(mismatch(name, term, "a tuple of the first and the last")),
    }
}

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
        let results: ResourceArc<Results> =
            cursor.decode().map_err(|_| mismatch("the cursor", cursor, "what event_query/3 gave"))?;
        let batch = batch_size(batch)?;
        let mut cursor = results.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let (events, ended) = take(env, &mut cursor, batch, DIRTY_BATCH_BYTES)?;
        Ok((if ended { atoms::done() } else { atoms::more() }, events).encode(env))
    })
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
    let results = ResourceArc::new(Results { cursor: Mutex::new(cursor) });
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
