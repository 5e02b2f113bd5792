//! The runner: one run of a workload, stopped at every operation in many ways, and what is left is checked.
//!
//! A failure is a [`Place`]: the workload's seed, the operation, and how it was stopped; perhaps the same again
//! for the recovery that followed. `ESF_CRASH_REPLAY` with a place runs that place alone.

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use elixirscope_foundation::storage::{Operation, SimStorage, Snapshot};

/// The processors that tests may count on.
const THREADS: usize = 2;
/// With so many failures it is enough.
const MAX_FAILURES: usize = 5;

/// How a machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The process is killed.
    Kill(u64),
    /// The power fails; the seed says what survives.
    Crash(u64),
    /// The power fails; one of the enumerated outcomes.
    Outcome(u64),
}

/// What a stop leaves alone: which promises count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The process.
    Process,
    /// The power.
    Power,
}

impl Stop {
    pub fn apply(self, moment: &Snapshot) -> SimStorage {
        match self {
            Self::Kill(seed) => moment.killed(seed),
            Self::Crash(seed) => moment.crashed(seed),
            Self::Outcome(number) => moment.outcome(number % moment.outcomes()),
        }
    }

    pub fn loss(self) -> Loss {
        if matches!(self, Self::Kill(_)) { Loss::Process } else { Loss::Power }
    }
}

/// A stop after so many operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    pub operations: u64,
    pub stop: Stop,
}

/// Everything that is needed to come to one state again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub workload: u64,
    pub first: At,
    /// The recovery was stopped too.
    pub second: Option<At>,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, number) = match self.stop {
            Stop::Kill(seed) => ("kill", seed),
            Stop::Crash(seed) => ("crash", seed),
            Stop::Outcome(number) => ("outcome", number),
        };
        write!(f, "{}:{word}:{number}", self.operations)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workload, self.first)?;
        self.second.map_or(Ok(()), |second| write!(f, "/{second}"))
    }
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not operations:kill|crash|outcome:number");
        let mut parts = text.split(':');
        let (Some(operations), Some(word), Some(number), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let number = number.parse().map_err(|_| wrong())?;
        let stop = match word {
            "kill" => Stop::Kill(number),
            "crash" => Stop::Crash(number),
            "outcome" => Stop::Outcome(number),
            _ => return Err(wrong()),
        };
        Ok(Self { operations: operations.parse().map_err(|_| wrong())?, stop })
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let workload = parts.next().and_then(|seed| seed.parse().ok()).ok_or("no seed of a workload")?;
        let first = parts.next().ok_or("no stop")?.parse()?;
        Ok(Self { workload, first, second: parts.next().map(str::parse).transpose()? })
    }
}

/// What is tested: a workload with what it was promised, and the recovery that has to keep it.
pub trait Subject: Sync {
    /// What was done, what was answered, and after how many operations.
    type Story: Sync;

    /// Runs the workload of this seed on an empty disk, recording from where stops make sense.
    fn run(&self, seed: u64, disk: &SimStorage) -> Self::Story;

    /// Recovers what is on a disk that was stopped after `operations`, and says which promise is broken. The
    /// answer is the story as it goes on from there, for a stop while this recovery was at work: its
    /// operations count from 0 again.
    fn recover(
        &self,
        story: &Self::Story,
        operations: u64,
        loss: Loss,
        disk: &SimStorage,
    ) -> Result<Self::Story, String>;
}

/// How much is tested.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The seeds of workloads start here.
    pub first_seed: u64,
    /// So many distinct disks are enough.
    pub states: usize,
    /// How often the power fails at each moment, drawn and enumerated.
    pub crashes: u64,
    pub outcomes: u64,
    /// Once in so many states the recovery is stopped as well, at so many moments.
    pub again_every: u64,
    pub again_moments: u64,
    /// One failure is what is looked for.
    pub until_failure: bool,
}

impl Plan {
    /// As many states as this share, in percent, of what `ESF_CRASH_STATES` says, or a few.
    pub fn share(percent: usize) -> Self {
        let states = std::env::var("ESF_CRASH_STATES").ok().and_then(|states| states.parse().ok());
        Self {
            first_seed: 1,
            states: states.unwrap_or(500) * percent / 100,
            crashes: 5,
            outcomes: 3,
            again_every: 9,
            again_moments: 4,
            until_failure: false,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// States that were recovered and checked: no disk twice at the same moment of a workload.
    pub checked: u64,
    /// Disks among them that differ in a name or a byte from all others.
    pub distinct: usize,
    /// Of the checked states, those of recoveries that were stopped.
    pub twice: u64,
    /// Runs of the workload, and operations in them.
    pub workloads: u64,
    pub operations: u64,
    pub failures: Vec<(Place, String)>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.twice += other.twice;
        self.workloads += other.workloads;
        self.operations += other.operations;
        self.failures.extend(other.failures);
    }

    /// Fails with the places of the failures, if there are any.
    pub fn expect_kept(&self, name: &str) {
        eprintln!(
            "{name}: {} states checked, {} of them distinct disks, {} after a stopped recovery, \
             from {} workloads of {} operations",
            self.checked, self.distinct, self.twice, self.workloads, self.operations
        );
        let lines =
            self.failures.iter().map(|(place, broken)| format!("ESF_CRASH_REPLAY={place}  {broken}\n"));
        let lines: String = lines.collect();
        assert!(lines.is_empty(), "{name} breaks its promises:\n{lines}");
    }
}

/// Tests as much as planned, or the one place that the environment names.
pub fn explore<S: Subject>(subject: &S, plan: Plan) -> Report {
    if let Ok(place) = std::env::var("ESF_CRASH_REPLAY") {
        let place = place.parse().expect("ESF_CRASH_REPLAY");
        let mut report = Report { checked: 1, ..Report::default() };
        if let Err(broken) = replay(subject, place) {
            report.failures.push((place, broken));
        }
        return report;
    }
    let (seed, known) = (AtomicU64::new(plan.first_seed), Known::default());
    let total = Mutex::new(Report::default());
    let enough = || {
        known.count() >= plan.states
            || total.lock().unwrap().failures.len() >= if plan.until_failure { 1 } else { MAX_FAILURES }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !enough() {
                    let workload = seed.fetch_add(1, Ordering::Relaxed);
                    let report = one_workload(subject, plan, workload, &known);
                    total.lock().unwrap().add(report);
                }
            });
        }
    });
    Report { distinct: known.count(), ..total.into_inner().unwrap() }
}

/// The disks that there were, by fingerprint.
#[derive(Default)]
struct Known(Mutex<HashSet<u64>>);

impl Known {
    fn add(&self, disk: &SimStorage) {
        let fingerprint = disk.fingerprint();
        self.0.lock().unwrap().insert(fingerprint);
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Every moment of one workload.
fn one_workload<S: Subject>(subject: &S, plan: Plan, workload: u64, known: &Known) -> Report {
    let disk = SimStorage::new(workload);
    disk.record();
    let story = subject.run(workload, &disk);
    let moments = disk.recording();
    let mut report = Report { workloads: 1, operations: moments.len() as u64, ..Report::default() };
    for moment in &moments {
        if known.count() >= plan.states || report.failures.len() >= MAX_FAILURES {
            break;
        }
        let operations = moment.operations();
        let number = |n: u64| workload.wrapping_mul(31).wrapping_add(operations * 7).wrapping_add(n);
        let kills = [Stop::Kill(number(0))];
        let crashes = (0..plan.crashes).map(|n| Stop::Crash(number(n)));
        let outcomes = moment.outcomes();
        // Spread over all outcomes: neighbouring moments look at different ones.
        let enumerated = (0..plan.outcomes)
            .map(|n| Stop::Outcome(number(n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) % outcomes));
        let mut here = HashSet::new();
        for stop in kills.into_iter().chain(crashes).chain(enumerated) {
            let disk = stop.apply(moment);
            if !here.insert((disk.fingerprint(), stop.loss() == Loss::Power)) {
                continue;
            }
            let place = Place { workload, first: At { operations, stop }, second: None };
            let again = report.checked.is_multiple_of(plan.again_every).then_some(plan.again_moments);
            one_state(subject, &story, &disk, place, again, &mut report, known);
        }
    }
    report
}

fn one_state<S: Subject>(
    subject: &S,
    story: &S::Story,
    disk: &SimStorage,
    place: Place,
    again: Option<u64>,
    report: &mut Report,
    known: &Known,
) {
    report.checked += 1;
    known.add(disk);
    if again.is_some() {
        disk.record();
    }
    let went_on = guarded(|| subject.recover(story, place.first.operations, place.first.stop.loss(), disk));
    let went_on = match went_on {
        Ok(went_on) => went_on,
        Err(broken) => {
            report.failures.push((place, broken));
            return;
        }
    };
    let moments = disk.recording();
    for n in 0..again.unwrap_or(0).min(moments.len() as u64) {
        let seed = place.first.operations.wrapping_mul(13).wrapping_add(n);
        let Some(moment) = moments.get((seed.wrapping_mul(0x9e37_79b9) % moments.len() as u64) as usize)
        else {
            continue;
        };
        let stop = if n % 2 == 0 { Stop::Crash(seed) } else { Stop::Kill(seed) };
        let second = At { operations: moment.operations(), stop };
        let place = Place { second: Some(second), ..place };
        let disk = stop.apply(moment);
        report.checked += 1;
        report.twice += 1;
        known.add(&disk);
        let checked = guarded(|| subject.recover(&went_on, second.operations, stop.loss(), &disk));
        if let Err(broken) = checked {
            report.failures.push((place, broken));
        }
    }
}

/// Runs one place and tells every operation that changes the disk.
fn replay<S: Subject>(subject: &S, place: Place) -> Result<(), String> {
    let tell = |what: &'static str, disk: &SimStorage| {
        let looking = [Operation::Open, Operation::Read, Operation::List, Operation::Look, Operation::Map];
        let told = disk.clone();
        disk.watch(move |operation, path| {
            if !looking.contains(&operation) {
                eprintln!("{what} {}: {operation:?} {}", told.operations() + 1, path.display());
            }
        });
    };
    let find = |moments: Vec<Snapshot>, at: At| {
        let found = moments.into_iter().find(|moment| moment.operations() == at.operations);
        found.ok_or_else(|| format!("the workload has no operation {}", at.operations))
    };
    let disk = SimStorage::new(place.workload);
    tell("workload", &disk);
    disk.record();
    let story = subject.run(place.workload, &disk);
    let disk = place.first.stop.apply(&find(disk.recording(), place.first)?);
    tell("recovery", &disk);
    disk.record();
    let loss = place.first.stop.loss();
    let story = guarded(|| subject.recover(&story, place.first.operations, loss, &disk))?;
    let Some(second) = place.second else { return Ok(()) };
    let disk = second.stop.apply(&find(disk.recording(), second)?);
    tell("second recovery", &disk);
    guarded(|| subject.recover(&story, second.operations, second.stop.loss(), &disk)).map(|_| ())
}

/// A panic is a broken promise too.
fn guarded<T>(check: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", said.unwrap_or("without words")))
    })
}

#[test]
fn places_are_read_as_they_are_written() {
    for text in ["3/120:crash:7", "1/0:kill:0", "9/12:outcome:44/3:crash:18446744073709551615"] {
        assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
    }
    for text in ["", "3", "3/7", "3/7:stop:1", "3/7:kill:x", "x/7:kill:1", "3/7:kill:1:2"] {
        assert!(text.parse::<Place>().is_err(), "{text}");
    }
}
