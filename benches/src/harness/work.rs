//! Works whose subjects are closures that are run by turns.

use std::time::{Duration, Instant};

use super::{Effort, Measured, Role, Rounds, Target, Unit, progress};

/// One way to do a work.
struct Subject<'a> {
    name: String,
    role: Role,
    run: Box<dyn FnMut(u64) -> Duration + 'a>,
}

/// Several ways to do one work, measured by turns.
pub struct Work<'a> {
    name: String,
    target: Target,
    subjects: Vec<Subject<'a>>,
}

impl<'a> Work<'a> {
    /// A work without subjects yet; `target` is that of the project's plan for ours.
    pub fn new(name: &str, target: impl Into<Target>) -> Self {
        Self { name: name.to_owned(), target: target.into(), subjects: Vec::new() }
    }

    /// Adds a subject that runs `n` of the work and says itself how long they took.
    pub fn timed(mut self, role: Role, name: &str, run: impl FnMut(u64) -> Duration + 'a) -> Self {
        self.subjects.push(Subject { name: name.to_owned(), role, run: Box::new(run) });
        self
    }

    /// Adds a subject: `body(n)` does the work `n` times. The loop is inside, so that the call of a closure
    /// is paid once.
    pub fn of(self, role: Role, name: &str, mut body: impl FnMut(u64) + 'a) -> Self {
        self.timed(role, name, move |n| {
            let start = Instant::now();
            body(n);
            start.elapsed()
        })
    }

    /// Adds a subject whose work is done by several threads at once, `n` by each of them; the time of one is
    /// the time that passed, divided by `n`: with perfect scaling it does not grow with the threads.
    pub fn threads(
        self,
        role: Role,
        name: &str,
        threads: usize,
        body: impl Fn(usize, u64) + Sync + 'a,
    ) -> Self {
        self.timed(role, name, move |n| {
            let ready = std::sync::Barrier::new(threads);
            let (ready, body) = (&ready, &body);
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..threads)
                    .map(|index| {
                        scope.spawn(move || {
                            ready.wait();
                            let start = Instant::now();
                            body(index, n);
                            start.elapsed()
                        })
                    })
                    .collect();
                // The slowest of them: what the whole took.
                workers
                    .into_iter()
                    .map(|worker| worker.join().expect("a measuring thread panicked"))
                    .max()
                    .unwrap_or_default()
            })
        })
    }

    /// Measures all subjects by turns.
    pub fn measure(mut self, effort: &Effort) -> Vec<Measured> {
        let mut rounds = Rounds::new(&self.name, Unit::Nanoseconds, self.target);
        progress(&self.name);
        let mut counts = Vec::new();
        for subject in &mut self.subjects {
            rounds.subject(subject.role, &subject.name);
            counts.push(calibrate(&mut subject.run, effort.slice));
        }
        for round in 0..=effort.rounds {
            for (index, subject) in self.subjects.iter_mut().enumerate() {
                let took = (subject.run)(counts[index]);
                if round > 0 {
                    rounds.push(index, took.as_nanos() as f64 / counts[index] as f64);
                }
            }
        }
        rounds.rows()
    }
}

/// How many fill a slice.
fn calibrate(run: &mut dyn FnMut(u64) -> Duration, slice: Duration) -> u64 {
    let mut n = 1;
    loop {
        let took = run(n);
        if took >= slice / 4 {
            let fitting = n as f64 * slice.as_secs_f64() / took.as_secs_f64();
            return (fitting as u64).max(1);
        }
        n *= 4;
    }
}

/// One call that is timed by itself: what it is to the others, its name, and what it does.
pub type Call<'a> = (Role, &'static str, Box<dyn FnMut() + 'a>);

/// A percentile: its name, the part of the calls that took no longer, and what ours should reach.
pub type Percentile = (&'static str, f64, Target);

/// Latencies of single calls, with their tail: each call is timed by itself, which costs a clock reading; the
/// floor is timing nothing. Rounds take turns as in [`Work`], and each row is one percentile.
pub fn latencies(
    work: &str,
    percentiles: &[Percentile],
    calls: u32,
    effort: &Effort,
    mut subjects: Vec<Call<'_>>,
) -> Vec<Measured> {
    let names: Vec<(Role, &str)> = subjects.iter().map(|(role, name, _)| (*role, *name)).collect();
    let mut tails = Tails::new(work, percentiles, &names);
    for round in 0..=effort.rounds {
        for (index, (_, _, call)) in subjects.iter_mut().enumerate() {
            let mut taken = Vec::with_capacity(calls as usize);
            for _ in 0..calls {
                let start = Instant::now();
                call();
                taken.push(start.elapsed().as_nanos() as u64);
            }
            if round > 0 {
                tails.push(index, taken);
            }
        }
    }
    tails.rows()
}

/// Percentiles of the times of single calls, round by round.
pub struct Tails(Vec<(f64, Rounds)>);

impl Tails {
    /// Nothing measured yet.
    pub fn new(work: &str, percentiles: &[Percentile], subjects: &[(Role, &str)]) -> Self {
        let rounds = |(name, part, target): &Percentile| {
            let mut rounds = Rounds::new(&format!("{work}, {name}"), Unit::Nanoseconds, target.clone());
            for (role, name) in subjects {
                rounds.subject(*role, name);
            }
            (*part, rounds)
        };
        Self(percentiles.iter().map(rounds).collect())
    }

    /// The times of the calls of the subject's next round.
    pub fn push(&mut self, subject: usize, mut taken: Vec<u64>) {
        taken.sort_unstable();
        for (part, rounds) in &mut self.0 {
            let rank = ((taken.len() as f64 * *part).ceil() as usize).saturating_sub(1);
            rounds.push(subject, taken.get(rank).map_or(f64::NAN, |taken| *taken as f64));
        }
    }

    /// A row for each percentile and subject.
    pub fn rows(self) -> Vec<Measured> {
        self.0.into_iter().flat_map(|(_, rounds)| rounds.rows()).collect()
    }
}
