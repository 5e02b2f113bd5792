//! Event ids: drawn by the store, or brought by the host and then checked against what is stored.
//!
//! One counter gives ids to events that come without one and to `generate_id`. A host may bring any id, also one
//! that the counter has yet to reach, so:
//! - an id close above the counter moves the counter past itself: it is never drawn later;
//! - an id far above leaves the counter alone (one odd id must not use up the number space) and marks the store
//!   *scattered*: from then on ids are drawn before the append and checked like a host's. Draws that did not see
//!   the mark yet are at least [`NEAR`] ids away from such an id;
//! - an id below the counter may have been drawn for an event that is just being appended. Such an id is drawn
//!   after its event took its `seq`, so waiting for the frontier shows that event.
//!
//! Two hosts with one id meet at one of 64 stripe locks, held from the check until the event is published.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_utils::CachePadded;

use super::model::ID_LIMIT;
use crate::error::{Code, Error, Result};

const STRIPES: usize = 64;

/// How far above the counter an id of the host may lie and still move it.
pub(crate) const NEAR: u64 = 1 << 32;

pub(crate) struct Ids {
    next: CachePadded<AtomicU64>,
    scattered: AtomicBool,
    /// Away from the counter, so that asking does not take its cache line from those who draw.
    used_up: AtomicBool,
    stripes: Box<[Mutex<()>]>,
}

/// Stripe locks; held until the events whose ids they guard are published.
pub(crate) type Held<'a> = Vec<MutexGuard<'a, ()>>;

impl Ids {
    pub(crate) fn new() -> Self {
        Self {
            next: CachePadded::new(AtomicU64::new(1)),
            scattered: AtomicBool::new(false),
            used_up: AtomicBool::new(false),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
        }
    }

    /// Goes on behind the ids of a store that was there before. Nobody else has it yet.
    pub(crate) fn resume(&self, next: u64, scattered: bool) {
        self.next.fetch_max(next.clamp(1, ID_LIMIT), Ordering::SeqCst);
        self.scattered.fetch_or(scattered, Ordering::SeqCst);
    }

    /// What [`Ids::resume`] needs.
    pub(crate) fn past(&self) -> (u64, bool) {
        (self.next.load(Ordering::SeqCst), self.scattered())
    }

    /// Whether ids must be drawn before the append and checked.
    pub(crate) fn scattered(&self) -> bool {
        self.scattered.load(Ordering::SeqCst)
    }

    /// Draws `n` ids in a row; the first of them.
    pub(crate) fn draw(&self, n: u64) -> u64 {
        let first = self.next.fetch_add(n, Ordering::SeqCst);
        if first >= ID_LIMIT - NEAR {
            self.used_up.store(true, Ordering::Relaxed);
        }
        first
    }

    /// Fails once the ids run out; those who passed this before still draw valid ones.
    pub(crate) fn check_left(&self) -> Result<()> {
        if !self.used_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::new(Code::ResourceExhausted, "the store has no event ids left to give: bring your own")
            .with("limit", ID_LIMIT))
    }

    /// Whether the counter may have drawn this id; if not, it never will.
    pub(crate) fn note(&self, id: u64) -> bool {
        let next = self.next.load(Ordering::SeqCst);
        if id < next {
            return true;
        }
        if id - next < NEAR && id < ID_LIMIT - NEAR {
            return self.next.fetch_max(id + 1, Ordering::SeqCst) > id;
        }
        self.scattered.store(true, Ordering::SeqCst);
        false
    }

    fn stripe(id: u64) -> usize {
        (id as usize) % STRIPES
    }

    /// The lock of one id.
    pub(crate) fn lock(&self, id: u64) -> Option<MutexGuard<'_, ()>> {
        self.stripes.get(Self::stripe(id)).map(|stripe| stripe.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The locks of several ids, in one order for everybody.
    pub(crate) fn lock_all(&self, ids: &[u64]) -> Held<'_> {
        let wanted = ids.iter().fold(0_u64, |mask, id| mask | 1 << Self::stripe(*id));
        self.stripes
            .iter()
            .enumerate()
            .filter(|(stripe, _)| wanted & (1 << stripe) != 0)
            .map(|(_, stripe)| stripe.lock().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn near_ids_move_the_counter_and_far_ones_do_not() {
        let ids = Ids::new();
        assert_eq!(ids.draw(2), 1);
        assert!(ids.note(2));
        assert!(!ids.note(10));
        assert_eq!(ids.draw(1), 11);
        assert!(ids.note(10));
        assert!(!ids.scattered());
        assert!(!ids.note(ID_LIMIT - 1));
        assert!(ids.scattered());
        assert_eq!(ids.draw(1), 12);
        assert!(ids.check_left().is_ok());
    }

    #[test]
    fn the_end_of_the_ids_is_an_error() {
        let ids = Ids::new();
        ids.draw(ID_LIMIT - NEAR - 1);
        assert!(ids.check_left().is_ok());
        ids.draw(1);
        assert_eq!(ids.check_left().unwrap_err().code(), Code::ResourceExhausted);
    }
}
