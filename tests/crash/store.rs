//! The event store under the machine: a workload of everything that touches its files, and its recovery.
//!
//! The store runs without its threads, on one thread, so that a place comes to the same state again. Event
//! number `n` of a workload has the timestamp `n` and contents that follow from `n`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::events::{
    Compression, DiskOptions, Durability, Encoding, EventStore, EventStoreOptions, EventView, Level,
    NewEvent, Order, Query, Receipt, Recovered,
};
use elixirscope_foundation::planted::{self, Mistake};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SimClock};
use elixirscope_foundation::storage::{Fault, Operation, SimStorage, Storage};

use crate::careless::{Careless, Forgets};
use crate::machine::{Loss, Subject};
use crate::promises::{Append, Found, Moment, Prune, Safe, Span, Story, Watermark};

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
/// What may fail while a workload is at it.
const FAULTS: [(Operation, i32); 8] = [
    (Operation::Sync, EIO),
    (Operation::Write, EIO),
    (Operation::Write, ENOSPC),
    (Operation::Allocate, ENOSPC),
    (Operation::SyncDir, EIO),
    (Operation::Rename, EIO),
    (Operation::Create, EMFILE),
    (Operation::Open, EMFILE),
];
const MINUTE: Duration = Duration::from_mins(1);

/// A store, or one with a mistake.
#[derive(Debug, Clone, Copy)]
pub struct Store {
    pub forgets: Forgets,
    /// Whether some workloads meet disks that fail.
    pub faults: bool,
    /// What the library does wrong.
    pub mistake: Option<Mistake>,
}

/// What a workload of a seed is like.
#[derive(Debug, Clone, Copy)]
struct Manner {
    options: DiskOptions,
    forgets: Forgets,
}

impl Manner {
    fn new(store: Store, seed: u64) -> Self {
        let durability = [Durability::Group, Durability::CrashSafe, Durability::Interval, Durability::Strict]
            [(seed % 4) as usize];
        let compression = [Compression::Zstd, Compression::None, Compression::Gzip][(seed / 4 % 3) as usize];
        let options = DiskOptions {
            durability,
            // No time passes: intervals end when the workload syncs.
            sync_interval: Duration::from_hours(1),
            sync_bytes: 4 << 10,
            log_bytes: [4 << 10, 12 << 10, 80 << 10][(seed / 12 % 3) as usize],
            segment_events: [8, 24, 64][(seed / 36 % 3) as usize],
            compression,
            ..DiskOptions::default()
        };
        Self { options, forgets: store.forgets }
    }
}

/// What changes of configuration change: its value is the number of the last change.
const SETTING: &str = "dev.setting";

/// An open store and what is noted about it.
struct Running<'a> {
    disk: &'a SimStorage,
    store: EventStore,
    story: Story,
    next: u64,
}

fn directory() -> &'static Path {
    Path::new("/var/store")
}

/// Events with a multiple of this number are changes of configuration, and only those.
const CHANGES: u64 = 16;

/// The same numbers for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

pub fn data(number: u64) -> Vec<u8> {
    let mut dice = Dice(number);
    let length = match dice.roll(16) {
        0 => 0,
        1 => 1_000 + dice.roll(3_000),
        _ => 10 + dice.roll(300),
    };
    let mut word = 0;
    (0..length)
        .map(|at| {
            if at % 8 == 0 {
                word = dice.roll(u64::MAX);
            }
            word.rotate_left(at as u32 * 8) as u8
        })
        .collect()
}

/// The texts of an event.
struct Texts {
    kind: String,
    node: String,
    correlation: Vec<u8>,
    data: Vec<u8>,
}

impl Texts {
    fn new(number: u64) -> Self {
        // Two kinds of events by their numbers, so that a reader knows which one it has.
        if number.is_multiple_of(CHANGES) {
            let change = serde_json::json!({"path": SETTING, "new_value": number, "version": number});
            return Self {
                kind: "config_updated".to_owned(),
                node: String::new(),
                correlation: b"config".to_vec(),
                data: change.to_string().into_bytes(),
            };
        }
        Self {
            kind: format!("type_{}", number % 5),
            node: format!("node{}", number % 3),
            correlation: format!("chain {}", number / 7).into_bytes(),
            data: data(number),
        }
    }

    fn event(&self, number: u64) -> NewEvent<'_> {
        NewEvent {
            event_type: self.kind.as_str().into(),
            timestamp: Some(number as i64),
            wall_time: Some(number as i64 * 3),
            node: &self.node,
            correlation_id: Some(&self.correlation),
            encoding: Encoding::Raw,
            data: &self.data,
            ..NewEvent::default()
        }
    }

    fn equal(&self, number: u64, view: &EventView<'_>) -> bool {
        view.event_type() == self.kind
            && view.node() == self.node
            && view.wall_time() == number as i64 * 3
            && view.correlation_id() == Some(&self.correlation)
            && view.data() == self.data
    }
}

fn safe(level: u32) -> Safe {
    match level {
        2 => Safe::Process,
        3 => Safe::Power,
        _ => Safe::Memory,
    }
}

/// Opens the store; beside it the configuration's value.
fn open(disk: &SimStorage, manner: Manner) -> Result<(EventStore, Option<u64>), Error> {
    let storage: Arc<dyn Storage> = match manner.forgets {
        Forgets::Nothing => Arc::new(disk.clone()),
        forgets => Arc::new(Careless { disk: disk.clone(), forgets }),
    };
    let recovered = Recovered::read(storage, directory(), manner.options, "crash tests", &mut |_| ())?;
    let config = recovered.config_value(SETTING).and_then(serde_json::Value::as_u64);
    let clock = AnchoredClock::new(Arc::new(SimClock::new(1_000_000_000)), recovered.newest_time());
    let options = EventStoreOptions {
        max_events: None,
        shards: Some(2),
        segment_events: Some(64),
        segment_bytes: Some(32 << 10),
        ..EventStoreOptions::default()
    };
    let store = EventStore::open_recovered(options, clock, Arc::new(AtomicU64::new(0)), recovered)?;
    Ok((store, config))
}

/// Everything that the store holds, each event compared with what its number says.
fn find(store: &EventStore) -> Result<Found, String> {
    let failed = |error: Error| format!("P5: {error}");
    let mut found = Found::default();
    let all = Query { order: Order::Seq, ..Query::default() };
    let mut cursor = store.query(&all).map_err(failed)?;
    while let Some(view) = cursor.try_next().map_err(failed)? {
        let number = view.timestamp() as u64;
        if !Texts::new(number).equal(number, &view) {
            return Err(format!("P2: event {number} has other contents than it was given"));
        }
        found.events.push((view.seq(), number));
    }
    let stats = store.disk_stats().ok_or("the store has no files")?;
    found.gaps = stats.recovery.gaps.iter().map(|gap| (gap.first_seq, gap.last_seq)).collect();
    Ok(found)
}

impl Running<'_> {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next += u64::from(self.next.is_multiple_of(CHANGES));
        self.next
    }

    fn note(&mut self, span: Span, receipts: &[Receipt], numbers: &[u64]) {
        let events = receipts.iter().zip(numbers).map(|(receipt, number)| (receipt.seq, *number));
        let level = receipts.iter().map(|receipt| receipt.level).min().unwrap_or(0);
        self.story.appends.push(Append::new(span, events.collect(), safe(level)));
    }

    /// An append that failed may have stored its events all the same.
    fn note_failed(&mut self, span: Span, error: &Error, numbers: &[u64]) {
        assert!(matches!(error.code(), Code::IoError | Code::NoSpace | Code::ResourceExhausted), "{error}");
        let range = numbers.first().zip(numbers.last()).map(|(first, last)| (*first as i64, *last as i64));
        let query = Query { time_range: range, ..Query::default() };
        let mut cursor = self.store.query(&query).unwrap();
        let mut events = Vec::new();
        while let Some(view) = cursor.try_next().unwrap() {
            events.push((view.seq(), view.timestamp() as u64));
        }
        assert!(events.is_empty() || events.len() == numbers.len(), "half of an append is there");
        if !events.is_empty() {
            self.story.appends.push(Append::new(span, events, Safe::Memory));
        }
    }

    fn append(&mut self, level: Option<Level>) {
        let number = self.number();
        let texts = Texts::new(number);
        let (span, answer) = Span::of(self.disk, || self.store.append_with(&texts.event(number), level));
        match answer {
            Ok(receipt) => self.note(span, &[receipt], &[number]),
            Err(error) => self.note_failed(span, &error, &[number]),
        }
    }

    fn append_batch(&mut self, count: u64) {
        let numbers: Vec<u64> = (0..count).map(|_| self.number()).collect();
        let texts: Vec<Texts> = numbers.iter().map(|number| Texts::new(*number)).collect();
        let events: Vec<_> = texts.iter().zip(&numbers).map(|(texts, number)| texts.event(*number)).collect();
        let (span, answer) = Span::of(self.disk, || self.store.append_batch(&events));
        match answer {
            Ok(receipts) => self.note(span, &receipts, &numbers),
            Err(error) => self.note_failed(span, &error, &numbers),
        }
    }

    fn change(&mut self) {
        self.next = (self.next / CHANGES + 1) * CHANGES;
        let (number, texts) = (self.next, Texts::new(self.next));
        let (span, answer) = Span::of(self.disk, || self.store.append_change(&texts.event(number)));
        match answer {
            Ok(receipt) => self.note(span, &[receipt], &[number]),
            Err(error) => self.note_failed(span, &error, &[number]),
        }
        if let Some(append) =
            self.story.appends.last_mut().filter(|append| append.events == [(append.events[0].0, number)])
        {
            append.config = Some(number);
        }
        // An instance answers its caller when the change is durable.
        self.sync();
    }

    fn sync(&mut self) {
        let last = self.store.stats().frontier - 1;
        if self.store.wait_durable(last, Level::Durable, MINUTE).is_ok() {
            let at = self.disk.operations();
            self.story.watermarks.push(Watermark { at, below: last + 1, safe: Safe::Power });
        }
    }

    /// Notes how safe the store says that everything is.
    fn watch(&mut self) {
        let at = self.disk.operations();
        for (level, safe) in [(Level::CrashSafe, Safe::Process), (Level::Durable, Safe::Power)] {
            self.story.watermarks.push(Watermark { at, below: self.store.watermark(level), safe });
        }
    }

    fn prune(&mut self, below: u64) {
        let (mut span, answer) = Span::of(self.disk, || self.store.prune_before(below as i64));
        if answer.is_err() {
            span = span.unanswered();
        }
        self.story.prunes.push(Prune { span, below });
    }

    fn step(&mut self, dice: &mut Dice) {
        planted::append_to(Some(dice.roll(2) as usize));
        match dice.roll(21) {
            0..=7 => self.append(None),
            8..=11 => {
                let count = 2 + dice.roll(9);
                self.append_batch(count);
            }
            12 => self.append(Some(Level::Durable)),
            19 => self.change(),
            13 | 14 => self.sync(),
            // Sealing fails where the disk does, and is tried again.
            15 | 16 => drop(self.store.seal_files(false)),
            17 => drop(self.store.seal_files(true)),
            18 => {
                let below = self.next - dice.roll(12).min(self.next);
                self.prune(below);
            }
            _ => self.append_batch(30),
        }
        self.watch();
    }
}

impl Subject for Store {
    type Story = Story;

    fn run(&self, seed: u64, disk: &SimStorage) -> Story {
        planted::make(self.mistake);
        let manner = Manner::new(*self, seed);
        let mut dice = Dice(seed);
        let story = Story::new(seed);
        let (opened, _) = open(disk, manner).unwrap();
        let mut running = Running { disk, store: opened, story, next: 0 };
        for _ in 0..2 + dice.roll(2) {
            if self.faults && dice.roll(2) == 0 {
                let (operation, errno) = FAULTS[dice.roll(FAULTS.len() as u64) as usize];
                disk.inject(Fault::new(operation, errno).after(dice.roll(8)).times(1 + dice.roll(2)));
            }
            for _ in 0..6 + dice.roll(10) {
                running.step(&mut dice);
            }
            disk.clear_faults();
            if dice.roll(2) == 0 {
                let unfinished = running.store.close_files();
                assert!(unfinished.is_empty(), "{unfinished:?}");
                running.watch();
            }
            let Running { story, next, store: closed, .. } = running;
            drop(closed);
            let (again, _) = open(disk, manner).unwrap_or_else(|error| panic!("workload {seed}: {error}"));
            running = Running { disk, store: again, story, next };
            running.watch();
        }
        running.append(None);
        running.story
    }

    fn recover(
        &self,
        story: &Story,
        operations: u64,
        loss: Loss,
        disk: &SimStorage,
    ) -> Result<Story, String> {
        planted::make(self.mistake);
        let (manner, moment) = (Manner::new(*self, story.workload), Moment::stopped(operations, loss));
        let open = || open(disk, manner).map_err(|error| format!("P5: {error}"));
        let (reopened, config) = open()?;
        let opened = disk.operations();
        let found = Found { config, ..find(&reopened)? };
        story.check(moment, loss, &found).map_err(|broken| {
            let report = reopened.disk_stats().map(|stats| stats.recovery);
            format!("{broken}; found {:?}, {report:?}", found.events)
        })?;
        // What went on from here must not disturb what was there, whatever is done first.
        let (next, after) = (story.last_number() + 1_000, story.after(moment, loss, &found, opened));
        let mut running = Running { disk, store: reopened, story: after, next };
        running.watch();
        let mut dice = Dice(operations ^ story.workload);
        if dice.roll(3) == 0 {
            return Ok(running.story);
        }
        for _ in 0..=dice.roll(3) {
            running.step(&mut dice);
        }
        let now = |disk: &SimStorage| Moment::running(disk.operations());
        let Running { story: after, store, .. } = running;
        let there = find(&store)?;
        drop(store);
        let (reopened, config) = open()?;
        let again = Found { config, ..find(&reopened)? };
        if there.events != again.events {
            return Err(format!("P1: {:?} were there, {:?} after opening again", there.events, again.events));
        }
        after
            .check(now(disk), Loss::Process, &again)
            .map_err(|broken| format!("{broken}, after opening once more"))?;
        Ok(after)
    }
}
