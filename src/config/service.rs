//! The configuration service: the state, and how it changes.
//!
//! Readers take no lock. A writer, on its caller's thread and under the writer lock: checks, builds the
//! next snapshot, calls the commit hook (which may refuse, and then nothing has changed), fills the next
//! plane of every key, stores the snapshot, publishes the version, and tells the subscribers. Between
//! storing the snapshot and publishing the version a reader of the snapshot publishes it itself, so that
//! one thread never sees a newer value by path and then an older one by key. A panic in a hook leaves
//! everything as it was: the snapshot is immutable, and an unpublished plane is filled again.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use serde::Serialize;
use serde_json::{Map, Value};

use super::defaults::UPDATABLE_PATHS;
use super::key::{Cells, Key, RawKey, type_mismatch};
use super::schema::{Schema, schema};
use super::snapshot::{Snapshot, type_name};
use super::watch::{Change, ChangeKind, PendingChange, Subscription, Watchers};
use super::{notify, path, validation};
use crate::error::{Code, Error, Result};
use crate::runtime::clock::AnchoredClock;
use crate::runtime::supervisor::Supervisor;

/// Called before a change is published, under the writer lock; an error means that nothing changes.
pub type CommitHook = Box<dyn Fn(&PendingChange<'_>) -> Result<()> + Send + Sync>;

/// Called after a change was published, without a lock: waits until it is safe. An error reaches the caller, and the
/// change is in force all the same.
pub type ConfirmHook = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// Called after a change was published, before its caller gets the answer.
pub type PublishedHook = Box<dyn Fn(&PendingChange<'_>) + Send + Sync>;

/// How long dropping a configuration waits for a callback that is running.
const LAST_CALLBACK: Duration = Duration::from_secs(5);

/// The configuration of one instance.
pub struct Config {
    schema: &'static Schema,
    cells: Arc<Cells>,
    current: ArcSwap<Snapshot>,
    writer: Mutex<()>,
    /// Which thread holds the writer lock (0: none), so that a hook that updates gets an error, not a
    /// deadlock.
    holder: AtomicU64,
    commit: Mutex<Option<Arc<CommitHook>>>,
    published: Mutex<Option<Arc<PublishedHook>>>,
    confirm: Mutex<Option<Arc<ConfirmHook>>>,
    watchers: Arc<Watchers>,
    supervisor: Arc<Supervisor>,
    /// Whether the worker for callbacks was started.
    notifier: Mutex<bool>,
    version_cell: Arc<AtomicU64>,
    clock: AnchoredClock,
    opened_ns: i64,
    updates: AtomicU64,
    resets: AtomicU64,
    last_update_ns: AtomicI64,
}

/// What a configuration counts, for status and health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigStats {
    /// The version in force; the first is 1.
    pub version: u64,
    /// How long the configuration is open.
    pub uptime_ms: u64,
    /// Updates made.
    pub updates_count: u64,
    /// Resets made.
    pub resets_count: u64,
    /// When the last update was made, in nanoseconds on the instance's clock.
    pub last_update_ns: Option<i64>,
    /// Subscriptions that are open.
    pub subscribers_count: u64,
    /// Changes that a newer one of the same path replaced before a subscriber read them.
    pub coalesced: u64,
    /// Changes that a full queue lost.
    pub dropped: u64,
    /// Callbacks that panicked.
    pub callback_panics: u64,
}

impl Config {
    /// Opens a configuration: the defaults of the schema with these overrides, as nested objects.
    ///
    /// Everything wrong with the overrides is in the error's `context.violations`. `version_cell` is kept
    /// at the version in force, for whoever stamps it onto something.
    pub fn open(
        overrides: &Map<String, Value>,
        version_cell: Arc<AtomicU64>,
        clock: AnchoredClock,
        supervisor: Arc<Supervisor>,
    ) -> Result<Self> {
        let schema = schema();
        let values =
            validation::merge(schema, overrides).map_err(|violations| validation::error(&violations))?;
        let first = Snapshot::new(schema, 1, values);
        let cells = Cells::take(schema);
        cells.fill(1, first.values());
        cells.head().start(1);
        version_cell.store(1, Ordering::Release);
        Ok(Self {
            schema,
            cells: Arc::new(cells),
            current: ArcSwap::from_pointee(first),
            writer: Mutex::new(()),
            holder: AtomicU64::new(0),
            commit: Mutex::new(None),
            published: Mutex::new(None),
            confirm: Mutex::new(None),
            watchers: Arc::new(Watchers::new()),
            supervisor,
            notifier: Mutex::new(false),
            version_cell,
            opened_ns: clock.source().boot_ns(),
            clock,
            updates: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            last_update_ns: AtomicI64::new(0),
        })
    }

    /// Takes up what was changed at run time before, as of this version, before anybody else has the configuration.
    /// The paths of values that may not be set any more are answered.
    pub(crate) fn restore(&self, version: u64, reset: bool, values: &Map<String, Value>) -> Vec<String> {
        let mut next = self.current.load().as_ref().clone();
        if reset {
            next = Snapshot::defaults(self.schema, version);
        }
        let mut refused = Vec::new();
        for (path, value) in values {
            match self.updatable(path, value) {
                Ok(position) => next = next.with(position, value.clone()),
                Err(_) => refused.push(path.clone()),
            }
        }
        let version = version.max(1);
        let next = Snapshot::new(self.schema, version, next.values().to_vec());
        self.cells.fill(version, next.values());
        self.cells.head().start(version);
        self.current.store(Arc::new(next));
        self.version_cell.store(version, Ordering::Release);
        refused
    }

    /// The version in force; each update or reset makes the next one.
    pub fn version(&self) -> u64 {
        self.cells.head().version()
    }

    /// The value of a key, or a section as an object; "" is the whole tree.
    pub fn get(&self, path: &str) -> Result<Value> {
        let key = self.schema.position(path).and_then(|position| self.cells.key(position));
        match key.and_then(RawKey::exact_value) {
            Some(value) => Ok(value),
            None => self.current().get(path),
        }
    }

    /// The value of a boolean key.
    pub fn get_bool(&self, path: &str) -> Result<bool> {
        self.raw(path, "a boolean")?.get_bool()
    }

    /// The value of a whole-number key.
    pub fn get_i64(&self, path: &str) -> Result<i64> {
        self.raw(path, "a whole number")?.get_i64()
    }

    /// The value of a number key.
    pub fn get_f64(&self, path: &str) -> Result<f64> {
        self.raw(path, "a number")?.get_f64()
    }

    /// The text of a key that holds text or a word.
    pub fn get_str(&self, path: &str) -> Result<String> {
        if self.schema.position(path).is_none() && self.schema.node(path).is_some() {
            return Err(type_mismatch(path, "text", "a section"));
        }
        self.current().get_str(path).map(str::to_owned)
    }

    /// Resolves a path once, for reads in a few nanoseconds.
    pub fn key(&self, path: &str) -> Result<Key> {
        let raw = self.raw(path, "a key")?;
        let position = self.schema.position(path).ok_or_else(|| path::not_found(path))?;
        // A key whose checks are switched off may hold what its type cannot; then it has no handle.
        let spec = self.schema.spec(position);
        let current = self.current();
        match current.at(position) {
            Some(value) if spec.checked_when.is_some() && !spec.accepts(value) => {
                Err(type_mismatch(spec.path, &spec.expected(), type_name(value)))
            }
            _ => Ok(Key::new(raw, self.cells.clone())),
        }
    }

    /// The whole tree as it is now; it stays as it is for as long as it is held.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Guard::into_inner(self.current())
    }

    /// Checks a complete tree without using it. All violations are in the error's `context.violations`.
    pub fn validate(&self, tree: &Value) -> Result<()> {
        let violations = validation::check_tree(self.schema, tree);
        if violations.is_empty() { Ok(()) } else { Err(validation::error(&violations)) }
    }

    /// Whether [`update`](Self::update) would take this value, without making the update.
    pub fn check_update(&self, path: &str, value: &Value) -> Result<()> {
        self.updatable(path, value).map(|_| ())
    }

    /// Changes one updatable key and answers the new version. When this returns, every reader sees it, and on an
    /// instance with files it is durable.
    ///
    /// Errors: what is wrong with the value, `config_update_forbidden` for a path that is not updatable; `io_error`,
    /// `no_space` when the change is in force and its event is not durable yet (`context.applied`).
    pub fn update(&self, path: &str, value: Value) -> Result<u64> {
        let version = self.update_unconfirmed(path, value)?;
        self.confirm(version)
    }

    /// As [`Config::update`], without waiting until the change is durable: for those who may not wait for a disk.
    pub fn update_unconfirmed(&self, path: &str, value: Value) -> Result<u64> {
        let position = self.updatable(path, &value)?;
        let writer = self.write()?;
        let before = self.current.load_full();
        let after = before.with(position, value);
        let (old, new) = (before.shown(position), after.shown(position));
        self.commit(
            writer,
            self.schema.spec(position).path,
            (&old, &new),
            ChangeKind::Updated,
            &before,
            after,
        )
    }

    /// Puts every key back to its default and answers the new version; errors as for [`Config::update`].
    pub fn reset(&self) -> Result<u64> {
        let version = self.reset_unconfirmed()?;
        self.confirm(version)
    }

    fn confirm(&self, version: u64) -> Result<u64> {
        let confirm = lock(&self.confirm).clone();
        match confirm.map(|confirm| confirm()) {
            Some(Err(error)) => Err(error.with("applied", true).with("version", version)),
            _ => Ok(version),
        }
    }

    /// As [`Config::reset`], without waiting until the change is durable.
    pub fn reset_unconfirmed(&self) -> Result<u64> {
        let writer = self.write()?;
        let before = self.current.load_full();
        let after = Snapshot::defaults(self.schema, before.version() + 1);
        let (old, new) = (before.tree("", true), after.tree("", true));
        self.commit(writer, "", (&old, &new), ChangeKind::Reset, &before, after)
    }

    /// The paths that [`update`](Self::update) takes.
    pub fn updatable_paths() -> &'static [&'static str] {
        UPDATABLE_PATHS
    }

    /// A queue of the changes under a path ("" for all) with at most this many unread.
    pub fn subscribe(&self, prefix: &str, capacity: usize) -> Result<Subscription> {
        self.watchers.subscribe(self.node(prefix)?, capacity, None)
    }

    /// Calls `callback` with the changes under a path, from the worker `esf-config-notify`, with no lock
    /// held. It may call anything but what closes the instance. A panic in it is counted.
    pub fn subscribe_callback(
        &self,
        prefix: &str,
        capacity: usize,
        callback: Box<dyn Fn(&Change) + Send>,
    ) -> Result<Subscription> {
        let prefix = self.node(prefix)?;
        {
            let mut started = lock(&self.notifier);
            if !*started {
                let watchers = self.watchers.clone();
                self.supervisor.start(notify::WORKER, move |stop| notify::deliver(&watchers, stop))?;
                *started = true;
            }
        }
        self.watchers.subscribe(prefix, capacity, Some(callback))
    }

    /// Sets what stores a change before it is published. It may not change the configuration itself.
    pub fn set_commit_hook(&self, hook: CommitHook) {
        *lock(&self.commit) = Some(Arc::new(hook));
    }

    /// Sets what waits until a change is safe.
    pub fn set_confirm_hook(&self, hook: ConfirmHook) {
        *lock(&self.confirm) = Some(Arc::new(hook));
    }

    /// Sets what counts a change after it was published.
    pub fn set_published_hook(&self, hook: PublishedHook) {
        *lock(&self.published) = Some(Arc::new(hook));
    }

    /// What the configuration counts.
    pub fn stats(&self) -> ConfigStats {
        let watch = self.watchers.stats();
        let uptime_ns = self.clock.source().boot_ns().saturating_sub(self.opened_ns);
        let updates_count = self.updates.load(Ordering::Acquire);
        ConfigStats {
            version: self.version(),
            uptime_ms: uptime_ns.max(0) as u64 / 1_000_000,
            updates_count,
            resets_count: self.resets.load(Ordering::Acquire),
            last_update_ns: (updates_count > 0).then(|| self.last_update_ns.load(Ordering::Acquire)),
            subscribers_count: watch.subscribers,
            coalesced: watch.coalesced,
            dropped: watch.dropped,
            callback_panics: self.watchers.callback_panics(),
        }
    }

    /// The snapshot in force. Afterwards no read by key on this thread is older than it.
    fn current(&self) -> Guard<Arc<Snapshot>> {
        let current = self.current.load();
        self.cells.head().catch_up(current.version());
        current
    }

    #[inline]
    fn raw(&self, path: &str, asked: &str) -> Result<RawKey> {
        match self.schema.position(path).and_then(|position| self.cells.key(position)) {
            Some(key) => Ok(key),
            None if self.schema.node(path).is_some() => Err(type_mismatch(path, asked, "a section")),
            None => Err(path::not_found(path)),
        }
    }

    fn node(&self, path: &str) -> Result<&'static str> {
        self.schema.node(path).ok_or_else(|| path::not_found(path))
    }

    /// The number of the key, if it may be updated to this value.
    fn updatable(&self, path: &str, value: &Value) -> Result<usize> {
        path::check(path)?;
        let position = self.schema.position(path);
        let Some((position, spec)) =
            position.map(|at| (at, self.schema.spec(at))).filter(|(_, spec)| spec.updatable)
        else {
            let message = format!("{path} may not be changed while the instance runs");
            return Err(Error::new(Code::ConfigUpdateForbidden, message)
                .with("path", path)
                .with("allowed_paths", UPDATABLE_PATHS));
        };
        match validation::check_value(spec, value) {
            None => Ok(position),
            Some(violation) => Err(validation::error(&[violation])),
        }
    }

    fn commit(
        &self,
        writer: WriterGuard<'_>,
        path: &'static str,
        (old, new): (&Value, &Value),
        kind: ChangeKind,
        before: &Snapshot,
        after: Snapshot,
    ) -> Result<u64> {
        let version = after.version();
        let timestamp_ns = self.clock.now_ns();
        let updates_count = self.updates.load(Ordering::Relaxed);
        let change = PendingChange { path, old, new, version, timestamp_ns, kind, updates_count };
        let commit = lock(&self.commit).clone();
        if let Some(commit) = commit {
            commit(&change).map_err(|cause| not_stored(path, &cause))?;
        }
        let after = Arc::new(after);
        self.cells.fill(version, after.values());
        // First, so that what somebody does who has seen the new version is not stamped with the old one.
        self.version_cell.store(version, Ordering::Release);
        self.current.store(after.clone());
        self.cells.head().publish(version);
        match kind {
            ChangeKind::Updated => {
                self.last_update_ns.store(timestamp_ns, Ordering::Release);
                self.updates.fetch_add(1, Ordering::AcqRel);
            }
            ChangeKind::Reset => {
                self.resets.fetch_add(1, Ordering::AcqRel);
            }
        }
        self.watchers.publish(&change, before, &after);
        drop(writer);
        let published = lock(&self.published).clone();
        if let Some(published) = published {
            published(&change);
        }
        Ok(version)
    }

    fn write(&self) -> Result<WriterGuard<'_>> {
        let thread = this_thread();
        if self.holder.load(Ordering::Relaxed) == thread {
            let message = "a commit hook may not change the configuration that it is called by";
            return Err(Error::new(Code::Reentrant, message));
        }
        let lock = lock(&self.writer);
        self.holder.store(thread, Ordering::Relaxed);
        Ok(WriterGuard { _lock: lock, holder: &self.holder })
    }
}

/// The writer lock, which knows its thread.
struct WriterGuard<'a> {
    _lock: MutexGuard<'a, ()>,
    holder: &'a AtomicU64,
}

impl Drop for WriterGuard<'_> {
    fn drop(&mut self) {
        self.holder.store(0, Ordering::Relaxed);
    }
}

/// Locks what is set whole in one step or guards nothing, so that a holder's panic changes nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that no other living thread has, and never 0: the address of something of the thread's own.
fn this_thread() -> u64 {
    thread_local!(static OWN: u8 = const { 0 });
    OWN.try_with(|own| std::ptr::from_ref(own).addr() as u64).unwrap_or(u64::MAX)
}

fn not_stored(path: &str, cause: &Error) -> Error {
    let what = if path.is_empty() { "the reset" } else { path };
    let message =
        format!("nothing was changed, since the change of {what} could not be stored: {}", cause.message());
    Error::new(Code::ServiceUnavailable, message).with("path", path).with("cause", cause.to_json())
}

impl Drop for Config {
    fn drop(&mut self) {
        self.watchers.close();
        let started = *self.notifier.get_mut().unwrap_or_else(PoisonError::into_inner);
        if started {
            // A worker that does not end in time holds nothing of this configuration but its subscribers;
            // the supervisor goes on reporting it.
            let _ = self.supervisor.stop(notify::WORKER, LAST_CALLBACK);
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("snapshot", &*self.current()).finish_non_exhaustive()
    }
}
