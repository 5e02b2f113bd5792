//! The tracer: turns `:erlang.trace` messages into events on the traced process's own time.
//!
//! A tracer *process* has an unbounded mailbox; a tracer *module* runs inside the process that is traced,
//! which therefore goes exactly as fast as the store takes its events: that is the back-pressure. The
//! runtime calls `enabled/3` and `trace/5` of the module that this library is loaded into.
//!
//! What becomes an event: `call` (`function_entry`), `return_from` and `exception_from` (`function_exit`),
//! `spawn` and `exit`. Calls and returns are paired by a stack for each process; an entry's parent is the
//! entry that called it, an exit's parent its entry. Processes get their correlation id when they call the
//! marker function (its first argument), and hand it to the processes that they spawn.
//!
//! Sampling keeps or drops whole correlations: the decision is made once, when a process gets its
//! correlation id, from the id's hash and the sampling rate in force then. Durations are recorded into
//! histograms whether sampled or not, and every message is counted, so traced = stored + sampled out +
//! refused.
//!
//! Bounds: [`MAX_PROCESSES`] stacks of [`MAX_DEPTH`] entries and [`MAX_FUNCTIONS`] histograms; what is beyond
//! them is stored without its parent (or recorded into no histogram) and counted.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use elixirscope_foundation::events::{ACCEPTED, Encoding, NewEvent};
use elixirscope_foundation::handles::{self, Instance};
use elixirscope_foundation::telemetry::Histogram;
use rustler::{Atom, Binary, Encoder, Env, Term};

use crate::atoms;
use crate::boundary::{guard, quick_nif};
use crate::etf::MapWriter;
use crate::terms::{atom_text, mismatch, unsigned, word};

/// How many processes are followed at once.
pub const MAX_PROCESSES: usize = 65_536;
/// How many open calls are followed in one process.
pub const MAX_DEPTH: usize = 4_096;
/// How many functions get a histogram of their durations.
pub const MAX_FUNCTIONS: usize = 16_384;

const STRIPES: usize = 64;

/// Follows the traced processes and writes their events. One at a time in a VM.
struct Tracer {
    instance: u64,
    rate_key: u64,
    marker: FunctionId,
    processes: [Mutex<Processes>; STRIPES],
    functions: RwLock<HashMap<FunctionId, Arc<Function>, Words>>,
    counts: Counts,
}

type Words = BuildHasherDefault<DefaultHasher>;

/// By the word of the pid.
type Processes = HashMap<usize, Process, Words>;

/// A function as the VM names it: the words of two atoms (stable while the VM lives) and the arity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FunctionId {
    module: usize,
    function: usize,
    arity: u32,
}

/// What is made once for each function.
struct Function {
    /// The entries `module`, `function` and `arity` of an event's data, encoded.
    encoded: Vec<u8>,
    times: Option<Times>,
}

/// Where the durations of a function's calls go.
struct Times {
    /// From entry to return.
    whole: Histogram,
    /// Without the traced calls that it made.
    own: Histogram,
}

/// A traced process.
struct Process {
    pid: String,
    correlation: Option<Arc<[u8]>>,
    kept: bool,
    calls: Vec<Call>,
}

/// A call that has not returned.
struct Call {
    id: FunctionId,
    function: Arc<Function>,
    /// The entry's event id; the call id of both events.
    event_id: u64,
    entered_ns: i64,
    /// What the calls that it made took.
    callees_ns: i64,
}

#[derive(Default)]
struct Counts {
    traced: AtomicU64,
    stored: AtomicU64,
    sampled_out: AtomicU64,
    refused: AtomicU64,
    unmatched: AtomicU64,
    untracked: AtomicU64,
}

static TRACER: RwLock<Option<Tracer>> = RwLock::new(None);

/// Starts following: events go to this instance, and the first argument (a binary) of the marker function
/// becomes its caller's correlation id. `:ok`; a tracer that runs already is replaced.
#[rustler::nif]
fn tracer_start<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    module: Term<'a>,
    function: Term<'a>,
    arity: Term<'a>,
) -> Term<'a> {
    guard(env, || {
        let instance = unsigned("the instance", handle)?;
        for (name, term) in [("the module", module), ("the function", function)] {
            atom_text(term).ok_or_else(|| mismatch(name, term, "an atom"))?;
        }
        let arity = unsigned("the arity", arity)?.min(255) as u32;
        let rate_key = Instance::pin(instance)?.config_key("ai.planning.sampling_rate")?;
        let marker = FunctionId { module: word(module), function: word(function), arity };
        let tracer = Tracer {
            instance,
            rate_key,
            marker,
            processes: std::array::from_fn(|_| Mutex::default()),
            functions: RwLock::default(),
            counts: Counts::default(),
        };
        *TRACER.write().unwrap_or_else(PoisonError::into_inner) = Some(tracer);
        Ok(atoms::ok().encode(env))
    })
}

/// Stops following: `{:ok, stats}`, or `:ok` when nothing was followed. The runtime removes the trace flags of
/// processes whose tracer is gone.
#[rustler::nif]
fn tracer_stop(env: Env<'_>) -> Term<'_> {
    guard(env, || {
        let tracer = TRACER.write().unwrap_or_else(PoisonError::into_inner).take();
        Ok(match tracer {
            Some(tracer) => (atoms::ok(), tracer.stats(env)).encode(env),
            None => atoms::ok().encode(env),
        })
    })
}

/// What the running tracer has done so far: `{:ok, stats}`, or `:ok` when nothing is followed.
#[rustler::nif]
fn tracer_stats(env: Env<'_>) -> Term<'_> {
    guard(env, || {
        Ok(match TRACER.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(tracer) => (atoms::ok(), tracer.stats(env)).encode(env),
            None => atoms::ok().encode(env),
        })
    })
}

/// `erl_tracer`'s `enabled/3`: `trace` while a tracer runs, `remove` after it was stopped.
fn enabled<'a>(env: Env<'a>, tag: Term<'a>, state: Term<'a>, tracee: Term<'a>) -> Term<'a> {
    guard(env, || {
        // The runtime dictates the arguments; the answer is the same for all.
        let _ = (tag, state, tracee);
        let running = TRACER.read().unwrap_or_else(PoisonError::into_inner).is_some();
        Ok(if running { atoms::trace() } else { atoms::remove() }.encode(env))
    })
}

quick_nif!(enabled(tag, state, tracee));

/// `erl_tracer`'s `trace/5`, on the traced process's own time.
fn trace<'a>(
    env: Env<'a>,
    tag: Term<'a>,
    state: Term<'a>,
    tracee: Term<'a>,
    term: Term<'a>,
    options: Term<'a>,
) -> Term<'a> {
    guard(env, || {
        let _ = state;
        let current = TRACER.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(tracer) = current.as_ref()
            && let Ok(tag) = tag.decode::<Atom>()
        {
            let extra = options.map_get(atoms::extra()).ok();
            tracer.message(tag, tracee, term, extra);
        }
        Ok(atoms::ok().encode(env))
    })
}

quick_nif!(trace(tag, state, tracee, term, options));

enum Outcome {
    Stored,
    SampledOut,
    Refused,
}

impl Tracer {
    /// Counts a message and what becomes of it.
    fn message<'a>(&self, tag: Atom, tracee: Term<'a>, term: Term<'a>, extra: Option<Term<'a>>) {
        let handled = |message: &dyn Fn(&Instance) -> Outcome| {
            self.counts.traced.fetch_add(1, Relaxed);
            let outcome = match Instance::pin(self.instance) {
                Ok(instance) => message(&instance),
                Err(_) => Outcome::Refused,
            };
            let counter = match outcome {
                Outcome::Stored => &self.counts.stored,
                Outcome::SampledOut => &self.counts.sampled_out,
                Outcome::Refused => &self.counts.refused,
            };
            counter.fetch_add(1, Relaxed);
        };
        if tag == atoms::call() {
            handled(&|instance| self.entered(instance, tracee, term));
        } else if tag == atoms::return_from() {
            handled(&|instance| self.left(instance, tracee, term, b"normal"));
        } else if tag == atoms::exception_from() {
            handled(&|instance| self.left(instance, tracee, term, b"exception"));
        } else if tag == atoms::spawn() {
            handled(&|instance| self.spawned(instance, tracee, term, extra));
        } else if tag == atoms::exit() {
            handled(&|instance| self.exited(instance, tracee, term));
        }
    }

    /// A call: pushes it, and stores its `function_entry`.
    fn entered<'a>(&self, instance: &Instance, tracee: Term<'a>, term: Term<'a>) -> Outcome {
        let Ok((module, name, arguments)) = term.decode::<(Term, Term, Term)>() else {
            return Outcome::Refused;
        };
        let arity = match arguments.list_length() {
            Ok(length) => length as u32,
            Err(_) => arguments.decode().unwrap_or(0),
        };
        let id = FunctionId { module: word(module), function: word(name), arity };
        let function = self.function(instance, id, module, name);
        let now = instance.foundation().clock().now_ns();

        let mut stripe = self.stripe(tracee);
        let Some(process) = self.process(&mut stripe, tracee) else {
            return Outcome::Refused;
        };
        if id == self.marker
            && let Some(correlation) = first_binary(arguments)
        {
            process.correlation = Some(correlation);
            process.kept = self.sampled(process.correlation.as_deref().unwrap_or_default());
        }
        let caller = process.calls.last().map(|call| call.event_id).filter(|id| *id != 0);
        let event_id = if process.kept { instance.foundation().events().generate_id() } else { 0 };
        let outcome = if process.kept {
            let mut data = MapWriter::new(4);
            data.integer(b"call_id", event_id).raw(&function.encoded);
            store(instance, process, "function_entry", (Some(event_id), caller), now, &data)
        } else {
            Outcome::SampledOut
        };
        if process.calls.len() < MAX_DEPTH {
            process.calls.push(Call { id, function, event_id, entered_ns: now, callees_ns: 0 });
        } else {
            self.counts.untracked.fetch_add(1, Relaxed);
        }
        outcome
    }

    /// A return: pops its call, records the duration, and stores its `function_exit`.
    fn left<'a>(&self, instance: &Instance, tracee: Term<'a>, term: Term<'a>, reason: &[u8]) -> Outcome {
        let Ok((module, name, arity)) = term.decode::<(Term, Term, u32)>() else {
            return Outcome::Refused;
        };
        let id = FunctionId { module: word(module), function: word(name), arity };
        let now = instance.foundation().clock().now_ns();
        let mut stripe = self.stripe(tracee);
        let Some(process) = self.process(&mut stripe, tracee) else {
            return Outcome::Refused;
        };
        // Calls above it ended without a message (a process that was traced only from then on).
        let call = match process.calls.iter().rposition(|call| call.id == id) {
            Some(depth) => {
                process.calls.truncate(depth + 1);
                process.calls.pop()
            }
            None => None,
        };
        let Some(call) = call else {
            self.counts.unmatched.fetch_add(1, Relaxed);
            if !process.kept {
                return Outcome::SampledOut;
            }
            let function = self.function(instance, id, module, name);
            let mut data = MapWriter::new(4);
            data.atom(b"exit_reason", reason).raw(&function.encoded);
            return store(instance, process, "function_exit", (None, None), now, &data);
        };
        let duration_ns = now.saturating_sub(call.entered_ns).max(0);
        if let Some(caller) = process.calls.last_mut() {
            caller.callees_ns = caller.callees_ns.saturating_add(duration_ns);
        }
        if let Some(times) = &call.function.times {
            times.whole.record(duration_ns as f64 / 1e9);
            times.own.record(duration_ns.saturating_sub(call.callees_ns).max(0) as f64 / 1e9);
        }
        if call.event_id == 0 {
            return Outcome::SampledOut;
        }
        let mut data = MapWriter::new(6);
        data.integer(b"call_id", call.event_id)
            .integer(b"duration_ns", duration_ns as u64)
            .atom(b"exit_reason", reason)
            .raw(&call.function.encoded);
        store(instance, process, "function_exit", (None, Some(call.event_id)), now, &data)
    }

    /// A spawn: the child works on what its parent works on.
    fn spawned<'a>(
        &self,
        instance: &Instance,
        tracee: Term<'a>,
        child: Term<'a>,
        function: Option<Term<'a>>,
    ) -> Outcome {
        let now = instance.foundation().clock().now_ns();
        let (correlation, kept, outcome) = {
            let mut stripe = self.stripe(tracee);
            let Some(process) = self.process(&mut stripe, tracee) else {
                return Outcome::Refused;
            };
            let outcome = if process.kept {
                let mut data = MapWriter::new(2);
                data.text(b"spawned", display(child).as_bytes())
                    .text(b"function", function.map(display).unwrap_or_default().as_bytes());
                let parent = process.calls.last().map(|call| call.event_id).filter(|id| *id != 0);
                store(instance, process, "spawn", (None, parent), now, &data)
            } else {
                Outcome::SampledOut
            };
            (process.correlation.clone(), process.kept, outcome)
        };
        let mut stripe = self.stripe(child);
        if let Some(process) = self.process(&mut stripe, child)
            && process.correlation.is_none()
        {
            process.correlation = correlation;
            process.kept = kept;
        }
        outcome
    }

    /// An exit: the last message of a process.
    fn exited(&self, instance: &Instance, tracee: Term, reason: Term) -> Outcome {
        let now = instance.foundation().clock().now_ns();
        let mut stripe = self.stripe(tracee);
        let Some(process) = self.process(&mut stripe, tracee) else {
            return Outcome::Refused;
        };
        let outcome = if process.kept {
            let mut data = MapWriter::new(1);
            data.text(b"reason", display(reason).as_bytes());
            store(instance, process, "exit", (None, None), now, &data)
        } else {
            Outcome::SampledOut
        };
        stripe.remove(&word(tracee));
        outcome
    }

    fn sampled(&self, correlation: &[u8]) -> bool {
        let rate = handles::config_key(self.rate_key).and_then(|key| key.get_f64().ok()).unwrap_or(1.0);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(correlation);
        (hash >> 11) as f64 / ((1_u64 << 53) as f64) < rate
    }

    fn function(&self, instance: &Instance, id: FunctionId, module: Term, name: Term) -> Arc<Function> {
        if let Some(function) = self.functions.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Arc::clone(function);
        }
        let module = atom_text(module).unwrap_or_default();
        let name = atom_text(name).unwrap_or_default();
        let mut encoded = MapWriter::entries();
        encoded
            .atom(b"module", module.as_bytes())
            .atom(b"function", name.as_bytes())
            .integer(b"arity", u64::from(id.arity));
        let shown = match module.strip_prefix("Elixir.") {
            Some(module) => format!("{module}.{name}/{}", id.arity),
            None => format!(":{module}.{name}/{}", id.arity),
        };
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        let times = if functions.len() < MAX_FUNCTIONS { times(instance, &shown) } else { None };
        if times.is_none() {
            self.counts.untracked.fetch_add(1, Relaxed);
        }
        let function = Arc::new(Function { encoded: encoded.into_bytes(), times });
        if functions.len() < MAX_FUNCTIONS {
            functions.insert(id, Arc::clone(&function));
        }
        function
    }

    fn stripe(&self, pid: Term) -> MutexGuard<'_, Processes> {
        // What a panic leaves behind is a process's stack, which heals with its next return.
        let [first, ..] = &self.processes;
        let stripe = self.processes.get((word(pid) >> 4) % STRIPES).unwrap_or(first);
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process<'p>(&self, stripe: &'p mut Processes, pid: Term) -> Option<&'p mut Process> {
        let key = word(pid);
        if !stripe.contains_key(&key) && stripe.len() >= MAX_PROCESSES / STRIPES {
            self.counts.untracked.fetch_add(1, Relaxed);
            return None;
        }
        Some(stripe.entry(key).or_insert_with(|| Process {
            pid: display(pid),
            correlation: None,
            kept: true,
            calls: Vec::new(),
        }))
    }

    /// `traced` = `stored` + `sampled_out` + `refused`, once no message is on its way.
    fn stats<'a>(&self, env: Env<'a>) -> Term<'a> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        let followed =
            |stripe: &Mutex<Processes>| stripe.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        [
            (atoms::traced(), read(&self.counts.traced)),
            (atoms::stored(), read(&self.counts.stored)),
            (atoms::sampled_out(), read(&self.counts.sampled_out)),
            (atoms::refused(), read(&self.counts.refused)),
            (atoms::unmatched(), read(&self.counts.unmatched)),
            (atoms::untracked(), read(&self.counts.untracked)),
            (atoms::functions(), functions),
            (atoms::processes(), self.processes.iter().map(followed).sum()),
        ]
        .iter()
        .fold(Term::map_new(env), |map, (key, value)| map.map_put(key, value).unwrap_or(map))
    }
}

fn times(instance: &Instance, function: &str) -> Option<Times> {
    let telemetry = instance.foundation().telemetry();
    let labels = [("function", function)];
    let whole = telemetry.histogram("function.duration.seconds", &labels).ok()?;
    Some(Times { whole, own: telemetry.histogram("function.own.seconds", &labels).ok()? })
}

/// Stores an event of a process.
fn store(
    instance: &Instance,
    process: &Process,
    event_type: &str,
    (event_id, parent_id): (Option<u64>, Option<u64>),
    timestamp: i64,
    data: &MapWriter,
) -> Outcome {
    let event = NewEvent {
        event_type: event_type.into(),
        event_id,
        timestamp: Some(timestamp),
        pid: &process.pid,
        correlation_id: process.correlation.as_deref(),
        parent_id,
        encoding: Encoding::Etf,
        data: data.bytes(),
        ..NewEvent::default()
    };
    match instance.foundation().events().append_at_once(&event) {
        Ok(receipt) if receipt.level >= ACCEPTED => Outcome::Stored,
        Ok(_) | Err(_) => Outcome::Refused,
    }
}

/// How the VM would print a term, at most 255 bytes of it.
fn display(term: Term) -> String {
    let mut text = format!("{term:?}");
    if text.len() > 255 {
        let end = (0..=252).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// The first argument of a call if it is a binary of at most 255 bytes: a correlation id.
fn first_binary(arguments: Term<'_>) -> Option<Arc<[u8]>> {
    let (head, _) = arguments.list_get_cell().ok()?;
    let binary: Binary = head.decode().ok()?;
    let bytes = binary.as_slice();
    // The end of a long path tells more than its beginning.
    Some(bytes.get(bytes.len().saturating_sub(255)..).unwrap_or(bytes).into())
}
