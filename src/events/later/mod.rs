//! Appending for hosts that prefer not to wait: the event is checked and copied, and stored a moment later by a worker.
//!
//! [`EventStore::append_async`] puts the event into a bounded queue (`queue`); the worker that the instance starts with
//! the first one stores what is there, in the order of the calls, and every reason for which an event is not stored is
//! counted ([`AsyncStats`]). Where there is no worker, because none could be started or it failed, the callers store
//! what waits: slower, and nothing is lost. An instance that is closed stores what waits until its deadline.

mod piece;
mod queue;
mod stats;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

pub(super) use self::piece::Queued;
use self::queue::Progress;
pub(super) use self::queue::{Limits, Queue};
pub use self::stats::AsyncStats;
pub(super) use self::stats::Outcome;
use self::stats::{Failure, Refused};
use super::model::{DROPPED, NewEvent};
use super::overflow::Overflow;
use super::store::{EventStore, Manner, Now};
use super::validate;
use crate::error::{Code, Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::stop::StopToken;

/// The name of the worker, without `esf-`.
pub(crate) const ASYNC_WORKER: &str = "events-append";

/// Events that wait when nothing else is said.
pub const DEFAULT_ASYNC_EVENTS: u64 = 10_000;

/// Bytes that they take when nothing else is said.
pub const DEFAULT_ASYNC_BYTES: u64 = 16 << 20;

/// How long the worker waits for more before it sleeps: while events keep coming, a call wakes nobody.
const LINGER: Duration = Duration::from_millis(1);

/// How many waiting events a call stores where there is no worker.
const HELP: u64 = 64;

/// Starts the worker; whether it will come.
type Starter = Box<dyn Fn() -> bool + Send + Sync>;

/// What a store keeps for asynchronous appends.
pub(super) struct Later {
    queue: Arc<Queue>,
    starter: OnceLock<Starter>,
    start: Once,
    /// The worker is in its loop, or was started and will be.
    working: AtomicBool,
}

/// The worker is in its loop until this is dropped, also by a panic.
struct Working<'a>(&'a AtomicBool);

impl<'a> Working<'a> {
    fn new(working: &'a AtomicBool) -> Self {
        working.store(true, Ordering::Release);
        Self(working)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Later {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            queue: Arc::new(Queue::new(limits)),
            starter: OnceLock::new(),
            start: Once::new(),
            working: AtomicBool::new(false),
        }
    }

    pub(super) fn stats(&self) -> AsyncStats {
        self.queue.stats()
    }

    fn working(&self) -> bool {
        self.working.load(Ordering::Acquire)
    }
}

impl EventStore {
    /// Has an event stored a moment later: its id. What is wrong with it is said now; the event's times are those of
    /// this call where it states none, and events are stored in the order of the calls of a thread.
    ///
    /// It never waits, for room or for a disk: how safe the event is then is what [`EventStore::watermark`] and
    /// [`EventStore::wait_durable`] tell. That the event could not be stored after all (its id was stored already, the store was
    /// full) is counted in [`EventStats::later`](super::EventStats::later). Without a worker (see
    /// [`Foundation`](crate::foundation::Foundation)) the call stores what waits itself.
    ///
    /// Errors: those of [`EventStore::append`] that can be known now; `store_full` when as many events wait as may;
    /// `closing`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use elixirscope_foundation::events::NewEvent;
    /// use elixirscope_foundation::foundation::Foundation;
    /// use elixirscope_foundation::options::Options;
    ///
    /// let foundation = Foundation::open(&Options::default())?;
    /// let event = NewEvent { event_type: "order_paid".into(), data: b"{}", ..NewEvent::default() };
    /// let id = foundation.events().append_async(&event)?;
    /// foundation.events().flush_async(Duration::from_secs(5))?;
    /// assert_eq!(foundation.events().get(id)?.view().event_type(), "order_paid");
    /// # Ok::<(), elixirscope_foundation::error::Error>(())
    /// ```
    pub fn append_async(&self, event: &NewEvent<'_>) -> Result<u64> {
        let queue = &self.later.queue;
        let invalid = |error| queue.refuse(Refused::Invalid, error);
        validate::check(event, self.max_data_bytes()).map_err(invalid)?;
        let event_type = self.type_of(event).map_err(invalid)?;
        let event_id = if let Some(id) = event.event_id {
            id
        } else {
            self.ids.check_left().map_err(invalid)?;
            self.generate_id()
        };
        let now = self.now(event);
        queue.push(&Queued { event_type, event_id, timestamp: now.time, wall_time: now.wall, event })?;
        if !self.later.working() {
            self.without_worker();
        }
        Ok(event_id)
    }

    #[cold]
    fn without_worker(&self) {
        let later = &self.later;
        later.start.call_once(|| {
            // The worker says itself that it is there no more, which it may do before this is said.
            later.working.store(true, Ordering::Release);
            if !later.starter.get().is_some_and(|start| start()) {
                later.working.store(false, Ordering::Release);
            }
        });
        // Whoever waits for room does that in a flush, not here.
        if later.working() || self.overflow_strategy() == Overflow::Block {
            return;
        }
        later.queue.help(HELP, |event, now| self.store_queued(Manner::AtOnce, event, now));
    }

    /// Waits until every event that [`EventStore::append_async`] took before this call is stored, or counted as not
    /// stored.
    ///
    /// Errors: `timeout` when that takes longer.
    pub fn flush_async(&self, timeout: Duration) -> Result<()> {
        let queue = &self.later.queue;
        let target = queue.accepted();
        queue.wake();
        if self.wait_stored(target, Deadline::after(timeout)) {
            return Ok(());
        }
        let left = target.saturating_sub(queue.finished());
        let message =
            format!("{left} events were still waiting to be stored after {} ms", timeout.as_millis());
        Err(Error::new(Code::Timeout, message).with("waiting", left))
    }

    /// Has `start` called with the first asynchronous append: it starts the worker, which calls
    /// [`EventStore::keep_storing`], and answers whether that will come.
    pub(crate) fn on_first_async(&self, start: impl Fn() -> bool + Send + Sync + 'static) {
        // A store is told once; a second starter would be of another instance.
        let _ = self.later.starter.set(Box::new(start));
    }

    /// The worker's loop: stores what waits until it is asked to stop. What waits then, stays.
    pub(crate) fn keep_storing(&self, stop: &StopToken) {
        let queue = &self.later.queue;
        let waker = Arc::clone(queue);
        stop.on_stop(move || waker.wake());
        let _working = Working::new(&self.later.working);
        while !stop.is_stopped() {
            if self.store_waiting(|| stop.is_stopped()) != Progress::Taken {
                queue.rest(LINGER);
            } else if stop.wait_timeout(LINGER) {
                break;
            }
        }
    }

    /// Takes no more asynchronous appends and stores what waits until the deadline; the rest is dropped. How many
    /// events that were.
    pub(crate) fn close_async(&self, deadline: Deadline) -> u64 {
        let queue = &self.later.queue;
        let target = queue.close();
        queue.wake();
        if self.wait_stored(target, deadline) {
            return 0;
        }
        if queue.abandon() {
            return queue.stats().dropped_at_close;
        }
        // Somebody is storing one of them and drops the rest.
        target.saturating_sub(queue.finished())
    }

    /// Waits until so many of the events that were taken are finished; stores them where there is no worker. An event
    /// that would wait for room beyond the deadline waits on in the queue.
    fn wait_stored(&self, target: u64, deadline: Deadline) -> bool {
        let room = &self.retention.room;
        let stop = || deadline.left().is_none_or(|left| left < room.waits_at_most() && !room.is_there());
        self.later.queue.wait_finished(target, deadline, || {
            if !self.later.working() {
                self.store_waiting(stop);
            }
        })
    }

    fn store_waiting(&self, stop: impl Fn() -> bool) -> Progress {
        let store = |event: &NewEvent<'_>, now| self.store_queued(Manner::Waiting, event, now);
        self.later.queue.drain(u64::MAX, stop, store)
    }

    fn store_queued(&self, manner: Manner, event: &NewEvent<'_>, now: Now) -> Outcome {
        match self.append_queued(manner, event, now) {
            Ok(receipt) if receipt.level == DROPPED => Outcome::DroppedNewest,
            Ok(_) => Outcome::Stored,
            Err(error) => Outcome::Failed(Failure::from(error.code())),
        }
    }
}
