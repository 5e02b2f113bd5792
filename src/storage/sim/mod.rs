//! A file system in memory that can lose its power: the crash machine.
//!
//! A [`SimStorage`] does what a disk does and knows what would be left of it. Stopping it ([`kill`] of the
//! process, [`crash`] of the machine) leaves one of the states that POSIX allows, the worst ones among them;
//! which one comes from a seed, so a failure is a number that replays it:
//!
//! - of each file, every sector as it was at some moment since the last sync, each sector for itself, so
//!   writes are lost, reordered and torn; bytes of unsynced writes may be garbage; the length is any that the
//!   file had since then;
//! - of each directory, a front part of its changes since the last `sync_dir`, whatever became of the files;
//! - after a mere kill, everything that was written; of a write that it interrupted perhaps only a part.
//!
//! What was synced is there, always: whoever loses it forgot to sync.
//!
//! A [recording](SimStorage::record) keeps the disk after every operation, so that a workload runs once and
//! each of its moments gives as many crashed disks as one likes ([`Snapshot`]). Errors are
//! [injected](SimStorage::inject), slowness is simulated by whoever [watches](SimStorage::watch) the
//! operations, and files [decay](SimStorage::flip_bit) on request.
//!
//! [`kill`]: SimStorage::kill
//! [`crash`]: SimStorage::crash

mod content;
mod decay;
mod disk;
mod fate;
mod fault;
mod handle;
mod medium;
mod pages;
mod random;
mod snapshot;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use fault::{Fault, Operation};
pub use snapshot::Snapshot;

use self::disk::Disk;
use self::handle::{Handle, SimDirectory, SimFile, SimLock};
use self::medium::{Answer, Medium, NodeId};
use super::{Directory, Failure, File, Lock, Storage};
use crate::error::Result;

/// A simulated disk. Clones are the same disk, as seen by another process.
///
/// ```
/// use std::path::Path;
/// use elixirscope_foundation::storage::{SimStorage, Storage};
///
/// let disk = SimStorage::new(7);
/// let mut file = disk.create_new(Path::new("log"))?;
/// file.write_all(b"synced")?;
/// file.sync()?;
/// disk.sync_dir(Path::new("/"))?;
/// file.write_all(b", not synced")?;
/// disk.crash();
/// assert!(disk.size(Path::new("log"))? >= 6);
/// # Ok::<(), elixirscope_foundation::error::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SimStorage {
    disk: Arc<Mutex<Disk>>,
}

impl SimStorage {
    /// An empty disk whose accidents follow from this seed.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Medium::new())
    }

    fn with(seed: u64, medium: Medium) -> Self {
        Self { disk: Arc::new(Mutex::new(Disk::new(seed, medium))) }
    }

    /// How many operations changed the disk, or tried to, since it was made.
    pub fn operations(&self) -> u64 {
        self.lock_disk().operations
    }

    /// Cuts the power at the operation of this number (the first ever is 0): it is carried out but not
    /// acknowledged, and from then on every operation fails until [`crash`](Self::crash).
    pub fn lose_power_at(&self, operation: u64) {
        self.lock_disk().power_lost_at = Some(operation);
    }

    /// The machine stops at once and starts again: only what survives is there. Files and locks from
    /// before are of no use.
    pub fn crash(&self) {
        let mut disk = self.lock_disk();
        let Disk { medium, random, .. } = &mut *disk;
        let after = medium.crash(random);
        disk.restart(after);
    }

    /// The process ends between two operations and another one starts: what was written is there, but no more
    /// durable than before. Files and locks from before are of no use. (In the middle of an operation a process
    /// ends with [`Snapshot::killed`].)
    pub fn kill(&self) {
        let mut disk = self.lock_disk();
        let after = disk.medium.clone();
        disk.restart(after);
    }

    /// An independent copy of the disk as it is, without its open files, locks, faults and limits.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.snapshot().disk()
    }

    /// The disk as it is.
    pub fn snapshot(&self) -> Snapshot {
        let disk = self.lock_disk();
        Snapshot::new(disk.operations, disk.medium.clone())
    }

    /// Starts to keep a snapshot of now and of the moment after each operation that changes the disk.
    pub fn record(&self) {
        let snapshot = self.snapshot();
        self.lock_disk().recording = Some(vec![snapshot]);
    }

    /// Stops recording and answers what was recorded, in order; nothing if nothing was to be.
    pub fn recording(&self) -> Vec<Snapshot> {
        self.lock_disk().recording.take().unwrap_or_default()
    }

    /// Has operations fail. Of several faults that concern an operation the one injected first strikes.
    pub fn inject(&self, fault: Fault) {
        self.lock_disk().faults.add(fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.lock_disk().faults.clear();
    }

    /// Has `watch` called before every operation, on its thread and without any lock of the disk: it may
    /// wait, move a clock, or use the disk itself, whose operations are watched too.
    pub fn watch(&self, watch: impl Fn(Operation, &Path) + Send + Sync + 'static) {
        self.lock_disk().faults.watch = Some(Arc::new(watch));
    }

    /// How many bytes all files together may have (2^40 at first).
    pub fn set_capacity(&self, bytes: u64) {
        self.lock_disk().capacity = bytes;
    }

    /// A number that is equal for disks on which processes see the same names and bytes, and differs, as good
    /// as always, for others.
    pub fn fingerprint(&self) -> u64 {
        self.lock_disk().medium.fingerprint()
    }

    fn lock_disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk for one operation, of which who watches is told first.
    fn disk(&self, operation: Operation, path: &Path) -> MutexGuard<'_, Disk> {
        let disk = self.lock_disk();
        let Some(watch) = disk.faults.watch.clone() else { return disk };
        drop(disk);
        watch(operation, path);
        self.lock_disk()
    }

    /// One operation that changes names; `word` is for the error.
    fn step<R>(
        &self,
        kind: Operation,
        word: &str,
        path: &Path,
        operation: impl FnOnce(&mut Disk) -> Answer<R>,
    ) -> Result<R> {
        let answer = self.disk(kind, path).step(kind, path, operation, |_| {});
        answer.map_err(|failure| failure.at(word, path))
    }

    fn look<R>(
        &self,
        kind: Operation,
        word: &str,
        path: &Path,
        operation: impl FnOnce(&Disk) -> Answer<R>,
    ) -> Result<R> {
        let answer = self.disk(kind, path).look(kind, path, operation);
        answer.map_err(|failure| failure.at(word, path))
    }

    fn open(&self, path: &Path, writable: bool) -> Result<Box<dyn File>> {
        let opened =
            self.look(Operation::Open, "open", path, |disk| Ok((disk.medium.find_file(path)?, disk.epoch)));
        Ok(self.file(path, opened?, writable))
    }

    fn file(&self, path: &Path, (node, epoch): (NodeId, u64), writable: bool) -> Box<dyn File> {
        Box::new(SimFile { handle: Handle::new(self, path, node, epoch), writable })
    }
}

impl Storage for SimStorage {
    fn create_new(&self, path: &Path) -> Result<Box<dyn File>> {
        let made = self
            .step(Operation::Create, "create", path, |disk| Ok((disk.medium.create_file(path)?, disk.epoch)));
        Ok(self.file(path, made?, true))
    }

    fn open_write(&self, path: &Path) -> Result<Box<dyn File>> {
        self.open(path, true)
    }

    fn open_read(&self, path: &Path) -> Result<Box<dyn File>> {
        self.open(path, false)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let renamed = self.step(Operation::Rename, "rename", from, |disk| disk.medium.rename(from, to));
        renamed.map_err(|error| error.with("to", to.to_string_lossy()))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.step(Operation::Remove, "remove", path, |disk| disk.medium.remove_file(path))
    }

    fn remove_dir(&self, directory: &Path) -> Result<()> {
        self.step(Operation::RemoveDir, "remove", directory, |disk| disk.medium.remove_directory(directory))
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        self.look(Operation::List, "list", directory, |disk| disk.medium.names(disk.medium.find(directory)?))
    }

    fn create_dir_all(&self, directory: &Path) -> Result<()> {
        self.step(Operation::CreateDir, "create", directory, |disk| disk.medium.create_directories(directory))
    }

    fn sync_dir(&self, directory: &Path) -> Result<()> {
        self.step(Operation::SyncDir, "sync", directory, |disk| {
            let node = disk.medium.find_directory(directory)?;
            disk.medium.sync_directory(node);
            Ok(())
        })
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.look(Operation::Look, "look for", path, |disk| match disk.medium.find(path) {
            Ok(_) => Ok(true),
            Err(Failure::NotFound) => Ok(false),
            Err(failure) => Err(failure),
        })
    }

    fn size(&self, path: &Path) -> Result<u64> {
        self.look(Operation::Look, "measure", path, |disk| {
            Ok(disk.medium.content(disk.medium.find(path)?)?.len() as u64)
        })
    }

    fn available_bytes(&self, path: &Path) -> Result<u64> {
        self.look(Operation::Look, "measure the space of", path, |disk| {
            disk.medium.find(path).map(|_| disk.available())
        })
    }

    fn hold_dir(&self, directory: &Path) -> Result<Box<dyn Directory>> {
        let (node, epoch) = self.look(Operation::Open, "open", directory, |disk| {
            Ok((disk.medium.find_directory(directory)?, disk.epoch))
        })?;
        Ok(Box::new(SimDirectory(Handle::new(self, directory, node, epoch))))
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Lock> {
        let (node, epoch) = self.step(Operation::Lock, "lock", path, |disk| {
            let node = match disk.medium.find_file(path) {
                Err(Failure::NotFound) => disk.medium.create_file(path)?,
                found => found?,
            };
            if let Some(holder) = disk.locks.get(&node) {
                return Err(Failure::Locked(holder.clone()));
            }
            disk.locks.insert(node, holder.to_owned());
            Ok((node, disk.epoch))
        })?;
        Ok(Lock::new(SimLock(Handle::new(self, path, node, epoch))))
    }
}
