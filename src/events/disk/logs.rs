//! The log files of a store: made ahead, written once, recycled when everything in them is in a sealed segment.
//!
//! A log is called by its number, which its header has as well. A file is recycled by giving it the new number's name
//! and header, both durable before anything is written behind them; what an earlier log left in it never passes the
//! new log's checksums.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::super::file::LogEncoder;
use super::super::names::Names;
use super::super::record::Record;
use super::super::segment::Segment;
use crate::error::{Code, Error, Result};
use crate::runtime::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::storage::{File, Mapping, Storage};

/// Recycled files that wait for use; more are removed.
const KEPT: usize = 2;

/// What every log file is called, with a number of its own between.
const PREFIX: &str = "log-";
const SUFFIX: &str = ".esl";

/// The number of the log that a file of this name holds; `None` for other files.
pub(crate) fn log_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// A log file that has its header and nothing else.
pub(crate) struct OpenLog {
    number: u64,
    path: PathBuf,
    file: Box<dyn File>,
    encoder: LogEncoder,
    /// Where the file should end: it is written further only by an append that began before.
    limit: u64,
    /// The largest `seq` in it; 0 while there is none.
    last_seq: u64,
    /// Whether all that was written is whole; else the file is never used again.
    suspect: bool,
    /// The file as memory, where events are copied into it.
    mapping: Option<Box<dyn Mapping>>,
}

/// What a log is synced with while its shard writes; held by whoever is about to.
pub(super) type Handle = Arc<Mutex<Box<dyn File>>>;

/// A log that gets no more events.
struct Closed {
    number: u64,
    last_seq: u64,
    path: PathBuf,
    /// It may be used for another log.
    reusable: bool,
    /// Nor while somebody may sync it yet: if that fails it is the other log that lacks what was not written.
    synced_with: Weak<Mutex<Box<dyn File>>>,
}

/// The logs of a store and what they are made from.
///
/// Invariant: from when its number is given out until its events are all sealed, a log is in `files`, so that no
/// [`Logs::floor`] is above it.
pub(crate) struct Logs {
    storage: Arc<dyn Storage>,
    directory: PathBuf,
    store: [u8; 16],
    bytes: u64,
    /// Whether logs are mapped into memory.
    maps: bool,
    next_number: AtomicU64,
    files: Mutex<Files>,
    made: AtomicU64,
    recycled: AtomicU64,
}

#[derive(Default)]
struct Files {
    closed: Vec<Closed>,
    free: Vec<PathBuf>,
    /// Ready to be written to.
    spare: Vec<OpenLog>,
    /// Numbers of the logs that are written to or being made.
    open: Vec<u64>,
    /// No more are made.
    finished: bool,
}

impl Logs {
    /// No logs yet. `next_number` is above that of every log that was ever written.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        directory: &Path,
        store: [u8; 16],
        (bytes, maps): (u64, bool),
        next_number: u64,
    ) -> Self {
        Self {
            storage,
            directory: directory.to_owned(),
            store,
            bytes,
            maps,
            next_number: AtomicU64::new(next_number),
            files: Mutex::new(Files::default()),
            made: AtomicU64::new(0),
            recycled: AtomicU64::new(0),
        }
    }

    /// The number that the next log gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.load(Ordering::Acquire)
    }

    /// No log below this number holds what is not sealed.
    pub(crate) fn floor(&self, sealed: u64) -> u64 {
        let files = lock(&self.files);
        let needed = files.closed.iter().filter(|log| log.last_seq >= sealed).map(|log| log.number);
        let spare = files.spare.iter().map(|log| log.number);
        needed.chain(spare).chain(files.open.iter().copied()).min().unwrap_or_else(|| self.next_number())
    }

    /// Files that are there: in use, closed, waiting.
    pub(crate) fn count(&self) -> u64 {
        let files = lock(&self.files);
        (files.closed.len() + files.free.len() + files.spare.len() + files.open.len()) as u64
    }

    /// Log files made so far, and how many of them were recycled.
    pub(crate) fn made(&self) -> (u64, u64) {
        (self.made.load(Ordering::Relaxed), self.recycled.load(Ordering::Relaxed))
    }

    /// A log found at opening, all of whose events are back in memory.
    pub(crate) fn found(&self, number: u64, last_seq: u64, path: PathBuf) {
        lock(&self.files).closed.push(Closed {
            number,
            last_seq,
            path,
            reusable: true,
            synced_with: Weak::new(),
        });
    }

    /// Goes on in a log found at opening as if it were ours: a mistake.
    #[cfg(feature = "crash-tests")]
    pub(crate) fn resume(&self, number: u64, last_seq: u64, path: PathBuf, end: u64) -> Result<()> {
        let file = self.storage.open_write(&path)?;
        let mapping = if self.maps && file.len()? >= self.bytes { Some(file.map(self.bytes)?) } else { None };
        let encoder = LogEncoder::resume(self.store, number, last_seq + 1, end);
        let limit = self.bytes;
        let log = OpenLog { number, path, file, encoder, limit, last_seq, suspect: false, mapping };
        lock(&self.files).spare.push(log);
        Ok(())
    }

    /// A file found at opening that holds nothing of use.
    pub(crate) fn unused(&self, path: PathBuf) {
        self.free_or_remove(vec![path]);
    }

    /// Makes logs ready until so many wait for use. Called where waiting for the disk is no matter.
    pub(crate) fn make_ready(&self, spares: usize, next_seq: u64) -> Result<()> {
        while !self.has_ready(spares) {
            let log = self.make(next_seq)?;
            let mut files = lock(&self.files);
            files.open.retain(|number| *number != log.number);
            if files.finished {
                // Closed meanwhile: it holds nothing, and what cannot be removed is known as unused.
                drop(files);
                let _ = self.storage.remove(&log.path);
                return Ok(());
            }
            files.spare.push(log);
        }
        Ok(())
    }

    fn has_ready(&self, spares: usize) -> bool {
        let files = lock(&self.files);
        files.finished || files.spare.len() >= spares
    }

    /// A log to write to: one that is ready, else a new one.
    pub(crate) fn open(&self, next_seq: u64) -> Result<OpenLog> {
        if let Some(log) = self.open_ready() {
            return Ok(log);
        }
        self.make(next_seq)
    }

    /// A log that is ready, if there is one: for those who may not wait for the disk.
    pub(crate) fn open_ready(&self) -> Option<OpenLog> {
        let mut files = lock(&self.files);
        let log = if files.spare.is_empty() { return None } else { files.spare.remove(0) };
        files.open.push(log.number);
        Some(log)
    }

    /// Makes a log, which is among the open ones.
    fn make(&self, next_seq: u64) -> Result<OpenLog> {
        let (free, number) = {
            let mut files = lock(&self.files);
            if files.finished {
                return Err(Error::new(Code::Closing, "the store is closed"));
            }
            // Making it takes as long as the disk does, and what is sealed meanwhile must not declare it unneeded.
            let number = self.next_number.fetch_add(1, Ordering::AcqRel);
            files.open.push(number);
            (files.free.pop(), number)
        };
        let made = self.make_numbered(number, free, next_seq);
        if made.is_err() {
            lock(&self.files).open.retain(|open| *open != number);
        }
        made
    }

    fn make_numbered(&self, number: u64, free: Option<PathBuf>, next_seq: u64) -> Result<OpenLog> {
        let recycled = free.is_some();
        let path = self.directory.join(format!("{PREFIX}{number:016x}{SUFFIX}"));
        let mut file = if let Some(free) = free {
            self.storage.rename(&free, &path)?;
            self.storage.open_write(&path)?
        } else {
            self.storage.create_new(&path)?
        };
        let mut encoder = LogEncoder::new(self.store, number, next_seq);
        let mut header = Vec::new();
        encoder.header(&mut header);
        let ready = (|| {
            file.allocate(self.bytes)?;
            file.write_at(0, &header)?;
            file.sync()?;
            self.storage.sync_dir(&self.directory)?;
            if !self.maps {
                return Ok(None);
            }
            let mapping = file.map(self.bytes)?;
            mapping.prefault(0, self.bytes);
            Ok(Some(mapping))
        })();
        let mapping = match ready {
            Ok(mapping) => mapping,
            Err(error) => {
                // It holds nothing, so that nothing is lost with it; if it cannot be removed it is known as unused.
                let _ = self.storage.remove(&path);
                return Err(error);
            }
        };
        self.made.fetch_add(1, Ordering::Relaxed);
        self.recycled.fetch_add(u64::from(recycled), Ordering::Relaxed);
        Ok(OpenLog { number, path, file, encoder, limit: self.bytes, last_seq: 0, suspect: false, mapping })
    }

    /// A log gets no more events.
    pub(crate) fn close(&self, log: OpenLog) {
        self.close_synced_with(log, Weak::new());
    }

    /// A log gets no more events, and may be synced yet by whoever holds this handle.
    pub(super) fn close_synced_with(&self, log: OpenLog, synced_with: Weak<Mutex<Box<dyn File>>>) {
        let mut files = lock(&self.files);
        files.open.retain(|number| *number != log.number);
        files.closed.push(Closed {
            number: log.number,
            last_seq: log.last_seq,
            path: log.path,
            reusable: !log.suspect,
            synced_with,
        });
    }

    /// A closed log may not be whole: its file is not used again.
    pub(crate) fn distrust(&self, number: u64) {
        for log in lock(&self.files).closed.iter_mut().filter(|log| log.number == number) {
            log.reusable = false;
        }
    }

    /// Gives back the logs whose events are all sealed. The manifest that says so must be durable.
    pub(crate) fn recycle(&self, sealed: u64) {
        let mut free = Vec::new();
        let mut gone = Vec::new();
        lock(&self.files).closed.retain(|log| {
            let needed = log.last_seq >= sealed;
            if !needed {
                let reusable = log.reusable && log.synced_with.strong_count() == 0;
                if reusable { &mut free } else { &mut gone }.push(log.path.clone());
            }
            needed
        });
        self.free_or_remove(free);
        for path in gone {
            let _ = self.storage.remove(&path);
        }
    }

    fn free_or_remove(&self, paths: Vec<PathBuf>) {
        for path in paths {
            let mut files = lock(&self.files);
            if files.free.len() < KEPT {
                files.free.push(path);
            } else {
                drop(files);
                // A file that stays is found again at the next opening, as unused.
                let _ = self.storage.remove(&path);
            }
        }
    }

    /// No more logs are made: the next process uses the numbers behind those that were given out.
    pub(crate) fn finish(&self) {
        lock(&self.files).finished = true;
    }

    /// Removes what waits for use: the store is being closed.
    pub(crate) fn remove_unused(&self) {
        let (free, spare) = {
            let mut files = lock(&self.files);
            files.finished = true;
            (std::mem::take(&mut files.free), std::mem::take(&mut files.spare))
        };
        for path in free.into_iter().chain(spare.into_iter().map(|log| log.path)) {
            let _ = self.storage.remove(&path);
        }
    }
}

impl OpenLog {
    /// Whether it is time for another log.
    pub(crate) fn full(&self) -> bool {
        self.encoder.position() >= self.limit
    }

    /// Bytes of the file that are taken.
    pub(crate) fn position(&self) -> u64 {
        self.encoder.position()
    }

    /// The largest `seq` in it; 0 while there is none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The log's number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether another log will be needed soon.
    pub(crate) fn nearly_full(&self) -> bool {
        self.encoder.position() >= self.limit / 2
    }

    /// Adds a published event to what is to be written.
    pub(crate) fn push(&mut self, segment: &Segment, index: u32, names: &Names, out: &mut Vec<u8>) {
        if let Some(bytes) = segment.bytes_of(index) {
            self.push_bytes(bytes, names, out);
        }
    }

    /// Adds an event to what is to be written.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8], names: &Names, out: &mut Vec<u8>) {
        let Some(record) = Record::parse(bytes) else { return };
        self.encoder.record(bytes, record.flags(), |number| names.name(number), out);
        self.last_seq = self.last_seq.max(record.seq());
    }

    /// Adds the frame that says: everything before it is synced together.
    pub(crate) fn push_commit(&mut self, out: &mut Vec<u8>) {
        self.encoder.commit(self.last_seq, out);
    }

    /// Writes what was pushed since the log stood at this position.
    pub(crate) fn write(&mut self, position: u64, bytes: &[u8]) -> Result<()> {
        let mapped = self.mapping.as_mut().filter(|_| position + bytes.len() as u64 <= self.limit);
        let written = match mapped {
            Some(mapping) => mapping.write(position, bytes),
            // What does not fit the mapping any more goes behind it.
            None => self.file.write_at(position, bytes),
        };
        written.inspect_err(|_| self.suspect = true)
    }

    /// Waits until everything written is on the disk.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.file.sync().inspect_err(|_| self.suspect = true)
    }

    /// Says that the log was finished properly. That it is missing after a crash does no harm.
    pub(crate) fn finish(&mut self) {
        if self.suspect {
            return;
        }
        let position = self.encoder.position();
        let mut end = Vec::new();
        self.encoder.end(&mut end);
        let _ = self.write(position, &end);
    }

    /// Another handle of the file, for syncing it while somebody writes.
    pub(crate) fn handle(&self, storage: &dyn Storage) -> Result<Box<dyn File>> {
        storage.open_write(&self.path)
    }

    /// What was written may not be whole: the file is never written again.
    pub(crate) fn give_up(&mut self) {
        self.suspect = true;
    }
}
