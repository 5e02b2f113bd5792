//! One instance: opens the three services, wires them, and closes them.
//!
//! This is the only place where the services meet. A configuration change becomes an event and a count
//! because [`Foundation::open`] hangs the event store and telemetry on the configuration's hooks; every
//! event is stamped with the configuration version in force because both read one shared version cell.
//!
//! ```
//! use std::time::Duration;
//! use elixirscope_foundation::events::{NewEvent, Query};
//! use elixirscope_foundation::foundation::Foundation;
//! use elixirscope_foundation::options::Options;
//!
//! let foundation = Foundation::open(&Options::default())?;
//! foundation.config().update("ai.planning.sampling_rate", 0.5.into())?;
//! foundation.events().append(&NewEvent { event_type: "order_paid".into(), data: b"{}", ..NewEvent::default() })?;
//! foundation.telemetry().counter("orders", &[("shop", "berlin")])?.add(1);
//!
//! let mut changes = foundation.events().query(&Query { types: vec!["config_updated".into()], ..Query::default() })?;
//! assert_eq!(changes.next().map(|event| event.config_version()), Some(1));
//! assert!(foundation.prometheus().contains("orders_total{shop=\"berlin\"} 1"));
//! let report = foundation.close(Duration::from_secs(5));
//! assert!(report.unfinished.is_empty());
//! # Ok::<(), elixirscope_foundation::error::Error>(())
//! ```

mod files;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::config::{ChangeKind, Config, ConfigStats, schema};
use crate::error::{Code, Error, Result};
use crate::events::{
    ASYNC_WORKER, DiskStats, EventStats, EventStore, EventStoreOptions, Level, NewEvent, Progress,
    TAIL_WORKER, Tail, TailCallback, TailOptions,
};
use crate::options::Options;
use crate::own_metrics::OwnMetrics;
use crate::runtime::clock::{AnchoredClock, Clock, SystemClock};
use crate::runtime::deadline::Deadline;
use crate::runtime::fork::{self, ForkHook};
use crate::runtime::supervisor::{Supervisor, WorkerState, WorkerStatus};
use crate::storage::{RealStorage, Storage};
use crate::telemetry::{Telemetry, TelemetryStats};

/// How long dropping an instance waits for a callback that is running.
const LAST_CALLBACK: Duration = Duration::from_secs(5);

/// One instance of the three services, isolated from every other instance in the process.
///
/// All calls may be made from any thread at once. Dropping it without [`Foundation::close`] stops its
/// threads too, but reports nothing.
#[derive(Debug)]
pub struct Foundation {
    namespace: String,
    clock: AnchoredClock,
    opened_ns: i64,
    supervisor: Arc<Supervisor>,
    config: Config,
    events: Arc<EventStore>,
    telemetry: Telemetry,
    own: OwnMetrics,
    last_change: Arc<files::LastChange>,
    _around_forks: [fork::Registration; 2],
}

/// What [`Foundation::status`] answers.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `running`; `degraded` when a worker has failed and its service goes on without it, or when the disk would not
    /// take what is stored and it is kept in memory.
    pub status: &'static str,
    /// The name that the instance was opened with.
    pub namespace: String,
    /// This library's version.
    pub version: &'static str,
    /// Milliseconds since the instance was opened.
    pub uptime_ms: i64,
    /// The configuration service.
    pub config: ConfigStats,
    /// The event store.
    pub events: EventStats,
    /// Its files, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskStats>,
    /// Telemetry.
    pub telemetry: TelemetryStats,
    /// Background threads; empty until something needs one.
    pub workers: Vec<WorkerStatus>,
}

/// What [`Foundation::close`] could not finish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CloseReport {
    /// Threads that were still running at the deadline. They end by themselves as soon as they can.
    pub unfinished: Vec<String>,
    /// Events of [`EventStore::append_async`] that were not stored by the deadline and are lost.
    pub unstored_events: u64,
}

impl Foundation {
    /// Opens an instance on the machine's clock.
    ///
    /// Errors: those of [`Options::check`]; whatever the configuration tree violates, all at once.
    pub fn open(options: &Options) -> Result<Self> {
        Self::open_with(options, Arc::new(SystemClock))
    }

    /// Opens an instance on the machine's clock; `progress` is called on this thread while the files of the event store
    /// are read.
    ///
    /// Errors: those of [`Foundation::open_on`].
    pub fn open_with_progress(options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Self> {
        Self::open_on(options, Arc::new(SystemClock), &(Arc::new(RealStorage) as Arc<dyn Storage>), progress)
    }

    /// Opens an instance on a given clock: tests use [`crate::runtime::clock::SimClock`].
    pub fn open_with(options: &Options, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_on(options, clock, &(Arc::new(RealStorage) as Arc<dyn Storage>), &mut |_| ())
    }

    /// Opens an instance on a given clock and file system; `progress` is called while the files of the event store
    /// are read.
    ///
    /// Errors: those of [`Foundation::open`]; for an instance with files `locked`, naming the process that has them,
    /// `data_corruption`, `incompatible_format`, `io_error`.
    pub fn open_on(
        options: &Options,
        clock: Arc<dyn Clock>,
        storage: &Arc<dyn Storage>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        options.check()?;
        let recovered = files::read(options, storage, progress)?;
        let (clock, stepped) = files::anchor(clock, recovered.as_ref());
        let version = Arc::new(AtomicU64::new(0));
        let supervisor = Arc::new(Supervisor::new(Arc::clone(clock.source())));
        fork::arm();
        let resting = fork::register(Arc::new(RestingWorkers(Arc::clone(&supervisor))))?;
        let config =
            Config::open(&options.config, Arc::clone(&version), clock.clone(), Arc::clone(&supervisor))?;
        let refused = recovered.as_ref().map_or_else(Vec::new, |read| files::restore(&config, read));
        let store = store_options(options, &config)?;
        let events = match recovered {
            Some(read) => EventStore::open_recovered(store, clock.clone(), version, read)?,
            None => EventStore::open(store, clock.clone(), version)?,
        };
        let events = Arc::new(events);
        let leaving = fork::register(Arc::new(files::LeaveFiles(Arc::downgrade(&events))))?;
        files::start(&events, &supervisor)?;
        start_cleaning(options, &config, &events, &supervisor)?;
        files::report(&events, &clock, stepped, &refused)?;
        seal_when_needed(&events, &supervisor);
        store_later(&events, &supervisor);
        let telemetry = Telemetry::new(options.telemetry);
        let own = OwnMetrics::new(&telemetry)?;
        let last_change = Arc::new(files::LastChange::default());
        wire(&config, &events, &telemetry, &last_change)?;
        let opened_ns = clock.now_ns();
        let namespace = options.namespace.clone();
        Ok(Self {
            namespace,
            clock,
            opened_ns,
            supervisor,
            config,
            events,
            telemetry,
            own,
            last_change,
            _around_forks: [resting, leaving],
        })
    }

    /// The configuration service.
    #[inline]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The event store.
    #[inline]
    pub fn events(&self) -> &Arc<EventStore> {
        &self.events
    }

    /// Telemetry.
    #[inline]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The background threads.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The clock of event timestamps.
    pub fn clock(&self) -> &AnchoredClock {
        &self.clock
    }

    /// The name that the instance was opened with.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Calls `callback` with events as they are stored, from the worker `esf-events-tail`; see
    /// [`EventStore::tail_callback`].
    pub fn tail_callback(&self, options: TailOptions, callback: TailCallback) -> Result<Tail> {
        self.events.tail_callback(&self.supervisor, options, callback)
    }

    /// How the instance is doing.
    pub fn status(&self) -> Status {
        let workers = self.supervisor.status();
        let failed = workers.iter().any(|worker| worker.state == WorkerState::Failed);
        Status {
            status: if failed || self.events.disk_trouble().is_some() { "degraded" } else { "running" },
            namespace: self.namespace.clone(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: (self.clock.now_ns() - self.opened_ns) / 1_000_000,
            config: self.config.stats(),
            events: self.events.stats(),
            disk: self.events.disk_stats(),
            telemetry: self.telemetry.stats(),
            workers,
        }
    }

    /// All metrics in Prometheus' text format 0.0.4, the instance's own among them.
    pub fn prometheus(&self) -> String {
        self.own.bring_up_to_date(&self.config.stats(), &self.events.stats());
        let mut text = String::new();
        self.telemetry.prometheus(&mut text);
        text
    }

    /// The `seq` of the newest change of configuration; 0 before the first. A caller of
    /// [`Config::update_unconfirmed`] waits for it.
    pub fn last_change_seq(&self) -> u64 {
        self.last_change.seq()
    }

    /// Closes the instance: stores what waits to be stored, ends its subscriptions, lets its threads finish, all until
    /// the deadline, and says what did not.
    pub fn close(self, deadline: Duration) -> CloseReport {
        let deadline = Deadline::after(deadline);
        let unstored_events = self.events.close_async(deadline);
        let mut unfinished = files::close(&self.events, &self.supervisor, deadline);
        unfinished.extend(self.supervisor.shutdown(deadline.left().unwrap_or_default()));
        CloseReport { unfinished, unstored_events }
    }
}

impl Drop for Foundation {
    fn drop(&mut self) {
        // Others may hold the store a little longer; its tails end here. A worker that does not end in time holds
        // nothing but the tails; the supervisor goes on reporting it. Where there is none, that is an error, too.
        self.events.close_tails();
        let _ = self.supervisor.stop(TAIL_WORKER, LAST_CALLBACK);
    }
}

/// A child of `fork` has no threads: workers end before a fork and start again on both sides.
struct RestingWorkers(Arc<Supervisor>);

impl ForkHook for RestingWorkers {
    fn before_fork(&self) -> Result<()> {
        let unfinished = self.0.quiesce(Duration::from_secs(5));
        if unfinished.is_empty() {
            return Ok(());
        }
        self.0.resume();
        Err(Error::new(Code::Timeout, format!("workers {} do not end: do not fork", unfinished.join(", "))))
    }

    fn after_fork_parent(&self) {
        self.0.resume();
    }

    fn after_fork_child(&self) {
        self.0.resume();
    }
}

/// The event store's bounds: options first, else configuration.
fn store_options(options: &Options, config: &Config) -> Result<EventStoreOptions> {
    let given = &options.event_store;
    let defaults = EventStoreOptions::default();
    let max_events = match given.max_events {
        Some(max_events) => max_events,
        None => config.get_i64("storage.hot.max_events")?.max(1) as u64,
    };
    Ok(EventStoreOptions {
        max_events: Some(max_events),
        max_memory_bytes: given.max_memory_mb.map(|mb| mb << 20),
        max_age: max_age(options, config)?.map(Duration::from_secs),
        cleanup: given.cleanup_strategy.unwrap_or_default(),
        overflow: given.overflow_strategy.unwrap_or_default(),
        block_timeout: given.block_timeout_ms.map_or(defaults.block_timeout, Duration::from_millis),
        on_duplicate: given.on_duplicate.unwrap_or_default(),
        shards: given.shards.map(|shards| shards as usize),
        max_data_bytes: given.max_data_bytes.map_or(defaults.max_data_bytes, |bytes| bytes as usize),
        async_queue_events: given.async_queue_events.unwrap_or(defaults.async_queue_events),
        async_queue_bytes: given.async_queue_bytes.unwrap_or(defaults.async_queue_bytes),
        ..defaults
    })
}

/// How old events may become, if that is bounded. The schema's default alone is no bound: it would start a thread
/// in every process and take events away from hosts that never asked for it.
fn max_age(options: &Options, config: &Config) -> Result<Option<u64>> {
    const PATH: &str = "storage.hot.max_age_seconds";
    if let Some(seconds) = options.event_store.max_age_seconds {
        return Ok(Some(seconds));
    }
    let configured = config.get(PATH)?;
    let default = schema().find(PATH).map(|key| key.default.to_value());
    Ok(if Some(&configured) == default.as_ref() { None } else { configured.as_u64() })
}

/// Starts the worker that cleans up, where there is a bound that needs it.
fn start_cleaning(
    options: &Options,
    config: &Config,
    events: &Arc<EventStore>,
    supervisor: &Supervisor,
) -> Result<()> {
    if !events.needs_cleaning() {
        return Ok(());
    }
    let interval = match options.event_store.prune_interval_ms {
        Some(interval) => interval,
        None => config.get_i64("storage.hot.prune_interval")?.max(1) as u64,
    };
    let store = Arc::clone(events);
    supervisor.start("events-prune", move |stop| {
        while !stop.wait_timeout(Duration::from_millis(interval)) {
            store.clean_up();
        }
    })
}

/// Has the worker that seals full segments start when there is one. A store whose worker cannot be started, or has
/// failed, goes on without.
fn seal_when_needed(events: &Arc<EventStore>, supervisor: &Arc<Supervisor>) {
    // The store must not keep its own instance.
    let (store, workers) = (Arc::downgrade(events), Arc::downgrade(supervisor));
    events.on_first_full(move || {
        let (Some(store), Some(workers)) = (store.upgrade(), workers.upgrade()) else { return true };
        workers.start("events-seal", move |stop| store.keep_sealing(stop)).is_ok()
    });
}

/// Has the worker for asynchronous appends start with the first of them. Where it cannot be started, or has failed,
/// callers store themselves.
fn store_later(events: &Arc<EventStore>, supervisor: &Arc<Supervisor>) {
    // The store must not keep its own instance.
    let (store, workers) = (Arc::downgrade(events), Arc::downgrade(supervisor));
    events.on_first_async(move || {
        let (Some(store), Some(workers)) = (store.upgrade(), workers.upgrade()) else { return false };
        workers.start(ASYNC_WORKER, move |stop| store.keep_storing(stop)).is_ok()
    });
}

/// A change of configuration becomes an event before it is published, and a count after.
fn wire(
    config: &Config,
    events: &Arc<EventStore>,
    telemetry: &Telemetry,
    last_change: &Arc<files::LastChange>,
) -> Result<()> {
    let update_event = events.event_type("config_updated")?;
    let reset_event = events.event_type("config_reset")?;
    let (store, noted) = (Arc::clone(events), Arc::clone(last_change));
    config.set_commit_hook(Box::new(move |change| {
        let (event_type, data) = match change.kind {
            ChangeKind::Updated => {
                let data = json!({
                    "path": change.path,
                    "new_value": change.new,
                    "previous_value": change.old,
                    "timestamp": change.timestamp_ns,
                    "version": change.version,
                });
                (update_event, data)
            }
            ChangeKind::Reset => {
                let data = json!({
                    "timestamp": change.timestamp_ns,
                    "reset_from_updates_count": change.updates_count,
                    "version": change.version,
                });
                (reset_event, data)
            }
        };
        let data = data.to_string();
        let event = NewEvent { event_type: event_type.into(), data: data.as_bytes(), ..NewEvent::default() };
        noted.note(store.append_reserved(&event)?.seq);
        Ok(())
    }));
    // The change and its event are one record; its caller is told when that is durable.
    let (store, waited) = (Arc::clone(events), Arc::clone(last_change));
    if events.has_files() {
        config.set_confirm_hook(Box::new(move || store.wait_for(waited.seq(), Level::Durable)));
    }

    telemetry.describe("esf.config.updates", "Configuration values changed at run time.")?;
    telemetry.describe("esf.config.resets", "Times the configuration was reset to its defaults.")?;
    let updates = telemetry.counter("esf.config.updates", &[])?;
    let resets = telemetry.counter("esf.config.resets", &[])?;
    config.set_published_hook(Box::new(move |change| match change.kind {
        ChangeKind::Updated => updates.add(1),
        ChangeKind::Reset => resets.add(1),
    }));
    Ok(())
}
