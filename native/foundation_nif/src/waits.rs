//! Waiting for the disk without a scheduler: the core's own thread sends a message when it is done.
//!
//! A call registers with the core and answers a wait; the process waits in `receive` for `{ref, :ok}` or
//! `{ref, {:error, error}}` with the reference that it gave. Where it is so already the call answers at once and no
//! message is sent. A process that waits no longer cancels, and learns whether the message was sent before: so none
//! is left in its mailbox.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::events::{EventStore, Level};
use elixirscope_foundation::handles::Instance;
use rustler::{Encoder, Env, LocalPid, OwnedEnv, Resource, ResourceArc, Term};

use crate::atoms;
use crate::boundary::{failure, guard};
use crate::instance::pinned;
use crate::terms::{is_nil, mismatch, optional, unsigned};

/// What has become of a wait.
enum State {
    /// The call that registers it has not returned yet: an outcome is its answer, not a message.
    Registering,
    Done(Result<(), Error>),
    Waiting,
    Sent,
    Cancelled,
}

type Shared = Arc<Mutex<State>>;

/// A wait that a process may give up.
struct Wait {
    state: Shared,
}

#[rustler::resource_impl]
impl Resource for Wait {}

fn state(shared: &Shared) -> MutexGuard<'_, State> {
    // A change is one assignment, so a holder's panic leaves it whole.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers a wait by `register`, which is given what the core calls once: `:ok` or an error if that was at once, else
/// the wait.
fn wait<'a>(
    env: Env<'a>,
    reference: Term<'a>,
    register: impl FnOnce(Box<dyn FnOnce(Result<(), Error>) + Send>) -> Result<(), Error>,
) -> Result<Term<'a>, Error> {
    if !reference.is_ref() {
        return Err(mismatch("the reference", reference, "a reference"));
    }
    let shared: Shared = Arc::new(Mutex::new(State::Registering));
    let (pid, owned) = (env.pid(), OwnedEnv::new());
    let saved = owned.save(reference);
    let told = Arc::clone(&shared);
    register(Box::new(move |outcome| {
        {
            let mut state = state(&told);
            match *state {
                State::Waiting => *state = State::Sent,
                State::Registering => {
                    *state = State::Done(outcome);
                    return;
                }
                State::Done(_) | State::Sent | State::Cancelled => return,
            }
        }
        // Only the core's threads come here: a call that is answered at once was `Registering`.
        send(owned, pid, |env| (saved.load(env), answer(env, outcome)).encode(env));
    }))?;
    let mut state = state(&shared);
    if let State::Done(outcome) = std::mem::replace(&mut *state, State::Waiting) {
        return outcome.map(|()| atoms::ok().encode(env));
    }
    drop(state);
    Ok(ResourceArc::new(Wait { state: shared }).encode(env))
}

/// Sends from one of our own threads; the process may be gone.
fn send(mut owned: OwnedEnv, pid: LocalPid, message: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) {
    let _ = owned.send_and_clear(&pid, message);
}

fn answer(env: Env<'_>, outcome: Result<(), Error>) -> Term<'_> {
    match outcome {
        Ok(()) => atoms::ok().encode(env),
        Err(error) => failure(env, &error),
    }
}

/// A level by its atom; the store's own where none is named.
fn level(events: &EventStore, term: Term<'_>) -> Result<Level, Error> {
    if is_nil(term) {
        Ok(events.usual_level())
    } else if atoms::accepted() == term {
        Ok(Level::Accepted)
    } else if atoms::crash_safe() == term {
        Ok(Level::CrashSafe)
    } else if atoms::durable() == term {
        Ok(Level::Durable)
    } else {
        Err(Error::new(Code::InvalidInput, "a level is :accepted, :crash_safe or :durable")
            .with("level", "unknown"))
    }
}

/// Waits until every event up to this position (`nil`: all that are stored now) has a level (`nil`: the store's own).
#[rustler::nif]
fn event_await<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    seq: Term<'a>,
    wanted: Term<'a>,
    reference: Term<'a>,
) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| {
            let events = instance.foundation().events();
            let seq =
                optional(seq, |term| unsigned("the position", term))?.unwrap_or_else(|| events.newest_seq());
            let level = level(events, wanted)?;
            wait(env, reference, |then| events.when_durable(seq, level, then))
        })
    })
}

/// Waits until memory may have room again, after an append that found the disk behind.
#[rustler::nif]
fn event_await_room<'a>(env: Env<'a>, handle: Term<'a>, reference: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| wait(env, reference, |then| instance.foundation().events().when_room(then)))
    })
}

/// Gives a wait up: `true` if no message of it was sent or will be, `false` if it was sent.
#[rustler::nif]
fn wait_cancel<'a>(env: Env<'a>, wait: Term<'a>) -> Term<'a> {
    guard(env, || {
        let wait: ResourceArc<Wait> =
            wait.decode().map_err(|_| mismatch("the wait", wait, "what event_await/4 gave"))?;
        let mut state = state(&wait.state);
        let sent = matches!(*state, State::Sent);
        if !sent {
            *state = State::Cancelled;
        }
        Ok((!sent).encode(env))
    })
}

/// `{:ok, seq}`: every event below it has the level.
#[rustler::nif]
fn event_watermark<'a>(env: Env<'a>, handle: Term<'a>, wanted: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance: &Instance| {
            let events = instance.foundation().events();
            Ok((atoms::ok(), events.watermark(level(events, wanted)?)).encode(env))
        })
    })
}
