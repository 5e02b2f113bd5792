//! A moment until which something may wait.
//!
//! Waiting happens in real time whatever clock an instance runs on: a simulated clock stands still while
//! a thread waits, and would make every wait endless.

use std::time::Duration;

use super::clock::{Clock, SystemClock};

/// A moment in the future, by the machine's boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(i64);

impl Deadline {
    /// This long from now; a time too long to count means never.
    pub fn after(timeout: Duration) -> Self {
        let timeout = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        Self(SystemClock.boot_ns().saturating_add(timeout))
    }

    /// How much is left; `None` once it has passed.
    pub fn left(self) -> Option<Duration> {
        let left = self.0.saturating_sub(SystemClock.boot_ns());
        (left > 0).then(|| Duration::from_nanos(left as u64))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_and_an_endless_one_does_not() {
        assert_eq!(Deadline::after(Duration::ZERO).left(), None);
        let left = Deadline::after(Duration::from_mins(1)).left().unwrap();
        assert!(left > Duration::from_secs(1) && left <= Duration::from_mins(1));
        assert!(Deadline::after(Duration::MAX).left().unwrap() > Duration::from_secs(1 << 30));
    }
}
