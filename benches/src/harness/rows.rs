//! What was measured, in rounds, and the rows that it becomes.

use super::{Role, Target};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Time.
    Nanoseconds,
    /// Space.
    Bytes,
}

impl Unit {
    /// The word for it in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Bytes => "bytes",
        }
    }
}

/// What one subject took.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What is done.
    pub work: String,
    /// Who did it.
    pub subject: String,
    /// What it is to the others.
    pub role: Role,
    /// What the figures count.
    pub unit: Unit,
    /// The median of the rounds.
    pub median: f64,
    /// The least of the rounds.
    pub least: f64,
    /// The most of the rounds.
    pub most: f64,
    /// Median of the rounds' ratios to the floor; one for the floor itself, none where no floor was measured.
    pub ratio: Option<f64>,
    /// Median of the rounds' ratios to ours: how many times what ours takes; none where ours was not measured.
    pub times_ours: Option<f64>,
    /// The plan's target, for ours.
    pub target: &'static str,
    /// Whether ours meets it.
    pub verdict: Option<String>,
}

/// The figures of the subjects of one work, round by round.
pub struct Rounds {
    work: String,
    unit: Unit,
    target: Target,
    subjects: Vec<(Role, String, Vec<f64>)>,
}

impl Rounds {
    /// A work without subjects yet.
    pub fn new(work: &str, unit: Unit, target: Target) -> Self {
        Self { work: work.to_owned(), unit, target, subjects: Vec::new() }
    }

    /// Adds a subject; its number.
    pub fn subject(&mut self, role: Role, name: &str) -> usize {
        self.subjects.push((role, name.to_owned(), Vec::new()));
        self.subjects.len() - 1
    }

    /// The figure of the subject's next round; not a number where the round had none.
    pub fn push(&mut self, subject: usize, figure: f64) {
        self.subjects[subject].2.push(figure);
    }

    /// The rows, of those subjects that have figures.
    pub fn rows(mut self) -> Vec<Measured> {
        self.subjects.retain(|(_, _, figures)| figures.iter().any(|figure| figure.is_finite()));
        let ours =
            self.subjects.iter().find(|(role, ..)| *role == Role::Ours).map(|subject| subject.2.clone());
        let mut floor = None;
        let mut rows = Vec::new();
        for (role, name, own) in &self.subjects {
            if *role == Role::Floor {
                floor = Some(own);
            }
            rows.push(Measured {
                work: self.work.clone(),
                subject: name.clone(),
                role: *role,
                unit: self.unit,
                median: median(own.iter().copied()),
                least: own.iter().copied().fold(f64::INFINITY, f64::min),
                most: own.iter().copied().fold(0.0, f64::max),
                ratio: floor.and_then(|floor| ratio(own, floor)),
                times_ours: ours.as_ref().and_then(|ours| ratio(own, ours)),
                target: if *role == Role::Ours { self.target.words } else { "" },
                verdict: None,
            });
        }
        let others: Vec<(String, f64)> =
            rows.iter().filter_map(|row| Some((row.subject.clone(), row.times_ours?))).collect();
        let others: Vec<(&str, f64)> = others.iter().map(|(name, times)| (name.as_str(), *times)).collect();
        for row in rows.iter_mut().filter(|row| row.role == Role::Ours) {
            row.verdict = self.target.verdict(row.median, row.ratio, &others);
        }
        rows
    }
}

/// The median of the rounds' ratios; none where the base is nothing.
fn ratio(own: &[f64], base: &[f64]) -> Option<f64> {
    let ratio = median(own.iter().zip(base).map(|(own, base)| own / base));
    ratio.is_finite().then_some(ratio)
}

/// The value in the middle of those that are numbers.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < f64::EPSILON);
        assert!((median([f64::NAN, 1.0].into_iter()) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        // The machine slows down between rounds; ours takes twice the floor in each, the other five times ours.
        let mut rounds = Rounds::new("work", Unit::Nanoseconds, Target::at_most("", 1.0).times("other", 6.0));
        let floor = rounds.subject(Role::Floor, "floor");
        let ours = rounds.subject(Role::Ours, "ours");
        let other = rounds.subject(Role::Naive, "other");
        rounds.subject(Role::Naive, "not here");
        for speed in [1.0, 7.0, 3.0] {
            rounds.push(floor, speed);
            rounds.push(ours, speed * 2.0);
            rounds.push(other, speed * 10.0);
        }
        let rows = rounds.rows();
        let is = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-9;
        assert_eq!(rows.len(), 3);
        assert!(is(rows[0].ratio, 1.0) && is(rows[1].ratio, 2.0) && is(rows[2].ratio, 10.0));
        assert!(is(rows[1].times_ours, 1.0) && is(rows[2].times_ours, 5.0));
        assert_eq!(rows[1].verdict.as_deref(), Some("missed: 6.00 × the limit, other only 5.00 ×"));
        assert_eq!(rows[2].verdict, None);
    }
}
