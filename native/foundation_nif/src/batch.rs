//! Appending several events, all or none. A scheduler reads some of them in a call, so that no call takes long: small
//! batches are stored by the first one, and larger ones are collected over several.
//!
//! `event_append_batch` answers `{:ok, ids}`, `{:wait, ids, seq}` or `:behind` as `event_append` does, or
//! `{:more, batch, rest}`. Then `event_batch_read` takes some of the rest,
//! until it answers `{:read, batch}`, and `event_batch_append` stores them: on a dirty scheduler where that takes longer
//! than a scheduler should give. `:encode` in between says that there is an event which the library cannot read within
//! its budget: the whole batch is then for `event_append_batch_encoded`. A batch that is given up is collected as
//! garbage; nothing of it was stored.

use std::sync::{Mutex, PoisonError};

use elixirscope_foundation::error::Error;
use elixirscope_foundation::events::{Encoding, EventStore, NewEvent, Receipt, TypeId};
use rustler::schedule::consume_timeslice;
use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, Resource, ResourceArc, Term};

use crate::append::{Fields, QUICK, Read, answer, percent, with_scratch};
use crate::atoms;
use crate::boundary::guard;
use crate::encode::{Beyond, Budget, LONGEST_STRING, Scratch};
use crate::instance::{Attached, with};
use crate::terms::{Items, binary, bytes_of, mismatch};
use crate::texts;

/// Events that a call reads at most.
const QUICK_EVENTS: usize = 250;
/// Events that a normal scheduler stores at once, having read them before.
const QUICK_STORED: usize = 1_500;
/// Bytes that are collected for a batch at most.
const MOST_BYTES: usize = 64 << 20;
/// The largest data that is stored without Elixir's asking whether it is too large.
const LARGEST: usize = 1_000_000;

const _: () = assert!(QUICK.terms < LONGEST_STRING && QUICK.bytes < LARGEST);

/// From where to where something lies in the bytes of a batch.
type Span = (usize, usize);

/// One event: what was read, and where its texts and data lie.
struct Row {
    event_type: TypeId,
    event_id: u64,
    timestamp: i64,
    wall_time: Option<i64>,
    parent_id: Option<u64>,
    correlation: Option<Span>,
    node: Span,
    pid: Span,
    data: Span,
}

/// A batch that is being collected.
struct Collected {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    rows: Vec<Row>,
    bytes: Vec<u8>,
    at: usize,
}

#[rustler::resource_impl]
impl Resource for Collected {}

/// Stores all event structs of the list or none.
#[rustler::nif]
fn event_append_batch<'a>(env: Env<'a>, handle: Term<'a>, events: Term<'a>) -> Term<'a> {
    guard(env, || {
        with_scratch(|scratch| {
            let mut rows = Vec::with_capacity(QUICK_EVENTS);
            match read_some(env, handle, scratch, &mut rows, events)? {
                Some(rest) if rest.is_empty_list() => store(env, handle, scratch, &rows, &[], now_or_never),
                Some(rest) => {
                    let mut inner = Inner { rows, ..Inner::default() };
                    scratch.exchange(&mut inner.bytes, &mut inner.at);
                    let batch = ResourceArc::new(Collected { inner: Mutex::new(inner) });
                    Ok((atoms::more(), batch, rest).encode(env))
                }
                None => Ok(atoms::encode().encode(env)),
            }
        })
    })
}

/// Reads more of a batch: `{:more, batch, rest}`, or `{:read, batch}` when that was all.
#[rustler::nif]
fn event_batch_read<'a>(env: Env<'a>, handle: Term<'a>, batch: Term<'a>, rest: Term<'a>) -> Term<'a> {
    guard(env, || {
        let collected = decode(batch)?;
        let mut inner = collected.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { rows, bytes, at } = &mut *inner;
        let rest = with_scratch(|scratch| {
            scratch.exchange(bytes, at);
            let rest = read_some(env, handle, scratch, rows, rest);
            scratch.exchange(bytes, at);
            rest
        })?;
        match rest {
            Some(rest) if rest.is_empty_list() => Ok((atoms::read(), batch).encode(env)),
            Some(rest) => Ok((atoms::more(), batch, rest).encode(env)),
            None => Ok(atoms::encode().encode(env)),
        }
    })
}

/// Stores a batch that was read: `{:ok, ids}`, or `:dirty` where that takes longer than a scheduler should give.
#[rustler::nif]
fn event_batch_append<'a>(env: Env<'a>, handle: Term<'a>, batch: Term<'a>) -> Term<'a> {
    guard(env, || store_collected(env, handle, batch, QUICK_STORED, now_or_never))
}

/// As [`event_batch_append`], for any number of events.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_batch_append_dirty<'a>(env: Env<'a>, handle: Term<'a>, batch: Term<'a>) -> Term<'a> {
    guard(env, || store_collected(env, handle, batch, usize::MAX, in_time))
}

/// Stores all event structs of the list or none, their data in external term format.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_append_batch_encoded<'a>(env: Env<'a>, handle: Term<'a>, events: Term<'a>) -> Term<'a> {
    guard(env, || {
        with_scratch(|scratch| {
            let (mut rows, mut data) = (vec![], vec![]);
            with(handle, |attached| {
                let instance = attached.pin()?;
                let store = instance.foundation().events();
                let mut reader = Reader::new(attached, store, scratch);
                for (index, item) in Items::new("the events", events).enumerate() {
                    let at = |error: Error| error.with("index", index);
                    let fields = item.ok().and_then(Fields::of).ok_or_else(|| at(item_error(events)))?;
                    data.push(bytes_of(&binary("data", fields.data).map_err(at)?));
                    let wall_time = fields.encoded_wall_time().map_err(at)?;
                    rows.push(reader.row(&fields, wall_time).map_err(at)?);
                }
                Ok(())
            })?;
            store(env, handle, scratch, &rows, &data, in_time)
        })
    })
}

fn decode(batch: Term<'_>) -> Result<ResourceArc<Collected>, Error> {
    batch.decode().map_err(|_| mismatch("the batch", batch, "what event_append_batch/2 gave"))
}

fn store_collected<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    batch: Term<'a>,
    most: usize,
    append: Append,
) -> Result<Term<'a>, Error> {
    let collected = decode(batch)?;
    let mut inner = collected.inner.lock().unwrap_or_else(PoisonError::into_inner);
    if inner.rows.len() > most {
        return Ok(atoms::dirty().encode(env));
    }
    let Inner { rows, mut bytes, mut at } = std::mem::take(&mut *inner);
    with_scratch(|scratch| {
        // The thread keeps the bytes afterwards, for the next batch.
        scratch.exchange(&mut bytes, &mut at);
        if most < usize::MAX {
            consume_timeslice(env, percent(0, rows.len()));
        }
        store(env, handle, scratch, &rows, &[], append)
    })
}

/// Reads events until that is enough for a call: what is left of the list. `None` if the first of them is not to be
/// read here.
fn read_some<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    scratch: &mut Scratch,
    rows: &mut Vec<Row>,
    events: Term<'a>,
) -> Result<Option<Term<'a>>, Error> {
    with(handle, |attached| {
        let instance = attached.pin()?;
        let store = instance.foundation().events();
        let (mut budget, mut rest, mut items) = (QUICK, events, Items::new("the events", events));
        if scratch.written() > MOST_BYTES {
            return Ok(None);
        }
        let mut reader = Reader::new(attached, store, scratch);
        let mut count = 0;
        while count < QUICK_EVENTS {
            let Some(item) = items.step() else {
                items.end()?;
                break;
            };
            let index = rows.len();
            let row = reader.read(item, &mut budget).map_err(|unread| unread.map(|e| e.with("index", index)));
            match row {
                Ok(row) => rows.push(row),
                Err(Unread::Wrong(error)) => return Err(error),
                Err(Unread::Beyond) if count == 0 => return Ok(None),
                // The next call tries it with all of its budget.
                Err(Unread::Beyond) => break,
            }
            rest = items.rest();
            count += 1;
        }
        consume_timeslice(env, percent(QUICK.terms - budget.terms, count));
        Ok(Some(rest))
    })
}

/// Stores the rows: `{:ok, ids}`. Their data lies in the scratch memory, unless it is given.
fn store<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    scratch: &Scratch,
    rows: &[Row],
    data: &[&[u8]],
    append: Append,
) -> Result<Term<'a>, Error> {
    with(handle, |attached| {
        let instance = attached.pin()?;
        let bytes = |(from, to): Span| scratch.bytes(from..to);
        // Events of a batch mostly share their node and pid: looked at once.
        let mut texts = [((0, 0), ""); 2];
        let mut text = |which: usize, span: Span| match texts.get_mut(which) {
            Some((known, text)) if *known == span => *text,
            Some(last) => {
                *last = (span, scratch.text(span.0..span.1));
                last.1
            }
            None => "",
        };
        let mut given = data.iter();
        let batch: Vec<NewEvent<'_>> = rows
            .iter()
            .map(|row| NewEvent {
                event_type: row.event_type.into(),
                event_id: Some(row.event_id),
                timestamp: Some(row.timestamp),
                wall_time: row.wall_time,
                node: text(0, row.node),
                pid: text(1, row.pid),
                correlation_id: row.correlation.map(bytes),
                parent_id: row.parent_id,
                encoding: Encoding::Etf,
                data: given.next().copied().unwrap_or_else(|| bytes(row.data)),
            })
            .collect();
        let events = instance.foundation().events();
        let receipts = match append(events, &batch) {
            Ok(receipts) => receipts,
            Err(error) if EventStore::is_behind(&error) => return Ok(atoms::behind().encode(env)),
            Err(error) => return Err(error),
        };
        let ids: Vec<u64> = receipts.iter().map(|receipt| receipt.event_id).collect();
        Ok(answer(env, events, ids, &receipts))
    })
}

type Append = fn(&EventStore, &[NewEvent<'_>]) -> Result<Vec<Receipt>, Error>;

/// A scheduler never waits for room: where the strategy is to block, this is `store_full`.
fn now_or_never(events: &EventStore, batch: &[NewEvent<'_>]) -> Result<Vec<Receipt>, Error> {
    events.append_batch_at_once(batch)
}

/// Waits for room where that is the strategy, but never for a disk.
fn in_time(events: &EventStore, batch: &[NewEvent<'_>]) -> Result<Vec<Receipt>, Error> {
    if events.has_files() { events.append_batch_at_once(batch) } else { events.append_batch(batch) }
}

/// Why an event was not read.
enum Unread {
    /// It is more than this call may take, or not for the library to understand.
    Beyond,
    /// Something about it is wrong.
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
    at: Span,
}

/// Reads the events of a batch, within one call.
struct Reader<'s> {
    attached: &'s Attached,
    store: &'s EventStore,
    scratch: &'s mut Scratch,
    node: Text,
    pid: Text,
}

impl<'s> Reader<'s> {
    fn new(attached: &'s Attached, store: &'s EventStore, scratch: &'s mut Scratch) -> Self {
        Self { attached, store, scratch, node: Text::default(), pid: Text::default() }
    }

    /// An event struct whose data is a term.
    fn read(&mut self, event: Term<'_>, budget: &mut Budget) -> Result<Row, Unread> {
        let fields = Fields::of(event).ok_or_else(|| item_error(event))?;
        let wall_time = fields.wall_time_ns().map_err(|Beyond| Unread::Beyond)?;
        let mut row = self.row(&fields, wall_time)?;
        let from = self.scratch.written();
        self.scratch.encode(fields.data, budget).map_err(|Beyond| Unread::Beyond)?;
        row.data = (from, self.scratch.written());
        Ok(row)
    }

    /// All of an event but its data.
    fn row(&mut self, fields: &Fields<'_>, wall_time: Option<i64>) -> Result<Row, Error> {
        let read = Read::new(self.attached, self.store, fields, wall_time)?;
        let node = self.node(fields.node)?;
        let pid = self.pid(fields.pid)?;
        let correlation = read.correlation_id.map(|id| write(self.scratch, id));
        Ok(Row {
            event_type: read.event_type,
            event_id: read.event_id,
            timestamp: read.timestamp,
            wall_time: read.wall_time,
            parent_id: read.parent_id,
            correlation,
            node,
            pid,
            data: (0, 0),
        })
    }

    /// Where the text of a node lies: events of a batch mostly share theirs.
    fn node(&mut self, term: Term<'_>) -> Result<Span, Error> {
        if self.node.of != Some(term.as_c_arg()) {
            let at = texts::with_node(term, |text| Ok(write(self.scratch, text.as_bytes())))?;
            self.node = Text { of: Some(term.as_c_arg()), at };
        }
        Ok(self.node.at)
    }

    /// Where the text of a pid lies.
    fn pid(&mut self, term: Term<'_>) -> Result<Span, Error> {
        if self.pid.of != Some(term.as_c_arg()) {
            let at = texts::with_pid(term, |text| Ok(write(self.scratch, text.as_bytes())))?;
            self.pid = Text { of: Some(term.as_c_arg()), at };
        }
        Ok(self.pid.at)
    }
}

fn write(scratch: &mut Scratch, bytes: &[u8]) -> Span {
    let from = scratch.written();
    scratch.write(bytes);
    (from, scratch.written())
}

#[cold]
fn item_error(term: Term<'_>) -> Error {
    mismatch("an event of the batch", term, "an event struct")
}
