//! Metrics by the list of atoms that names them: what `Telemetry.execute` and `emit_…` of Elixir record.
//!
//! A metric is made at its first emission and found after that without text: the words of its name are hashed,
//! the table of that hash is read under a lock that only a new metric takes for writing. Counters, gauges and
//! durations go to the core's instruments of the same name, so Prometheus sees them too; what only Elixir asks
//! for (how often, when last, the first metadata, the last value as it was) is kept here.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::telemetry::{Counter, Gauge, Histogram, Telemetry};
use hashbrown::HashTable;
use rustler::sys::ErlNifTerm;
use rustler::types::atom::Atom;
use rustler::types::map::MapIterator;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::boundary::{guard, quick_nif};
use crate::instance::{Attached, with};
use crate::terms::{Items, as_f64, atom_text, integer, map_of, mismatch, new_binary, word};

/// How many metrics an instance may have by name.
const MAX_METRICS: usize = 10_000;
/// How many different measurements a metric may have.
const MAX_MEASUREMENTS: usize = 32;
/// The longest name, in atoms.
const MAX_NAME: usize = 16;
/// The largest metadata that is kept, in bytes of the external term format; larger is shown as empty.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// The metrics of one instance.
#[derive(Default)]
pub(crate) struct Metrics {
    table: RwLock<HashTable<Arc<Metric>>>,
    refused: AtomicU64,
    /// Names whose emissions Elixir wants to hear of.
    attached: RwLock<HashSet<Name>>,
}

/// The words of the atoms of a name, and their hash.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Name {
    hash: u64,
    words: [ErlNifTerm; MAX_NAME],
    len: usize,
}

struct Metric {
    /// The name as Elixir wrote it.
    name: Name,
    text: String,
    /// The first emission's, in the external term format.
    metadata: Vec<u8>,
    /// Whether Elixir wants to hear of emissions.
    attached: AtomicBool,
    count: AtomicU64,
    last_ns: AtomicI64,
    measurements: RwLock<Vec<Arc<Measurement>>>,
}

struct Measurement {
    key: ErlNifTerm,
    kind: Kind,
    /// Whether the last value was an integer, so that it is shown as one.
    whole: AtomicBool,
}

enum Kind {
    /// `:counter`: summed. `base` is what the core's counter held when the metric was made.
    Sum { counter: Option<Counter>, base: u64, own: AtomicU64 },
    /// `:gauge`: the last value.
    Last { gauge: Option<Gauge>, bits: AtomicU64 },
    /// Other numbers: their mean.
    Mean { histogram: Option<Histogram>, sum_bits: AtomicU64, samples: AtomicU64 },
    /// Other terms: the last one.
    Term(Mutex<Vec<u8>>),
}

impl Metrics {
    fn read(&self) -> RwLockReadGuard<'_, HashTable<Arc<Metric>>> {
        // Inserting and clearing leave the table whole, so a holder's panic changes nothing.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashTable<Arc<Metric>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `record` with the metric of this name, made if it is not there.
    #[inline]
    fn record<R>(
        &self,
        name: Term<'_>,
        metadata: Term<'_>,
        record: impl FnOnce(&Metric) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let key = Name::new(name)?;
        {
            let table = self.read();
            if let Some(metric) = key.find(&table) {
                return record(metric);
            }
        }
        let metric = self.make(key, name, metadata)?;
        record(&metric)
    }

    fn attach(&self, name: Name, wanted: bool) -> Result<(), Error> {
        let mut attached = self.attached.write().unwrap_or_else(PoisonError::into_inner);
        if !wanted {
            attached.remove(&name);
        } else if attached.len() < MAX_METRICS {
            attached.insert(name);
        } else {
            return Err(Error::new(Code::ResourceExhausted, format!("{MAX_METRICS} names have handlers")));
        }
        if let Some(metric) = name.find(&self.read()) {
            metric.attached.store(wanted, Ordering::Relaxed);
        }
        Ok(())
    }

    #[cold]
    fn make(&self, key: Name, name: Term<'_>, metadata: Term<'_>) -> Result<Arc<Metric>, Error> {
        let text = metric_name(name)?;
        let bytes = metadata.to_binary();
        let kept =
            if bytes.len() <= MAX_METADATA_BYTES { bytes } else { Term::map_new(name.get_env()).to_binary() };
        // In this order, as in `attach`; held until the metric is there, so that no attaching is missed.
        let attached_names = self.attached.read().unwrap_or_else(PoisonError::into_inner);
        let attached = attached_names.contains(&key);
        let mut table = self.write();
        if table.len() >= MAX_METRICS && key.find(&table).is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::new(
                Code::TooManySeries,
                format!("the instance holds {MAX_METRICS} metrics by name, which is the limit"),
            ));
        }
        let metric = table
            .entry(key.hash, |metric| metric.name.same(&key), |metric| metric.name.hash)
            .or_insert_with(|| {
                Arc::new(Metric {
                    name: key,
                    text,
                    metadata: kept.as_slice().to_vec(),
                    attached: AtomicBool::new(attached),
                    count: AtomicU64::new(0),
                    last_ns: AtomicI64::new(0),
                    measurements: RwLock::default(),
                })
            });
        Ok(metric.get().clone())
    }
}

impl Name {
    #[inline]
    fn new(name: Term<'_>) -> Result<Self, Error> {
        let mut words = [ErlNifTerm::default(); MAX_NAME];
        let mut len = 0;
        let mut hash = 0_u64;
        let mut items = Items::new("the name", name);
        while let Some(item) = items.step() {
            hash = (hash.rotate_left(5) ^ word(item) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            match words.get_mut(len) {
                Some(place) if item.is_atom() => *place = item.as_c_arg(),
                Some(_) => return Err(mismatch("a part of the name", item, "an atom")),
                None => {
                    return Err(Error::new(
                        Code::InvalidInput,
                        format!("a metric's name has at most {MAX_NAME} atoms"),
                    ));
                }
            }
            len += 1;
        }
        items.end()?;
        if len == 0 {
            return Err(mismatch("the name", name, "a list of at least one atom"));
        }
        Ok(Self { hash, words, len })
    }

    #[inline]
    fn same(&self, other: &Self) -> bool {
        self.hash == other.hash && self.used() == other.used()
    }

    #[inline]
    fn used(&self) -> &[ErlNifTerm] {
        self.words.get(..self.len).unwrap_or_default()
    }

    #[inline]
    fn find<'t>(&self, table: &'t HashTable<Arc<Metric>>) -> Option<&'t Arc<Metric>> {
        table.find(self.hash, |metric| metric.name.same(self))
    }

    fn term<'a>(&self, env: Env<'a>) -> Term<'a> {
        let atoms: Vec<Term<'a>> = self.used().iter().map(|word| atom_of(env, *word)).collect();
        atoms.encode(env)
    }
}

fn atom_of(env: Env<'_>, word: ErlNifTerm) -> Term<'_> {
    // SAFETY: only words of terms that were atoms are kept; atoms are immediates that are never collected, valid
    // in every environment for as long as the VM lives.
    unsafe { Term::new(env, word) }
}

/// The name as the core has it: dots between the parts, other characters than letters, digits and `_` as `_`.
fn metric_name(name: Term<'_>) -> Result<String, Error> {
    let mut text = String::new();
    for item in Items::new("the name", name) {
        let item = item?;
        let part = atom_text(item).ok_or_else(|| mismatch("a part of the name", item, "an atom"))?;
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(part.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    }
    Ok(text)
}

impl Metric {
    /// Counts an emission; what the NIF answers.
    #[inline]
    fn seen(&self, now_ns: i64) -> Atom {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.last_ns.store(now_ns, Ordering::Relaxed);
        if self.attached.load(Ordering::Relaxed) { atoms::attached() } else { atoms::ok() }
    }

    #[inline]
    fn measure(&self, telemetry: &Telemetry, key: Term<'_>, value: Term<'_>) -> Result<(), Error> {
        {
            let known = self.measurements.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(measurement) = known.iter().find(|m| m.key == key.as_c_arg()) {
                return measurement.record(value);
            }
        }
        self.add_measurement(telemetry, key, value)?.record(value)
    }

    #[cold]
    fn add_measurement(
        &self,
        telemetry: &Telemetry,
        key: Term<'_>,
        value: Term<'_>,
    ) -> Result<Arc<Measurement>, Error> {
        let text = atom_text(key).ok_or_else(|| mismatch("a measurement's name", key, "an atom"))?;
        let mut known = self.measurements.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(measurement) = known.iter().find(|m| m.key == key.as_c_arg()) {
            return Ok(measurement.clone());
        }
        if known.len() >= MAX_MEASUREMENTS {
            return Err(Error::new(
                Code::TooManySeries,
                format!("the metric {} has {MAX_MEASUREMENTS} measurements, which is the limit", self.text),
            ));
        }
        // A name that the core refuses (taken by another kind, or too many) is still kept for Elixir.
        let kind = if atoms::counter() == key {
            let counter = telemetry.counter(&self.text, &[]).ok();
            let base = counter.as_ref().map_or(0, Counter::value);
            Kind::Sum { counter, base, own: AtomicU64::new(0) }
        } else if atoms::gauge() == key {
            Kind::Last { gauge: telemetry.gauge(&self.text, &[]).ok(), bits: AtomicU64::new(0) }
        } else if as_f64(value).is_some() {
            let histogram = telemetry.histogram(&format!("{}.{text}", self.text), &[]).ok();
            Kind::Mean { histogram, sum_bits: AtomicU64::new(0), samples: AtomicU64::new(0) }
        } else {
            Kind::Term(Mutex::default())
        };
        let measurement = Arc::new(Measurement { key: key.as_c_arg(), kind, whole: AtomicBool::new(true) });
        known.push(measurement.clone());
        Ok(measurement)
    }
}

impl Measurement {
    #[inline]
    fn record(&self, value: Term<'_>) -> Result<(), Error> {
        match &self.kind {
            Kind::Sum { counter, own, .. } => {
                let n = value
                    .decode::<u64>()
                    .map_err(|_| mismatch("a counter's value", value, "an integer of at least 0"))?;
                match counter {
                    Some(counter) => counter.add(n),
                    None => drop(own.fetch_add(n, Ordering::Relaxed)),
                }
            }
            Kind::Last { gauge, bits } => {
                let number = as_f64(value).ok_or_else(|| mismatch("a gauge's value", value, "a number"))?;
                self.note_type(value);
                bits.store(number.to_bits(), Ordering::Relaxed);
                if let Some(gauge) = gauge {
                    gauge.set(number);
                }
            }
            Kind::Mean { histogram, sum_bits, samples } => {
                let number =
                    as_f64(value).ok_or_else(|| mismatch("a measurement", value, "a number, as before"))?;
                self.note_type(value);
                let add = |bits: u64| Some((f64::from_bits(bits) + number).to_bits());
                // The closure always answers, so the update always happens.
                let _ = sum_bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
                samples.fetch_add(1, Ordering::Relaxed);
                if let Some(histogram) = histogram {
                    histogram.record(number);
                }
            }
            Kind::Term(last) => {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = value.to_binary().as_slice().to_vec();
            }
        }
        Ok(())
    }

    #[inline]
    fn note_type(&self, value: Term<'_>) {
        let whole = value.is_integer();
        if self.whole.load(Ordering::Relaxed) != whole {
            self.whole.store(whole, Ordering::Relaxed);
        }
    }

    /// `{key, value}`, or `{key, :term, bytes}` for what Elixir has to decode.
    fn term<'a>(&self, env: Env<'a>) -> Term<'a> {
        let key = atom_of(env, self.key);
        let number = |value: f64| {
            let whole = self.whole.load(Ordering::Relaxed) && value.fract() == 0.0 && value.abs() < 9e15;
            if whole { (value as i64).encode(env) } else { value.encode(env) }
        };
        match &self.kind {
            Kind::Sum { counter, base, own } => {
                let sum = counter.as_ref().map_or(own.load(Ordering::Relaxed), Counter::value);
                (key, sum.wrapping_sub(*base)).encode(env)
            }
            Kind::Last { bits, .. } => {
                (key, number(f64::from_bits(bits.load(Ordering::Relaxed)))).encode(env)
            }
            Kind::Mean { sum_bits, samples, .. } => {
                let samples = samples.load(Ordering::Relaxed).max(1) as f64;
                (key, number(f64::from_bits(sum_bits.load(Ordering::Relaxed)) / samples)).encode(env)
            }
            Kind::Term(last) => {
                let bytes = last.lock().unwrap_or_else(PoisonError::into_inner);
                (key, atoms::term(), new_binary(env, &bytes)).encode(env)
            }
        }
    }
}

/// Adds to the counter of this name: `:ok`.
fn metric_count<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    name: Term<'a>,
    value: Term<'a>,
    metadata: Term<'a>,
) -> Term<'a> {
    guard(env, || emit(env, handle, name, atoms::counter().encode(env), value, metadata))
}

quick_nif!(metric_count(handle, name, value, metadata));

/// Sets the gauge of this name: `:ok`.
fn metric_gauge<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    name: Term<'a>,
    value: Term<'a>,
    metadata: Term<'a>,
) -> Term<'a> {
    guard(env, || emit(env, handle, name, atoms::gauge().encode(env), value, metadata))
}

quick_nif!(metric_gauge(handle, name, value, metadata));

#[inline]
fn emit<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    name: Term<'a>,
    key: Term<'a>,
    value: Term<'a>,
    metadata: Term<'a>,
) -> Result<Term<'a>, Error> {
    with(handle, |attached| {
        let instance = attached.pin()?;
        attached.metrics.record(name, metadata, |metric| {
            metric.measure(instance.foundation().telemetry(), key, value)?;
            Ok(metric.seen(instance.foundation().clock().now_ns()).encode(env))
        })
    })
}

/// Records every measurement of the map under this name: `:ok`.
fn metric_execute<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    name: Term<'a>,
    measurements: Term<'a>,
    metadata: Term<'a>,
) -> Term<'a> {
    guard(env, || {
        with(handle, |attached| {
            let instance = attached.pin()?;
            attached.metrics.record(name, metadata, |metric| {
                let pairs = MapIterator::new(measurements)
                    .ok_or_else(|| mismatch("the measurements", measurements, "a map"))?;
                let mut first_error = None;
                for (key, value) in pairs.take(MAX_MEASUREMENTS + 1) {
                    let result = metric.measure(instance.foundation().telemetry(), key, value);
                    first_error = first_error.or(result.err());
                }
                let answer = metric.seen(instance.foundation().clock().now_ns());
                first_error.map_or(Ok(answer.encode(env)), Err)
            })
        })
    })
}

quick_nif!(metric_execute(handle, name, measurements, metadata));

/// `{:ok, [{name, count, last_ns, metadata, measurements}]}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn metrics<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        with(handle, |attached| {
            let all: Vec<Arc<Metric>> = attached.metrics.read().iter().cloned().collect();
            let rows: Vec<Term<'a>> = all.iter().map(|metric| metric_term(env, metric)).collect();
            Ok((atoms::ok(), rows).encode(env))
        })
    })
}

/// Forgets what was recorded by name; the core's instruments go on, since they never go back.
#[rustler::nif(schedule = "DirtyCpu")]
fn metrics_clear<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        with(handle, |attached: &Attached| {
            attached.metrics.write().clear();
            Ok(atoms::ok().encode(env))
        })
    })
}

/// Forgets the metrics by name that were last recorded before this time: `{:ok, how many}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn metrics_expire<'a>(env: Env<'a>, handle: Term<'a>, older_than: Term<'a>) -> Term<'a> {
    guard(env, || {
        let limit = integer("the time", older_than)?;
        with(handle, |attached| {
            let mut table = attached.metrics.write();
            let before = table.len();
            table.retain(|metric| metric.last_ns.load(Ordering::Relaxed) >= limit);
            Ok((atoms::ok(), before - table.len()).encode(env))
        })
    })
}

/// Emissions of this name answer `:attached` from now on, or `:ok` again: `:ok`.
#[rustler::nif]
fn metric_attach<'a>(env: Env<'a>, handle: Term<'a>, name: Term<'a>, attached: Term<'a>) -> Term<'a> {
    guard(env, || {
        let wanted =
            attached.decode::<bool>().map_err(|_| mismatch("attached", attached, "true or false"))?;
        let name = Name::new(name)?;
        with(handle, |attached| attached.metrics.attach(name, wanted))?;
        Ok(atoms::ok().encode(env))
    })
}

/// `{:ok, %{metrics: …, attached: …, refused: …}}`: how many there are by name.
#[rustler::nif]
fn metrics_count<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        with(handle, |attached| {
            let metrics = &attached.metrics;
            let attached = metrics.attached.read().unwrap_or_else(PoisonError::into_inner).len();
            let counts = [
                (atoms::metrics(), metrics.read().len() as u64),
                (atoms::attached(), attached as u64),
                (atoms::refused(), metrics.refused.load(Ordering::Relaxed)),
            ];
            let map = map_of(env, &counts);
            Ok((atoms::ok(), map).encode(env))
        })
    })
}

fn metric_term<'a>(env: Env<'a>, metric: &Metric) -> Term<'a> {
    let measurements: Vec<Term<'a>> = metric
        .measurements
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .map(|measurement| measurement.term(env))
        .collect();
    (
        metric.name.term(env),
        metric.count.load(Ordering::Relaxed),
        metric.last_ns.load(Ordering::Relaxed),
        new_binary(env, &metric.metadata),
        measurements,
    )
        .encode(env)
}
