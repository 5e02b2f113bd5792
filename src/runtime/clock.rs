//! Time: the seam through which everything reads a clock.
//!
//! [`Clock`] is real ([`SystemClock`]) or simulated ([`SimClock`], which moves only when a test moves it).
//! [`AnchoredClock`] makes event timestamps from it: it is anchored to the wall clock once, when the
//! instance opens, and from then on follows the boot-time clock, so that a step of the wall clock neither
//! reverses nor doubles time within an instance.

#![allow(clippy::disallowed_methods, reason = "this is the seam")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A source of time. Implementations are shared between threads and never fail.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Nanoseconds since the Unix epoch, UTC. May step in either direction.
    fn wall_ns(&self) -> i64;

    /// Nanoseconds since an arbitrary moment (the machine's boot). Never decreases; goes on during suspend.
    fn boot_ns(&self) -> i64;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_ns(&self) -> i64 {
        read(libc::CLOCK_REALTIME)
    }

    fn boot_ns(&self) -> i64 {
        read(libc::CLOCK_BOOTTIME)
    }
}

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to fill; both clocks exist on every Linux that runs
    // this library, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// The wall clock of the machine, for what has no instance to ask (an error's time).
pub(crate) fn wall_now_ns() -> i64 {
    SystemClock.wall_ns()
}

/// A clock that a test moves: it stands still until told otherwise.
#[derive(Debug)]
pub struct SimClock {
    wall: AtomicI64,
    boot: AtomicI64,
}

impl SimClock {
    /// A clock that shows this wall time and has just booted.
    pub fn new(wall_ns: i64) -> Self {
        Self { wall: AtomicI64::new(wall_ns), boot: AtomicI64::new(0) }
    }

    /// Lets both clocks run on by this many nanoseconds (negative values are taken as 0).
    pub fn advance(&self, ns: i64) {
        let ns = ns.max(0);
        self.wall.fetch_add(ns, Ordering::SeqCst);
        self.boot.fetch_add(ns, Ordering::SeqCst);
    }

    /// Steps the wall clock alone, as an administrator or a time server does.
    pub fn step_wall(&self, ns: i64) {
        self.wall.fetch_add(ns, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn wall_ns(&self) -> i64 {
        self.wall.load(Ordering::SeqCst)
    }

    fn boot_ns(&self) -> i64 {
        self.boot.load(Ordering::SeqCst)
    }
}

/// Timestamps of one instance: the boot clock, anchored once to the wall clock.
#[derive(Debug, Clone)]
pub struct AnchoredClock {
    clock: Arc<dyn Clock>,
    /// What is added to the boot clock to make a timestamp.
    offset: i64,
}

impl AnchoredClock {
    /// Anchors at the later of the wall clock and `floor` (one more than the newest stored timestamp).
    pub fn new(clock: Arc<dyn Clock>, floor: i64) -> Self {
        let offset = clock.wall_ns().max(floor).saturating_sub(clock.boot_ns());
        Self { clock, offset }
    }

    /// A timestamp: nanoseconds, about the Unix epoch, never decreasing within the instance.
    pub fn now_ns(&self) -> i64 {
        self.clock.boot_ns().saturating_add(self.offset)
    }

    /// The wall clock: nanoseconds since the Unix epoch, UTC.
    pub fn wall_ns(&self) -> i64 {
        self.clock.wall_ns()
    }

    /// The clock underneath.
    pub fn source(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stepped_wall_clock_does_not_move_timestamps() {
        let sim = Arc::new(SimClock::new(1_000));
        let anchored = AnchoredClock::new(sim.clone(), 0);
        assert_eq!(anchored.now_ns(), 1_000);
        sim.advance(50);
        sim.step_wall(-900);
        assert_eq!(anchored.now_ns(), 1_050);
        assert_eq!(anchored.wall_ns(), 150);
    }

    #[test]
    fn the_anchor_is_never_before_what_is_stored() {
        let anchored = AnchoredClock::new(Arc::new(SimClock::new(10)), 500);
        assert_eq!(anchored.now_ns(), 500);
    }

    #[test]
    fn the_system_clock_runs_forward() {
        let first = SystemClock.boot_ns();
        assert!(first > 0);
        assert!(SystemClock.boot_ns() >= first);
        assert!(SystemClock.wall_ns() > 1_600_000_000_000_000_000);
    }
}
