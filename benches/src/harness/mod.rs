//! How anything is measured here: the subjects of one work take turns within one process, A B C A B C …, and
//! the medians of the rounds count.
//!
//! Absolute figures drift with the machine, even from one second to the next on a shared one. A ratio is
//! therefore taken within each round, between two slices that ran one after the other, and the median of
//! those ratios is reported, not the ratio of two medians.

mod numbers;
mod rows;
mod target;
mod work;

use std::time::Duration;

pub use numbers::Numbers;
pub use rows::{Measured, Rounds, Unit};
pub use target::Target;
pub use work::{Tails, Work, latencies};

/// What a subject is to the others of its work. Ratios to a floor are to the last one before the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What the hardware needs for that work at least.
    Floor,
    /// What a straightforward program without this project would do.
    Naive,
    /// Another library or program.
    #[cfg_attr(not(feature = "peers"), expect(dead_code, reason = "peers are behind a feature"))]
    Peer,
    /// This project.
    Ours,
}

impl Role {
    /// The word for it in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Naive => "naive",
            Self::Peer => "peer",
            Self::Ours => "ours",
        }
    }
}

/// Says on the terminal what is being done; results go elsewhere.
pub fn progress(doing: &str) {
    eprintln!("  {doing}");
}

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Rounds that are measured, after one that only warms up.
    pub rounds: usize,
    /// How long one subject runs in one round, about.
    pub slice: Duration,
    /// Events of the tables in memory and on disk.
    pub events: u64,
    /// Events of the store that is opened after a crash.
    pub crashed: u64,
    /// Whether this only shows that everything runs.
    pub quick: bool,
}

impl Effort {
    /// What the figures of the page are measured with.
    pub fn full() -> Self {
        Self {
            rounds: 9,
            slice: Duration::from_millis(40),
            events: 2_000_000,
            crashed: 10_000_000,
            quick: false,
        }
    }

    /// Seconds instead of minutes: shows that every subject runs and that the answers agree. Its figures are worth
    /// nothing.
    pub fn quick() -> Self {
        Self { rounds: 2, slice: Duration::from_millis(2), events: 20_000, crashed: 20_000, quick: true }
    }
}
