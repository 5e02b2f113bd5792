//! Stores that hold the same events: loading them by turns, asking them all the same, and holding every answer
//! against the events that were stored.

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::harness::{Effort, Measured, Numbers, Role, Target, Work};
use crate::stores::Store;
use crate::workload::{Answer, Found, Made, NODE, TYPE_COUNT, Workload, correlation, timestamp};

/// Events in a batch.
pub const BATCH: u64 = 1_000;
/// How many events the newest of a type and those of a type in a span of time are at most.
const LIMIT: usize = 100;

/// A store under its name.
pub struct Contestant {
    /// What it is called in the table.
    pub name: String,
    /// What it is to the others.
    pub role: Role,
    /// The store.
    pub store: Box<dyn Store>,
}

/// Stores these turns in batches; the time that the store took.
pub fn append_batches(store: &dyn Store, workload: Workload, turns: Range<u64>) -> Duration {
    let mut events: Vec<Made> = Vec::with_capacity(BATCH as usize);
    let (mut took, mut from) = (Duration::ZERO, turns.start);
    while from < turns.end {
        let count = BATCH.min(turns.end - from) as usize;
        events.resize_with(count, Made::default);
        for (event, turn) in events.iter_mut().zip(from..) {
            workload.fill(turn, event);
        }
        let start = Instant::now();
        store.append_batch(&events);
        took += start.elapsed();
        from += count as u64;
    }
    took
}

/// Stores these turns one by one until the time is up, the rest in batches; what one took, in nanoseconds.
pub fn append_singles(store: &dyn Store, workload: Workload, turns: Range<u64>, most: Duration) -> f64 {
    let mut events: Vec<Made> = vec![Made::default(); 256];
    let (mut took, mut from) = (Duration::ZERO, turns.start);
    while from < turns.end && took < most {
        let count = (turns.end - from).min(events.len() as u64) as usize;
        for (event, turn) in events[..count].iter_mut().zip(from..) {
            workload.fill(turn, event);
        }
        let start = Instant::now();
        let mut stored = 0;
        for event in &events[..count] {
            store.append(event);
            stored += 1;
            // A slow store: the clock costs it nothing, and the slice must end.
            if stored % 16 == 0 && took + start.elapsed() >= most {
                break;
            }
        }
        took += start.elapsed();
        from += stored;
    }
    append_batches(store, workload, from..turns.end);
    took.as_nanos() as f64 / (from - turns.start) as f64
}

/// One question, with the answer that the stored events give.
#[derive(Clone)]
enum Question {
    /// By its place among the turns whose ids are known.
    Id(usize),
    Correlation(String),
    Newest(u32),
    Count(i64, i64),
    Between(i64, i64),
    TypeBetween(u32, i64, i64),
}

impl Question {
    fn ask(&self, store: &dyn Store, ids: &[u64]) -> Answer {
        let mut answer = Answer::default();
        match self {
            Self::Id(place) => store.by_id(ids[*place], &mut answer),
            Self::Correlation(id) => store.by_correlation(id, &mut answer),
            Self::Newest(number) => store.newest(*number, LIMIT, &mut answer),
            Self::Count(first, last) => answer.count = store.count(*first, *last),
            Self::Between(first, last) => store.between(*first, *last, &mut answer),
            Self::TypeBetween(number, first, last) => {
                store.type_between(*number, *first, *last, LIMIT, &mut answer);
            }
        }
        answer
    }

    fn words(&self) -> String {
        match self {
            Self::Id(place) => format!("an event by its id ({place})"),
            Self::Correlation(id) => format!("the events of correlation {id}"),
            Self::Newest(number) => format!("the newest of type {number}"),
            Self::Count(first, last) => format!("how many from {first} to {last}"),
            Self::Between(first, last) => format!("the events from {first} to {last}"),
            Self::TypeBetween(number, first, last) => format!("type {number} from {first} to {last}"),
        }
    }
}

/// Some turns with their ids in each of the stores. They are learned when the events have been stored, since a store
/// that gives ids may not know later whose they were.
#[derive(Clone, Default)]
pub struct Samples {
    turns: Vec<u64>,
    /// Of each store.
    ids: Vec<Vec<u64>>,
}

impl Samples {
    /// Adds some of these turns, which were stored in batches.
    pub fn learn(&mut self, contestants: &[Contestant], workload: Workload, turns: &Range<u64>) {
        let mut numbers = Numbers::new(turns.start + 11);
        let some: Vec<u64> = (0..512).map(|_| turns.start + numbers.below(turns.end - turns.start)).collect();
        self.ids.resize(contestants.len(), Vec::new());
        for (contestant, ids) in contestants.iter().zip(&mut self.ids) {
            let id = |turn: &u64| workload.id(*turn).unwrap_or_else(|| contestant.store.id_of(*turn));
            ids.extend(some.iter().map(id));
        }
        self.turns.extend(some);
    }
}

/// What is asked of stores that hold the first `stored` events of a run.
pub struct Questions {
    workload: Workload,
    stored: u64,
    turns: Vec<u64>,
    ids: Vec<Vec<u64>>,
}

impl Questions {
    /// Questions about the first `stored` events, of which these are asked for by id.
    pub fn new(workload: Workload, stored: u64, samples: &Samples) -> Self {
        // Shuffled, so that one question is not answered from what the one before has brought near.
        let mut order: Vec<usize> = (0..samples.turns.len()).collect();
        let mut numbers = Numbers::new(17);
        for last in (1..order.len()).rev() {
            order.swap(last, numbers.below(last as u64 + 1) as usize);
        }
        let shuffled = |values: &Vec<u64>| order.iter().map(|place| values[*place]).collect();
        let turns = shuffled(&samples.turns);
        Self { workload, stored, turns, ids: samples.ids.iter().map(shuffled).collect() }
    }

    /// One of the known ids of the store of this number.
    pub fn id(&self, contestant: usize, place: usize) -> u64 {
        self.ids[contestant][place % self.turns.len()]
    }

    /// The times of the first and the last of `count` events in a row.
    fn span(&self, numbers: &mut Numbers, count: u64) -> (i64, i64) {
        let count = count.clamp(1, self.stored);
        let first = numbers.below(self.stored - count + 1);
        (timestamp(first), timestamp(first + count - 1))
    }

    /// One event of a hundred.
    fn percent(&self) -> u64 {
        self.stored / 100
    }

    /// The answer as it must be, from the events themselves.
    fn truth(&self, question: &Question) -> Answer {
        let mut answer = Answer::default();
        let mut made = Made::default();
        let mut show = |turn: u64, only: Option<u32>| {
            self.workload.fill(turn, &mut made);
            if only.is_some_and(|number| number != made.type_number) {
                return false;
            }
            answer.add(Found {
                timestamp: made.timestamp,
                event_type: made.event_type().as_bytes(),
                node: NODE.as_bytes(),
                pid: made.pid.as_bytes(),
                correlation_id: made.correlation_id.as_bytes(),
                data: made.data.as_bytes(),
            });
            true
        };
        let turns = |first: i64, last: i64| {
            let turn = |time: i64| (time - timestamp(0)) as u64 / (timestamp(1) - timestamp(0)) as u64;
            turn(first)..turn(last) + 1
        };
        match question {
            Question::Id(place) => {
                show(self.turns[*place], None);
            }
            Question::Correlation(id) => {
                let number: u64 = id.rsplit('-').next().and_then(|text| text.parse().ok()).expect("a number");
                let step = self.workload.chains() as usize;
                (number..self.stored).step_by(step).for_each(|turn| {
                    show(turn, None);
                });
            }
            Question::Newest(number) => {
                (0..self.stored).rev().filter(|turn| show(*turn, Some(*number))).take(LIMIT).for_each(drop);
            }
            Question::Count(first, last) => {
                let turns = turns(*first, *last);
                answer.count = turns.end - turns.start;
            }
            Question::Between(first, last) => turns(*first, *last).for_each(|turn| {
                show(turn, None);
            }),
            Question::TypeBetween(number, first, last) => {
                turns(*first, *last).filter(|turn| show(*turn, Some(*number))).take(LIMIT).for_each(drop);
            }
        }
        answer
    }

    /// Asks every store the same, some of each kind, and fails where an answer is not that of the stored events.
    pub fn check(&self, contestants: &[Contestant], each: u64, seed: u64) -> Result<(), String> {
        let mut numbers = Numbers::new(seed);
        for _ in 0..each {
            let number = numbers.below(TYPE_COUNT) as u32;
            let (counted, read) = (self.span(&mut numbers, self.percent()), self.span(&mut numbers, 10_000));
            let typed = self.span(&mut numbers, self.percent());
            let questions = [
                Question::Id(numbers.below(self.turns.len() as u64) as usize),
                Question::Correlation(correlation(numbers.below(self.workload.chains()))),
                Question::Newest(number),
                Question::Count(counted.0, counted.1),
                Question::Between(read.0, read.1),
                Question::TypeBetween(number, typed.0, typed.1),
            ];
            for question in &questions {
                let truth = self.truth(question);
                for (contestant, ids) in contestants.iter().zip(&self.ids) {
                    let answer = question.ask(&*contestant.store, ids);
                    if answer != truth {
                        let (name, words) = (&contestant.name, question.words());
                        return Err(format!("{name} answers otherwise: {words}: {answer:?}, not {truth:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Measures every kind of query on every store. The stores may be reopened ones, whose names of works say so and
    /// whose limits are three times as wide.
    pub fn measure(&self, contestants: &[Contestant], reopened: bool, effort: &Effort) -> Vec<Measured> {
        let mut numbers = Numbers::new(13);
        let mut some = |make: &mut dyn FnMut(&mut Numbers) -> Question| -> Vec<Question> {
            (0..1_021).map(|_| make(&mut numbers)).collect()
        };
        let chains = self.workload.chains();
        let kinds = [
            ("by id", "≤ 0.6 µs", 600.0, (0..self.turns.len()).map(Question::Id).collect()),
            (
                "by correlation (10)",
                "≤ 6 µs",
                6_000.0,
                some(&mut |numbers| Question::Correlation(correlation(numbers.below(chains)))),
            ),
            (
                "last 100 by type",
                "≤ 10 µs",
                10_000.0,
                some(&mut |numbers| Question::Newest(numbers.below(TYPE_COUNT) as u32)),
            ),
            (
                "count a time range of 1 %",
                "≤ 3 µs",
                3_000.0,
                some(&mut |numbers| {
                    let (first, last) = self.span(numbers, self.percent());
                    Question::Count(first, last)
                }),
            ),
            (
                "read 10,000 events of a time range",
                "≤ 1 ms",
                1_000_000.0,
                some(&mut |numbers| {
                    let (first, last) = self.span(numbers, 10_000);
                    Question::Between(first, last)
                }),
            ),
            (
                "type and time range of 1 %, limit 100",
                "≤ 30 µs",
                30_000.0,
                some(&mut |numbers| {
                    let (first, last) = self.span(numbers, self.percent());
                    Question::TypeBetween(numbers.below(TYPE_COUNT) as u32, first, last)
                }),
            ),
        ];
        let mut rows = Vec::new();
        for (name, words, limit, questions) in &kinds {
            let (name, limit) = if reopened {
                (format!("reopened: {name}"), 3.0 * limit)
            } else {
                ((*name).to_owned(), *limit)
            };
            let mut work = Work::new(&name, Target::at_most(words, limit));
            for (contestant, ids) in contestants.iter().zip(&self.ids) {
                let mut next = questions.iter().cycle();
                work = work.of(contestant.role, &contestant.name, move |n| {
                    for question in next.by_ref().take(n as usize) {
                        black_box(question.ask(&*contestant.store, ids));
                    }
                });
            }
            rows.extend(work.measure(effort));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{Naive, Ours};

    const WORKLOAD: Workload = Workload::of(2_000);

    fn contestant(name: &str, store: Box<dyn Store>) -> Contestant {
        Contestant { name: name.to_owned(), role: Role::Naive, store }
    }

    fn check(contestants: &[Contestant]) -> Result<(), String> {
        let mut samples = Samples::default();
        samples.learn(contestants, WORKLOAD, &(0..1_000));
        samples.learn(contestants, WORKLOAD, &(1_500..2_000));
        Questions::new(WORKLOAD, 2_000, &samples).check(contestants, 20, 3)
    }

    #[test]
    fn stores_of_the_same_events_agree() {
        let both =
            [contestant("ours", Box::new(Ours::in_memory())), contestant("naive", Box::<Naive>::default())];
        for one in &both {
            append_batches(&*one.store, WORKLOAD, 0..1_000);
            append_singles(&*one.store, WORKLOAD, 1_000..1_500, Duration::from_micros(1));
            append_batches(&*one.store, WORKLOAD, 1_500..2_000);
        }
        assert_eq!(check(&both), Ok(()));
    }

    #[test]
    fn an_event_that_is_missing_or_changed_is_noticed() {
        let missing = contestant("missing", Box::<Naive>::default());
        append_batches(&*missing.store, WORKLOAD, 0..1_999);
        let error = check(&[missing]).unwrap_err();
        assert!(error.starts_with("missing answers otherwise: "), "{error}");

        let changed = contestant("changed", Box::<Naive>::default());
        append_batches(&*changed.store, WORKLOAD, 0..1_999);
        let mut last = WORKLOAD.event(1_999);
        last.data = last.data.replace("EUR", "USD");
        changed.store.append(&last);
        assert!(check(&[changed]).is_err());
    }
}
