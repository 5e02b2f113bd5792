//! What an instance does about the files of its event store: finds them, reads them before anything else is open,
//! gives the configuration its past, starts the threads that look after them, and closes them in time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::json;

use crate::config::{Config, schema};
use crate::error::{Code, Error, Result};
use crate::events::{DiskOptions, Durability, EventStore, Level, NewEvent, Progress, Recovered};
use crate::options::Options;
use crate::runtime::clock::{AnchoredClock, Clock};
use crate::runtime::deadline::Deadline;
use crate::runtime::fork::ForkHook;
use crate::runtime::supervisor::Supervisor;
use crate::storage::Storage;

/// How far the newest stored timestamp may lie ahead of the wall clock and still be believed.
const AHEAD: i64 = 3_600_000_000_000;

/// Reads the files that the options name; `None` if they name none.
pub(super) fn read(
    options: &Options,
    storage: &Arc<dyn Storage>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Recovered>> {
    let given = &options.event_store;
    let durability = given.durability.unwrap_or_default();
    let directory = data_dir(options)?;
    let Some(directory) = directory.filter(|_| durability != Durability::Volatile) else {
        if given.durability.is_some_and(|mode| mode != Durability::Volatile) {
            let message =
                "option event_store.durability asks for files and there is no data_dir to put them in";
            return Err(Error::new(Code::InvalidInput, message).with("path", "event_store.data_dir"));
        }
        return Ok(None);
    };
    let defaults = DiskOptions::default();
    let disk = DiskOptions {
        durability,
        sync_interval: given.sync_interval_ms.map_or(defaults.sync_interval, Duration::from_millis),
        sync_bytes: given.sync_kb.map_or(defaults.sync_bytes, |kb| kb << 10),
        max_disk_bytes: given.max_disk_mb.map(|mb| mb << 20),
        compression: given.compression.unwrap_or_default(),
        read_only: given.read_only,
        ..defaults
    };
    Recovered::read(Arc::clone(storage), &directory, disk, &options.namespace, progress).map(Some)
}

/// The directory of the files: the option, else the configuration's warm tier where that is switched on.
fn data_dir(options: &Options) -> Result<Option<PathBuf>> {
    if let Some(given) = &options.event_store.data_dir {
        return Ok(Some(PathBuf::from(given)));
    }
    let warm = options.config.get("storage").and_then(|storage| storage.get("warm"));
    if !warm.and_then(|warm| warm.get("enable")).is_some_and(|enable| enable == true) {
        return Ok(None);
    }
    let default = schema().find("storage.warm.path").map(|key| key.default.to_value());
    let path = warm.and_then(|warm| warm.get("path")).cloned().or(default);
    let path = path.as_ref().and_then(|path| path.as_str()).filter(|path| !path.is_empty());
    path.map(|path| Some(PathBuf::from(path))).ok_or_else(|| {
        Error::new(Code::InvalidInput, "storage.warm.path must be a directory's name")
            .with("path", "storage.warm.path")
    })
}

/// The instance's clock, anchored behind everything stored, unless that lies in a future that cannot be believed.
pub(super) fn anchor(clock: Arc<dyn Clock>, recovered: Option<&Recovered>) -> (AnchoredClock, bool) {
    let newest = recovered.map_or(i64::MIN, Recovered::newest_time);
    let stepped = newest > clock.wall_ns().saturating_add(AHEAD);
    let floor = if stepped { i64::MIN } else { newest.saturating_add(1) };
    (AnchoredClock::new(clock, floor), stepped)
}

/// Gives a configuration what was changed at run time before. What the schema does not take any more is left out
/// and answered.
pub(super) fn restore(config: &Config, recovered: &Recovered) -> Vec<String> {
    let past = recovered.config_past();
    if past.version == 0 { Vec::new() } else { config.restore(past.version, past.reset, &past.values) }
}

/// Starts the threads that look after the files.
pub(super) fn start(events: &Arc<EventStore>, supervisor: &Supervisor) -> Result<()> {
    if !events.has_files() {
        return Ok(());
    }
    let store = Arc::clone(events);
    supervisor.start("events-sync", move |stop| store.run_sync(stop))?;
    let store = Arc::clone(events);
    supervisor.start("events-seal", move |stop| store.run_seal(stop))
}

/// Stores what opening found as events: people look there.
pub(super) fn report(
    events: &EventStore,
    clock: &AnchoredClock,
    stepped: bool,
    refused: &[String],
) -> Result<()> {
    let Some(stats) = events.disk_stats().filter(|_| events.is_writable()) else { return Ok(()) };
    let store = |name: &str, data: serde_json::Value| {
        let data = data.to_string();
        let event = NewEvent { event_type: name.into(), data: data.as_bytes(), ..NewEvent::default() };
        events.append_with(&event, Some(Level::Accepted)).map(|_| ())
    };
    if stepped {
        store("clock_stepped", json!({"wall_time": clock.wall_ns(), "timestamp": clock.now_ns()}))?;
    }
    let found = &stats.recovery;
    if found.existed && (!found.clean || !found.gaps.is_empty() || !refused.is_empty()) {
        let mut data = serde_json::to_value(found).unwrap_or_default();
        if let Some(data) = data.as_object_mut() {
            data.insert("config_refused".to_owned(), json!(refused));
        }
        store("store_recovered", data)?;
    }
    Ok(())
}

/// The `seq` of the newest change of configuration, which its caller waits for.
#[derive(Debug, Default)]
pub(super) struct LastChange(AtomicU64);

impl LastChange {
    /// A change was stored.
    pub(super) fn note(&self, seq: u64) {
        self.0.fetch_max(seq, Ordering::AcqRel);
    }

    /// The newest one, 0 if there is none.
    pub(super) fn seq(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Closes the files within the deadline; what could not be finished.
pub(super) fn close(events: &Arc<EventStore>, supervisor: &Supervisor, deadline: Deadline) -> Vec<String> {
    if !events.is_writable() || !events.has_files() {
        return Vec::new();
    }
    let (done, closed) = channel();
    let store = Arc::clone(events);
    let started = supervisor.start("events-close", move |_| {
        // Nobody listens any more when it took too long; it is done all the same.
        let _ = done.send(store.close_files());
    });
    if let Err(error) = started {
        return vec![format!("events-close: {}", error.message())];
    }
    // When time is up the thread is named by the supervisor.
    closed.recv_timeout(deadline.left().unwrap_or_default()).unwrap_or_default()
}

/// In the child of a fork the files are the parent's.
pub(super) struct LeaveFiles(pub(super) Weak<EventStore>);

impl ForkHook for LeaveFiles {
    fn before_fork(&self) -> Result<()> {
        Ok(())
    }

    fn after_fork_parent(&self) {}

    fn after_fork_child(&self) {
        if let Some(events) = self.0.upgrade() {
            events.leave_files();
        }
    }
}
