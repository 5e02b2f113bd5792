//! What a query finds counted instead of shown, how it would be found, and the tree of causes of an event. All of it
//! may have to look at every event, so it runs on the dirty schedulers.

use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::events::{Aggregate, FieldSummary, Summary};
use rustler::types::tuple::get_tuple;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::boundary::guard;
use crate::conditions::{decode_query, path};
use crate::events::{Seen, event_term};
use crate::instance::pinned;
use crate::terms::{integer, known_atom, mismatch, new_binary, optional, serialized, unsigned};

/// `{:ok, how many}` events a query finds.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_count<'a>(env: Env<'a>, handle: Term<'a>, query: Term<'a>) -> Term<'a> {
    guard(env, || {
        let query = decode_query(query)?;
        pinned(handle, |instance| {
            Ok((atoms::ok(), instance.foundation().events().query(&query)?.count()?).encode(env))
        })
    })
}

/// `{:ok, plan}`: how a query would be answered.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_explain<'a>(env: Env<'a>, handle: Term<'a>, query: Term<'a>) -> Term<'a> {
    guard(env, || {
        let query = decode_query(query)?;
        pinned(handle, |instance| {
            let plan = serde_json::to_value(instance.foundation().events().explain(&query)?);
            Ok((atoms::ok(), serialized(env, "the plan", plan)?).encode(env))
        })
    })
}

/// `{:ok, summary}` of what a query finds, given `{by_type, bucket_ns, top_correlations, path}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_aggregate<'a>(env: Env<'a>, handle: Term<'a>, query: Term<'a>, aggregate: Term<'a>) -> Term<'a> {
    guard(env, || {
        let query = decode_query(query)?;
        let aggregate = decode_aggregate(aggregate)?;
        pinned(handle, |instance| {
            let summary = instance.foundation().events().aggregate(&query, &aggregate)?;
            Ok((atoms::ok(), summary_term(env, &summary, &aggregate)?).encode(env))
        })
    })
}

fn decode_aggregate(term: Term<'_>) -> Result<Aggregate, Error> {
    let parts = get_tuple(term).unwrap_or_default();
    let [by_type, bucket, top, field] = parts.as_slice() else {
        return Err(mismatch("the aggregate", term, "a tuple of four parts"));
    };
    Ok(Aggregate {
        by_type: by_type.decode().map_err(|_| mismatch("by_type", *by_type, "a boolean"))?,
        bucket_ns: optional(*bucket, |term| integer("bucket_ns", term))?,
        top_correlations: unsigned("top_correlations", *top)?.try_into().unwrap_or(usize::MAX),
        field: optional(*field, path)?,
    })
}

/// The summary as a map that has what was asked for.
fn summary_term<'a>(env: Env<'a>, summary: &Summary, asked: &Aggregate) -> Result<Term<'a>, Error> {
    let mut pairs: Vec<(Term<'a>, Term<'a>)> = vec![
        (atoms::count().encode(env), summary.count.encode(env)),
        (atoms::uncomparable().encode(env), summary.uncomparable.encode(env)),
    ];
    if asked.by_type {
        let types = summary.by_type.iter();
        let types: Vec<_> = types.map(|one| (known_atom(env, &one.event_type), one.count)).collect();
        pairs.push((atoms::by_type().encode(env), types.encode(env)));
    }
    if asked.bucket_ns.is_some() {
        let buckets: Vec<_> = summary.buckets.iter().map(|one| (one.from, one.count)).collect();
        pairs.push((atoms::buckets().encode(env), buckets.encode(env)));
    }
    if asked.top_correlations > 0 {
        let top = summary.top_correlations.iter();
        let top: Vec<_> = top.map(|one| (new_binary(env, &one.correlation_id), one.count)).collect();
        pairs.push((atoms::top_correlations().encode(env), top.encode(env)));
        pairs.push((atoms::correlations_error().encode(env), summary.correlations_error.encode(env)));
    }
    if let Some(field) = &summary.field {
        pairs.push((atoms::field().encode(env), field_term(env, field)?));
    }
    map(env, &pairs)
}

fn field_term<'a>(env: Env<'a>, field: &FieldSummary) -> Result<Term<'a>, Error> {
    map(
        env,
        &[
            (atoms::count().encode(env), field.count.encode(env)),
            (atoms::missing().encode(env), field.missing.encode(env)),
            (atoms::uncomparable().encode(env), field.uncomparable.encode(env)),
            (atoms::min().encode(env), field.min.encode(env)),
            (atoms::mean().encode(env), field.mean.encode(env)),
            (atoms::max().encode(env), field.max.encode(env)),
            (atoms::p50().encode(env), field.p50.encode(env)),
            (atoms::p90().encode(env), field.p90.encode(env)),
            (atoms::p99().encode(env), field.p99.encode(env)),
        ],
    )
}

/// `{:ok, {events, missing_parent, cycles, truncated}}`, each event as `{depth, event}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn event_trace<'a>(env: Env<'a>, handle: Term<'a>, event_id: Term<'a>, limit: Term<'a>) -> Term<'a> {
    guard(env, || {
        let id = unsigned("event_id", event_id)?;
        let limit = unsigned("limit", limit)?.try_into().unwrap_or(usize::MAX);
        pinned(handle, |instance| {
            let trace = instance.foundation().events().trace(id, limit)?;
            let mut seen = Seen::default();
            let events: Vec<(u32, Term<'a>)> = trace
                .events
                .iter()
                .map(|one| (one.depth, event_term(env, &one.event.view(), &mut seen)))
                .collect();
            Ok((atoms::ok(), (events, trace.missing_parent, trace.cycles, trace.truncated)).encode(env))
        })
    })
}

fn map<'a>(env: Env<'a>, pairs: &[(Term<'a>, Term<'a>)]) -> Result<Term<'a>, Error> {
    // The keys are distinct, which is all that making a map asks for.
    Term::map_from_pairs(env, pairs)
        .map_err(|_| Error::new(Code::InternalError, "a map of the summary cannot be made"))
}
