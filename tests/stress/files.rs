//! A store on a real disk with files so small that logs change and segments are sealed all the time, while threads
//! wait for one another's syncs. Every event that was acknowledged is there when it is opened again.

use std::path::PathBuf;
use std::sync::Arc;

use elixirscope_foundation::events::{
    Compression, DiskOptions, Durability, EventStore, EventStoreOptions, Level, NewEvent, Order, Query,
    Receipt, Recovered, TailOptions,
};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SystemClock};
use elixirscope_foundation::storage::RealStorage;

use crate::numbered::{self, Numbered, lane};
use crate::tails::follow;
use crate::{LONG, Told, World, effort, spawn};

/// A directory of its own, which is removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("esf-stress-{name}-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        #[allow(clippy::disallowed_methods, reason = "a test cleans up")]
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(scratch: &Scratch, durability: Durability, compression: Compression) -> EventStore {
    let disk = DiskOptions {
        durability,
        compression,
        log_bytes: 32 << 10,
        segment_events: 64,
        ..DiskOptions::default()
    };
    let read = Recovered::read(Arc::new(RealStorage), &scratch.0, disk, "stress", &mut |_| ()).unwrap();
    let options = EventStoreOptions {
        max_events: None,
        shards: Some(2),
        segment_events: Some(16),
        segment_bytes: Some(4 << 10),
        ..EventStoreOptions::default()
    };
    let clock = AnchoredClock::new(Arc::new(SystemClock), read.newest_time().saturating_add(1));
    EventStore::open_recovered(options, clock, Arc::default(), read).unwrap()
}

fn append_at_levels(world: &World, store: &EventStore, events: u64) -> Told {
    const LEVELS: [Option<Level>; 4] =
        [None, Some(Level::Accepted), Some(Level::CrashSafe), Some(Level::Durable)];
    let mut told = Vec::new();
    for number in lane(0, events) {
        let event = Numbered::new(number);
        world.note(&event);
        let level = LEVELS[(number % 4) as usize];
        let receipt = store.append_with(&event.event(), level).unwrap();
        assert!(level.is_none_or(|level| receipt.level >= level.number()), "{receipt:?}");
        told.push((receipt.seq, number));
        world.assert_found(store, receipt.seq, number);
    }
    told
}

fn append_and_wait(world: &World, store: &EventStore, events: u64) -> Told {
    let mut told = Vec::new();
    let numbers: Vec<u64> = lane(1, events).collect();
    for numbers in numbers.chunks(5) {
        let numbered: Vec<_> = numbers.iter().map(|number| Numbered::new(*number)).collect();
        let batch: Vec<NewEvent<'_>> = numbered.iter().map(Numbered::event).collect();
        let mut receipts = vec![Receipt::default(); batch.len()];
        store.append_batch_with(&batch, &mut receipts, Some(Level::Accepted)).unwrap();
        told.extend(receipts.iter().zip(numbers).map(|(receipt, number)| (receipt.seq, *number)));
        let (newest, number) = told[told.len() - 1];
        world.assert_found(store, newest, number);
        store.wait_durable(newest, Level::Durable, LONG).unwrap();
        assert!(store.watermark(Level::Durable) > newest);
    }
    told
}

fn all(store: &EventStore) -> Told {
    let mut cursor = store.query(&Query { order: Order::Seq, ..Query::default() }).unwrap();
    let mut found = Vec::new();
    while let Some(event) = cursor.try_next().unwrap() {
        found.push((event.seq(), numbered::check(&event)));
    }
    found
}

fn under_everything(durability: Durability, compression: Compression) {
    let events = 300 * effort();
    let scratch = Scratch::new(&format!("{durability:?}-{compression:?}"));
    let store = &Arc::new(open(&scratch, durability, compression));
    let world = &World::default();
    let tail = &store.tail(TailOptions { from_seq: Some(1), ..TailOptions::default() }).unwrap();
    let (mut told, heard) = std::thread::scope(|scope| {
        let writers = vec![
            spawn(scope, "levels", || append_at_levels(world, store, events)),
            spawn(scope, "wait", || append_and_wait(world, store, events)),
        ];
        spawn(scope, "seal", || world.repeat(|_| _ = store.seal_files(false).unwrap()));
        spawn(scope, "seal memory", || world.repeat(|_| _ = store.seal_pending()));
        spawn(scope, "ask", || {
            world.repeat(|round| {
                let found = all(store);
                assert!(found.iter().zip(1..).all(|(found, seq)| found.0 == seq), "there is a gap");
                let id = numbered::correlation_of(round).to_vec();
                let asked = Query { correlation_id: Some(id), ..Query::default() };
                store.query(&asked).unwrap().count().unwrap();
                if let Some((_, number)) = found.iter().find(|found| numbered::has_own_id(found.1)) {
                    assert_eq!(numbered::check(&store.get(*number).unwrap().view()), *number);
                }
                assert_eq!(store.disk_stats().unwrap().gaps, []);
            })
        });
        let heard = spawn(scope, "follow", || follow(world, tail));
        (world.finish(writers), heard.join().unwrap())
    });
    told.sort_unstable();
    assert_eq!(all(store), told);
    assert_eq!((heard.events.into_iter().collect::<Vec<_>>(), heard.missed), (told.clone(), 0));
    let stats = store.disk_stats().unwrap();
    assert!(stats.segments > 3 && stats.sync_failures == 0, "{stats:?}");
    assert_eq!(store.close_files(), Vec::<String>::new());
    assert_eq!(all(&open(&scratch, durability, compression)), told);
}

#[test]
fn in_groups() {
    under_everything(Durability::Group, Compression::Zstd);
}

#[test]
fn one_by_one() {
    under_everything(Durability::Strict, Compression::None);
}

#[test]
fn in_mapped_logs() {
    under_everything(Durability::CrashSafe, Compression::Gzip);
}

#[test]
fn at_intervals() {
    under_everything(Durability::Interval, Compression::Zstd);
}
