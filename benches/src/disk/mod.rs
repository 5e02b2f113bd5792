//! The table "Events on disk": ours beside its peers, at the same durability, with the same indexes.
//!
//! Between two slices the process comes to rest: what a store leaves to its background threads (compaction, sealing)
//! does not disturb the next one, nor is it part of the time of an append. It is part of the rows of processor time
//! and of bytes written.

mod crash;
mod race;

pub use crash::append_and_die;

use std::time::Duration;

use self::race::{Cost, Race, Round, append_together, at_rest};
use crate::contest::{append_batches, append_singles};
use crate::harness::{Effort, Rounds, Target, Unit};
use crate::machine::{disk_bytes, settle};
use crate::report::Outcome;
use crate::stores::Durability;

/// Producers that wait for their commits at once.
const WAITING: u64 = 32;

/// Measures it.
pub fn run(effort: &Effort) -> Result<Outcome, String> {
    let mut outcome = Outcome {
        notes: vec![
            "group: LMDB and redb in their default, SQLite WAL with synchronous FULL, RocksDB with sync, fjall with \
             SyncAll, DuckDB in its default; crash_safe: LMDB NOSYNC, SQLite WAL with NORMAL, RocksDB without sync, \
             fjall with Buffer, redb without durability, which SIGKILL does not survive."
                .to_owned(),
            "Ours may use 2 GiB of memory, in which what was reopened has room once it was read, as the peers' files have \
             in the system's cache. By default a store with files uses 512 MiB, and what is beyond is read again, a \
             segment at a time."
                .to_owned(),
        ],
        ..Outcome::default()
    };
    group(effort, &mut outcome)?;
    crash_safe(effort, &mut outcome)?;
    crash::opened(effort, &mut outcome)?;
    Ok(outcome)
}

/// Every event survives a loss of power; then reopening, and queries on what was reopened.
fn group(effort: &Effort, outcome: &mut Outcome) -> Result<(), String> {
    let mut race = Race::start(Durability::Group, effort, outcome)?;
    let target = Target::at_most("≥ 0.7 M/s (≤ 1,430 ns), ≥ 3.5 × LMDB, ≥ 8 × SQLite", 1_430.0);
    let mut batches = race.row(
        "group: append, batches of 1,000 (one event)",
        Unit::Nanoseconds,
        target.times("LMDB", 3.5).times("SQLite", 8.0),
    );
    let mut singles = race.row(
        "group: one event a commit, one producer",
        Unit::Nanoseconds,
        Target::from("≥ 1 × fjall").times("fjall", 1.0),
    );
    let mut waiting = race.row(
        "group: one event a commit, 32 waiting producers",
        Unit::Nanoseconds,
        Target::from("≥ 8 × fjall").times("fjall", 8.0),
    );
    let mut cost = Cost::new(&race, "group");
    let (alone, each, most) =
        if effort.quick { (20, 2, effort.slice) } else { (500, 50, Duration::from_secs(1)) };
    while let Some(Round { start, end, warm }) = race.next_round() {
        let first = start..end - alone - WAITING * each;
        let single = first.end..first.end + alone;
        for (index, contestant) in race.contestants.iter().enumerate() {
            let store = &*contestant.store;
            let (took, spent) = at_rest(|| append_batches(store, race.workload, first.clone()));
            let one = append_singles(store, race.workload, single.clone(), most);
            settle();
            let together = append_together(store, race.workload, single.end, (WAITING, each), most);
            settle();
            if warm {
                let count = (first.end - first.start) as f64;
                batches.push(index, took.as_nanos() as f64 / count);
                cost.push(index, spent, count);
                singles.push(index, one);
                waiting.push(index, together);
            }
        }
        race.stored_to(first.end, end);
        if race.stored == race.workload.total / 2 {
            outcome.rows.extend(race.reopened(effort)?);
        }
    }
    outcome.rows.extend([batches, singles, waiting].into_iter().flat_map(Rounds::rows));
    outcome.rows.extend(cost.rows());

    let questions = race.questions();
    questions.check(&race.contestants, checks(effort), 7)?;
    race.close();
    let mut bytes = race.row(
        "bytes on disk an event, closed",
        Unit::Bytes,
        Target::at_most("hot ≤ 320, sealed ≤ 110", 320.0),
    );
    for (index, place) in race.places.iter().enumerate() {
        bytes.push(index, disk_bytes(&place.path) as f64 / race.workload.total as f64);
    }
    outcome.rows.extend(bytes.rows());
    race.open()?;
    questions.check(&race.contestants, checks(effort), 8)?;
    outcome.rows.extend(questions.measure(&race.contestants, true, effort));
    Ok(())
}

/// Every event survives SIGKILL.
fn crash_safe(effort: &Effort, outcome: &mut Outcome) -> Result<(), String> {
    let mut race = Race::start(Durability::CrashSafe, effort, outcome)?;
    let target = Target::at_most("≥ 1 M/s (≤ 1,000 ns), ≥ 3 × LMDB, ≥ 9 × fjall", 1_000.0);
    let mut batches = race.row(
        "crash_safe: append, batches of 1,000 (one event)",
        Unit::Nanoseconds,
        target.times("LMDB", 3.0).times("fjall", 9.0),
    );
    let mut singles = race.row(
        "crash_safe: append, one at a time",
        Unit::Nanoseconds,
        Target::at_most("≥ 0.6 M/s (≤ 1,667 ns)", 1_667.0),
    );
    let mut cost = Cost::new(&race, "crash_safe");
    let alone = race.chunk / 20;
    while let Some(Round { start, end, warm }) = race.next_round() {
        let first = start..end - alone;
        for (index, contestant) in race.contestants.iter().enumerate() {
            let store = &*contestant.store;
            let (took, spent) = at_rest(|| append_batches(store, race.workload, first.clone()));
            let one = append_singles(store, race.workload, first.end..end, effort.slice * 10);
            settle();
            if warm {
                let count = (first.end - first.start) as f64;
                batches.push(index, took.as_nanos() as f64 / count);
                cost.push(index, spent, count);
                singles.push(index, one);
            }
        }
        race.stored_to(first.end, end);
    }
    outcome.rows.extend([batches, singles].into_iter().flat_map(Rounds::rows));
    outcome.rows.extend(cost.rows());
    race.questions().check(&race.contestants, checks(effort), 10)
}

/// Questions of each kind that every store is checked by.
fn checks(effort: &Effort) -> u64 {
    if effort.quick { 2 } else { 20 }
}
