//! Instruments through handles: resolved once by name and labels, then a few nanoseconds a call.

use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::handles::{self, Instance, counters, gauges, histograms};
use rustler::types::map::MapIterator;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::boundary::{guard, quick_nif};
use crate::instance::pinned;
use crate::terms::{Keys, atom_text, from_value, mismatch, new_binary, number, text, unsigned};

/// The handle of a counter.
#[rustler::nif]
fn counter_new<'a>(env: Env<'a>, handle: Term<'a>, name: Term<'a>, labels: Term<'a>) -> Term<'a> {
    guard(env, || resolve(env, handle, name, labels, Instance::counter))
}

/// The handle of a gauge.
#[rustler::nif]
fn gauge_new<'a>(env: Env<'a>, handle: Term<'a>, name: Term<'a>, labels: Term<'a>) -> Term<'a> {
    guard(env, || resolve(env, handle, name, labels, Instance::gauge))
}

/// The handle of a histogram.
#[rustler::nif]
fn histogram_new<'a>(env: Env<'a>, handle: Term<'a>, name: Term<'a>, labels: Term<'a>) -> Term<'a> {
    guard(env, || resolve(env, handle, name, labels, Instance::histogram))
}

fn resolve<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    name: Term<'a>,
    labels: Term<'a>,
    make: impl FnOnce(&Instance, &str, &[(&str, &str)]) -> Result<u64, Error>,
) -> Result<Term<'a>, Error> {
    let name = text("the name", name)?;
    let pairs = MapIterator::new(labels).ok_or_else(|| mismatch("the labels", labels, "a map"))?;
    let pairs: Vec<(String, String)> = pairs
        .map(|(key, value)| Ok((word("a label", key)?, word("a label's value", value)?)))
        .collect::<Result<_, Error>>()?;
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    pinned(handle, |instance| Ok((atoms::ok(), make(instance, name, &pairs)?).encode(env)))
}

fn word(name: &str, term: Term<'_>) -> Result<String, Error> {
    match atom_text(term) {
        Some(word) => Ok(word),
        None => text(name, term).map(str::to_owned),
    }
}

/// Adds to a counter: `:ok`.
fn counter_add<'a>(env: Env<'a>, counter: Term<'a>, n: Term<'a>) -> Term<'a> {
    guard(env, || {
        let n = unsigned("what is added", n)?;
        let counter = unsigned("the counter", counter)?;
        handles::counter_add(counter, n).ok_or_else(|| counters().stale(counter))?;
        Ok(atoms::ok().encode(env))
    })
}

quick_nif!(counter_add(counter, n));

/// Sets a gauge: `:ok`.
fn gauge_set<'a>(env: Env<'a>, gauge: Term<'a>, value: Term<'a>) -> Term<'a> {
    guard(env, || {
        let value = number("the value", value)?;
        let gauge = unsigned("the gauge", gauge)?;
        accepted(env, handles::gauge_set(gauge, value).ok_or_else(|| gauges().stale(gauge))?)
    })
}

quick_nif!(gauge_set(gauge, value));

/// Adds to a gauge: `:ok`.
fn gauge_add<'a>(env: Env<'a>, gauge: Term<'a>, value: Term<'a>) -> Term<'a> {
    guard(env, || {
        let value = number("the value", value)?;
        let gauge = unsigned("the gauge", gauge)?;
        accepted(env, handles::gauge_add(gauge, value).ok_or_else(|| gauges().stale(gauge))?)
    })
}

quick_nif!(gauge_add(gauge, value));

/// Records into a histogram: `:ok`.
fn histogram_record<'a>(env: Env<'a>, histogram: Term<'a>, value: Term<'a>) -> Term<'a> {
    guard(env, || {
        let value = number("the value", value)?;
        let histogram = unsigned("the histogram", histogram)?;
        accepted(
            env,
            handles::histogram_record(histogram, value).ok_or_else(|| histograms().stale(histogram))?,
        )
    })
}

quick_nif!(histogram_record(histogram, value));

#[inline]
fn accepted(env: Env<'_>, accepted: bool) -> Result<Term<'_>, Error> {
    if accepted {
        return Ok(atoms::ok().encode(env));
    }
    Err(Error::new(Code::InvalidInput, "the instrument takes no such value; it was refused and counted"))
}

/// Says what a metric measures: `:ok`.
#[rustler::nif]
fn describe<'a>(env: Env<'a>, handle: Term<'a>, name: Term<'a>, help: Term<'a>) -> Term<'a> {
    guard(env, || {
        let (name, help) = (text("the name", name)?, text("the help text", help)?);
        pinned(handle, |instance| {
            instance.foundation().telemetry().describe(name, help)?;
            Ok(atoms::ok().encode(env))
        })
    })
}

/// `{:ok, text}` of all metrics in Prometheus' format.
#[rustler::nif(schedule = "DirtyCpu")]
fn prometheus<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| {
            let text = instance.foundation().prometheus();
            Ok((atoms::ok(), new_binary(env, text.as_bytes())).encode(env))
        })
    })
}

/// `{:ok, map}` of all instruments by name.
#[rustler::nif(schedule = "DirtyCpu")]
fn instruments<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| {
            let snapshot = instance.foundation().telemetry().snapshot();
            Ok((atoms::ok(), from_value(env, &snapshot, Keys::Strings)).encode(env))
        })
    })
}
