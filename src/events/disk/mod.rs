//! The files behind a store: what memory has is copied to logs, sealed into segments, and found there again.
//!
//! The segment that readers see is private memory; a file is a copy of it. Events go to a *log* as they come, by the
//! appending thread (`mapped`) or in rounds that sync (`sync`), and from memory, a segment's worth at a time, to a
//! compressed *sealed segment* (`seal`), which the manifest lists; then the log can be recycled (`logs`) and memory
//! let go of. Queries look at memory from its mark on and at sealed segments (`archive`) below it. `recover` opens
//! what is there, after a clean end or any other.
//!
//! # Invariants
//! - An event below `sealed` is in a sealed segment that a durable manifest lists, or it is gone for good. An event
//!   at or behind it is in memory.
//! - An event that is live and below memory's mark is in a sealed segment; one at or behind the mark is in memory.
//! - The manifest is replaced as a whole, after what it names is durable; files go after the manifest that no
//!   longer names them is.
//! - Locks, in this order: `sealing`, `state`, the books of `retention`, shards' locks; the flusher and the tables of
//!   `logs`, `mapped` and `sync` are taken last and hold nothing while they wait.

mod append;
mod archive;
mod filling;
mod find;
mod forget;
mod gather;
mod logs;
mod mapped;
mod open;
mod quarantine;
#[cfg(all(test, not(loom)))]
mod races;
mod recover;
mod seal;
mod status;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub(crate) use archive::Sealed;
pub(crate) use find::PendingFile;
use manifest::{Manifest, Prune};
pub use recover::{Missing, MissingReason, Progress, Recovered, RecoveryReport};
pub use status::DiskStats;
pub use sync::WhenSafe;

use super::durability::Durability;
use super::file::{Codec, manifest};
use super::filter::Filters;
use super::overflow::Signal;
use super::segment::{Segment, Shape, Shared};
use crate::error::{Code, Error, Result};
use crate::runtime::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};
use crate::storage::{Directory, Lock, Storage};
use archive::Archive;
use logs::Logs;
use mapped::Mapped;
use seal::Sealer;
use sync::Syncing;

/// How a store with files is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskOptions {
    /// What an append waits for.
    pub durability: Durability,
    /// `interval`: how old events become before they are synced; other modes: how long events that nobody waits for
    /// stay unsynced (`group`, `strict`).
    pub sync_interval: std::time::Duration,
    /// `interval`: how many bytes may be unsynced.
    pub sync_bytes: u64,
    /// Most bytes of sealed segments; the oldest go first. `None` is no bound.
    pub max_disk_bytes: Option<u64>,
    /// Bytes of a log file.
    pub log_bytes: u64,
    /// Events of a sealed segment.
    pub segment_events: u64,
    /// How sealed segments are compressed.
    pub compression: Compression,
    /// Opens what is there without a lock, to read only.
    pub read_only: bool,
}

/// How sealed segments are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip: more readers know it.
    Gzip,
    /// By zstd: quicker and smaller.
    #[default]
    Zstd,
}

impl Compression {
    fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip,
            Self::Zstd => Codec::Zstd,
        }
    }
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Group,
            sync_interval: std::time::Duration::from_millis(200),
            sync_bytes: 8 << 20,
            max_disk_bytes: None,
            log_bytes: 16 << 20,
            segment_events: 32_768,
            compression: Compression::default(),
            read_only: false,
        }
    }
}

/// The files of a store.
pub(crate) struct Disk {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) directory: PathBuf,
    pub(crate) mode: Durability,
    pub(crate) options: DiskOptions,
    pub(crate) store: [u8; 16],
    pub(crate) shared: Arc<Shared>,
    pub(crate) shape: Shape,
    pub(crate) archive: Archive,
    /// The filters of sealed segments.
    pub(crate) filters: Arc<Filters>,
    pub(crate) logs: Logs,
    pub(crate) mapped: Mapped,
    pub(crate) sync: Syncing,
    /// Events below it were there at opening.
    recovered_to: u64,
    sealing: Mutex<Sealer>,
    state: Mutex<Manifest>,
    /// What was pruned, for segments that are read later; a copy of what the state says.
    prunes: ArcSwap<Vec<Prune>>,
    gaps: ArcSwap<Vec<Missing>>,
    /// Every event below it is sealed.
    sealed: AtomicU64,
    /// Events below it left memory; it is the beginning of a sealed segment, or the end of the last.
    hot: AtomicU64,
    /// Events below it are to be synced although nobody may be waiting.
    pub(crate) pending: AtomicU64,
    /// Who waits for memory to have room.
    room: Mutex<Vec<WhenSafe>>,
    /// Wakes the sync thread and the seal thread.
    pub(crate) news: Arc<Signal>,
    pub(crate) seal_news: Arc<Signal>,
    has_worker: AtomicBool,
    /// The store belongs to another process (a fork's parent), or was closed.
    detached: AtomicBool,
    closed: AtomicBool,
    /// Events that turned out to be damaged and are not in the books yet.
    damaged: AtomicU64,
    seals: AtomicU64,
    seal_failures: AtomicU64,
    last_failure: Mutex<Option<Error>>,
    report: RecoveryReport,
    held: Box<dyn Directory>,
    lock: Mutex<Option<Lock>>,
}

impl Disk {
    /// Every event below it is in a sealed segment.
    pub(crate) fn sealed(&self) -> u64 {
        self.sealed.load(Ordering::Acquire)
    }

    /// Events below it are in files only.
    pub(crate) fn hot(&self) -> u64 {
        self.hot.load(Ordering::Acquire)
    }

    /// Whether a thread syncs when it is told.
    pub(crate) fn has_worker(&self) -> bool {
        self.has_worker.load(Ordering::Acquire)
    }

    /// What opening found.
    pub(crate) fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// Fails where this process may not write to the files.
    pub(crate) fn check_writable(&self) -> Result<()> {
        let (code, why) = if self.options.read_only {
            (Code::OperationForbidden, "the store was opened to be read only")
        } else if self.detached.load(Ordering::Acquire) {
            (
                Code::Forked,
                "the files of the store belong to the process that forked this one: open another store",
            )
        } else if self.closed.load(Ordering::Acquire) {
            (Code::Closing, "the store is closed")
        } else {
            return Ok(());
        };
        Err(Error::new(code, why).with("path", self.directory.to_string_lossy()))
    }

    /// The files are another process's from now on: this is the child of a fork.
    pub(crate) fn detach(&self) {
        self.detached.store(true, Ordering::Release);
        // Only this process' copy of it ends: the holder is still the parent, which may close before us.
        drop(lock(&self.lock).take());
    }

    /// Notes events of a sealed segment that cannot be read.
    fn note_damage(&self, sealed: &Sealed, segment: &Segment) {
        let mut found = Vec::new();
        let mut expected = sealed.row.first_seq;
        let mut note = |from: u64, to: u64| {
            if from < to {
                let reason = recover::MissingReason::Damage;
                found.push(Missing { first_seq: from, last_seq: to - 1, reason });
            }
        };
        for index in 0..segment.committed() {
            let Some(record) = segment.record(index) else { continue };
            note(expected, record.seq());
            expected = record.seq() + 1;
        }
        note(expected, sealed.row.last_seq + 1);
        // Two segments may be found to be damaged at once.
        self.gaps.rcu(|gaps| {
            let mut gaps = Vec::clone(gaps);
            gaps.extend_from_slice(&found);
            recover::bound(&mut gaps);
            gaps
        });
    }

    /// Writes the manifest. The caller holds the state and has changed it; on failure it is to be changed back.
    fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        self.check_writable()?;
        self.store_manifest(manifest)
    }

    fn store_manifest(&self, manifest: &Manifest) -> Result<()> {
        self.held.check()?;
        manifest.store(&*self.storage, &self.directory)
    }

    /// Notes why something in the background failed.
    fn note_failure(&self, error: Error) {
        self.seal_failures.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_failure) = Some(error);
    }
}

/// Opening and closing.
impl Disk {
    /// Whether the files can be read and written; what failed last.
    pub(crate) fn trouble(&self) -> Option<Error> {
        lock(&self.last_failure).clone()
    }

    /// Events found to be damaged since the last call.
    pub(crate) fn take_damaged(&self) -> u64 {
        self.damaged.swap(0, Ordering::AcqRel)
    }

    /// The last attempt of the background succeeded.
    fn note_success(&self) {
        *lock(&self.last_failure) = None;
    }

    fn failures(&self) -> (u64, u64, Option<String>) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let failure = self.sync.failure().or_else(|| self.trouble()).map(|error| error.message().to_owned());
        (read(&self.seals), read(&self.seal_failures), failure)
    }
}
