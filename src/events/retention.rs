//! What is no longer there: the low-water mark, single removed events, and the books.
//!
//! `drop_oldest` costs an append nothing: sequence numbers are dense, so while nothing else was removed the
//! oldest event present is `next_seq - max_events`, worked out by whoever looks. `prune_before` removes by time,
//! which leaves *holes* between the mark and the end; while there are any, looking settles the mark exactly, by
//! counting. Whole segments below the mark are retired when a segment is added and after pruning.
//!
//! On a store with files, events that are in a sealed file leave memory without being gone: they are *elsewhere*,
//! and the mark is only the mark of memory. What is not in a sealed file yet (`keep_from` and behind) stays in
//! memory, whether it can be seen or not, because files are copies of memory.
//!
//! Locks: the disk's state, then `Retention::books`, then any shard's lock; never the other way round.

use super::frontier::{FIRST_SEQ, Frontier};
use super::overflow::Room;
use super::plan::Window;
use super::segment::{Held, Segment};
use super::shard::{Entry, Shard};
use crate::runtime::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock, try_lock};

/// How often a reader looks at the segments without a lock before it keeps them from being retired.
const UNLOCKED_LOOKS: u32 = 3;

/// Events of one segment that were removed one by one.
pub(crate) struct Dead {
    bits: Box<[AtomicU64]>,
    count: AtomicU32,
}

impl Dead {
    pub(crate) fn new(events: u32) -> Self {
        let words = events.div_ceil(64);
        Self { bits: (0..words).map(|_| AtomicU64::new(0)).collect(), count: AtomicU32::new(0) }
    }

    pub(crate) fn mark(&self, index: u32) {
        if let Some(word) = self.bits.get(index as usize / 64) {
            let bit = 1 << (index % 64);
            if word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        let word = self.bits.get(index as usize / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & (1 << (index % 64)) != 0
    }

    /// How many from one index to below another. Each word is looked at once: whoever marks meanwhile, it is no more
    /// than there are.
    fn between(&self, low: u32, high: u32) -> u32 {
        if low >= high {
            return 0;
        }
        let (first, last) = (low / 64, (high - 1) / 64);
        let words = self.bits.iter().zip(0_u32..).take(last as usize + 1).skip(first as usize);
        let marked = |(word, at): (&AtomicU64, u32)| {
            let mut bits = word.load(Ordering::Relaxed);
            if at == first {
                bits &= u64::MAX << (low % 64);
            }
            if at == last {
                bits &= u64::MAX >> (63 - (high - 1) % 64);
            }
            bits.count_ones()
        };
        words.map(marked).sum()
    }
}

/// Whether an event of this segment was removed one by one.
pub(crate) fn is_dead(segment: &Segment, index: u32) -> bool {
    segment.dead.get().is_some_and(|dead| dead.contains(index))
}

/// How many events of a segment are there with `from <= seq < to`.
fn live(entry: &Entry, from: u64, to: u64) -> u64 {
    let Some(bounds) = entry.bounds() else { return 0 };
    let (first, last) = bounds.seqs;
    if last < from || first >= to {
        return 0;
    }
    let segment = &*entry.segment;
    let range = bounds.in_seqs(segment, (from, to));
    u64::from(alive(segment, range.start, range.end))
}

/// How many events of a segment were not removed one by one, from one index to below another.
pub(crate) fn alive(segment: &Segment, low: u32, high: u32) -> u32 {
    let dead = segment
        .dead
        .get()
        .map_or(0, |dead| if dead.count.load(Ordering::Relaxed) == 0 { 0 } else { dead.between(low, high) });
    high - low - dead
}

/// The books at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Books {
    /// The next sequence number.
    pub(crate) next: u64,
    /// No event below it is there.
    pub(crate) low: u64,
    /// Events that are there.
    pub(crate) present: u64,
    /// Events removed by `prune_before` so far.
    pub(crate) pruned: u64,
    /// Events removed because of their age so far.
    pub(crate) expired: u64,
    /// Events removed for want of memory so far.
    pub(crate) evicted: u64,
    /// Events that damage or a crash took.
    pub(crate) lost: u64,
    /// Events that are there and only in files.
    pub(crate) elsewhere: u64,
}

/// What a store that is opened again knows of its past.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Past {
    /// Every event below it is in a sealed file or gone.
    pub(crate) sealed: u64,
    pub(crate) pruned: u64,
    pub(crate) expired: u64,
    pub(crate) lost: u64,
    pub(crate) elsewhere: u64,
}

pub(crate) struct Retention {
    max_events: u64,
    pub(crate) room: Room,
    low: AtomicU64,
    /// How many events at or above the mark were removed; while it is 0 the mark follows from `next`.
    holes: AtomicU64,
    /// Events from here on are not in sealed files and stay in memory; `u64::MAX` without files.
    keep_from: AtomicU64,
    /// Also the lock of whoever moves the mark.
    books: Mutex<Ledger>,
}

/// Why events are removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The host said so.
    Asked,
    /// They are too old.
    Age,
    /// The store may not hold so many.
    Bound,
    /// They cannot be read any more.
    Damage,
}

struct Ledger {
    /// Events removed because the host said so, because of their age, and for want of memory.
    pruned: u64,
    expired: u64,
    evicted: u64,
    lost: u64,
    /// Events that are only in files.
    elsewhere: u64,
    /// All that are gone, as far as their room was given back.
    gone: u64,
    /// Where the books were settled last: everything below is published.
    settled: u64,
}

impl Retention {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            max_events: room.ceiling(),
            room,
            low: AtomicU64::new(FIRST_SEQ),
            holes: AtomicU64::new(0),
            keep_from: AtomicU64::new(u64::MAX),
            books: Mutex::new(Ledger {
                pruned: 0,
                expired: 0,
                evicted: 0,
                lost: 0,
                elsewhere: 0,
                gone: 0,
                settled: FIRST_SEQ,
            }),
        }
    }

    /// Takes up the books of a store that is opened again, when what was not sealed is back in memory, and before
    /// anybody else has it.
    pub(crate) fn resume(&self, past: Past, shards: &[Shard], frontier: &Frontier) {
        let mut ledger = lock(&self.books);
        let next = frontier.next();
        self.keep_from.store(past.sealed, Ordering::Release);
        self.low.store(past.sealed, Ordering::Release);
        let present = count(shards, past.sealed, next);
        self.holes.store(next - past.sealed - present, Ordering::Release);
        ledger.settled = next;
        (ledger.pruned, ledger.expired) = (past.pruned, past.expired);
        (ledger.lost, ledger.elsewhere) = (past.lost, past.elsewhere);
        ledger.gone = next - FIRST_SEQ - present - past.elsewhere;
        self.room.take(present + past.elsewhere);
    }

    /// Events below this `seq` are in sealed files: memory need not keep them.
    pub(crate) fn sealed(&self, seq: u64) {
        self.keep_from.store(seq, Ordering::Release);
    }

    /// Lets go of the events in memory below `mark`, all of which are in sealed files: they are elsewhere now. `came`
    /// is how many events of these files are there, those included that the bound on events hides, and `went` how many
    /// of them were elsewhere before.
    pub(crate) fn demote(&self, mark: u64, (went, came): (u64, u64), shards: &[Shard], frontier: &Frontier) {
        let mut ledger = lock(&self.books);
        let Books { next, low, .. } = self.settle_locked(&mut ledger, shards, frontier);
        ledger.elsewhere = (ledger.elsewhere + came).saturating_sub(went);
        if mark <= low {
            return;
        }
        self.holes.store(next - mark - count(shards, mark, next), Ordering::Release);
        self.raise(mark, shards);
    }

    /// So many events that were only in files are gone, for this reason.
    pub(crate) fn gone_from_files(&self, events: u64, reason: Reason, shards: &[Shard], frontier: &Frontier) {
        let mut ledger = lock(&self.books);
        ledger.elsewhere = ledger.elsewhere.saturating_sub(events);
        match reason {
            Reason::Asked => ledger.pruned += events,
            Reason::Age => ledger.expired += events,
            Reason::Bound => {}
            Reason::Damage => ledger.lost += events,
        }
        self.settle_locked(&mut ledger, shards, frontier);
    }

    /// The mark for a reader that stops at `next`: no event below it is there.
    pub(crate) fn low(&self, next: u64, shards: &[Shard], frontier: &Frontier) -> u64 {
        if self.holes.load(Ordering::Acquire) == 0 {
            return self.low.load(Ordering::Acquire).max(next.saturating_sub(self.max_events));
        }
        self.settle(shards, frontier).low
    }

    /// Looks at the segments through the window of one moment: nothing that lies in it is retired on the way.
    pub(crate) fn look<T>(&self, shards: &[Shard], frontier: &Frontier, look: impl Fn(Window) -> T) -> T {
        for _ in 0..UNLOCKED_LOOKS {
            // The mark is read before the end, so that it is not ahead of it, and the holes after the end, so that
            // none were made before it.
            let low = self.low.load(Ordering::Acquire);
            let next = frontier.settled();
            let window = if self.holes.load(Ordering::Acquire) == 0 {
                Window { low: low.max(next.saturating_sub(self.max_events)), next }
            } else {
                let Books { low, next, .. } = self.settle(shards, frontier);
                Window { low, next }
            };
            let seen = look(window);
            // Segments leave the lists only after the mark has passed them.
            if self.low.load(Ordering::Acquire) <= window.low {
                return seen;
            }
        }
        // Writers fill the store faster than we look at it; nothing is retired while we have the books.
        let mut ledger = lock(&self.books);
        let Books { low, next, .. } = self.settle_locked(&mut ledger, shards, frontier);
        look(Window { low, next })
    }

    /// Moves the mark to where it belongs now and retires what lies below it.
    pub(crate) fn settle(&self, shards: &[Shard], frontier: &Frontier) -> Books {
        self.settle_locked(&mut lock(&self.books), shards, frontier)
    }

    /// Makes room after a segment was added. A writer does this, so it waits for nobody: what cannot be done now is
    /// left to whoever has the books, or to the next segment.
    pub(crate) fn make_room(&self, shards: &[Shard], frontier: &Frontier) {
        if let Some(mut ledger) = try_lock(&self.books) {
            // The frontier may lie behind what was settled before, which stays published.
            let next = frontier.stable().max(ledger.settled);
            self.settle_at(next, &mut ledger, shards);
        }
    }

    fn settle_locked(&self, ledger: &mut Ledger, shards: &[Shard], frontier: &Frontier) -> Books {
        self.settle_at(frontier.settled(), ledger, shards)
    }

    /// Settles the books at `next`, below which everything is published. It never goes back: holes are counted below
    /// it only.
    fn settle_at(&self, next: u64, ledger: &mut Ledger, shards: &[Shard]) -> Books {
        ledger.settled = next;
        let mut low = self.low.load(Ordering::Relaxed);
        let mut present = next - low;
        if self.holes.load(Ordering::Relaxed) == 0 {
            low = low.max(next.saturating_sub(self.max_events));
            present = next - low;
        } else {
            let live_from = |low| count(shards, low, next);
            if self.counts_positions() {
                low = low.max(next.saturating_sub(self.max_events));
            }
            present = present.min(live_from(low));
            if present > self.max_events {
                low = first_where(low, next, |low| live_from(low) <= self.max_events);
                present = live_from(low);
            }
            self.holes.store(next - low - present, Ordering::Release);
        }
        self.raise(low, shards);
        self.give_back(ledger, next, present);
        let Ledger { pruned, expired, evicted, lost, elsewhere, .. } = *ledger;
        Books { next, low, present, pruned, expired, evicted, lost, elsewhere }
    }

    /// Gives back the room of what has gone since the last time.
    fn give_back(&self, ledger: &mut Ledger, next: u64, present: u64) {
        let gone = (next - FIRST_SEQ - present).saturating_sub(ledger.elsewhere);
        self.room.release(gone.saturating_sub(ledger.gone));
        ledger.gone = ledger.gone.max(gone);
    }

    /// Sets the mark and retires the segments that lie wholly below it.
    fn raise(&self, low: u64, shards: &[Shard]) {
        self.low.store(low, Ordering::Release);
        // One without events, which a panic in mid-batch leaves behind, lies below every mark.
        let kept = low.min(self.keep_from.load(Ordering::Acquire));
        let below = |entry: &Entry| entry.bounds().is_none_or(|bounds| bounds.seqs.1 < kept);
        for shard in shards {
            if shard.segments().split_first().is_some_and(|(first, rest)| !rest.is_empty() && below(first)) {
                shard.retire(below);
            }
        }
    }

    /// Removes every event that is there now and is older than `time`; how many those were, and the `seq` below which
    /// they lie.
    pub(crate) fn remove_before(
        &self,
        time: i64,
        reason: Reason,
        shards: &[Shard],
        frontier: &Frontier,
    ) -> (u64, u64) {
        let mut ledger = lock(&self.books);
        let Books { next, low, present, .. } = self.settle_locked(&mut ledger, shards, frontier);
        // From here until the books are right again readers wait for us rather than work the mark out.
        self.holes.store(1, Ordering::Release);
        let mut removed = 0;
        let keep_from = self.keep_from.load(Ordering::Acquire);
        for shard in shards {
            // Whole segments go first, judged under the shard's lock, so that nothing is being added to them.
            let whole = |entry: &Entry| {
                entry.bounds().is_some_and(|b| b.times.1 < time && b.seqs.1 < next.min(keep_from))
            };
            removed += shard.retire(whole).iter().map(|entry| live(entry, low, next)).sum::<u64>();
            removed += shard.segments().iter().map(|entry| prune_some(entry, time, low, next)).sum::<u64>();
        }
        match reason {
            Reason::Asked => ledger.pruned += removed,
            Reason::Age => ledger.expired += removed,
            Reason::Bound | Reason::Damage => {}
        }
        let low = first_live(shards, low, next);
        self.holes.store(next - low - count(shards, low, next), Ordering::Release);
        self.raise(low, shards);
        self.give_back(&mut ledger, next, present - removed);
        (removed, next)
    }

    /// Whether the newest `max_events` positions are what may be seen, rather than so many events: on a store with
    /// files, where nobody counts what was removed from each, and which drops the oldest.
    fn counts_positions(&self) -> bool {
        self.keep_from.load(Ordering::Acquire) != u64::MAX && !self.room.claimed()
    }

    /// How many of the newest positions may be seen in files. A store that refuses events hides none.
    pub(crate) fn positions(&self) -> u64 {
        if self.room.claimed() { u64::MAX } else { self.max_events }
    }

    /// Removes the oldest events, as many as free a segment; `false` when only active segments are left.
    pub(crate) fn evict_oldest(&self, shards: &[Shard], frontier: &Frontier) -> bool {
        let mut ledger = lock(&self.books);
        self.settle_locked(&mut ledger, shards, frontier);
        let last_of = |shard: &Shard| {
            let segments = shard.segments();
            let (first, rest) = segments.split_first()?;
            first.bounds().filter(|_| !rest.is_empty()).map(|bounds| bounds.seqs.1)
        };
        let Some(last) = shards.iter().filter_map(last_of).min() else { return false };
        // What is older and in flight must be there before it can be counted.
        frontier.wait(last + 1);
        let Books { next, low, .. } = self.settle_locked(&mut ledger, shards, frontier);
        let mark = low.max(last + 1);
        let removed = count(shards, low, mark);
        ledger.evicted += removed;
        // Readers that work the mark out in between see it where it was or where it will be.
        self.holes.store(next - mark - count(shards, mark, next), Ordering::Release);
        self.raise(mark, shards);
        self.settle_locked(&mut ledger, shards, frontier);
        true
    }

    /// Removes the events of the full segment that nobody has read from for longest; `false` when there is none.
    pub(crate) fn evict_least_read(&self, shards: &[Shard], frontier: &Frontier) -> bool {
        let mut ledger = lock(&self.books);
        let Books { next, low, present, .. } = self.settle_locked(&mut ledger, shards, frontier);
        let candidates = shards.iter().flat_map(|shard| {
            let segments = shard.segments();
            let full = segments.split_last().map_or(&[][..], |(_, full)| full);
            let settled = |entry: &&Entry| entry.bounds().is_some_and(|bounds| bounds.seqs.1 < next);
            full.iter().filter(settled).cloned().collect::<Vec<_>>()
        });
        let read = |entry: &Entry| (entry.segment.last_read(), entry.bounds().map(|bounds| bounds.seqs));
        let Some(entry) = candidates.min_by_key(read) else { return false };
        // As in `remove_before`.
        self.holes.store(1, Ordering::Release);
        let removed = live(&entry, low, next);
        for shard in shards {
            shard.retire(|other| Held::ptr_eq(&other.segment, &entry.segment));
        }
        ledger.evicted += removed;
        let low = first_live(shards, low, next);
        self.holes.store(next - low - count(shards, low, next), Ordering::Release);
        self.raise(low, shards);
        self.give_back(&mut ledger, next, present - removed);
        true
    }
}

/// How many events are there with `from <= seq < to`.
fn count(shards: &[Shard], from: u64, to: u64) -> u64 {
    shards.iter().map(|shard| shard.segments().iter().map(|entry| live(entry, from, to)).sum::<u64>()).sum()
}

/// The smallest number in `low..=high` for which `holds`, which stays true once it is.
fn first_where(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

/// The smallest `seq` in `low..next` of an event that is there, else `next`.
fn first_live(shards: &[Shard], low: u64, next: u64) -> u64 {
    let first_of = |entry: &Entry| {
        let count = entry.segment.committed();
        (entry.segment.below_seq(count, low)..count)
            .find(|index| !is_dead(&entry.segment, *index))
            .and_then(|index| entry.segment.record(index))
            .map(|record| record.seq())
    };
    let first = shards.iter().filter_map(|shard| shard.segments().iter().find_map(first_of)).min();
    first.map_or(next, |seq| seq.min(next))
}

/// Marks the events of one segment with `low <= seq < next` that are older than `time`.
fn prune_some(entry: &Entry, time: i64, low: u64, next: u64) -> u64 {
    prune_segment(&entry.segment, time, low, next)
}

/// The same, of a segment that is in no shard's list.
pub(crate) fn prune_segment(segment: &Segment, time: i64, low: u64, next: u64) -> u64 {
    if segment.time_bounds().0 >= time {
        return 0;
    }
    let count = segment.committed();
    let to = segment.below_seq(count, next);
    let mut removed = 0;
    for (index, at) in (0..to).zip(segment.times(to)).skip(segment.below_seq(count, low) as usize) {
        if *at < time && !is_dead(segment, index) {
            segment.dead.get_or_init(|| Dead::new(segment.shape().events)).mark(index);
            removed += 1;
        }
    }
    removed
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use super::super::segment::Segment;
    use super::super::shard::of_this_thread;
    use super::super::tests::store;
    use super::super::{EventStore, EventStoreOptions, NewEvent};
    use super::*;
    use crate::runtime::thread;

    fn small() -> EventStore {
        store(EventStoreOptions {
            max_events: Some(8),
            shards: Some(2),
            segment_events: Some(4),
            ..EventStoreOptions::default()
        })
    }

    fn append(store: &EventStore, count: u64) {
        for _ in 0..count {
            store.append(&NewEvent { event_type: "t".into(), ..NewEvent::default() }).unwrap();
        }
    }

    /// Runs this beside the test, which fails when it does not end.
    fn ends(what: &str, body: impl FnOnce() + Send + 'static) {
        let (done, finished) = mpsc::channel();
        let run = move || {
            body();
            let _ = done.send(());
        };
        thread::spawn("test", run).unwrap();
        assert!(finished.recv_timeout(Duration::from_secs(20)).is_ok(), "{what}");
    }

    #[test]
    fn a_writer_that_starts_a_segment_waits_for_nobody() {
        let store = Arc::new(small());
        append(&store, 8);
        // Somebody prunes, which takes its time.
        let books = lock(&store.retention.books);
        let writer = Arc::clone(&store);
        ends("it waits for the books", move || append(&writer, 10));
        drop(books);

        let writer = Arc::clone(&store);
        ends("it waits for the frontier", move || {
            // The writer of the other shard was preempted.
            let other = 1 - of_this_thread(2);
            let _flight = writer.frontier.begin(other, 1).unwrap();
            append(&writer, 10);
        });
    }

    #[test]
    fn the_dead_are_counted_between_any_two_indexes() {
        let dead = Dead::new(200);
        let marked = [0, 1, 5, 63, 64, 70, 127, 128, 190, 199];
        for index in marked {
            dead.mark(index);
        }
        for low in 0..=200 {
            for high in low..=200 {
                let expected = marked.iter().filter(|index| (low..high).contains(*index)).count();
                assert_eq!(dead.between(low, high) as usize, expected, "{low}..{high}");
            }
        }
    }

    #[test]
    fn segments_left_empty_do_not_keep_later_ones() {
        let store = small();
        append(&store, 1);
        // What a panic leaves behind between making room for a batch and filling it.
        let shard = &store.shards[of_this_thread(2)];
        let fresh = Segment::create(&store.shared, store.shape, 0).unwrap();
        shard.extend(&[fresh]);
        *shard.lock() = None;
        append(&store, 100);
        let stats = store.stats();
        assert!(stats.segments <= 5, "{stats:?}");
        assert_eq!((stats.events, stats.stored), (8, 101));
    }
}
