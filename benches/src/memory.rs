//! The table "Events in memory": ours beside its peers, each holding the same events with the same indexes. Peers
//! that have no form in memory have files that they never sync, which fit into the system's cache.

use std::ops::Range;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::contest::{BATCH, Contestant, Questions, Samples, append_batches, append_singles};
use crate::harness::{Effort, Measured, Numbers, Role, Rounds, Tails, Target, Unit, progress};
use crate::machine::{Folder, anonymous_memory};
use crate::report::Outcome;
use crate::stores::{Durability, Kind, Store, kinds};
use crate::workload::{Answer, Made, Workload, correlation};

/// Appends of one round beside queries.
const BESIDE: u64 = 20_000;

/// What each of them does less or more than ours.
const NOTES: [&str; 5] = [
    "Ours also has indexes over parent, node and pid, a bound and a clean-up; it refuses an id that is stored already, \
     as SQLite's primary key does.",
    "Mutex<Vec + HashMaps> relies on events arriving in the order of time, has no index over time but the vector \
     itself, no bound and nothing that removes an event.",
    "SQLite and DuckDB are in memory, with one connection under a mutex. DuckDB has no indexes but the ranges that it \
     keeps of each group of rows, as it is meant to be used, and both processors for a query.",
    "LMDB, RocksDB (lz4, block cache of 256 MiB), fjall and redb (caches of 256 MiB) have no form in memory: theirs \
     are files that are never synced and that fit into the system's cache. They overwrite an event of the same id.",
    "In all peers type and node are numbers, whose names somebody else would have to keep; ours keeps them itself.",
];

/// Measures it.
pub fn run(effort: &Effort) -> Result<Outcome, String> {
    let workload = Workload::of(effort.events);
    let folder = Folder::new("events")?;
    let mut outcome = Outcome { notes: NOTES.map(str::to_owned).to_vec(), ..Outcome::default() };
    let contestants = open(&folder, &mut outcome.notes);

    let targets = [
        Target::at_most("≥ 2 M/s (≤ 500 ns), ≥ 3 × the naive one, ≥ 13 × SQLite", 500.0)
            .times("Mutex", 3.0)
            .times("SQLite", 13.0),
        Target::at_most("≥ 1.5 M/s (≤ 667 ns)", 667.0),
    ];
    let samples = load(&contestants, workload, "", targets, effort, &mut outcome.rows);
    let questions = Questions::new(workload, workload.total, &samples);
    let checks = if effort.quick { 3 } else { 20 };
    questions.check(&contestants, checks, 5)?;
    outcome.rows.extend(questions.measure(&contestants, false, effort));

    let stored = beside(&contestants, workload, effort, &mut outcome.rows);
    Questions::new(workload, stored, &samples).check(&contestants, checks, 6)?;
    drop(contestants);

    ids_of_the_host(effort, &mut outcome)?;
    outcome.rows.extend(two_producers(effort)?);
    outcome.rows.extend(resident(effort)?);
    Ok(outcome)
}

/// All stores, empty: in memory where there is such a form.
fn open(folder: &Folder, notes: &mut Vec<String>) -> Vec<Contestant> {
    let mut contestants = Vec::new();
    for kind in kinds() {
        let (name, opened) = match (kind.in_memory, kind.on_disk) {
            (Some(in_memory), _) => (kind.name.to_owned(), in_memory()),
            (None, Some(on_disk)) => {
                let opened = folder.sub(kind.name).and_then(|path| on_disk(&path, Durability::CrashSafe));
                (format!("{}, file not synced", kind.name), opened)
            }
            (None, None) => continue,
        };
        match opened {
            Ok(store) => contestants.push(Contestant { name, role: kind.role, store }),
            Err(why) => notes.push(format!("{name} is not here: {why}")),
        }
    }
    contestants
}

/// Loads the run by turns, which is what the rows of appending measure. Turns that can be asked for by id.
fn load(
    contestants: &[Contestant],
    workload: Workload,
    prefix: &str,
    [batches, singles]: [Target; 2],
    effort: &Effort,
    rows: &mut Vec<Measured>,
) -> Samples {
    let rounds = effort.rounds as u64 + 1;
    let chunk = workload.total / rounds;
    let alone = (chunk / 10).min(20_000);
    let rows_of = |work: &str, target| Rounds::new(&format!("{prefix}{work}"), Unit::Nanoseconds, target);
    let mut in_batches = rows_of("append, batches of 1,000 (one event)", batches);
    let mut one_by_one = rows_of("append, one at a time", singles);
    for contestant in contestants {
        in_batches.subject(contestant.role, &contestant.name);
        one_by_one.subject(contestant.role, &contestant.name);
    }
    let mut samples = Samples::default();
    for round in 0..rounds {
        progress(&format!("{prefix}loading, {} of {rounds}", round + 1));
        let start = round * chunk;
        let end = if round + 1 == rounds { workload.total } else { start + chunk };
        let first = start..end - alone;
        for (index, contestant) in contestants.iter().enumerate() {
            let took = append_batches(&*contestant.store, workload, first.clone());
            let one = append_singles(&*contestant.store, workload, first.end..end, effort.slice * 4);
            if round > 0 {
                in_batches.push(index, took.as_nanos() as f64 / (first.end - first.start) as f64);
                one_by_one.push(index, one);
            }
        }
        samples.learn(contestants, workload, &first);
    }
    rows.extend(in_batches.rows());
    rows.extend(one_by_one.rows());
    samples
}

/// Appends of events that bring ids of their own, in no order, to fresh stores.
fn ids_of_the_host(effort: &Effort, outcome: &mut Outcome) -> Result<(), String> {
    let workload = Workload { total: effort.events.min(500_000), with_ids: true };
    let folder = Folder::new("ids")?;
    // Who is missing has been said.
    let contestants = open(&folder, &mut Vec::new());
    let targets = [Target::default(), Target::default()];
    let prefix = "ids of the host, in no order: ";
    let samples = load(&contestants, workload, prefix, targets, effort, &mut outcome.rows);
    let checks = if effort.quick { 2 } else { 10 };
    Questions::new(workload, workload.total, &samples).check(&contestants, checks, 14)
}

/// Latencies of appends and of queries, each alone and beside the other; how many events there are then.
fn beside(contestants: &[Contestant], workload: Workload, effort: &Effort, rows: &mut Vec<Measured>) -> u64 {
    let appends = if effort.quick { 500 } else { BESIDE };
    let limits =
        |p99: Target, max: Target| [("p50", 0.5, Target::default()), ("p99", 0.99, p99), ("max", 1.0, max)];
    let subjects: Vec<(Role, &str)> = contestants.iter().map(|one| (one.role, one.name.as_str())).collect();
    let append_limits = || limits(Target::at_most("≤ 2 µs", 2_000.0), Target::at_most("≤ 1 ms", 1_000_000.0));
    let none = || limits(Target::default(), Target::default());
    let mut tails = [
        Tails::new("append one, latency alone", &append_limits(), &subjects),
        Tails::new("append one, latency while another thread queries", &append_limits(), &subjects),
        Tails::new("by correlation, latency alone", &none(), &subjects),
        Tails::new("by correlation, latency while another thread appends", &none(), &subjects),
    ];
    let mut stored = workload.total;
    for round in 0..=effort.rounds {
        progress(&format!("appends beside queries, {} of {}", round + 1, effort.rounds + 1));
        let turns = [stored..stored + appends, stored + appends..stored + 2 * appends];
        for (index, one) in contestants.iter().enumerate() {
            let store = &*one.store;
            let alone = append_timed(store, workload, turns[0].clone(), effort.slice * 10);
            append_batches(store, workload, turns[0].start + alone.len() as u64..turns[0].end);
            let slice = Instant::now() + effort.slice;
            let asked = query_timed(store, workload, round as u64, &|| Instant::now() >= slice);
            let (ready, done) = (Barrier::new(2), AtomicBool::new(false));
            let (appended, asked_beside) = std::thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    ready.wait();
                    query_timed(store, workload, round as u64, &|| done.load(Ordering::Relaxed))
                });
                ready.wait();
                let appended = append_timed(store, workload, turns[1].clone(), effort.slice * 10);
                done.store(true, Ordering::Relaxed);
                (appended, reader.join().expect("the reader panicked"))
            });
            append_batches(store, workload, turns[1].start + appended.len() as u64..turns[1].end);
            if round > 0 {
                for (tail, taken) in tails.iter_mut().zip([alone, appended, asked, asked_beside]) {
                    tail.push(index, taken);
                }
            }
        }
        stored += 2 * appends;
    }
    rows.extend(tails.into_iter().flat_map(Tails::rows));
    stored
}

/// What each append of these turns took, in nanoseconds, of as many as the time allows.
fn append_timed(store: &dyn Store, workload: Workload, turns: Range<u64>, most: Duration) -> Vec<u64> {
    let (mut made, end) = (Made::default(), Instant::now() + most);
    turns
        .take_while(|_| Instant::now() < end)
        .map(|turn| {
            workload.fill(turn, &mut made);
            let start = Instant::now();
            store.append(&made);
            start.elapsed().as_nanos() as u64
        })
        .collect()
}

/// What each query took until it was enough, in nanoseconds.
fn query_timed(store: &dyn Store, workload: Workload, seed: u64, enough: &dyn Fn() -> bool) -> Vec<u64> {
    let mut numbers = Numbers::new(seed + 1);
    let mut taken = Vec::new();
    while !enough() {
        let id = correlation(numbers.below(workload.chains()));
        let mut answer = Answer::default();
        let start = Instant::now();
        store.by_correlation(&id, &mut answer);
        taken.push(start.elapsed().as_nanos() as u64);
        assert!(answer.count > 0, "{id} has no events");
    }
    taken
}

/// Two producers against one, on fresh stores: the time of one event of all.
fn two_producers(effort: &Effort) -> Result<Vec<Measured>, String> {
    let count = effort.events.min(200_000);
    let workload = Workload::of(count);
    let events = workload.events();
    let halves: Vec<&[Made]> = events.chunks(events.len().div_ceil(2)).collect();
    let mut rounds = Rounds::new(
        "append one at a time, two producers against one (one event)",
        Unit::Nanoseconds,
        Target::from("≥ 1.5 × as many").times("EventStore, one producer", 1.5),
    );
    let kinds: Vec<Kind> =
        kinds().into_iter().filter(|kind| matches!(kind.role, Role::Ours | Role::Naive)).collect();
    for kind in &kinds {
        rounds.subject(Role::Floor, &format!("{}, one producer", kind.name));
        rounds.subject(kind.role, &format!("{}, two producers", kind.name));
    }
    for round in 0..=effort.rounds {
        for (index, kind) in kinds.iter().enumerate() {
            for producers in [1, 2] {
                let store = kind.in_memory.ok_or("a kind without a form in memory")?()?;
                let parts: &[&[Made]] = if producers == 1 { &[&events] } else { &halves };
                let took = append_at_once(&*store, parts);
                if round > 0 {
                    rounds.push(2 * index + producers - 1, took.as_nanos() as f64 / count as f64);
                }
            }
        }
    }
    Ok(rounds.rows())
}

/// Appends the parts one by one, a thread for each; the time until the last has ended.
fn append_at_once(store: &dyn Store, parts: &[&[Made]]) -> Duration {
    let ready = Barrier::new(parts.len());
    std::thread::scope(|scope| {
        let producers: Vec<_> = parts
            .iter()
            .map(|part| {
                let ready = &ready;
                scope.spawn(move || {
                    ready.wait();
                    let start = Instant::now();
                    part.iter().for_each(|event| store.append(event));
                    start.elapsed()
                })
            })
            .collect();
        producers.into_iter().map(|one| one.join().expect("a producer panicked")).max().unwrap_or_default()
    })
}

/// Memory for each event, each store in a process of its own.
fn resident(effort: &Effort) -> Result<Vec<Measured>, String> {
    let mut rounds =
        Rounds::new("memory an event, all indexes", Unit::Bytes, Target::at_most("≤ 340 bytes", 340.0));
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    for kind in kinds().iter().filter(|kind| kind.in_memory.is_some()) {
        let output = Command::new(&program)
            .args(["resident", kind.name, &effort.events.to_string()])
            .output()
            .map_err(|error| error.to_string())?;
        // A store that is not here has a note already.
        let text = String::from_utf8_lossy(&output.stdout);
        let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let Some(resident) = figures.first() {
            let index = rounds.subject(kind.role, kind.name);
            rounds.push(index, *resident);
        }
        if let Some(own) = figures.get(1) {
            let index = rounds.subject(kind.role, &format!("{}, by its own count", kind.name));
            rounds.push(index, *own);
        }
    }
    Ok(rounds.rows())
}

/// The process that [`resident`] starts: prints what an event of so many took of this process's memory, and what the
/// store itself says.
pub fn print_resident(name: &str, events: u64) -> Result<(), String> {
    let kind = kinds().into_iter().find(|kind| kind.name == name).ok_or("no store of this name")?;
    let workload = Workload::of(events);
    // What making events takes is there before.
    std::hint::black_box((0..BATCH).map(|turn| workload.event(turn)).collect::<Vec<_>>());
    let before = anonymous_memory();
    let store = kind.in_memory.ok_or("it has no form in memory")?()?;
    append_batches(&*store, workload, 0..events);
    let resident = anonymous_memory().saturating_sub(before);
    print!("{:.1}", resident as f64 / events as f64);
    if let Some(own) = store.own_bytes() {
        print!(" {:.1}", own as f64 / events as f64);
    }
    println!();
    Ok(())
}
