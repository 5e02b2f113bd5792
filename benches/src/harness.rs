//! How anything is measured here: the subjects of one work take turns within one process, A B C A B C …, and
//! the medians of the rounds count.
//!
//! Absolute figures drift with the machine, even from one second to the next on a shared one. A ratio is
//! therefore taken within each round, between two slices that ran one after the other, and the median of
//! those ratios is reported, not the ratio of two medians.

use std::time::{Duration, Instant};

/// Rounds that are measured, after one that only warms up.
pub const ROUNDS: usize = 9;

/// How long one subject runs in one round, about.
const SLICE: Duration = Duration::from_millis(40);

/// What a subject is to the others of its work. Ratios are to the last floor before the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What the hardware needs for that work at least.
    Floor,
    /// What a straightforward program without this project would do.
    Naive,
    /// This project.
    Ours,
}

impl Role {
    /// The word for it in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Naive => "naive",
            Self::Ours => "ours",
        }
    }
}

/// One way to do a work.
pub struct Subject<'a> {
    /// What it is called in the table.
    pub name: String,
    /// What it is to the others.
    pub role: Role,
    run: Box<dyn FnMut(u64) -> Duration + 'a>,
}

/// Several ways to do one work, measured by turns.
pub struct Work<'a> {
    /// What is done, once.
    pub name: String,
    /// The target of the project's plan for ours, in words.
    pub target: &'static str,
    subjects: Vec<Subject<'a>>,
}

/// What one subject took.
pub struct Measured {
    /// What is done.
    pub work: String,
    /// Who did it.
    pub subject: String,
    /// What it is to the others.
    pub role: Role,
    /// Nanoseconds for one, the median of the rounds.
    pub median_ns: f64,
    /// The quickest round.
    pub least_ns: f64,
    /// The slowest round.
    pub most_ns: f64,
    /// Median of the rounds' ratios to the floor; one for the floor itself, none where no floor was measured.
    pub ratio: Option<f64>,
    /// The plan's target, for ours.
    pub target: &'static str,
}

impl<'a> Work<'a> {
    /// A work without subjects yet.
    pub fn new(name: &str, target: &'static str) -> Self {
        Self { name: name.to_owned(), target, subjects: Vec::new() }
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
    pub fn measure(mut self) -> Vec<Measured> {
        let counts: Vec<u64> = self.subjects.iter_mut().map(|subject| calibrate(&mut subject.run)).collect();
        let mut nanoseconds = vec![Vec::with_capacity(ROUNDS); self.subjects.len()];
        for round in 0..=ROUNDS {
            for (index, subject) in self.subjects.iter_mut().enumerate() {
                let took = (subject.run)(counts[index]);
                if round > 0 {
                    nanoseconds[index].push(took.as_nanos() as f64 / counts[index] as f64);
                }
            }
        }
        let mut floor: Option<usize> = None;
        let mut measured = Vec::new();
        for (index, subject) in self.subjects.iter().enumerate() {
            if subject.role == Role::Floor {
                floor = Some(index);
            }
            let own = &nanoseconds[index];
            let base = floor.map(|floor| &nanoseconds[floor]);
            measured.push(Measured {
                work: self.name.clone(),
                subject: subject.name.clone(),
                role: subject.role,
                median_ns: median(own.iter().copied()),
                least_ns: own.iter().copied().fold(f64::INFINITY, f64::min),
                most_ns: own.iter().copied().fold(0.0, f64::max),
                ratio: base.map(|base| median(own.iter().zip(base).map(|(own, base)| own / base))),
                target: if subject.role == Role::Ours { self.target } else { "" },
            });
        }
        measured
    }
}

/// One call that is timed by itself: what it is to the others, its name, and what it does.
pub type Call<'a> = (Role, &'static str, Box<dyn FnMut() + 'a>);

/// Latencies of single calls, with their tail: each call is timed by itself, which costs a clock reading; the
/// floor is timing nothing. Rounds take turns as in [`Work`], and each row is one percentile.
pub fn latencies(work: &str, target: &'static str, calls: u32, mut subjects: Vec<Call<'_>>) -> Vec<Measured> {
    const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
    let mut rounds = vec![vec![Vec::with_capacity(ROUNDS); PERCENTILES.len()]; subjects.len()];
    let mut taken: Vec<u64> = Vec::with_capacity(calls as usize);
    for round in 0..=ROUNDS {
        for (index, (_, _, call)) in subjects.iter_mut().enumerate() {
            taken.clear();
            for _ in 0..calls {
                let start = Instant::now();
                call();
                taken.push(start.elapsed().as_nanos() as u64);
            }
            taken.sort_unstable();
            for (at, (_, part)) in PERCENTILES.iter().enumerate() {
                let rank = ((f64::from(calls) * part).ceil() as usize).clamp(1, taken.len()) - 1;
                if round > 0 {
                    rounds[index][at].push(taken[rank] as f64);
                }
            }
        }
    }
    let mut rows = Vec::new();
    for (at, (percentile, _)) in PERCENTILES.iter().enumerate() {
        let mut floor = 0;
        for (index, (role, name, _)) in subjects.iter().enumerate() {
            if *role == Role::Floor {
                floor = index;
            }
            let own = &rounds[index][at];
            rows.push(Measured {
                work: format!("{work}, {percentile}"),
                subject: (*name).to_owned(),
                role: *role,
                median_ns: median(own.iter().copied()),
                least_ns: own.iter().copied().fold(f64::INFINITY, f64::min),
                most_ns: own.iter().copied().fold(0.0, f64::max),
                ratio: Some(median(own.iter().zip(&rounds[floor][at]).map(|(own, base)| own / base))),
                target: if *role == Role::Ours { target } else { "" },
            });
        }
    }
    rows
}

/// How many fill a slice.
fn calibrate(run: &mut dyn FnMut(u64) -> Duration) -> u64 {
    let mut n = 1;
    loop {
        let took = run(n);
        if took >= SLICE / 4 {
            let fitting = n as f64 * SLICE.as_secs_f64() / took.as_secs_f64();
            return (fitting as u64).max(1);
        }
        n *= 4;
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The same numbers on each run: a small generator (xorshift64*), seeded.
pub struct Numbers(u64);

impl Numbers {
    /// A generator of this seed, which must not be zero.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        // The machine slows down by half between rounds; ours takes twice the floor in each.
        let speed = std::cell::Cell::new(1_u32);
        let rows = Work::new("work", "")
            .timed(Role::Floor, "floor", |n| {
                speed.set(speed.get() % 7 + 1);
                Duration::from_millis(u64::from(speed.get()) * n)
            })
            .timed(Role::Ours, "ours", |n| Duration::from_millis(u64::from(speed.get()) * 2 * n))
            .measure();
        let off = |row: &Measured, ratio: f64| (row.ratio.expect("there is a floor") - ratio).abs();
        assert!(off(&rows[1], 2.0) < 1e-9, "{:?}", rows[1].ratio);
        assert!(off(&rows[0], 1.0) < 1e-9, "{:?}", rows[0].ratio);
    }
}
