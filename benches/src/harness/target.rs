//! Targets of the plan, in its words, and those parts of them that a figure can be held against.

/// What ours should reach.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The plan's words.
    pub words: &'static str,
    at_most: Option<f64>,
    floors: Option<f64>,
    times: Vec<(&'static str, f64)>,
}

impl From<&'static str> for Target {
    /// Words only: nothing is judged.
    fn from(words: &'static str) -> Self {
        Self { words, ..Self::default() }
    }
}

impl Target {
    /// The figure may be `limit` at most, in the unit of the row.
    pub fn at_most(words: &'static str, limit: f64) -> Self {
        Self { words, at_most: Some(limit), ..Self::default() }
    }

    /// The figure may be so many times the floor.
    pub fn floors(mut self, factor: f64) -> Self {
        self.floors = Some(factor);
        self
    }

    /// The subject whose name begins like this must take at least `factor` times what ours does.
    pub fn times(mut self, subject: &'static str, factor: f64) -> Self {
        self.times.push((subject, factor));
        self
    }

    /// What the figures say: `met`, or by how much which part is missed. Nothing if nothing can be judged.
    ///
    /// `ratio` is to the floor; `others` are the other subjects with how many times ours they took.
    pub fn verdict(&self, figure: f64, ratio: Option<f64>, others: &[(&str, f64)]) -> Option<String> {
        let mut judged = false;
        let mut missed = Vec::new();
        if let Some(limit) = self.at_most {
            judged = true;
            if figure > limit {
                missed.push(format!("{:.2} × the limit", figure / limit));
            }
        }
        if let (Some(factor), Some(ratio)) = (self.floors, ratio) {
            judged = true;
            if ratio > factor {
                missed.push(format!("{ratio:.2} × the floor"));
            }
        }
        for (subject, factor) in &self.times {
            for (name, times) in others.iter().filter(|(name, _)| name.starts_with(subject)) {
                judged = true;
                if times < factor {
                    missed.push(format!("{name} only {times:.2} ×"));
                }
            }
        }
        judged.then(|| {
            if missed.is_empty() { "met".to_owned() } else { format!("missed: {}", missed.join(", ")) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_judged() {
        let target = Target::at_most("", 10.0).floors(2.0).times("SQLite", 3.0);
        let verdict = |figure, ratio, times| {
            target.verdict(figure, Some(ratio), &[("SQLite, in memory", times), ("LMDB", 0.1)]).unwrap()
        };
        assert_eq!(verdict(10.0, 2.0, 3.0), "met");
        assert_eq!(verdict(15.0, 2.0, 3.0), "missed: 1.50 × the limit");
        assert_eq!(verdict(9.0, 2.5, 3.0), "missed: 2.50 × the floor");
        assert_eq!(verdict(9.0, 1.0, 2.0), "missed: SQLite, in memory only 2.00 ×");
        assert_eq!(Target::from("words").verdict(1.0, Some(1.0), &[]), None);
    }
}
