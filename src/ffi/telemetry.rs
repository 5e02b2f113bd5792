//! Telemetry: counters, gauges and histograms with labels.
//!
//! An instrument is made once, by name and labels, and used through its handle: a few nanoseconds a call,
//! from any number of threads without contention. The same name with the same labels, in any order, is the
//! same series. A name has at most 200 bytes, letters, digits, `_`, `:` and `.` (which Prometheus shows as
//! `_`); a series has at most 16 labels. Beyond a metric's limit of series, further ones share an overflow
//! series and are counted.
//!
//! The errors of making an instrument: ESF_E_INVALID_INPUT for a malformed name or label;
//! ESF_E_TYPE_MISMATCH if the name is one of another kind of instrument; ESF_E_TOO_MANY_SERIES;
//! ESF_E_RESOURCE_EXHAUSTED. Instruments end with their instance.

use std::ffi::c_char;

use super::arg::{self, MAX_NAME};
use super::error::esf_error;
use super::foundation::esf_foundation;
use super::status::{ESF_OK, esf_status};
use super::swift;
use super::text::{Sink, esf_str, esf_string};
use crate::error::Result;
use crate::handles;

/// A count that only grows.
pub struct esf_counter {
    _opaque: [u8; 0],
}

/// A value that goes up and down.
pub struct esf_gauge {
    _opaque: [u8; 0],
}

/// A distribution of values that are not negative: latencies, sizes.
pub struct esf_histogram {
    _opaque: [u8; 0],
}

/// A label of an instrument.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_label {
    /// Letters, digits and `_`.
    pub name: esf_str,
    /// Any text, at most 1024 bytes.
    pub value: esf_str,
}

layout! {
    esf_label 32 { name 0, value 16 }
}

/// Makes a counter, or another handle for it.
///
/// Errors: those of this section's introduction.
/// Threads: any, concurrently.
/// Ownership: the handle is the caller's; free it with `esf_counter_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_counter_new(
    foundation: *const esf_foundation,
    name: esf_str,
    labels: *const esf_label,
    label_count: usize,
    out_counter: *mut *mut esf_counter,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(name, MAX_NAME), list(labels, label_count),
             out(out_counter) => {
        out_counter.set(arg::to_handle(foundation.counter(name, &pairs(labels)?)?));
        Ok(ESF_OK)
    } }
}

/// Adds to a counter. An overflow wraps around.
///
/// Errors: ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
/// Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_counter_add(counter: *const esf_counter, n: u64) -> esf_status {
    guard! { hot, handle(counter) => {
        swift::done(handles::counter_add(counter, n), counter)
    } }
}

/// The sum of what was added through any handle of this counter.
///
/// Errors: ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_counter_value(counter: *const esf_counter, out_value: *mut u64) -> esf_status {
    guard! { hot, handle(counter), out(out_value) => {
        swift::put(handles::counter_value(counter), &mut out_value, counter)
    } }
}

/// Frees a counter's handle; its series stays. NULL is fine.
///
/// Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
/// Threads: any.
/// Ownership: ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_counter_free(counter: *mut esf_counter) -> esf_status {
    guard! { brief, optional_handle(counter) => { arg::free_hot(handles::counters(), counter) } }
}

/// Makes a gauge, or another handle for it.
///
/// Errors: those of this section's introduction.
/// Threads: any, concurrently.
/// Ownership: the handle is the caller's; free it with `esf_gauge_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_gauge_new(
    foundation: *const esf_foundation,
    name: esf_str,
    labels: *const esf_label,
    label_count: usize,
    out_gauge: *mut *mut esf_gauge,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(name, MAX_NAME), list(labels, label_count),
             out(out_gauge) => {
        out_gauge.set(arg::to_handle(foundation.gauge(name, &pairs(labels)?)?));
        Ok(ESF_OK)
    } }
}

/// Sets a gauge.
///
/// Errors: ESF_E_INVALID_INPUT for NaN; ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
/// Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_gauge_set(gauge: *const esf_gauge, value: f64) -> esf_status {
    guard! { hot, handle(gauge) => {
        swift::accepted(handles::gauge_set(gauge, value), gauge)
    } }
}

/// Adds to a gauge; a negative value subtracts.
///
/// Errors: ESF_E_INVALID_INPUT for NaN; ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
/// Threads: any, concurrently; takes a few nanoseconds.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_gauge_add(gauge: *const esf_gauge, value: f64) -> esf_status {
    guard! { hot, handle(gauge) => {
        swift::accepted(handles::gauge_add(gauge, value), gauge)
    } }
}

/// The current value of a gauge.
///
/// Errors: ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_gauge_value(gauge: *const esf_gauge, out_value: *mut f64) -> esf_status {
    guard! { hot, handle(gauge), out(out_value) => {
        swift::put(handles::gauge_value(gauge), &mut out_value, gauge)
    } }
}

/// Frees a gauge's handle; its series stays. NULL is fine.
///
/// Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
/// Threads: any.
/// Ownership: ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_gauge_free(gauge: *mut esf_gauge) -> esf_status {
    guard! { brief, optional_handle(gauge) => { arg::free_hot(handles::gauges(), gauge) } }
}

/// Makes a histogram, or another handle for it.
///
/// Errors: those of this section's introduction.
/// Threads: any, concurrently.
/// Ownership: the handle is the caller's; free it with `esf_histogram_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_histogram_new(
    foundation: *const esf_foundation,
    name: esf_str,
    labels: *const esf_label,
    label_count: usize,
    out_histogram: *mut *mut esf_histogram,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(name, MAX_NAME), list(labels, label_count),
             out(out_histogram) => {
        out_histogram.set(arg::to_handle(foundation.histogram(name, &pairs(labels)?)?));
        Ok(ESF_OK)
    } }
}

/// Records a value in a histogram.
///
/// Errors: ESF_E_INVALID_INPUT for NaN and negative values; ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
/// Threads: any, concurrently; takes a few nanoseconds.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_histogram_record(histogram: *const esf_histogram, value: f64) -> esf_status {
    guard! { hot, handle(histogram) => {
        swift::accepted(handles::histogram_record(histogram, value), histogram)
    } }
}

/// A quantile of what was recorded, 0.0 to 1.0, such as 0.99; off by at most 0.8 %.
///
/// Errors: ESF_E_RANGE_ERROR for a quantile outside 0.0 to 1.0; ESF_E_DATA_NOT_FOUND if nothing was recorded;
/// ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_histogram_quantile(
    histogram: *const esf_histogram,
    quantile: f64,
    out_value: *mut f64,
) -> esf_status {
    guard! { brief, handle(histogram), out(out_value) => {
        arg::fraction(quantile, "quantile")?;
        let Some(distribution) = handles::histogram_distribution(histogram) else {
            return Err(arg::stale(histogram, "histogram"));
        };
        match distribution.quantile(quantile) {
            Some(value) => {
                out_value.set(value);
                Ok(ESF_OK)
            }
            None => Err(arg::nothing_recorded()),
        }
    } }
}

/// Frees a histogram's handle; its series stays. NULL is fine.
///
/// Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
/// Threads: any.
/// Ownership: ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_histogram_free(histogram: *mut esf_histogram) -> esf_status {
    guard! { brief, optional_handle(histogram) => { arg::free_hot(handles::histograms(), histogram) } }
}

/// Says what a metric is about, for whoever reads it in Prometheus.
///
/// Errors: ESF_E_INVALID_INPUT for a malformed name or a text that is too long.
/// Threads: any, concurrently.
/// Ownership: the text is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_telemetry_describe(
    foundation: *const esf_foundation,
    name: esf_str,
    help: esf_str,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(name, MAX_NAME), text(help, MAX_NAME) => {
        foundation.foundation().telemetry().describe(name, help)?;
        Ok(ESF_OK)
    } }
}

/// All metrics as Prometheus text (format 0.0.4), the instance's own among them.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently; recording goes on meanwhile.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_telemetry_prometheus(
    foundation: *const esf_foundation,
    out_text: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), out(out_text) => {
        out_text.put(foundation.foundation().prometheus())
    } }
}

/// All metrics as Prometheus text, into a buffer.
///
/// Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently; recording goes on meanwhile.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_telemetry_prometheus_into(
    foundation: *const esf_foundation,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), buffer(buffer, capacity, out_needed) => {
        buffer.put(foundation.foundation().prometheus())
    } }
}

/// All metrics as JSON: counters and gauges with their values, histograms with count, sum and quantiles.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently; recording goes on meanwhile.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_telemetry_snapshot_json(
    foundation: *const esf_foundation,
    out_json: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), out(out_json) => {
        out_json.put(foundation.foundation().telemetry().snapshot().to_string())
    } }
}

/// All metrics as JSON, into a buffer.
///
/// Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently; recording goes on meanwhile.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_telemetry_snapshot_json_into(
    foundation: *const esf_foundation,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), buffer(buffer, capacity, out_needed) => {
        buffer.put(foundation.foundation().telemetry().snapshot().to_string())
    } }
}

/// The labels as text, each checked.
fn pairs(labels: &[esf_label]) -> Result<Vec<(&str, &str)>> {
    let mut pairs = Vec::with_capacity(labels.len().min(64));
    for (index, label) in labels.iter().enumerate() {
        // SAFETY: the pointers stand in an array of the caller's, whose contract covers them as well.
        let pair = unsafe {
            arg::text(label.name, "labels.name", MAX_NAME)
                .and_then(|name| Ok((name, arg::text(label.value, "labels.value", MAX_NAME)?)))
        };
        pairs.push(pair.map_err(|error| error.with("index", index))?);
    }
    Ok(pairs)
}
