//! Everything an instance can be opened with: one typed struct, read from JSON.
//!
//! An option that does not exist or has the wrong type is an error that names it by its path:
//!
//! ```
//! use elixirscope_foundation::options::Options;
//!
//! let error = Options::from_json(r#"{"event_store": {"max_event": 5}}"#).unwrap_err();
//! assert!(error.message().contains("max_event"));
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Code, Error, Result};
use crate::events::{Cleanup, Compression, Durability, OnDuplicate, Overflow};
use crate::storage::Storage;
use crate::telemetry::TelemetryOptions;

/// The largest options document that is read: 1 MiB.
pub const MAX_OPTIONS_BYTES: usize = 1024 * 1024;

/// What an instance is opened with. Every field has a default, so `{}` opens a working instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// A name for people: it stands in the status and in the metrics. 1 to 255 bytes, default `default`.
    /// Instances of the same namespace are still isolated from one another.
    pub namespace: String,
    /// Configuration values that differ from the schema's defaults: a tree of the same shape as the
    /// configuration itself (docs/configuration.md).
    pub config: Map<String, Value>,
    /// Bounds of the event store.
    pub event_store: EventStoreOptions,
    /// Bounds of telemetry.
    pub telemetry: TelemetryOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            config: Map::new(),
            event_store: EventStoreOptions::default(),
            telemetry: TelemetryOptions::default(),
        }
    }
}

/// Bounds of the event store. `None` means the default that is named at the field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventStoreOptions {
    /// How many events are kept. 1 to 2^40, default: `storage.hot.max_events`.
    pub max_events: Option<u64>,
    /// What an append does that finds the store full: `drop_oldest` (the default), `drop_newest`, `error` or
    /// `block`. Changes of configuration are stored in any case.
    pub overflow_strategy: Option<Overflow>,
    /// How long an append waits for room when the strategy is `block`, in milliseconds. 0 to 3,600,000,
    /// default 100.
    pub block_timeout_ms: Option<u64>,
    /// What becomes of an event whose id is stored already: `error` (the default), or `return`: if it is the
    /// same event, the receipt of the stored one is answered and nothing is stored.
    pub on_duplicate: Option<OnDuplicate>,
    /// The most memory that events and their indexes take, in MiB, events that only cursors still hold included.
    /// When an append would need more, `overflow_strategy` decides. 1 to 2^20, at least four times
    /// `max_data_bytes`; default: no bound.
    pub max_memory_mb: Option<u64>,
    /// How old events become, in seconds, before the next clean-up removes them. 1 to 2^32; default:
    /// `storage.hot.max_age_seconds` where the configuration states another value than the schema's, else no
    /// bound.
    pub max_age_seconds: Option<u64>,
    /// How often events are cleaned up where there is a bound on age or memory, in milliseconds. 1 to
    /// 86,400,000, default: `storage.hot.prune_interval`.
    pub prune_interval_ms: Option<u64>,
    /// What a clean-up removes when seven eighths of `max_memory_mb` are in use: the `oldest` events (the
    /// default) or, with `lru`, those that nobody has read for longest.
    pub cleanup_strategy: Option<Cleanup>,
    /// The directory of the store's files; one process at a time writes to it. Default: `storage.warm.path` where the
    /// configuration has `storage.warm.enable`, else none: events are in memory only.
    pub data_dir: Option<String>,
    /// What an append waits for, on a store with files: `volatile` (none), `crash_safe`, `interval`, `group` (the
    /// default) or `strict`; docs/durability.md says what each promises.
    pub durability: Option<Durability>,
    /// How old events become before they are synced, in milliseconds: with `interval` all of them, else those that
    /// nobody waits for. 1 to 3,600,000, default 200.
    pub sync_interval_ms: Option<u64>,
    /// With `interval`, how many KiB are not synced at most. 1 to 2^20, default 8,192.
    pub sync_kb: Option<u64>,
    /// The most MiB that sealed segments take on disk; the oldest events make room. 1 to 2^30, default: no bound.
    pub max_disk_mb: Option<u64>,
    /// How sealed segments are compressed: `zstd` (the default), `gzip` or `none`.
    pub compression: Option<Compression>,
    /// Reads what is in `data_dir` as it is now, beside the process that writes to it; nothing can be stored.
    pub read_only: bool,
    /// How many threads can append without waiting for one another. 1 to 64, default: the number of
    /// processors, at most 8.
    pub shards: Option<u32>,
    /// The largest data of one event, in bytes. 4 KiB (the instance's own events must fit) to 4 MiB, default
    /// 1,000,000.
    pub max_data_bytes: Option<u32>,
    /// How many events may wait to be stored by asynchronous appends. 1 to 2^24, default 10,000.
    pub async_queue_events: Option<u64>,
    /// How many bytes they may take, about 100 for each event beside its texts and data. 64 KiB to 2^40, at least
    /// 4 KiB more than `max_data_bytes`; default 16 MiB.
    pub async_queue_bytes: Option<u64>,
}

impl Options {
    /// Reads options from JSON text. Empty text means all defaults.
    ///
    /// Errors: `data_too_large` past [`MAX_OPTIONS_BYTES`]; `format_error` for text that is not JSON;
    /// `invalid_input` naming the path of an unknown option or of a value of the wrong type or range.
    pub fn from_json(text: &str) -> Result<Self> {
        if text.len() > MAX_OPTIONS_BYTES {
            return Err(Error::new(
                Code::DataTooLarge,
                format!("the options are {} bytes long; at most {MAX_OPTIONS_BYTES} are read", text.len()),
            )
            .with("size", text.len())
            .with("max_size", MAX_OPTIONS_BYTES));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let tree: Value = serde_json::from_str(text)
            .map_err(|e| Error::new(Code::FormatError, format!("the options are not JSON: {e}")))?;
        only_objects(&tree)?;
        let options: Self = serde_path_to_error::deserialize(tree).map_err(|e| refused(&e))?;
        options.check()?;
        Ok(options)
    }

    /// Reads options from a JSON file.
    ///
    /// Errors: those of [`Options::from_json`], and `io_error` naming the file.
    pub fn from_file(storage: &dyn Storage, path: &std::path::Path) -> Result<Self> {
        let bytes = crate::storage::read_all(storage, path, MAX_OPTIONS_BYTES as u64)?;
        let text = std::str::from_utf8(&bytes).map_err(|e| {
            Error::new(
                Code::InvalidUtf8,
                format!("{} is not UTF-8 from byte {}", path.display(), e.valid_up_to()),
            )
        })?;
        Self::from_json(text).map_err(|e| e.with("file", path.display().to_string()))
    }

    /// Checks the ranges that the types cannot express.
    pub fn check(&self) -> Result<()> {
        if !(1..=255).contains(&self.namespace.len()) {
            return Err(Error::new(
                Code::InvalidInput,
                format!("option namespace has {} bytes; it may have 1 to 255", self.namespace.len()),
            )
            .with("path", "namespace"));
        }
        let store = &self.event_store;
        range("event_store.max_events", store.max_events, 1, 1 << 40)?;
        range("event_store.block_timeout_ms", store.block_timeout_ms, 0, 3_600_000)?;
        range("event_store.max_memory_mb", store.max_memory_mb, 1, 1 << 20)?;
        range("event_store.max_age_seconds", store.max_age_seconds, 1, 1 << 32)?;
        range("event_store.prune_interval_ms", store.prune_interval_ms, 1, 86_400_000)?;
        range("event_store.sync_interval_ms", store.sync_interval_ms, 1, 3_600_000)?;
        range("event_store.sync_kb", store.sync_kb, 1, 1 << 20)?;
        range("event_store.max_disk_mb", store.max_disk_mb, 1, 1 << 30)?;
        range("event_store.shards", store.shards.map(u64::from), 1, 64)?;
        range("event_store.max_data_bytes", store.max_data_bytes.map(u64::from), 4_096, 4 << 20)?;
        range("event_store.async_queue_events", store.async_queue_events, 1, 1 << 24)?;
        range("event_store.async_queue_bytes", store.async_queue_bytes, 64 << 10, 1 << 40)?;
        let telemetry = &self.telemetry;
        range("telemetry.max_series", Some(telemetry.max_series as u64), 1, 1_000_000)?;
        range("telemetry.max_series_per_metric", Some(telemetry.max_series_per_metric as u64), 1, 1_000_000)
    }
}

/// Serde reads a struct from an array as well, field by field; an option file never means that.
fn only_objects(tree: &Value) -> Result<()> {
    for (path, section) in std::iter::once(("options", Some(tree)))
        .chain(["event_store", "telemetry"].map(|name| (name, tree.get(name))))
    {
        if let Some(section) = section.filter(|section| !section.is_object()) {
            return Err(Error::new(
                Code::InvalidInput,
                format!("{path} must be a JSON object; it is {section}"),
            )
            .with("path", path));
        }
    }
    Ok(())
}

fn refused(error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let path = error.path().to_string();
    let place = if path == "." { "options".to_owned() } else { format!("option {path}") };
    Error::new(Code::InvalidInput, format!("{place}: {}", error.inner())).with("path", path)
}

fn range(path: &str, value: Option<u64>, least: u64, most: u64) -> Result<()> {
    match value {
        Some(value) if !(least..=most).contains(&value) => Err(Error::new(
            Code::InvalidInput,
            format!("option {path} is {value}; it may be {least} to {most}"),
        )
        .with("path", path)
        .with("value", value)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_means_the_defaults() {
        assert_eq!(Options::from_json("").unwrap(), Options::default());
        assert_eq!(Options::from_json(" {} ").unwrap(), Options::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, code, named) in [
            (r#"{"nam": 1}"#, Code::InvalidInput, "nam"),
            (r#"{"namespace": 1}"#, Code::InvalidInput, "namespace"),
            (r#"{"namespace": ""}"#, Code::InvalidInput, "namespace"),
            (r#"{"event_store": {"max_events": 0}}"#, Code::InvalidInput, "event_store.max_events"),
            (r#"{"event_store": {"max_events": -1}}"#, Code::InvalidInput, "event_store.max_events"),
            (r#"{"event_store": {"shards": 65}}"#, Code::InvalidInput, "event_store.shards"),
            (r#"{"event_store": {"max_data_bytes": 10}}"#, Code::InvalidInput, "event_store.max_data_bytes"),
            (r#"{"telemetry": {"max_series": "many"}}"#, Code::InvalidInput, "telemetry.max_series"),
            (r#"{"event_store": []}"#, Code::InvalidInput, "event_store"),
            (r#"{"event_store": {"overflow_strategy": "drop"}}"#, Code::InvalidInput, "overflow_strategy"),
            (r#"{"event_store": {"block_timeout_ms": 3600001}}"#, Code::InvalidInput, "block_timeout_ms"),
            (r#"{"event_store": {"max_memory_mb": 0}}"#, Code::InvalidInput, "max_memory_mb"),
            (r#"{"event_store": {"max_age_seconds": 0}}"#, Code::InvalidInput, "max_age_seconds"),
            (r#"{"event_store": {"prune_interval_ms": 0}}"#, Code::InvalidInput, "prune_interval_ms"),
            (r#"{"event_store": {"async_queue_events": 0}}"#, Code::InvalidInput, "async_queue_events"),
            (r#"{"event_store": {"async_queue_bytes": 1}}"#, Code::InvalidInput, "async_queue_bytes"),
            (r#"{"event_store": {"cleanup_strategy": "newest"}}"#, Code::InvalidInput, "cleanup_strategy"),
            (r#"{"event_store": {"durability": "always"}}"#, Code::InvalidInput, "durability"),
            (r#"{"event_store": {"sync_interval_ms": 0}}"#, Code::InvalidInput, "sync_interval_ms"),
            (r#"{"event_store": {"on_duplicate": "ignore"}}"#, Code::InvalidInput, "on_duplicate"),
            ("{", Code::FormatError, "not JSON"),
            ("{} {}", Code::FormatError, "trailing"),
        ] {
            let error = Options::from_json(text).unwrap_err();
            assert_eq!(error.code(), code, "{text}: {error}");
            assert!(error.message().contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn options_round_trip() {
        let mut options = Options::default();
        options.event_store.max_events = Some(7);
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(Options::from_json(&text).unwrap(), options);
    }
}
