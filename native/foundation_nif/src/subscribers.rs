//! Who hears of configuration changes: processes, each dropped by its monitor when it dies.
//!
//! One subscription in the core feeds all of an instance's processes. Its callback runs on the core's
//! `esf-config-notify` thread, which is none of the VM's, so sending from it is allowed; it copies the list
//! of processes under the lock and sends without it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use elixirscope_foundation::config::{Change, ChangeKind, Subscription};
use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::foundation::Foundation;
use rustler::{Encoder, Env, LocalPid, Monitor, OwnedEnv, Resource, ResourceArc, Term};

use crate::atoms;
use crate::boundary::{guard, path_term};
use crate::config::tree;
use crate::instance::with;
use crate::paths::paths;
use crate::terms::{known_atom, mismatch};

/// Unread changes that the core holds for all processes together; later ones of a path replace earlier ones.
const CAPACITY: usize = 4_096;
/// How many processes may subscribe to one instance.
const MAX_SUBSCRIBERS: usize = 1 << 20;

/// The subscribers of one instance.
#[derive(Default)]
pub(crate) struct Subscribers {
    entries: Mutex<HashMap<LocalPid, Entry>>,
    feed: Mutex<Option<Subscription>>,
}

struct Entry {
    seed_format: bool,
    watch: ResourceArc<Watch>,
    monitor: Option<Monitor>,
}

/// What the VM tells when the process dies.
struct Watch {
    subscribers: std::sync::Weak<Subscribers>,
}

#[rustler::resource_impl]
impl Resource for Watch {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, _env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        if let Some(subscribers) = self.subscribers.upgrade() {
            drop(subscribers.entries().remove(&pid));
        }
    }
}

impl Subscribers {
    fn entries(&self) -> MutexGuard<'_, HashMap<LocalPid, Entry>> {
        // Inserting and removing leave the table whole, so a holder's panic changes nothing.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed(&self) -> MutexGuard<'_, Option<Subscription>> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        self: &Arc<Self>,
        env: Env<'_>,
        pid: LocalPid,
        seed_format: bool,
        foundation: &Foundation,
    ) -> Result<(), Error> {
        self.start(foundation)?;
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(&pid) {
            entry.seed_format = seed_format;
            return Ok(());
        }
        if entries.len() >= MAX_SUBSCRIBERS {
            return Err(Error::new(
                Code::ResourceExhausted,
                format!("{MAX_SUBSCRIBERS} processes have subscribed, which is the limit"),
            ));
        }
        let watch = ResourceArc::new(Watch { subscribers: Arc::downgrade(self) });
        // The lock is held, so the process's death cannot be told before the entry is there. A process that is
        // dead already has no monitor and is not added: it will never ask.
        let monitor = env.monitor(&watch, &pid);
        if monitor.is_some() {
            entries.insert(pid, Entry { seed_format, watch, monitor });
        }
        Ok(())
    }

    fn remove(&self, env: Env<'_>, pid: LocalPid) {
        let entry = self.entries().remove(&pid);
        if let Some(Entry { watch, monitor: Some(monitor), .. }) = entry {
            env.demonitor(&watch, &monitor);
        }
    }

    /// How many processes are subscribed.
    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }

    fn start(self: &Arc<Self>, foundation: &Foundation) -> Result<(), Error> {
        let mut feed = self.feed();
        if feed.is_none() {
            let subscribers = Arc::downgrade(self);
            let deliver = move |change: &Change| {
                if let Some(subscribers) = subscribers.upgrade() {
                    subscribers.tell(change);
                }
            };
            *feed = Some(foundation.config().subscribe_callback("", CAPACITY, Box::new(deliver))?);
        }
        Ok(())
    }

    /// Ends the feed: when this returns, no message is being sent and none will be.
    pub(crate) fn stop(&self) {
        let feed = self.feed().take();
        drop(feed);
        self.entries().clear();
    }

    /// Sends a change to every process; runs on the core's thread.
    fn tell(&self, change: &Change) {
        let recipients: Vec<(LocalPid, bool)> =
            self.entries().iter().map(|(pid, entry)| (*pid, entry.seed_format)).collect();
        if recipients.is_empty() {
            return;
        }
        OwnedEnv::new().run(|env| {
            let Ok((standard, seed)) = messages(env, change) else { return };
            for (pid, seed_format) in recipients {
                // A process that died meanwhile does not get it.
                let _ = env.send(&pid, if seed_format { seed } else { standard });
            }
        });
    }
}

/// The message in the standard and in the seeds' format.
fn messages<'a>(env: Env<'a>, change: &Change) -> Result<(Term<'a>, Term<'a>), Error> {
    let value = tree(env, paths()?, change.path, &change.new);
    let (standard, seed) = match change.kind {
        ChangeKind::Updated => {
            let path = path_term(env, change.path);
            ((atoms::config_updated(), path, value).encode(env), (atoms::updated(), path, value).encode(env))
        }
        ChangeKind::Reset => {
            let module = atoms::config_module().encode(env);
            let config = value.map_put(known_atom(env, "__struct__"), module).unwrap_or(value);
            ((atoms::config_reset(), config).encode(env), (atoms::reset(), config).encode(env))
        }
    };
    let wrap = |message: Term<'a>| (atoms::config_notification(), message).encode(env);
    Ok((wrap(standard), wrap(seed)))
}

/// The process hears of every change from now on; asking again changes the format only.
#[rustler::nif]
fn subscribe<'a>(env: Env<'a>, handle: Term<'a>, pid: Term<'a>, format: Term<'a>) -> Term<'a> {
    guard(env, || {
        let pid = local_pid(pid)?;
        let seed_format = if atoms::seed() == format {
            true
        } else if atoms::standard() == format {
            false
        } else {
            return Err(mismatch("the format", format, ":standard or :seed"));
        };
        with(handle, |attached| {
            attached.subscribers.add(env, pid, seed_format, attached.pin()?.foundation())?;
            Ok(atoms::ok().encode(env))
        })
    })
}

/// The process hears of no change from now on; a message may be on its way.
#[rustler::nif]
fn unsubscribe<'a>(env: Env<'a>, handle: Term<'a>, pid: Term<'a>) -> Term<'a> {
    guard(env, || {
        let pid = local_pid(pid)?;
        with(handle, |attached| {
            attached.subscribers.remove(env, pid);
            Ok(atoms::ok().encode(env))
        })
    })
}

/// No process hears of any change from now on.
#[rustler::nif(schedule = "DirtyIo")]
fn unsubscribe_all<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        with(handle, |attached| {
            attached.subscribers.stop();
            Ok(atoms::ok().encode(env))
        })
    })
}

/// `{:ok, how many processes are subscribed}`.
#[rustler::nif]
fn subscribers_count<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || with(handle, |attached| Ok((atoms::ok(), attached.subscribers.len()).encode(env))))
}

pub(crate) fn local_pid(term: Term<'_>) -> Result<LocalPid, Error> {
    term.decode().map_err(|_| mismatch("the subscriber", term, "a process of this node"))
}
