//! Instances: opened and closed by their owner, found again by a small integer, and what the BEAM's side keeps
//! for each: resolved keys, subscribers, metrics by name.
//!
//! The owner is a resource that the supervisor's child specifications hold. It lives in a process, so its
//! destructor may run on a scheduler: it hands the instance to the `esf-beam-reaper` thread and returns.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use elixirscope_foundation::config::{RawKey, schema};
use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::foundation::CloseReport;
use elixirscope_foundation::handles::Instance;
use elixirscope_foundation::options::Options;
use elixirscope_foundation::runtime::handle::Pin;
use rustler::{Encoder, Env, Resource, ResourceArc, Term};

use crate::atoms;
use crate::boundary::{guard, quick_nif};
use crate::metrics::Metrics;
use crate::subscribers::Subscribers;
use crate::tails::Tails;
use crate::terms::{mismatch, serialized, to_value, unsigned};
use crate::type_cache::TypeCache;

/// How long a forgotten instance may take to close.
const REAPER_DEADLINE: Duration = Duration::from_secs(20);

/// What the BEAM's side keeps for an open instance.
pub(crate) struct Attached {
    /// The handle that Elixir holds.
    pub(crate) handle: u64,
    closed: AtomicBool,
    /// The keys in the schema's order; `None` for text, which is read from the snapshot.
    keys: Vec<Option<RawKey>>,
    /// Who hears of changes.
    pub(crate) subscribers: Arc<Subscribers>,
    /// Who hears of events.
    pub(crate) tails: Arc<Tails>,
    /// Metrics by the list of atoms that names them.
    pub(crate) metrics: Metrics,
    /// Event types by atom.
    pub(crate) types: TypeCache,
}

impl Attached {
    fn new(handle: u64) -> Result<Self, Error> {
        let instance = Instance::pin(handle)?;
        let config = instance.foundation().config();
        let keys =
            schema().keys().iter().map(|spec| config.key(spec.path).ok().map(|key| key.raw())).collect();
        Ok(Self {
            handle,
            closed: AtomicBool::new(false),
            keys,
            subscribers: Arc::new(Subscribers::default()),
            tails: Arc::default(),
            metrics: Metrics::default(),
            types: TypeCache::default(),
        })
    }

    /// A key by its number, if it is one that is read through a handle.
    #[inline]
    pub(crate) fn key(&self, number: usize) -> Option<RawKey> {
        self.keys.get(number).copied().flatten()
    }

    #[inline]
    fn is_open_as(&self, handle: u64) -> bool {
        self.handle == handle && !self.closed.load(Ordering::Acquire)
    }

    /// The core's instance, held open for the call.
    #[inline]
    pub(crate) fn pin(&self) -> Result<Pin<'static, Instance>, Error> {
        Instance::pin(self.handle).map_err(|_| absent())
    }
}

type Table = RwLock<HashMap<u64, Arc<Attached>>>;

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(Table::default)
}

thread_local! {
    /// The instance that this thread used last: nearly always the one that it uses next.
    static LAST: RefCell<Option<Arc<Attached>>> = const { RefCell::new(None) };
}

/// The error of a missing or closed instance.
#[cold]
pub(crate) fn absent() -> Error {
    Error::new(
        Code::ServiceUnavailable,
        "no instance is open: start the application :elixir_scope or call ElixirScope.Foundation.initialize/1",
    )
}

/// Calls `body` with what is kept for the instance of this handle.
#[inline]
pub(crate) fn with<R>(
    handle: Term<'_>,
    body: impl FnOnce(&Attached) -> Result<R, Error>,
) -> Result<R, Error> {
    let handle = unsigned("the instance", handle)?;
    LAST.with(|last| {
        // Borrowed for the call: a body that comes back here on the same thread takes the slower way.
        let kept = last.try_borrow().ok();
        let kept = kept.filter(|kept| kept.as_deref().is_some_and(|attached| attached.is_open_as(handle)));
        let other;
        let attached = if let Some(attached) = kept.as_ref().and_then(|kept| kept.as_deref()) {
            attached
        } else {
            other = find(handle)?;
            if let Ok(mut kept) = last.try_borrow_mut() {
                *kept = Some(other.clone());
            }
            &other
        };
        body(attached)
    })
}

#[cold]
fn find(handle: u64) -> Result<Arc<Attached>, Error> {
    let table = table().read().unwrap_or_else(PoisonError::into_inner);
    let attached = table.get(&handle).cloned().ok_or_else(absent)?;
    if attached.closed.load(Ordering::Acquire) { Err(absent()) } else { Ok(attached) }
}

/// Calls `body` with the core's instance of this handle.
#[inline]
pub(crate) fn pinned<R>(
    handle: Term<'_>,
    body: impl FnOnce(&Instance) -> Result<R, Error>,
) -> Result<R, Error> {
    let handle = unsigned("the instance", handle)?;
    let instance = Instance::pin(handle).map_err(|_| absent())?;
    body(&instance)
}

/// Who opened an instance; it is closed with its owner.
pub(crate) struct Owner {
    open: Mutex<Option<u64>>,
}

#[rustler::resource_impl]
impl Resource for Owner {}

impl Drop for Owner {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(handle), Some(reaper)) = (open, reaper()) {
            // The reaper lives as long as the process; without it the instance stays open, and that is all.
            let _ = reaper.send(handle);
        }
    }
}

/// The queue of the thread that closes what its owner forgot; started with the first owner.
fn reaper() -> Option<&'static Sender<u64>> {
    static REAPER: OnceLock<Option<Sender<u64>>> = OnceLock::new();
    REAPER
        .get_or_init(|| {
            let (sender, receiver): (Sender<u64>, Receiver<u64>) = channel();
            let body = move || receiver.into_iter().for_each(|handle| drop(close(handle, REAPER_DEADLINE)));
            #[allow(
                clippy::disallowed_methods,
                reason = "the one thread of this library; it waits and closes"
            )]
            let started = std::thread::Builder::new().name("esf-beam-reaper".to_owned()).spawn(body);
            started.ok().map(|_joined_by_nobody| sender)
        })
        .as_ref()
}

fn close(handle: u64, deadline: Duration) -> Result<Vec<String>, Error> {
    let attached = table().write().unwrap_or_else(PoisonError::into_inner).remove(&handle);
    if let Some(attached) = attached {
        attached.closed.store(true, Ordering::Release);
        attached.subscribers.stop();
        attached.tails.stop();
    }
    Instance::close(handle, deadline).map(unfinished).map_err(|error| match error.code() {
        Code::StaleHandle => absent(),
        _ => error,
    })
}

/// What was not finished, in words.
fn unfinished(report: CloseReport) -> Vec<String> {
    let CloseReport { mut unfinished, unstored_events } = report;
    if unstored_events > 0 {
        unfinished.push(format!("{unstored_events} events that waited to be stored, which are lost"));
    }
    unfinished
}

/// An owner without an instance.
#[rustler::nif]
fn owner_new(env: Env<'_>) -> Term<'_> {
    guard(env, || {
        // Started here rather than in a destructor, where failing would have nobody to tell.
        if reaper().is_none() {
            return Err(Error::new(
                Code::ResourceExhausted,
                "a thread for closing instances cannot be started",
            ));
        }
        Ok(ResourceArc::new(Owner { open: Mutex::new(None) }).encode(env))
    })
}

/// Opens the owner's instance, or finds it open: a restarted process comes back to the same state. It may have files to
/// read.
#[rustler::nif(schedule = "DirtyIo")]
fn owner_open<'a>(env: Env<'a>, owner: Term<'a>, options: Term<'a>) -> Term<'a> {
    guard(env, || {
        let owner = decode_owner(owner)?;
        let mut open = owner.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = *open
            && Instance::pin(handle).is_ok()
        {
            return Ok(handle.encode(env));
        }
        let options = Options::from_json(&to_value("the options", options)?.to_string())?;
        let handle = Instance::open(&options)?;
        let attached = Arc::new(Attached::new(handle)?);
        table().write().unwrap_or_else(PoisonError::into_inner).insert(handle, attached);
        *open = Some(handle);
        Ok(handle.encode(env))
    })
}

/// Closes the owner's instance: `{:ok, names of what was not finished at the deadline}`.
#[rustler::nif(schedule = "DirtyIo")]
fn owner_close<'a>(env: Env<'a>, owner: Term<'a>, deadline_ms: Term<'a>) -> Term<'a> {
    guard(env, || {
        let owner = decode_owner(owner)?;
        let deadline = Duration::from_millis(unsigned("the deadline", deadline_ms)?);
        let open = owner.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let unfinished = match open {
            Some(handle) => close(handle, deadline)?,
            None => vec![],
        };
        Ok((atoms::ok(), unfinished).encode(env))
    })
}

/// Ends every subscription of every instance, so that none of our threads sends a message any more.
#[rustler::nif(schedule = "DirtyIo")]
fn stop_notifying(env: Env<'_>) -> Term<'_> {
    guard(env, || {
        let all: Vec<_> = table().read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for attached in all {
            attached.subscribers.stop();
            attached.tails.stop();
        }
        Ok(atoms::ok().encode(env))
    })
}

/// `{:ok, status}` of the whole instance. Those of a store with files may ask a file.
#[rustler::nif(schedule = "DirtyIo")]
fn instance_status<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| {
            let status = serde_json::to_value(instance.foundation().status());
            Ok((atoms::ok(), serialized(env, "the status", status)?).encode(env))
        })
    })
}

/// A fresh event id.
fn generate_id<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || pinned(handle, |instance| Ok(instance.foundation().events().generate_id().encode(env))))
}

quick_nif!(generate_id(handle));

/// The instance's clock.
fn timestamp<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || pinned(handle, |instance| Ok(instance.foundation().clock().now_ns().encode(env))))
}

quick_nif!(timestamp(handle));

/// Panics, for the test that shows what becomes of a panic.
#[rustler::nif(name = "test_panic")]
#[allow(clippy::panic, reason = "this is the NIF that panics")]
fn forced_panic(env: Env<'_>) -> Term<'_> {
    guard(env, || panic!("forced by test_panic/0"))
}

fn decode_owner(term: Term<'_>) -> Result<ResourceArc<Owner>, Error> {
    term.decode().map_err(|_| mismatch("the owner", term, "what owner_new/0 gave"))
}
