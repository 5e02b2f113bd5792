//! Opening what is there: the manifest, the logs behind it, and what they say is missing.
//!
//! Nothing is written until everything was read, and reading changes nothing, so a crash while opening leaves what
//! was there before. Old logs are read and never written behind; their events come back into memory, and the next
//! sealing makes them a segment.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::file::{DamageKind, FileKind, Header, Identity, LogItem, scan_log};
use super::super::record::{FLAG_CONFIG, Record};
use super::DiskOptions;
use super::logs::log_number;
use super::manifest::{Manifest, MissingRange, Prune, SegmentRow, segment_numbers};
use super::quarantine;
use crate::error::{Code, Error, Result};
use crate::runtime::clock::{Clock, SystemClock};
use crate::storage::{Directory, Lock, Storage, create_dir_durably, is_temporary};

/// How many gaps are told apart; the closest are taken together beyond it.
pub(crate) const MAX_GAPS: usize = 1_024;

/// How often a store that somebody writes to is read anew when its files went meanwhile.
const READ_ONLY_TRIES: u32 = 5;

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// The process or the machine stopped before they were safe.
    Crash,
    /// Their bytes had been durable and cannot be read any more.
    Damage,
}

/// Events that are missing: all from the first to the last `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The first.
    pub first_seq: u64,
    /// The last.
    pub last_seq: u64,
    /// Why.
    pub reason: MissingReason,
}

impl Missing {
    /// How many events that are.
    pub fn events(&self) -> u64 {
        self.last_seq - self.first_seq + 1
    }

    pub(crate) fn to_row(self) -> MissingRange {
        let reason = match self.reason {
            MissingReason::Crash => "crash",
            MissingReason::Damage => "damage",
        };
        MissingRange { first_seq: self.first_seq, last_seq: self.last_seq, reason: reason.to_owned() }
    }

    fn from_row(row: &MissingRange) -> Self {
        let reason = if row.reason == "crash" { MissingReason::Crash } else { MissingReason::Damage };
        Self { first_seq: row.first_seq, last_seq: row.last_seq.max(row.first_seq), reason }
    }
}

/// Takes the closest gaps together until there are not too many.
pub(crate) fn bound(gaps: &mut Vec<Missing>) {
    gaps.sort_by_key(|gap| gap.first_seq);
    gaps.dedup();
    while gaps.len() > MAX_GAPS {
        let distance = |at: usize| {
            gaps.get(at + 1)
                .zip(gaps.get(at))
                .map_or(u64::MAX, |(b, a)| b.first_seq.saturating_sub(a.last_seq))
        };
        let Some(at) = (0..gaps.len() - 1).min_by_key(|at| distance(*at)) else { return };
        let next = gaps.remove(at + 1);
        if let Some(gap) = gaps.get_mut(at) {
            gap.last_seq = gap.last_seq.max(next.last_seq);
        }
    }
}

/// How far opening has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of logs read.
    pub done: u64,
    /// Bytes of logs to read.
    pub total: u64,
}

/// What opening a store found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RecoveryReport {
    /// The store was there before.
    pub existed: bool,
    /// The last process closed it; no log was left behind.
    pub clean: bool,
    /// The manifest could not be read and was made up from the other files.
    pub rebuilt: bool,
    /// Sealed segments.
    pub segments: u64,
    /// Logs read.
    pub logs: u64,
    /// Events that came back from logs.
    pub events: u64,
    /// Events of appends that were not whole, which were therefore never acknowledged as durable.
    pub dropped: u64,
    /// Ends of logs that a crash tore.
    pub torn: u64,
    /// Stretches that a crash left unwritten before others that it wrote.
    pub holes: u64,
    /// Stretches of logs that had been durable and are damaged.
    pub rot: u64,
    /// Sealed segments that the manifest names and that are not there.
    pub missing_files: u64,
    /// Files without use that were removed.
    pub removed_files: u64,
    /// What is missing, in the order of `seq`; at most 1,024, the closest taken together.
    pub gaps: Vec<Missing>,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// The run-time configuration, as far as events tell of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ConfigPast {
    /// The version in force; 0 when no change was ever stored.
    pub(crate) version: u64,
    /// The event that says so.
    pub(crate) seq: u64,
    /// Whether everything was reset before the values were set.
    pub(crate) reset: bool,
    /// What was set at run time, by path.
    pub(crate) values: Map<String, Value>,
}

impl ConfigPast {
    /// Takes in an event that changed the configuration.
    pub(crate) fn apply(&mut self, record: Record<'_>) {
        if record.seq() <= self.seq {
            return;
        }
        let Ok(Value::Object(change)) = serde_json::from_slice(record.data()) else { return };
        let Some(version) = change.get("version").and_then(Value::as_u64) else { return };
        if let (Some(Value::String(path)), Some(value)) = (change.get("path"), change.get("new_value")) {
            self.values.insert(path.clone(), value.clone());
        } else {
            self.reset = true;
            self.values.clear();
        }
        (self.version, self.seq) = (version, record.seq());
    }

    pub(crate) fn to_row(&self) -> Option<Value> {
        (self.version > 0).then(|| {
            serde_json::json!({
                "version": self.version, "seq": self.seq, "reset": self.reset, "values": self.values,
            })
        })
    }

    fn from_row(row: Option<&Value>) -> Self {
        let Some(row) = row else { return Self::default() };
        let number = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or(0);
        Self {
            version: number("version"),
            seq: number("seq"),
            reset: row.get("reset").and_then(Value::as_bool).unwrap_or(false),
            values: row.get("values").and_then(Value::as_object).cloned().unwrap_or_default(),
        }
    }
}

/// The events of the logs, in the order of `seq`.
#[derive(Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    /// `seq` and place of each.
    places: Vec<(u64, usize, usize)>,
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl Tail {
    fn push(&mut self, record: Record<'_>, type_name: &str, node_name: &str) {
        let start = self.bytes.len();
        let (type_id, node_id) = (self.number(type_name), self.number(node_name));
        record.copy_numbered(type_id, node_id, &mut self.bytes);
        self.places.push((record.seq(), start, self.bytes.len()));
    }

    fn number(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.names.push(name.into());
        let number = self.names.len() as u32;
        self.numbers.insert(name.into(), number);
        number
    }

    /// Puts the events of all logs in order. One that is in two logs is the same event.
    fn sort(&mut self) {
        self.places.sort_unstable_by_key(|(seq, ..)| *seq);
        self.places.dedup_by_key(|(seq, ..)| *seq);
    }

    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        match number.checked_sub(1) {
            None => Some(""),
            Some(at) => self.names.get(at as usize).map(|name| &**name),
        }
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.places.iter().filter_map(|(_, from, to)| Record::parse(self.bytes.get(*from..*to)?))
    }

    fn last_seq(&self) -> Option<u64> {
        self.places.last().map(|(seq, ..)| *seq)
    }
}

/// A log that was found.
pub(crate) struct FoundLog {
    pub(crate) path: PathBuf,
    /// The number and the last event of a log that was read; `None` if there is nothing of use in the file.
    pub(crate) read: Option<(u64, u64)>,
    /// Behind its last frame.
    #[cfg_attr(not(feature = "crash-tests"), allow(dead_code, reason = "nobody goes on there"))]
    pub(crate) end: u64,
}

/// The files of a store that have been read: what [`super::super::EventStore::open_recovered`] opens.
pub struct Recovered {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) directory: PathBuf,
    pub(crate) options: DiskOptions,
    pub(crate) lock: Option<Lock>,
    pub(crate) held: Box<dyn Directory>,
    pub(crate) manifest: Manifest,
    pub(crate) tail: Tail,
    pub(crate) logs: Vec<FoundLog>,
    pub(crate) next_seq: u64,
    pub(crate) next_log: u64,
    pub(crate) config: ConfigPast,
    /// The configuration as of the last sealed event.
    pub(crate) sealed_config: ConfigPast,
    /// Events that are missing and were not known to be.
    pub(crate) newly_lost: u64,
    pub(crate) report: RecoveryReport,
}

impl Recovered {
    /// Reads the store in a directory, or makes a new one where nothing is. `holder` names whoever opens it to others
    /// who try; `progress` is called while logs are read.
    ///
    /// Errors: `locked` with the holder, `data_corruption` when there are files of a store and no manifest can be
    /// made of them, `incompatible_format`, `io_error`, `operation_forbidden` for a directory with other files.
    #[allow(clippy::needless_pass_by_value, reason = "the store keeps it")]
    pub fn read(
        storage: Arc<dyn Storage>,
        directory: &Path,
        options: DiskOptions,
        holder: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        // Beside a process that writes, files may go while they are read: then what took their place is read.
        let tries = if options.read_only { READ_ONLY_TRIES } else { 1 };
        let mut round = 0;
        loop {
            round += 1;
            let read = Self::read_once(&storage, directory, options, holder, progress);
            let moved = match &read {
                Ok(read) => read.report.missing_files > 0,
                Err(error) => matches!(error.code(), Code::DataNotFound | Code::DataCorruption),
            };
            if !moved || round >= tries {
                return read;
            }
        }
    }

    fn read_once(
        storage: &Arc<dyn Storage>,
        directory: &Path,
        options: DiskOptions,
        holder: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let began = SystemClock.boot_ns();
        if !options.read_only && !storage.exists(&directory.join(Manifest::NAME))? {
            create_dir_durably(&**storage, directory)?;
        }
        let lock =
            if options.read_only { None } else { Some(storage.lock(&directory.join("LOCK"), holder)?) };
        let held = storage.hold_dir(directory)?;
        if !options.read_only {
            // A process that was killed may have left names that only the system's cache has.
            storage.sync_dir(directory)?;
        }
        let names = storage.list(directory)?;
        let mut report = RecoveryReport::default();
        let manifest = find_manifest(&**storage, directory, &names, options.read_only, &mut report)?;
        let sealed_config = ConfigPast::from_row(manifest.config.as_ref());
        let mut recovered = Self {
            next_seq: manifest.sealed_seq,
            next_log: manifest.next_log,
            config: sealed_config.clone(),
            sealed_config,
            storage: Arc::clone(storage),
            directory: directory.to_owned(),
            options,
            lock,
            held,
            manifest,
            tail: Tail::default(),
            logs: Vec::new(),
            newly_lost: 0,
            report,
        };
        recovered.miss_files(&names);
        recovered.remove_leftovers(&names);
        recovered.read_logs(&names, progress)?;
        recovered.report.took_ms = (SystemClock.boot_ns() - began).max(0) as u64 / 1_000_000;
        Ok(recovered)
    }

    /// The newest timestamp stored; far in the past when there is none.
    pub fn newest_time(&self) -> i64 {
        let sealed = self.manifest.segments.iter().map(|row| row.max_time).max();
        let tail = self.tail.records().map(|record| record.timestamp()).max();
        self.manifest.newest_time.max(sealed.unwrap_or(i64::MIN)).max(tail.unwrap_or(i64::MIN))
    }

    /// Sealed segments that are named and not there are gaps.
    fn miss_files(&mut self, names: &[String]) {
        let there = |name: String| names.contains(&name);
        let (kept, missing): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.manifest.segments).into_iter().partition(|row| there(row.file_name()));
        self.manifest.segments = kept;
        self.report.segments = self.manifest.segments.len() as u64;
        self.report.missing_files = missing.len() as u64;
        for row in missing {
            self.newly_lost += row.live;
            let gap =
                Missing { first_seq: row.first_seq, last_seq: row.last_seq, reason: MissingReason::Damage };
            self.report.gaps.push(gap);
        }
    }

    fn remove_leftovers(&mut self, names: &[String]) {
        if self.options.read_only {
            return;
        }
        let listed: Vec<String> = self.manifest.segments.iter().map(SegmentRow::file_name).collect();
        for name in names {
            let unnamed = segment_numbers(name).is_some() && !listed.contains(name);
            if unnamed && self.report.rebuilt {
                // Nothing says that it is not needed, only that it cannot be read: it is put aside.
                self.put_aside(name);
            } else if unnamed || is_temporary(name) {
                // One that stays is found again next time.
                let removed = self.storage.remove(&self.directory.join(name)).is_ok();
                self.report.removed_files += u64::from(removed);
            }
        }
    }

    fn put_aside(&self, name: &str) {
        let aside = self.directory.join(quarantine::NAME);
        let moved = self.storage.create_dir_all(&aside);
        // One that stays is not read either, and the next opening removes it.
        let _ = moved.and_then(|()| self.storage.rename(&self.directory.join(name), &aside.join(name)));
    }

    fn read_logs(&mut self, names: &[String], progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let mut todo = Vec::new();
        let mut total = 0;
        for (name, number) in names.iter().filter_map(|name| Some((name, log_number(name)?))) {
            let path = self.directory.join(name);
            let bytes = self.storage.size(&path)?;
            total += bytes;
            todo.push((path, number, bytes));
        }
        let mut done = 0;
        let mut rotten: Vec<(u64, u64)> = Vec::new();
        for (path, named, bytes) in todo {
            progress(Progress { done, total });
            let read = self.read_log(&path, named, &mut rotten)?;
            let (read, end) =
                read.map_or((None, 0), |(number, last_seq, end)| (Some((number, last_seq)), end));
            self.logs.push(FoundLog { path, read, end });
            done += bytes;
        }
        progress(Progress { done, total });
        self.tail.sort();
        self.report.events = self.tail.places.len() as u64;
        self.report.clean = self.report.logs == 0;
        self.next_seq = self.tail.last_seq().map_or(self.next_seq, |last| last + 1);
        self.find_gaps(&rotten);
        for record in self.tail.records().filter(|record| record.flags() & FLAG_CONFIG != 0) {
            self.config.apply(record);
        }
        Ok(())
    }

    fn read_log(
        &mut self,
        path: &Path,
        named: u64,
        rotten: &mut Vec<(u64, u64)>,
    ) -> Result<Option<(u64, u64, u64)>> {
        let file = self.storage.open_read(path)?;
        let store = self.manifest.store_id()?;
        let header = Header::read(&*file, FileKind::Log)?;
        // A header that does not check says nothing; the name says which log it must be.
        let header =
            header.unwrap_or_else(|| Header::new(Identity { kind: FileKind::Log, store, number: named }, 0));
        let number = header.identity.number;
        self.next_log = self.next_log.max(number.saturating_add(1)).max(named.saturating_add(1));
        if header.identity.store != store || number < self.manifest.log_floor {
            return Ok(None);
        }
        let sealed = self.manifest.sealed_seq;
        let (tail, report) = (&mut self.tail, &mut self.report);
        let (storage, directory, read_only) = (&*self.storage, &self.directory, self.options.read_only);
        let found = scan_log(&*file, &header, &mut |item| {
            match item {
                LogItem::Record(record, texts) if record.seq() >= sealed => {
                    let name = |number| texts.name(number).unwrap_or_default();
                    tail.push(record, name(record.type_id()), name(record.node_id()));
                }
                LogItem::Record(..) => {}
                LogItem::Damage(damage) => match damage.kind {
                    DamageKind::TornTail => report.torn += 1,
                    DamageKind::Hole => report.holes += 1,
                    DamageKind::Rot => {
                        report.rot += 1;
                        if !read_only {
                            quarantine::keep(storage, directory, path, damage.from, damage.to);
                        }
                        rotten.push((damage.after_seq.unwrap_or(0), damage.before_seq.unwrap_or(u64::MAX)));
                    }
                },
            }
            Ok(())
        })?;
        // A log that is used again gets its new name first.
        if read_only && !storage.exists(path)? {
            let message = format!("{} was used for another log while it was read", path.display());
            return Err(Error::new(Code::DataNotFound, message).with("path", path.to_string_lossy()));
        }
        report.dropped += found.dropped;
        if found.events == 0 && found.damages == 0 && !found.header_damaged {
            return Ok(None);
        }
        report.logs += 1;
        Ok(Some((number, found.last_seq, found.end)))
    }

    /// What is missing between the sealed events and the last one.
    fn find_gaps(&mut self, rotten: &[(u64, u64)]) {
        let mut gaps: Vec<Missing> = self.manifest.gaps.iter().map(Missing::from_row).collect();
        let mut expected = self.manifest.sealed_seq;
        for (seq, ..) in &self.tail.places {
            if *seq > expected {
                let rot = rotten.iter().any(|(after, before)| *after < *seq && expected <= *before);
                let reason = if rot { MissingReason::Damage } else { MissingReason::Crash };
                let gap = Missing { first_seq: expected, last_seq: *seq - 1, reason };
                // One that a manifest has already, of a log that is not sealed yet, is in its books.
                let known =
                    |row: &MissingRange| row.first_seq <= gap.first_seq && gap.last_seq <= row.last_seq;
                if !self.manifest.gaps.iter().any(known) {
                    self.newly_lost += gap.events();
                    gaps.push(gap);
                }
            }
            expected = *seq + 1;
        }
        gaps.append(&mut self.report.gaps);
        bound(&mut gaps);
        self.report.gaps = gaps;
    }

    /// What was changed of the configuration at run time.
    pub(crate) fn config_past(&self) -> &ConfigPast {
        &self.config
    }

    /// The value of the configuration at this path, if it was changed at run time.
    #[cfg(feature = "crash-tests")]
    pub fn config_value(&self, path: &str) -> Option<&Value> {
        self.config.values.get(path)
    }

    /// What was found.
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// What was pruned.
    pub(crate) fn prunes(&self) -> Vec<Prune> {
        self.manifest.prunes.clone()
    }
}

/// The manifest of a directory: read, made up from the other files, or new where nothing is.
fn find_manifest(
    storage: &dyn Storage,
    directory: &Path,
    names: &[String],
    read_only: bool,
    report: &mut RecoveryReport,
) -> Result<Manifest> {
    let ours = |name: &String| log_number(name).is_some() || segment_numbers(name).is_some();
    let there = names.iter().any(|name| name == Manifest::NAME);
    let any = names.iter().any(ours);
    if there {
        report.existed = true;
        match Manifest::load(storage, directory) {
            Ok(manifest) => return Ok(manifest),
            Err(error) if error.code() == Code::DataCorruption && any => {}
            Err(error) => return Err(error),
        }
    }
    if there || any {
        report.existed = true;
        report.rebuilt = true;
        return Manifest::rebuild(storage, directory);
    }
    if read_only {
        let message = format!("there is no store in {}", directory.display());
        return Err(Error::new(Code::DataNotFound, message).with("path", directory.to_string_lossy()));
    }
    let foreign =
        names.iter().find(|name| *name != "LOCK" && !is_temporary(name) && *name != quarantine::NAME);
    if let Some(name) = foreign {
        let message = format!(
            "{} holds {name:?}, which is no file of an event store: give data_dir a directory of its own",
            directory.display()
        );
        return Err(Error::new(Code::OperationForbidden, message).with("path", directory.to_string_lossy()));
    }
    let manifest = Manifest::new(super::super::random::bytes(), super::super::random::word());
    manifest.store(storage, directory)?;
    Ok(manifest)
}

impl std::fmt::Debug for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovered").field("directory", &self.directory).finish_non_exhaustive()
    }
}
