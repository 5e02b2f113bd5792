//! Who wants to hear of changes, and what they are told.
//!
//! Every subscriber has a bounded queue of its own. Putting a change in never waits: an unread change of
//! the same path is replaced by the newer one, and into a full queue the change comes at the cost of the
//! oldest; both are counted. Changes before and after a reset are never merged into one, so reading a
//! queue to its end always leads to the values in force.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::notify::Callback;
use super::schema::is_under;
use super::snapshot::Snapshot;
use crate::error::{Code, Error, Result};
use crate::runtime::call::Call;
use crate::runtime::queue::{Keyed, Pop, Queue, QueueStats};

/// How many subscriptions one instance holds.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 1024;

/// How many unread changes a subscription may ask to hold.
pub(crate) const MAX_CAPACITY: usize = 65_536;

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// One key has a new value.
    Updated,
    /// Every key is back at its default; told once for the subscription's whole prefix.
    Reset,
}

/// One change, as a subscriber gets it. Secrets are redacted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The path of the key; of the subscription's prefix when everything was reset.
    pub path: &'static str,
    /// What was there before this change.
    pub old: Value,
    /// What is there since this change.
    pub new: Value,
    /// The version that the change made.
    pub version: u64,
    /// When it was made: nanoseconds on the instance's clock.
    pub timestamp_ns: i64,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// How many resets came before: changes on two sides of a reset are kept apart.
    #[serde(skip)]
    resets: u64,
}

impl Keyed for Change {
    type Key = (&'static str, u64);

    fn key(&self) -> Option<Self::Key> {
        (self.kind == ChangeKind::Updated).then_some((self.path, self.resets))
    }
}

/// A change on its way: what the commit hook may refuse and the published hook counts. Secrets are redacted.
#[derive(Debug)]
pub struct PendingChange<'a> {
    /// The path of the key; "" when everything is reset.
    pub path: &'static str,
    /// What is there now.
    pub old: &'a Value,
    /// What is to be there.
    pub new: &'a Value,
    /// The version that the change makes.
    pub version: u64,
    /// When it is made: nanoseconds on the instance's clock.
    pub timestamp_ns: i64,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// How many updates were made before this change.
    pub updates_count: u64,
}

/// All subscriptions of one configuration.
pub(crate) struct Watchers {
    entries: Mutex<Entries>,
    /// The callback subscriptions that have something to deliver, each at most once.
    pub(super) ready: Queue<Ready>,
    pub(super) panics: AtomicU64,
}

struct Entries {
    live: Vec<Arc<Entry>>,
    next_id: u64,
    resets: u64,
    /// What cancelled subscriptions had counted.
    coalesced: u64,
    dropped: u64,
}

pub(super) struct Entry {
    pub(super) id: u64,
    prefix: &'static str,
    pub(super) queue: Queue<Change>,
    pub(super) call: Option<Call<Change>>,
}

/// The number of a subscription with something to deliver.
pub(super) struct Ready(pub(super) u64);

impl Keyed for Ready {
    type Key = u64;

    fn key(&self) -> Option<u64> {
        Some(self.0)
    }
}

/// What all subscriptions together count.
#[derive(Debug, Default)]
pub(crate) struct WatchStats {
    pub(crate) subscribers: u64,
    pub(crate) coalesced: u64,
    pub(crate) dropped: u64,
}

impl Watchers {
    pub(crate) fn new() -> Self {
        let entries = Entries { live: vec![], next_id: 1, resets: 0, coalesced: 0, dropped: 0 };
        Self { entries: Mutex::new(entries), ready: Queue::new(MAX_SUBSCRIPTIONS), panics: AtomicU64::new(0) }
    }

    pub(crate) fn subscribe(
        self: &Arc<Self>,
        prefix: &'static str,
        capacity: usize,
        callback: Option<Callback>,
    ) -> Result<Subscription> {
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            let message =
                format!("a subscription holds 1 to {MAX_CAPACITY} unread changes; {capacity} was asked for");
            return Err(Error::new(Code::InvalidInput, message).with("capacity", capacity));
        }
        let mut entries = self.lock();
        if entries.live.len() >= MAX_SUBSCRIPTIONS {
            let message =
                format!("the configuration has {MAX_SUBSCRIPTIONS} subscriptions; cancel one first");
            return Err(Error::new(Code::ResourceExhausted, message).with("limit", MAX_SUBSCRIPTIONS));
        }
        let id = entries.next_id;
        entries.next_id += 1;
        let call = callback.map(Call::new);
        let entry = Arc::new(Entry { id, prefix, queue: Queue::new(capacity), call });
        entries.live.push(entry.clone());
        Ok(Subscription { entry, watchers: self.clone() })
    }

    /// Tells everyone concerned. The caller holds the writer lock, so changes arrive in order.
    pub(crate) fn publish(&self, change: &PendingChange<'_>, before: &Snapshot, after: &Snapshot) {
        let mut entries = self.lock();
        let resets = entries.resets;
        if change.kind == ChangeKind::Reset {
            entries.resets += 1;
        }
        for entry in &entries.live {
            let (path, old, new) = match change.kind {
                ChangeKind::Updated if is_under(change.path, entry.prefix) => {
                    (change.path, change.old.clone(), change.new.clone())
                }
                ChangeKind::Updated => continue,
                ChangeKind::Reset => {
                    (entry.prefix, before.tree(entry.prefix, true), after.tree(entry.prefix, true))
                }
            };
            let (version, timestamp_ns, kind) = (change.version, change.timestamp_ns, change.kind);
            entry.queue.push(Change { path, old, new, version, timestamp_ns, kind, resets });
            if entry.call.is_some() {
                self.ready.push(Ready(entry.id));
            }
        }
    }

    pub(crate) fn stats(&self) -> WatchStats {
        let entries = self.lock();
        let mut stats = WatchStats {
            subscribers: entries.live.len() as u64,
            coalesced: entries.coalesced,
            dropped: entries.dropped,
        };
        for entry in &entries.live {
            let queue = entry.queue.stats();
            stats.coalesced += queue.coalesced;
            stats.dropped += queue.dropped;
        }
        stats
    }

    pub(crate) fn callback_panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Ends every subscription without waiting for a callback that runs: who waits on a queue wakes up.
    pub(crate) fn close(&self) {
        let live = std::mem::take(&mut self.lock().live);
        for entry in live {
            entry.queue.close();
            if let Some(call) = &entry.call {
                call.forbid();
            }
        }
    }

    pub(super) fn with_callbacks(&self) -> Vec<u64> {
        self.lock().live.iter().filter(|entry| entry.call.is_some()).map(|entry| entry.id).collect()
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Entry>> {
        self.lock().live.iter().find(|entry| entry.id == id).cloned()
    }

    fn remove(&self, entry: &Entry) {
        let mut entries = self.lock();
        let Some(at) = entries.live.iter().position(|other| other.id == entry.id) else { return };
        entries.live.remove(at);
        let queue = entry.queue.stats();
        entries.coalesced += queue.coalesced;
        entries.dropped += queue.dropped;
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // The list is whole at every step, so a holder's panic changes nothing.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One subscriber's place: a queue to read, or a callback that is being called. Dropping it cancels it.
pub struct Subscription {
    entry: Arc<Entry>,
    watchers: Arc<Watchers>,
}

impl Subscription {
    /// The path under which changes are told; "" for all.
    pub fn prefix(&self) -> &'static str {
        self.entry.prefix
    }

    /// The oldest unread change, if there is one.
    pub fn try_next(&self) -> Option<Change> {
        self.entry.queue.try_pop()
    }

    /// The oldest unread change; waits for one up to `timeout`. `Closed` once the subscription or its
    /// configuration has ended and everything is read.
    pub fn next_timeout(&self, timeout: Duration) -> Pop<Change> {
        self.entry.queue.pop_timeout(timeout)
    }

    /// A descriptor to wait on in an event loop: readable while a change is unread or the end is reached.
    /// It belongs to the subscription: never read, write or close it.
    pub fn descriptor(&self) -> Result<RawFd> {
        self.entry.queue.descriptor()
    }

    /// What went through the queue.
    pub fn stats(&self) -> QueueStats {
        self.entry.queue.stats()
    }

    /// In a forked child: no longer shares the descriptor with the parent.
    pub(crate) fn separate(&self) {
        self.entry.queue.separate();
    }

    /// Ends the subscription; unread changes can still be read. When this returns, the callback is not
    /// running and will not be called again, and what it owned is dropped. Only called from inside the
    /// callback itself, it returns at once, and the running call is the last.
    pub fn cancel(&self) {
        self.end().wait();
    }

    /// Ends the subscription as [`cancel`](Self::cancel) does, except that waiting for a callback that is
    /// running is left to [`Ended::wait`], which needs no hold on the subscription.
    pub(crate) fn end(&self) -> Ended {
        self.watchers.remove(&self.entry);
        self.entry.queue.close();
        if let Some(call) = &self.entry.call {
            call.forbid();
        }
        Ended(self.entry.clone())
    }
}

/// A subscription that is over, but whose callback may still be running.
pub(crate) struct Ended(Arc<Entry>);

impl Ended {
    /// Waits until the callback is not running; inside the callback itself that is at once.
    pub(crate) fn wait(&self) {
        if let Some(call) = &self.0.call {
            call.wait();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("prefix", &self.entry.prefix)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
