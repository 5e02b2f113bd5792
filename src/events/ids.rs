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
//! As long as no host has brought an id, shards draw them in blocks, so that two producers do not take the counter's
//! cache line from each other with every event. The first id that is brought ends that, for good: the blocks are
//! given up under the shards' locks before the id is looked for, and what is left of them is never drawn.
//!
//! Two hosts with one id meet at one of 64 stripe locks, held from the check until the event is published.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::sync::{MutexGuard, Once};

use crossbeam_utils::CachePadded;

use super::model::ID_LIMIT;
use super::shard::Shard;
use crate::error::{Code, Error, Result};

const STRIPES: usize = 64;

/// How far above the counter an id of the host may lie and still move it.
pub(crate) const NEAR: u64 = 1 << 32;

/// Ids that a shard draws at once.
const BLOCK: u64 = 64;

/// What a shard has left of a block; used under its lock only.
#[derive(Default)]
struct Block {
    next: AtomicU64,
    end: AtomicU64,
}

pub(crate) struct Ids {
    next: CachePadded<AtomicU64>,
    blocks: Box<[CachePadded<Block>]>,
    /// Whether a host has brought an id: no blocks are drawn any more.
    brought: AtomicBool,
    /// Done when no shard has a block any more.
    given_up: Once,
    scattered: AtomicBool,
    /// Away from the counter, so that asking does not take its cache line from those who draw.
    used_up: AtomicBool,
    stripes: Box<[Mutex<()>]>,
}

/// Stripe locks; held until the events whose ids they guard are published.
pub(crate) type Held<'a> = Vec<MutexGuard<'a, ()>>;

impl Ids {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            next: CachePadded::new(AtomicU64::new(1)),
            blocks: (0..shards).map(|_| CachePadded::default()).collect(),
            brought: AtomicBool::new(false),
            given_up: Once::new(),
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

    /// Draws one id for an event of this shard, whose lock the caller holds.
    pub(crate) fn draw_for(&self, shard: usize) -> u64 {
        let Some(block) = self.blocks.get(shard) else { return self.draw(1) };
        let next = block.next.load(Ordering::Relaxed);
        if next < block.end.load(Ordering::Relaxed) {
            block.next.store(next + 1, Ordering::Relaxed);
            return next;
        }
        if self.brought.load(Ordering::SeqCst) {
            return self.draw(1);
        }
        let first = self.draw(BLOCK);
        block.next.store(first + 1, Ordering::Relaxed);
        block.end.store(first + BLOCK, Ordering::Relaxed);
        first
    }

    /// A host brings an id: when this has returned, only ids that an event has or is given right now were drawn
    /// below the counter. The caller holds no shard's lock.
    pub(crate) fn bring(&self, shards: &[Shard]) {
        self.given_up.call_once_force(|_| {
            self.brought.store(true, Ordering::SeqCst);
            for (shard, block) in shards.iter().zip(&self.blocks) {
                // Whoever has the lock now may still draw a block, and has given it up when we have the lock.
                let _writer = shard.lock();
                block.end.store(0, Ordering::Relaxed);
            }
        });
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
        let ids = Ids::new(1);
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
    fn blocks_are_drawn_until_a_host_brings_an_id() {
        let (ids, shards) = (Ids::new(2), [Shard::new(), Shard::new()]);
        let drawn: Vec<u64> = [0, 0, 1, 0, 1].into_iter().map(|shard| ids.draw_for(shard)).collect();
        assert_eq!(drawn, [1, 2, BLOCK + 1, 3, BLOCK + 2]);
        assert_eq!(ids.draw(1), 2 * BLOCK + 1);
        ids.bring(&shards);
        let (left, counter) = ([ids.draw_for(0), ids.draw_for(1)], 2 * BLOCK + 2);
        assert_eq!(left, [counter, counter + 1], "what is left of a block is not drawn");
        assert_eq!(ids.draw_for(7), counter + 2, "a shard without a block draws from the counter");
    }

    #[test]
    fn the_end_of_the_ids_is_an_error() {
        let ids = Ids::new(1);
        ids.draw(ID_LIMIT - NEAR - 1);
        assert!(ids.check_left().is_ok());
        ids.draw(1);
        assert_eq!(ids.check_left().unwrap_err().code(), Code::ResourceExhausted);
    }
}
