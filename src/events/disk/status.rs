//! The files of a store, as numbers.

use serde::Serialize;

use super::super::durability::{Durability, Level};
use super::super::store::EventStore;
use super::{Missing, RecoveryReport};

/// How the files of a store are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskStats {
    /// What an append waits for.
    pub durability: Durability,
    /// The directory.
    pub data_dir: String,
    /// Every event below it survives the end of the process.
    pub crash_safe_seq: u64,
    /// Every event below it survives a loss of power.
    pub durable_seq: u64,
    /// Every event below it is in a sealed segment.
    pub sealed_seq: u64,
    /// Events below it are in files only.
    pub memory_from_seq: u64,
    /// Sealed segments.
    pub segments: u64,
    /// Events in them that are there.
    pub sealed_events: u64,
    /// Bytes of the sealed segments.
    pub segment_bytes: u64,
    /// Bytes that sealed segments take in memory.
    pub cached_bytes: u64,
    /// How often a sealed segment was read from its file.
    pub loads: u64,
    /// Log files that are there.
    pub logs: u64,
    /// Log files made, and how many of them were recycled.
    pub logs_made: u64,
    /// Recycled log files.
    pub logs_recycled: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Writes or syncs of the log that failed; each was followed by another file.
    pub sync_failures: u64,
    /// When the last sync ended, on the store's clock; 0 before the first.
    pub last_sync_ns: u64,
    /// How long it took.
    pub last_sync_took_ns: u64,
    /// Segments sealed.
    pub seals: u64,
    /// Sealings that failed and were tried again.
    pub seal_failures: u64,
    /// Events that were in memory only for a while because no log could be had.
    pub unlogged: u64,
    /// Appends that waited for a log to be made.
    pub log_stalls: u64,
    /// The last failure, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Events that are known to be missing: what opening found, and what turned out to be damaged since.
    pub gaps: Vec<Missing>,
    /// What opening found.
    pub recovery: RecoveryReport,
}

impl EventStore {
    /// How the store's files are; `None` if it has none.
    pub fn disk_stats(&self) -> Option<DiskStats> {
        let disk = self.disk.as_ref()?;
        let segments = disk.archive.segments();
        let (cached_bytes, loads) = disk.archive.memory();
        let (logs_made, logs_recycled) = disk.logs.made();
        let (syncs, sync_failures) = disk.sync.counts();
        let (last_sync_ns, last_sync_took_ns) = disk.sync.last_sync();
        let (unlogged, log_stalls) = disk.mapped.counts();
        let (seals, seal_failures, last_failure) = disk.failures();
        Some(DiskStats {
            durability: disk.mode,
            data_dir: disk.directory.to_string_lossy().into_owned(),
            crash_safe_seq: self.watermark(Level::CrashSafe),
            durable_seq: self.watermark(Level::Durable),
            sealed_seq: disk.sealed(),
            memory_from_seq: disk.hot(),
            segments: segments.len() as u64,
            sealed_events: segments.iter().map(|sealed| sealed.live()).sum(),
            segment_bytes: segments.iter().map(|sealed| sealed.row.bytes).sum(),
            cached_bytes,
            loads,
            logs: disk.logs.count(),
            logs_made,
            logs_recycled,
            syncs,
            sync_failures,
            last_sync_ns,
            last_sync_took_ns,
            seals,
            seal_failures,
            unlogged,
            log_stalls,
            last_failure,
            gaps: disk.gaps.load().as_ref().clone(),
            recovery: disk.report().clone(),
        })
    }

    /// Events that are missing, in the order of `seq`; at most 1,024 gaps, the closest taken together. Gaps in files
    /// that were not read yet are not known.
    pub fn gaps(&self) -> Vec<Missing> {
        self.disk.as_ref().map_or_else(Vec::new, |disk| disk.gaps.load().as_ref().clone())
    }

    /// Whether the files are in trouble: the last write, sync or sealing failed.
    pub fn disk_trouble(&self) -> Option<crate::error::Error> {
        self.disk.as_ref().and_then(|disk| disk.sync.failure().or_else(|| disk.trouble()))
    }
}
