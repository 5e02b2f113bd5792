//! Who hears of events: processes, each with tails of the core's, ended by a monitor when the process dies.
//!
//! A tail's callback runs on the core's `esf-events-tail` thread, which is none of the VM's, so sending from it is
//! allowed. What a process has been sent and not acknowledged is bounded by the tail's window: its mailbox does not
//! fill, whatever the process does, and what the store drops meanwhile is told as missed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::events::{Encoding, EventView, Gap, GapReason, Tail, TailItem, TailOptions};
use elixirscope_foundation::foundation::Foundation;
use rustler::{Encoder, Env, LocalPid, Monitor, OwnedEnv, Resource, ResourceArc, Term};
use serde_json::Value;

use crate::atoms;
use crate::boundary::{guard, path_term};
use crate::conditions::decode_query;
use crate::instance::with;
use crate::json;
use crate::subscribers::local_pid;
use crate::terms::{
    Keys, date_time, from_value, known_atom, map_of, new_binary, optional, serialized, unsigned,
};
use crate::texts;

/// The tails of one instance's processes.
#[derive(Default)]
pub(crate) struct Tails {
    entries: Mutex<HashMap<u64, Entry>>,
    newest: AtomicU64,
}

struct Entry {
    pid: LocalPid,
    tail: Tail,
    watch: ResourceArc<TailWatch>,
    monitor: Option<Monitor>,
}

/// What the VM tells when the process dies.
struct TailWatch {
    tails: Weak<Tails>,
    id: u64,
}

#[rustler::resource_impl]
impl Resource for TailWatch {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, _env: Env<'a>, _pid: LocalPid, _monitor: Monitor) {
        // A scheduler runs this: the tail ends without waiting for a message that is being sent.
        if let Some(tails) = self.tails.upgrade() {
            let entry = tails.entries().remove(&self.id);
            drop(entry);
        }
    }
}

impl Tails {
    fn entries(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        // Inserting and removing leave the table whole, so a holder's panic changes nothing.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        self: &Arc<Self>,
        env: Env<'_>,
        pid: LocalPid,
        options: TailOptions,
        foundation: &Foundation,
    ) -> Result<u64, Error> {
        let id = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let tail = foundation.tail_callback(options, Box::new(move |item| tell(pid, id, item)))?;
        let watch = ResourceArc::new(TailWatch { tails: Arc::downgrade(self), id });
        // The lock is held, so the process's death cannot be told before the entry is there. A process that is dead
        // already has no monitor and is not added.
        let mut entries = self.entries();
        let monitor = env.monitor(&watch, &pid);
        if monitor.is_some() {
            entries.insert(id, Entry { pid, tail, watch, monitor });
        }
        Ok(id)
    }

    /// Ends those that `wanted` names: when this returns, no message of theirs is being sent and none will be.
    fn remove(&self, env: Env<'_>, wanted: impl Fn(u64, LocalPid) -> bool) {
        let gone: Vec<Entry> = {
            let mut entries = self.entries();
            let ids: Vec<u64> =
                entries.iter().filter(|(id, entry)| wanted(**id, entry.pid)).map(|(id, _)| *id).collect();
            ids.iter().filter_map(|id| entries.remove(id)).collect()
        };
        // All are told to end before any is waited for.
        let ended: Vec<_> = gone.iter().map(|entry| entry.tail.end()).collect();
        for entry in &gone {
            if let Some(monitor) = &entry.monitor {
                env.demonitor(&entry.watch, monitor);
            }
        }
        for ended in ended {
            ended.wait();
        }
    }

    fn find<R>(&self, id: u64, look: impl FnOnce(&Tail) -> R) -> Result<R, Error> {
        let entries = self.entries();
        let entry = entries.get(&id).ok_or_else(|| {
            Error::new(
                Code::StaleHandle,
                format!("there is no subscription {id} to events; it may have ended"),
            )
        })?;
        Ok(look(&entry.tail))
    }

    /// Ends all: when this returns, no message is being sent and none will be.
    pub(crate) fn stop(&self) {
        let entries = std::mem::take(&mut *self.entries());
        // All are told to end before any is waited for.
        let ended: Vec<_> = entries.values().map(|entry| entry.tail.end()).collect();
        for ended in ended {
            ended.wait();
        }
    }
}

/// Sends one item to its process; runs on the core's thread.
fn tell(pid: LocalPid, id: u64, item: &TailItem) {
    OwnedEnv::new().run(|env| {
        let notification = match item {
            TailItem::Event(event) => {
                let view = event.view();
                (atoms::event_stored(), view.seq(), event_struct(env, &view, pid)).encode(env)
            }
            TailItem::Gap(gap) => (atoms::events_missed(), gap_map(env, *gap)).encode(env),
        };
        // A process that died meanwhile does not get it.
        let _ = env.send(&pid, (atoms::event_notification(), id, notification));
    });
}

fn gap_map<'a>(env: Env<'a>, gap: Gap) -> Term<'a> {
    let reason = match gap.reason {
        GapReason::Removed => atoms::removed(),
        GapReason::Lagged => atoms::lagged(),
    };
    let pairs: [(Term<'a>, Term<'a>); 4] = [
        (atoms::first_seq().encode(env), gap.first_seq.encode(env)),
        (atoms::last_seq().encode(env), gap.last_seq.encode(env)),
        (atoms::count().encode(env), gap.count().encode(env)),
        (atoms::reason().encode(env), reason.encode(env)),
    ];
    map_of(env, &pairs)
}

/// The event as Elixir's struct, the same that `Events.get/1` answers; `own` is a process of this node.
fn event_struct<'a>(env: Env<'a>, event: &EventView<'_>, own: LocalPid) -> Term<'a> {
    let nil = atoms::nil().encode(env);
    let node = if event.node().is_empty() { nil } else { known_atom(env, event.node()) };
    let pid = if event.pid().is_empty() { nil } else { texts::pid_from_text(env, event.pid(), Some(own)) };
    let pairs: [(Term<'a>, Term<'a>); 10] = [
        (atoms::__struct__().encode(env), atoms::event_module().encode(env)),
        (atoms::event_type().encode(env), known_atom(env, event.event_type())),
        (atoms::event_id().encode(env), event.event_id().encode(env)),
        (atoms::timestamp().encode(env), event.timestamp().encode(env)),
        (atoms::wall_time().encode(env), date_time(env, event.wall_time())),
        (atoms::node().encode(env), node),
        (atoms::pid().encode(env), pid),
        (atoms::correlation_id().encode(env), event.correlation_id().map_or(nil, |id| new_binary(env, id))),
        (atoms::parent_id().encode(env), event.parent_id().encode(env)),
        (atoms::data().encode(env), data_term(env, event)),
    ];
    map_of(env, &pairs)
}

/// The data as `Events.Codec` makes a term of it: what cannot be read is seen as its bytes.
fn data_term<'a>(env: Env<'a>, event: &EventView<'_>) -> Term<'a> {
    let data = event.data();
    let own = matches!(event.event_type(), "config_updated" | "config_reset");
    let term = match event.encoding() {
        // Without making atoms that the VM does not know.
        Encoding::Etf => env.binary_to_term(data).map(|(term, _)| term),
        Encoding::Json if own => serde_json::from_slice(data).ok().map(|value| own_term(env, &value)),
        Encoding::Json => json::data_term(env, data).ok(),
        Encoding::Raw => None,
    };
    term.unwrap_or_else(|| new_binary(env, data))
}

/// The data of the core's own events in the shape that Elixir's have.
fn own_term<'a>(env: Env<'a>, value: &Value) -> Term<'a> {
    let Value::Object(fields) = value else { return from_value(env, value, Keys::Strings) };
    let pairs: Vec<(Term<'a>, Term<'a>)> = fields
        .iter()
        .map(|(key, value)| {
            let name = match (key.as_str(), value) {
                ("path", Value::String(path)) => return (atoms::path().encode(env), path_term(env, path)),
                ("new_value", _) => atoms::new_value().encode(env),
                ("previous_value", _) => atoms::previous_value().encode(env),
                ("timestamp", _) => atoms::timestamp().encode(env),
                ("version", _) => atoms::version().encode(env),
                ("reset_from_updates_count", _) => atoms::reset_from_updates_count().encode(env),
                _ => key.encode(env),
            };
            (name, from_value(env, value, Keys::Strings))
        })
        .collect();
    map_of(env, &pairs)
}

/// The process is sent the events that the query finds as they are stored: `{:ok, id}`.
#[rustler::nif]
fn event_subscribe<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    pid: Term<'a>,
    query: Term<'a>,
    from_seq: Term<'a>,
    capacity: Term<'a>,
    window: Term<'a>,
) -> Term<'a> {
    guard(env, || {
        let pid = local_pid(pid)?;
        let window = unsigned("window", window)?;
        let window = u32::try_from(window).map_err(|_| {
            Error::new(Code::InvalidInput, format!("window is {window}; allowed are 1 to {}", u32::MAX))
        })?;
        let options = TailOptions {
            filter: decode_query(query)?,
            from_seq: optional(from_seq, |term| unsigned("from_seq", term))?,
            capacity: optional(capacity, |term| unsigned("capacity", term))?,
            window: Some(window),
        };
        with(handle, |attached| {
            let id = attached.tails.add(env, pid, options, attached.pin()?.foundation())?;
            Ok((atoms::ok(), id).encode(env))
        })
    })
}

/// The subscription of this id ends, or, with nil, all of the process: when this returns, no message is on its way.
#[rustler::nif(schedule = "DirtyIo")]
fn event_unsubscribe<'a>(env: Env<'a>, handle: Term<'a>, pid: Term<'a>, id: Term<'a>) -> Term<'a> {
    guard(env, || {
        let pid = local_pid(pid)?;
        let id = optional(id, |term| unsigned("the subscription", term))?;
        with(handle, |attached| {
            attached.tails.remove(env, |other, of| id.map_or(of == pid, |id| other == id));
            Ok(atoms::ok().encode(env))
        })
    })
}

/// Every subscription to events ends; when this returns, no message is on its way.
#[rustler::nif(schedule = "DirtyIo")]
fn event_unsubscribe_all<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        with(handle, |attached| {
            attached.tails.stop();
            Ok(atoms::ok().encode(env))
        })
    })
}

/// So many of the messages of a subscription are dealt with.
#[rustler::nif]
fn event_acknowledge<'a>(env: Env<'a>, handle: Term<'a>, id: Term<'a>, count: Term<'a>) -> Term<'a> {
    guard(env, || {
        let (id, count) = (unsigned("the subscription", id)?, unsigned("the count", count)?);
        with(handle, |attached| {
            attached.tails.find(id, |tail| tail.acknowledge(count))?;
            Ok(atoms::ok().encode(env))
        })
    })
}

/// `{:ok, counts}` of a subscription.
#[rustler::nif]
fn event_subscription_stats<'a>(env: Env<'a>, handle: Term<'a>, id: Term<'a>) -> Term<'a> {
    guard(env, || {
        let id = unsigned("the subscription", id)?;
        with(handle, |attached| {
            let stats = serde_json::to_value(attached.tails.find(id, Tail::stats)?);
            Ok((atoms::ok(), serialized(env, "the counts", stats)?).encode(env))
        })
    })
}
