//! What a query asks for, from the tuple that Elixir makes of it.

use std::time::Duration;

use elixirscope_foundation::error::Error;
use elixirscope_foundation::events::{Condition, Operand, Order, Query, Step, Test};
use rustler::Term;
use rustler::types::tuple::get_tuple;

use crate::atoms;
use crate::terms::{Items, atom_text, binary, bytes_of, integer, is_nil, mismatch, optional, text, unsigned};
use crate::texts;

/// The tuple `{types, correlation_id, time_range, seq_range, id_range, parent, node, pid, data, order, direction,
/// offset, limit, timeout_ms}` as a query. What may be nil asks for nothing; a parent, node and pid that is asked for
/// is `{:is, value}`, since nil is a value there.
pub(crate) fn decode_query(term: Term<'_>) -> Result<Query, Error> {
    let parts = get_tuple(term).unwrap_or_default();
    let [
        types,
        correlation,
        times,
        seqs,
        ids,
        parent,
        node,
        pid,
        data,
        order,
        direction,
        offset,
        limit,
        timeout,
    ] = parts.as_slice()
    else {
        return Err(mismatch("the query", term, "a tuple of fourteen parts"));
    };
    Ok(Query {
        types: names("event_type", *types)?,
        correlation_id: optional(*correlation, |term| {
            Ok(bytes_of(&binary("correlation_id", term)?).to_vec())
        })?,
        time_range: optional(*times, |term| range("time_range", term, integer))?,
        seq_range: optional(*seqs, |term| range("seq_range", term, unsigned))?,
        id_range: optional(*ids, |term| range("id_range", term, unsigned))?,
        parent_id: asked("parent_id", *parent, |term| {
            if is_nil(term) { Ok(0) } else { unsigned("parent_id", term) }
        })?,
        node: asked("node", *node, |term| texts::with_node(term, |node| Ok(node.to_owned())))?,
        pid: asked("pid", *pid, |term| {
            // Processes and threads of other languages go by whatever text they like.
            if term.is_binary() {
                return text("pid", term).map(str::to_owned);
            }
            texts::with_pid(term, |pid| Ok(pid.to_owned()))
        })?,
        conditions: Items::new("data", *data).map(|item| condition(item?)).collect::<Result<Vec<_>, _>>()?,
        order: match *order {
            order if atoms::timestamp() == order => Order::Timestamp,
            order if atoms::seq() == order => Order::Seq,
            order if atoms::event_id() == order => Order::Id,
            order => return Err(mismatch("the order", order, ":timestamp, :event_id or :seq")),
        },
        descending: match *direction {
            direction if atoms::desc() == direction => true,
            direction if atoms::asc() == direction => false,
            direction => return Err(mismatch("the direction", direction, ":asc or :desc")),
        },
        offset: unsigned("offset", *offset)?,
        limit: optional(*limit, |term| unsigned("limit", term))?,
        timeout: optional(*timeout, |term| unsigned("timeout", term))?.map(Duration::from_millis),
        without_indexes: false,
    })
}

fn names(name: &'static str, list: Term<'_>) -> Result<Vec<String>, Error> {
    Items::new(name, list)
        .map(|item| {
            let item = item?;
            atom_text(item).ok_or_else(|| mismatch(name, item, "an atom"))
        })
        .collect()
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

/// `None` for nil, the value of `{:is, value}`.
fn asked<'a, T>(
    name: &str,
    term: Term<'a>,
    decode: impl FnOnce(Term<'a>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    optional(term, |term| match get_tuple(term).unwrap_or_default().as_slice() {
        [tag, value] if atoms::is() == *tag => decode(*value),
        _ => Err(mismatch(name, term, "{:is, value}")),
    })
}

/// A condition on the data: `{path, operator, value}`.
fn condition(term: Term<'_>) -> Result<Condition, Error> {
    let parts = get_tuple(term).unwrap_or_default();
    let [steps, operator, value] = parts.as_slice() else {
        return Err(mismatch("a condition of :data", term, "{path, operator, value}"));
    };
    let name = atom_text(*operator).ok_or_else(|| mismatch("an operator of :data", *operator, "an atom"))?;
    let operands = if name == "in" {
        Items::new("the value of :in", *value).map(|item| operand(item?)).collect::<Result<_, _>>()?
    } else {
        vec![operand(*value)?]
    };
    Condition::new(path(*steps)?, Test::from_operator(&name, operands)?)
}

/// A path into data: a list of atoms, binaries and positions.
pub(crate) fn path(list: Term<'_>) -> Result<Vec<Step>, Error> {
    Items::new("a path into data", list)
        .map(|item| {
            let item = item?;
            if let Some(key) = atom_text(item) {
                return Ok(Step::Key(key));
            }
            if item.is_binary() {
                return text("a key in a path", item).map(|key| Step::Key(key.to_owned()));
            }
            item.decode::<u32>()
                .map(Step::Index)
                .map_err(|_| mismatch("a step of a path", item, "an atom, text or a position below 2^32"))
        })
        .collect()
}

/// A value to compare with. Only what can be compared is turned into bytes, so that those are few.
fn operand(term: Term<'_>) -> Result<Operand, Error> {
    if term.is_atom() || term.is_number() || term.is_binary() {
        return Operand::from_etf(term.to_binary().as_slice());
    }
    let expected = "nil, a boolean, a number, a binary or an atom";
    Err(mismatch("a value of :data", term, expected))
}
