//! A file system in memory that can lose its power.
//!
//! What survives [`SimStorage::crash`]: of each file the bytes that were synced, and of those written after
//! that a prefix, which may be torn (a stretch of it never reached the disk and reads as zeros); of the
//! changes to names those made durable by `sync_dir`, and of the later ones a prefix in the order they were
//! made, as journaling file systems have it. How much, and where it tears, comes from the seed: the same
//! seed and the same operations leave the same disk.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Directory, Failure, File, Lock, Mapping, Storage};
use crate::error::Result;

/// How many bytes the simulated disk holds.
const CAPACITY: u64 = 1 << 40;

/// A simulated disk. Clones are the same disk, as seen by another process.
#[derive(Debug, Clone)]
pub struct SimStorage {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug)]
struct Disk {
    random: u64,
    /// Counts crashes: a file opened before one is of no use after it.
    epoch: u64,
    operations: u64,
    power_lost_at: Option<u64>,
    files: Vec<Content>,
    names: Names,
    durable_names: Names,
    /// Changes to `names` since they were made durable, in order.
    journal: Vec<Change>,
    locks: BTreeMap<PathBuf, String>,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// How many of the bytes are durable.
    synced: usize,
    /// What the disk holds of a file that was changed elsewhere than at its end since it was synced.
    before: Option<Vec<u8>>,
}

impl Content {
    /// Makes room for a change below the end, which may not survive.
    fn changing(&mut self) {
        let synced = self.bytes.get(..self.synced).unwrap_or_default();
        self.before.get_or_insert_with(|| synced.to_vec());
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if start < self.synced {
            self.changing();
        }
        let end = start.saturating_add(bytes.len());
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(target) = self.bytes.get_mut(start..end) {
            target.copy_from_slice(bytes);
        }
    }
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

#[derive(Debug, Clone)]
enum Change {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug)]
struct SimFile {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    index: usize,
    epoch: u64,
    writable: bool,
}

#[derive(Debug)]
struct SimDirectory {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl Directory for SimDirectory {
    fn check(&self) -> Result<()> {
        let there = lock(&self.disk).need_directory(&normal(&self.path));
        there.map_err(|failure| failure.at("look for", &self.path))
    }
}

#[derive(Debug)]
struct SimMapping {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    index: usize,
    epoch: u64,
    len: u64,
}

impl Mapping for SimMapping {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let (index, epoch, len) = (self.index, self.epoch, self.len);
        let write = |disk: &mut Disk| {
            if offset.saturating_add(bytes.len() as u64) > len {
                return Err(Failure::BeyondMapping);
            }
            disk.content(index, epoch)?.write_at(offset, bytes);
            Ok(())
        };
        lock(&self.disk).step(write).map_err(|failure| failure.at("write", &self.path))
    }

    fn prefault(&self, _from: u64, _to: u64) {}
}

struct SimLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    epoch: u64,
}

impl SimStorage {
    /// An empty disk whose accidents follow from this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            disk: Arc::new(Mutex::new(Disk {
                random: seed,
                epoch: 0,
                operations: 0,
                power_lost_at: None,
                files: Vec::new(),
                names: Names::new(),
                durable_names: Names::new(),
                journal: Vec::new(),
                locks: BTreeMap::new(),
            })),
        }
    }

    /// How many operations changed the disk, or tried to, since it was made.
    pub fn operations(&self) -> u64 {
        lock(&self.disk).operations
    }

    /// Cuts the power at the operation of this number (the first ever is 0): it is carried out but not
    /// acknowledged, and from then on every operation fails until [`crash`](Self::crash).
    pub fn lose_power_at(&self, operation: u64) {
        lock(&self.disk).power_lost_at = Some(operation);
    }

    /// The machine stops at once and starts again: only what survives is there. Files and locks from
    /// before are of no use.
    pub fn crash(&self) {
        lock(&self.disk).crash();
    }
}

impl Storage for SimStorage {
    fn create_new(&self, path: &Path) -> Result<Box<dyn File>> {
        let name = normal(path);
        let mut disk = lock(&self.disk);
        let create = |disk: &mut Disk| {
            disk.need_parent(&name)?;
            if disk.node(&name).is_some() {
                return Err(Failure::AlreadyExists);
            }
            disk.files.push(Content::default());
            let index = disk.files.len() - 1;
            disk.change(Change::Add(name.clone(), Node::File(index)));
            Ok(index)
        };
        let index = disk.step(create).map_err(|failure| failure.at("create", path))?;
        Ok(self.file(path, index, disk.epoch, true))
    }

    fn open_write(&self, path: &Path) -> Result<Box<dyn File>> {
        let disk = lock(&self.disk);
        let index = disk.find_file(&normal(path)).map_err(|failure| failure.at("open", path))?;
        Ok(self.file(path, index, disk.epoch, true))
    }

    fn open_read(&self, path: &Path) -> Result<Box<dyn File>> {
        let disk = lock(&self.disk);
        let index = disk.find_file(&normal(path)).map_err(|failure| failure.at("open", path))?;
        Ok(self.file(path, index, disk.epoch, false))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (old, new) = (normal(from), normal(to));
        let rename = |disk: &mut Disk| {
            disk.find_file(&old)?;
            disk.need_parent(&new)?;
            if disk.node(&new) == Some(Node::Directory) {
                return Err(Failure::IsADirectory);
            }
            disk.change(Change::Rename(old.clone(), new.clone()));
            Ok(())
        };
        lock(&self.disk)
            .step(rename)
            .map_err(|failure| failure.at("rename", from).with("to", to.to_string_lossy()))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let name = normal(path);
        let remove = |disk: &mut Disk| {
            disk.find_file(&name)?;
            disk.change(Change::Remove(name.clone()));
            Ok(())
        };
        lock(&self.disk).step(remove).map_err(|failure| failure.at("remove", path))
    }

    fn remove_dir(&self, directory: &Path) -> Result<()> {
        let name = normal(directory);
        let remove = |disk: &mut Disk| {
            disk.need_directory(&name)?;
            if disk.names.keys().any(|path| path.parent() == Some(&name)) {
                return Err(Failure::NotEmpty);
            }
            disk.change(Change::Remove(name.clone()));
            Ok(())
        };
        lock(&self.disk).step(remove).map_err(|failure| failure.at("remove", directory))
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        let name = normal(directory);
        let disk = lock(&self.disk);
        disk.need_directory(&name).map_err(|failure| failure.at("list", directory))?;
        let within = disk.names.keys().filter(|path| path.parent() == Some(&name));
        let names = within.filter_map(|path| path.file_name().and_then(|name| name.to_str()));
        Ok(names.map(str::to_owned).collect())
    }

    fn create_dir_all(&self, directory: &Path) -> Result<()> {
        let name = normal(directory);
        let create = |disk: &mut Disk| {
            let mut above: Vec<_> = name.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
            above.reverse();
            for path in above {
                match disk.node(path) {
                    Some(Node::Directory) => {}
                    Some(Node::File(_)) => return Err(Failure::AlreadyExists),
                    None => disk.change(Change::Add(path.to_owned(), Node::Directory)),
                }
            }
            Ok(())
        };
        lock(&self.disk).step(create).map_err(|failure| failure.at("create", directory))
    }

    fn sync_dir(&self, directory: &Path) -> Result<()> {
        let name = normal(directory);
        let sync = |disk: &mut Disk| {
            disk.need_directory(&name)?;
            // The journal is one: making a change durable makes the earlier ones durable.
            let last = disk.journal.iter().rposition(|change| change.touches(&name));
            if let Some(last) = last {
                for change in disk.journal.drain(..=last) {
                    change.apply(&mut disk.durable_names);
                }
            }
            Ok(())
        };
        lock(&self.disk).step(sync).map_err(|failure| failure.at("sync", directory))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        let disk = lock(&self.disk);
        disk.powered().map_err(|failure| failure.at("look for", path))?;
        Ok(disk.node(&normal(path)).is_some())
    }

    fn size(&self, path: &Path) -> Result<u64> {
        let disk = lock(&self.disk);
        let index = disk.find_file(&normal(path)).map_err(|failure| failure.at("measure", path))?;
        Ok(disk.files.get(index).map_or(0, |content| content.bytes.len() as u64))
    }

    fn available_bytes(&self, path: &Path) -> Result<u64> {
        let disk = lock(&self.disk);
        disk.powered().map_err(|failure| failure.at("measure the space of", path))?;
        if disk.node(&normal(path)).is_none() {
            return Err(Failure::NotFound.at("measure the space of", path));
        }
        let used: usize = disk.files.iter().map(|content| content.bytes.len()).sum();
        Ok(CAPACITY.saturating_sub(used as u64))
    }

    fn hold_dir(&self, directory: &Path) -> Result<Box<dyn Directory>> {
        let disk = lock(&self.disk);
        disk.need_directory(&normal(directory)).map_err(|failure| failure.at("open", directory))?;
        Ok(Box::new(SimDirectory { disk: self.disk.clone(), path: directory.to_owned() }))
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Lock> {
        let name = normal(path);
        let take = |disk: &mut Disk| {
            disk.need_parent(&name)?;
            if let Some(holder) = disk.locks.get(&name) {
                return Err(Failure::Locked(holder.clone()));
            }
            match disk.node(&name) {
                Some(Node::Directory) => return Err(Failure::IsADirectory),
                Some(Node::File(_)) => {}
                None => {
                    disk.files.push(Content::default());
                    let index = disk.files.len() - 1;
                    disk.change(Change::Add(name.clone(), Node::File(index)));
                }
            }
            disk.locks.insert(name.clone(), holder.to_owned());
            Ok(disk.epoch)
        };
        let epoch = lock(&self.disk).step(take).map_err(|failure| failure.at("lock", path))?;
        Ok(Lock::new(SimLock { disk: self.disk.clone(), path: name, epoch }))
    }
}

impl SimStorage {
    fn file(&self, path: &Path, index: usize, epoch: u64, writable: bool) -> Box<dyn File> {
        Box::new(SimFile { disk: self.disk.clone(), path: path.to_owned(), index, epoch, writable })
    }
}

impl SimFile {
    fn change<R>(
        &mut self,
        operation: &str,
        change: impl FnOnce(&mut Content) -> std::result::Result<R, Failure>,
    ) -> Result<R> {
        let (index, epoch, writable) = (self.index, self.epoch, self.writable);
        let step = |disk: &mut Disk| {
            let content = disk.content(index, epoch)?;
            if !writable {
                return Err(Failure::Other("it was opened for reading".to_owned()));
            }
            change(content)
        };
        lock(&self.disk).step(step).map_err(|failure| failure.at(operation, &self.path))
    }
}

impl File for SimFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.change("write", |content| {
            content.bytes.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.change("write", |content| {
            content.write_at(offset, bytes);
            Ok(())
        })
    }

    fn allocate(&mut self, len: u64) -> Result<()> {
        self.change("allocate", |content| {
            let len = usize::try_from(len).map_err(|_| Failure::NoSpace)?;
            content.bytes.resize(content.bytes.len().max(len), 0);
            Ok(())
        })
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.change("cut", |content| {
            let len = usize::try_from(len).map_err(|_| Failure::NoSpace)?;
            if len < content.synced {
                content.changing();
                content.synced = len;
            }
            content.bytes.resize(len, 0);
            Ok(())
        })
    }

    fn map(&self, len: u64) -> Result<Box<dyn Mapping>> {
        let there = self.len()?;
        if there < len || len == 0 || !self.writable {
            let why = format!("it has {there} bytes, not {len}, or is open for reading");
            return Err(Failure::MappingRefused(why).at("map", &self.path));
        }
        let (disk, path) = (self.disk.clone(), self.path.clone());
        Ok(Box::new(SimMapping { disk, path, index: self.index, epoch: self.epoch, len }))
    }

    fn sync(&mut self) -> Result<()> {
        let (index, epoch) = (self.index, self.epoch);
        let sync = |disk: &mut Disk| {
            let content = disk.content(index, epoch)?;
            content.synced = content.bytes.len();
            content.before = None;
            Ok(())
        };
        lock(&self.disk).step(sync).map_err(|failure| failure.at("sync", &self.path))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut disk = lock(&self.disk);
        let content = disk
            .powered()
            .and_then(|()| disk.content(self.index, self.epoch))
            .map_err(|failure| failure.at("read", &self.path))?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = content.bytes.get(offset..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(there) {
            *to = *from;
        }
        Ok(count)
    }

    fn len(&self) -> Result<u64> {
        let mut disk = lock(&self.disk);
        let content = disk
            .powered()
            .and_then(|()| disk.content(self.index, self.epoch))
            .map_err(|failure| failure.at("measure", &self.path))?;
        Ok(content.bytes.len() as u64)
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = lock(&self.disk);
        if disk.epoch == self.epoch {
            disk.locks.remove(&self.path);
        }
    }
}

impl Disk {
    /// Carries out one operation that changes the disk, unless the power is off. When the power goes at
    /// this very operation it takes effect, but the caller does not get to know.
    fn step<R>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> std::result::Result<R, Failure>,
    ) -> std::result::Result<R, Failure> {
        self.powered()?;
        self.operations += 1;
        let answer = operation(self)?;
        self.powered()?;
        Ok(answer)
    }

    fn powered(&self) -> std::result::Result<(), Failure> {
        match self.power_lost_at {
            Some(at) if self.operations > at => Err(Failure::PowerLost),
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.names);
        self.journal.push(change);
    }

    fn node(&self, name: &Path) -> Option<Node> {
        if name.as_os_str().is_empty() { Some(Node::Directory) } else { self.names.get(name).copied() }
    }

    fn need_directory(&self, name: &Path) -> std::result::Result<(), Failure> {
        self.powered()?;
        match self.node(name) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(Failure::NotADirectory),
            None => Err(Failure::NotFound),
        }
    }

    fn need_parent(&self, name: &Path) -> std::result::Result<(), Failure> {
        self.need_directory(name.parent().unwrap_or(Path::new("")))
    }

    fn find_file(&self, name: &Path) -> std::result::Result<usize, Failure> {
        self.powered()?;
        match self.node(name) {
            Some(Node::File(index)) => Ok(index),
            Some(Node::Directory) => Err(Failure::IsADirectory),
            None => Err(Failure::NotFound),
        }
    }

    fn content(&mut self, index: usize, epoch: u64) -> std::result::Result<&mut Content, Failure> {
        if epoch != self.epoch {
            return Err(Failure::Other("it was opened before the machine crashed".to_owned()));
        }
        self.files.get_mut(index).ok_or(Failure::NotFound)
    }

    fn crash(&mut self) {
        self.epoch += 1;
        self.power_lost_at = None;
        self.locks.clear();
        let kept = self.below(self.journal.len() as u64 + 1) as usize;
        let journal = std::mem::take(&mut self.journal);
        for change in journal.into_iter().take(kept) {
            change.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        for index in 0..self.files.len() {
            let restored = self.below(2) == 0;
            if let Some(file) = self.files.get_mut(index)
                && let Some(before) = file.before.take()
                && restored
            {
                file.synced = before.len();
                file.bytes = before;
            }
            let Some(unsynced) = self.files.get(index).map(|file| file.bytes.len() - file.synced) else {
                continue;
            };
            let kept = self.below(unsynced as u64 + 1) as usize;
            // One time in two a stretch of what is kept never reached the disk.
            let torn = if self.below(2) == 0 { self.below(kept as u64 + 1) as usize } else { kept };
            let tail = torn + self.below((kept - torn) as u64 + 1) as usize;
            if let Some(file) = self.files.get_mut(index) {
                file.bytes.truncate(file.synced + kept);
                if let Some(lost) = file.bytes.get_mut(file.synced + torn..file.synced + tail) {
                    lost.fill(0);
                }
                file.synced = file.bytes.len();
            }
        }
    }

    /// A number below `bound` (SplitMix64, whose bias does not matter here).
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(bound).unwrap_or(0)
    }
}

impl Change {
    fn apply(self, names: &mut Names) {
        match self {
            Self::Add(path, node) => {
                names.insert(path, node);
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(&from) {
                    names.insert(to, node);
                }
            }
        }
    }

    fn touches(&self, directory: &Path) -> bool {
        let within = |path: &PathBuf| path.parent() == Some(directory);
        match self {
            Self::Add(path, _) | Self::Remove(path) => within(path),
            Self::Rename(from, to) => within(from) || within(to),
        }
    }
}

/// A path without what names no place of its own: `/a/./b` and `a/b` are one.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}
