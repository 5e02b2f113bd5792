//! The process's handle tables: what a handle of each kind stands for.
//!
//! The C ABI and the NIF give hosts numbers instead of pointers; both find what a number stands for here,
//! so that one instance is the same instance in every language of the process. Everything that is handed
//! out belongs to an [`Instance`]. Closing the instance makes its hot handles stale; cursors, subscriptions and tails
//! stay until they are freed, and show what they still hold.
//!
//! Hot handles (config keys, instruments, event types) are two words each, read without a lock or a count;
//! what the words point to is type-stable memory (`runtime::pool`), so the worst that a lost race can do is
//! one late addition to a cell that is being retired.
//!
//! Around a fork these tables are brought to rest: every call that takes a lock holds a pin on one of the cold
//! ones (opening and closing an instance too), or takes no other lock than a table's own. So once there is no
//! pin, and the thread that forks holds the tables' locks itself, the child inherits no lock that is held by
//! a thread which it does not have.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::config::{RawKey, Subscription};
use crate::error::{Code, Error, Result};
use crate::events::{Cursor, Progress, Tail, TailItem, Trace, TypeId};
use crate::foundation::{CloseReport, Foundation};
use crate::options::Options;
use crate::runtime::deadline::Deadline;
use crate::runtime::fork::{self, ForkHook, Registration};
use crate::runtime::handle::{ColdTable, HotTable, Pin, Tag};
use crate::telemetry::{Counter, Distribution, Gauge, Histogram};

/// How many instances may be open at once in one process.
pub const MAX_INSTANCES: u32 = 65_536;
/// How many cursors, traces, tails and subscriptions of each kind may be open at once in one process.
pub const MAX_COLD_HANDLES: u32 = 1 << 20;

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $table:ty = ($tag:ident, $limit:expr);)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name() -> &'static $table {
            #[cfg(not(loom))]
            static TABLE: $table = <$table>::new(Tag::$tag, $limit);
            #[cfg(loom)]
            static TABLE: once_cell::sync::Lazy<$table> =
                once_cell::sync::Lazy::new(|| <$table>::new(Tag::$tag, $limit));
            &TABLE
        }
    )*};
}

tables! {
    /// What opens or closes instances pins the only handle of this one.
    openings: ColdTable<()> = (Instance, 1);
    /// Open instances.
    instances: ColdTable<Instance> = (Instance, MAX_INSTANCES);
    /// Open cursors; a cursor is used by one thread at a time.
    cursors: ColdTable<Mutex<Cursor>> = (Cursor, MAX_COLD_HANDLES);
    /// Traces; a trace is used by one thread at a time.
    traces: ColdTable<Mutex<TraceReader>> = (Trace, MAX_COLD_HANDLES);
    /// Subscriptions to configuration changes.
    subscriptions: ColdTable<Subscription> = (Subscription, MAX_COLD_HANDLES);
    /// Tails of event stores.
    tails: ColdTable<OpenTail> = (Tail, MAX_COLD_HANDLES);
    /// Configuration keys: the two words of [`Key`].
    config_keys: HotTable = (ConfigKey, HotTable::DEFAULT_LIMIT);
    /// Counters: the word of a counter.
    counters: HotTable = (Counter, HotTable::DEFAULT_LIMIT);
    /// Gauges: the word of a gauge.
    gauges: HotTable = (Gauge, HotTable::DEFAULT_LIMIT);
    /// Histograms: the word of a histogram.
    histograms: HotTable = (Histogram, HotTable::DEFAULT_LIMIT);
    /// Event types: the word of a [`TypeId`], which says of which store it is.
    event_types: HotTable = (EventType, HotTable::DEFAULT_LIMIT);
}

/// A trace and how far it has been read.
#[derive(Debug)]
pub struct TraceReader {
    /// What was found.
    pub trace: Trace,
    /// How many of its events were read.
    pub read: usize,
}

/// An open instance and the hot handles that were made from it.
#[derive(Debug)]
pub struct Instance {
    foundation: Foundation,
    issued: Mutex<Issued>,
}

#[derive(Debug, Default)]
struct Issued {
    handles: Vec<(Tag, u64)>,
    /// Handles that were freed meanwhile are swept out when the list has grown to this.
    sweep_at: usize,
}

impl Instance {
    /// Opens an instance and gives its handle.
    pub fn open(options: &Options) -> Result<u64> {
        Self::open_with_progress(options, &mut |_| ())
    }

    /// Opens an instance and gives its handle; `progress` is called on this thread while files are read.
    pub fn open_with_progress(options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<u64> {
        let _opening = opening()?;
        let foundation = Foundation::open_with_progress(options, progress)?;
        instances().insert(Self { foundation, issued: Mutex::default() })
    }

    /// Waits until no call uses the instance any more, then closes it and makes all its handles stale.
    ///
    /// Errors: `stale_handle`; `timeout` when calls are still running at the deadline, and then the
    /// instance stays open.
    pub fn close(handle: u64, deadline: Duration) -> Result<CloseReport> {
        let deadline = Deadline::after(deadline);
        let _closing = opening()?;
        let instance = instances().remove(handle, deadline.left().unwrap_or_default())?;
        let issued = std::mem::take(&mut *instance.issued());
        for (tag, handle) in issued.handles {
            if let Some(table) = hot_table(tag) {
                // One that the host freed itself is gone already.
                let _ = table.free(handle);
            }
        }
        Ok(instance.foundation.close(deadline.left().unwrap_or_default()))
    }

    /// The instance of this handle, held open until the pin is dropped.
    #[inline]
    pub fn pin(handle: u64) -> Result<Pin<'static, Self>> {
        instances().pin(handle)
    }

    /// The services.
    #[inline]
    pub fn foundation(&self) -> &Foundation {
        &self.foundation
    }

    /// A handle for reading this configuration key.
    pub fn config_key(&self, path: &str) -> Result<u64> {
        let (a, b) = self.foundation.config().key(path)?.raw().to_words();
        self.issue(Tag::ConfigKey, a, b)
    }

    /// A handle for adding to this counter.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let raw = self.foundation.telemetry().counter(name, labels)?.raw();
        self.issue(Tag::Counter, raw, 0)
    }

    /// A handle for setting this gauge.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let raw = self.foundation.telemetry().gauge(name, labels)?.raw();
        self.issue(Tag::Gauge, raw, 0)
    }

    /// A handle for recording into this histogram.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let raw = self.foundation.telemetry().histogram(name, labels)?.raw();
        self.issue(Tag::Histogram, raw, 0)
    }

    /// A handle for appending events of this type.
    pub fn event_type(&self, name: &str) -> Result<u64> {
        let id = self.foundation.events().event_type(name)?;
        self.issue(Tag::EventType, id.to_raw(), 0)
    }

    fn issue(&self, tag: Tag, a: u64, b: u64) -> Result<u64> {
        let Some(table) = hot_table(tag) else {
            return Err(Error::new(Code::InternalError, format!("{} handles are not hot", tag.name())));
        };
        let handle = table.insert(a, b)?;
        let mut issued = self.issued();
        if issued.handles.len() >= issued.sweep_at.max(64) {
            issued
                .handles
                .retain(|(tag, handle)| hot_table(*tag).is_some_and(|table| table.load(*handle).is_some()));
            issued.sweep_at = issued.handles.len() * 2;
        }
        issued.handles.push((tag, handle));
        Ok(handle)
    }

    fn issued(&self) -> std::sync::MutexGuard<'_, Issued> {
        // A push or a take leaves the list whole, so a holder's panic changes nothing.
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tail, and the item that its host looks at.
#[derive(Debug)]
pub struct OpenTail {
    /// The tail.
    pub tail: Tail,
    /// What was taken last: what a view of it shows lives until the next is taken.
    pub shown: Mutex<Option<TailItem>>,
}

impl OpenTail {
    /// A tail of which nothing was taken.
    pub fn new(tail: Tail) -> Self {
        Self { tail, shown: Mutex::new(None) }
    }
}

/// How long a fork waits for calls that are under way.
const REST: Duration = Duration::from_secs(5);

/// Held while an instance is opened or closed.
fn opening() -> Result<Pin<'static, ()>> {
    static HANDLE: OnceCell<u64> = OnceCell::new();
    rest_around_forks()?;
    openings().pin(*HANDLE.get_or_try_init(|| openings().insert(()))?)
}

/// Has the tables rest around a fork. Registered before any instance, it comes last before a fork (worker
/// threads, which make calls themselves, have ended then) and first after it.
fn rest_around_forks() -> Result<()> {
    struct Tables;

    impl ForkHook for Tables {
        fn before_fork(&self) -> Result<()> {
            fork::keep(openings().rest(REST)?);
            fork::keep(instances().rest(REST)?);
            fork::keep(cursors().rest(REST)?);
            fork::keep(traces().rest(REST)?);
            fork::keep(subscriptions().rest(REST)?);
            fork::keep(tails().rest(REST)?);
            for table in [config_keys(), counters(), gauges(), histograms(), event_types()] {
                fork::keep(table.rest());
            }
            Ok(())
        }

        fn after_fork_parent(&self) {}

        fn after_fork_child(&self) {
            subscriptions().for_each(Subscription::separate);
            tails().for_each(|open| open.tail.separate());
        }
    }

    static REGISTERED: OnceCell<Registration> = OnceCell::new();
    REGISTERED.get_or_try_init(|| fork::register(Arc::new(Tables))).map(|_| ())
}

fn hot_table(tag: Tag) -> Option<&'static HotTable> {
    match tag {
        Tag::ConfigKey => Some(config_keys()),
        Tag::Counter => Some(counters()),
        Tag::Gauge => Some(gauges()),
        Tag::Histogram => Some(histograms()),
        Tag::EventType => Some(event_types()),
        Tag::Instance | Tag::Cursor | Tag::Subscription | Tag::Error | Tag::Text | Tag::Trace | Tag::Tail => {
            None
        }
    }
}

/// The configuration key behind a handle, if it is still one.
#[inline]
pub fn config_key(handle: u64) -> Option<RawKey> {
    let (a, b) = config_keys().load(handle)?;
    // SAFETY: only `Instance::config_key` puts words into this table, and they are those of a key; what
    // they point to is type-stable memory.
    Some(unsafe { RawKey::from_words(a, b) })
}

/// The event type behind a handle, if it is still one; the store that it is used with checks that it is
/// its own.
#[inline]
pub fn event_type(handle: u64) -> Option<TypeId> {
    event_types().load(handle).map(|(raw, _)| TypeId::from_raw(raw))
}

macro_rules! instruments {
    ($($(#[$doc:meta])* $name:ident($table:ident $(, $value:ident: $type:ty)?) -> $answer:ty = $call:path;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name(handle: u64 $(, $value: $type)?) -> Option<$answer> {
            let (raw, _) = $table().load(handle)?;
            // SAFETY: only `Instance` puts words into this table, and they are those of instruments of this
            // kind, whose cells are never unmapped and never become anything else.
            Some(unsafe { $call(raw $(, $value)?) })
        }
    )*};
}

instruments! {
    /// Adds to the counter behind a handle, if it is still one.
    counter_add(counters, n: u64) -> () = Counter::add_raw;
    /// What the counter behind a handle holds.
    counter_value(counters) -> u64 = Counter::value_raw;
    /// Sets the gauge behind a handle; false if the value was refused.
    gauge_set(gauges, value: f64) -> bool = Gauge::set_raw;
    /// Adds to the gauge behind a handle; false if the value was refused.
    gauge_add(gauges, delta: f64) -> bool = Gauge::add_raw;
    /// What the gauge behind a handle holds.
    gauge_value(gauges) -> f64 = Gauge::value_raw;
    /// Records into the histogram behind a handle; false if the value was refused.
    histogram_record(histograms, value: f64) -> bool = Histogram::record_raw;
    /// What was recorded into the histogram behind a handle.
    histogram_distribution(histograms) -> Distribution = Histogram::distribution_raw;
}
