//! Stores on disk that are loaded by turns, closed and opened again.

use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::contest::{Contestant, Questions, Samples, append_batches};
use crate::harness::{Effort, Measured, Rounds, Target, Unit, progress};
use crate::machine::{Folder, processor_time, settle, written_bytes};
use crate::report::Outcome;
use crate::stores::{Durability, Naive, Open, Store, kinds};
use crate::workload::{Answer, Made, Workload};

/// How a store is opened, and where.
pub struct Place {
    open: Open,
    /// A folder of its own.
    pub path: PathBuf,
}

/// The turns of a round.
pub struct Round {
    /// The first.
    pub start: u64,
    /// Behind the last.
    pub end: u64,
    /// Whether its times count: those of the first do not.
    pub warm: bool,
}

/// The stores of one durability, that hold the first `stored` events.
pub struct Race {
    /// The run.
    pub workload: Workload,
    /// Of all stores.
    pub durability: Durability,
    /// The stores.
    pub contestants: Vec<Contestant>,
    /// Where each of them is.
    pub places: Vec<Place>,
    /// Events of a round; an even number of rounds makes the run.
    pub chunk: u64,
    /// Events that every store holds.
    pub stored: u64,
    /// Turns that are asked for by id.
    samples: Samples,
    /// Removed when the stores are closed: fields are dropped in their order.
    _folder: Folder,
}

impl Race {
    /// All stores that have this durability, empty.
    pub fn start(durability: Durability, effort: &Effort, outcome: &mut Outcome) -> Result<Self, String> {
        let folder = Folder::new(durability.name())?;
        let (mut contestants, mut places) = (Vec::new(), Vec::new());
        for kind in kinds() {
            let Some(open) = kind.on_disk else { continue };
            let path = folder.sub(kind.name)?;
            match open(&path, durability) {
                Ok(store) => {
                    contestants.push(Contestant { name: kind.name.to_owned(), role: kind.role, store });
                    places.push(Place { open, path });
                }
                Err(why) => outcome.notes.push(format!("{}: no {}: {why}", durability.name(), kind.name)),
            }
        }
        let rounds = (effort.rounds as u64 + 1).next_multiple_of(2);
        let chunk = effort.events / rounds;
        Ok(Self {
            workload: Workload::of(chunk * rounds),
            durability,
            contestants,
            places,
            chunk,
            stored: 0,
            samples: Samples::default(),
            _folder: folder,
        })
    }

    /// A row for each store.
    pub fn row(&self, work: &str, unit: Unit, target: Target) -> Rounds {
        let mut rounds = Rounds::new(work, unit, target);
        for contestant in &self.contestants {
            rounds.subject(contestant.role, &contestant.name);
        }
        rounds
    }

    /// What is to be stored next, until the run is stored.
    pub fn next_round(&self) -> Option<Round> {
        let (start, total) = (self.stored, self.workload.total);
        (start < total).then(|| {
            progress(&format!("{}: {start} of {total} events", self.durability.name()));
            Round { start, end: start + self.chunk, warm: start > 0 }
        })
    }

    /// Every store has stored the turns up to `end`, the first of them, up to `batched`, in batches.
    pub fn stored_to(&mut self, batched: u64, end: u64) {
        self.samples.learn(&self.contestants, self.workload, &(self.stored..batched));
        self.stored = end;
    }

    /// Questions about what is stored; they can be asked again of stores that were reopened.
    pub fn questions(&self) -> Questions {
        Questions::new(self.workload, self.stored, &self.samples)
    }

    /// Closes every store; an empty one stands in.
    pub fn close(&mut self) {
        for contestant in &mut self.contestants {
            contestant.store = Box::<Naive>::default();
        }
        settle();
    }

    /// Opens every store again.
    pub fn open(&mut self) -> Result<(), String> {
        for (contestant, place) in self.contestants.iter_mut().zip(&self.places) {
            contestant.store = (place.open)(&place.path, self.durability)
                .map_err(|error| format!("{} does not open again: {error}", contestant.name))?;
        }
        Ok(())
    }

    /// Closes and opens every store some times, until one event is found by its id.
    pub fn reopened(&mut self, effort: &Effort) -> Result<Vec<Measured>, String> {
        let questions = self.questions();
        let mut rounds = self.row(
            &format!("open {} events after a clean close, find one", self.stored),
            Unit::Nanoseconds,
            Target::at_most("1,000,000: ≤ 30 ms", 30e6),
        );
        for round in 0..effort.rounds {
            for (index, (contestant, place)) in self.contestants.iter_mut().zip(&self.places).enumerate() {
                contestant.store = Box::<Naive>::default();
                settle();
                let start = Instant::now();
                let store = (place.open)(&place.path, self.durability)
                    .map_err(|error| format!("{} does not open again: {error}", contestant.name))?;
                let mut answer = Answer::default();
                store.by_id(questions.id(index, round), &mut answer);
                rounds.push(index, start.elapsed().as_nanos() as f64);
                if answer.count != 1 {
                    return Err(format!("{} has lost an event while it was closed", contestant.name));
                }
                contestant.store = store;
            }
        }
        questions.check(&self.contestants, 2, 12)?;
        Ok(rounds.rows())
    }
}

/// What a slice cost beside time, until the process was at rest again.
#[derive(Clone, Copy)]
pub struct Spent {
    processor: Duration,
    written: u64,
}

/// Does a slice and waits until the process is at rest.
pub fn at_rest<T>(slice: impl FnOnce() -> T) -> (T, Spent) {
    let (processor, written) = (processor_time(), written_bytes());
    let result = slice();
    settle();
    let spent = Spent {
        processor: processor_time().saturating_sub(processor),
        written: written_bytes().saturating_sub(written),
    };
    (result, spent)
}

/// The rows of what slices cost.
pub struct Cost {
    processor: Rounds,
    written: Rounds,
}

impl Cost {
    /// Nothing yet; `mode` goes before the names of the works.
    pub fn new(race: &Race, mode: &str) -> Self {
        let row = |what: &str, unit| race.row(&format!("{mode}: {what}"), unit, Target::default());
        Self {
            processor: row("processor time an event, background included", Unit::Nanoseconds),
            written: row("bytes written an event, background included", Unit::Bytes),
        }
    }

    /// What storing so many events has cost.
    pub fn push(&mut self, index: usize, spent: Spent, events: f64) {
        self.processor.push(index, spent.processor.as_nanos() as f64 / events);
        self.written.push(index, spent.written as f64 / events);
    }

    /// The rows.
    pub fn rows(self) -> Vec<Measured> {
        [self.processor, self.written].into_iter().flat_map(Rounds::rows).collect()
    }
}

/// So many producers append `each` events one by one, from turn `start` on, for as long as they may; what one event
/// of all took, in nanoseconds. What is left is stored in batches.
pub fn append_together(
    store: &dyn Store,
    workload: Workload,
    start: u64,
    (producers, each): (u64, u64),
    most: Duration,
) -> f64 {
    let ready = Barrier::new(producers as usize);
    let done: Vec<(u64, Duration)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..producers)
            .map(|producer| {
                let ready = &ready;
                scope.spawn(move || {
                    let from = start + producer * each;
                    let events: Vec<Made> = (from..from + each).map(|turn| workload.event(turn)).collect();
                    ready.wait();
                    let begun = Instant::now();
                    let mut stored = 0;
                    for event in events.iter().take_while(|_| begun.elapsed() < most) {
                        store.append(event);
                        stored += 1;
                    }
                    (stored, begun.elapsed())
                })
            })
            .collect();
        running.into_iter().map(|one| one.join().expect("a producer panicked")).collect()
    });
    for (producer, (stored, _)) in (0..).zip(&done) {
        let from = start + producer * each;
        append_batches(store, workload, from + stored..from + each);
    }
    let stored: u64 = done.iter().map(|one| one.0).sum();
    let took = done.iter().map(|one| one.1).max().unwrap_or_default();
    took.as_nanos() as f64 / stored as f64
}
