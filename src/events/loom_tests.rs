//! Every interleaving of the code that ships: a segment while it is filled, sealed, retired and filled again, its filters,
//! the frontier above it, the bell of tails, and the queue of asynchronous appends. docs/models.md tells which mistakes
//! each of them is known to catch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loom::thread;

use super::compact::Compact;
use super::filter::{Filters, Kind, Sides};
use super::frontier::Frontier;
use super::hash::Hash;
use super::later::{Limits, Outcome, Queue, Queued};
use super::model::{Encoding, NewEvent, TypeId};
use super::names::Names;
use super::overflow::{Overflow, Room, Signal};
use super::record::Draft;
use super::recycle::Pool;
use super::retention::{Dead, Reason, Retention, alive, is_dead};
use super::segment::{Held, Index, Segment, Shape, Shared, Writer};
use super::shard::Shard;
use super::tail::Bell;
use crate::runtime::deadline::Deadline;

const SHAPE: Shape = Shape { events: 2, bytes: 256 };

fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(Names::new().unwrap(), Pool::new(SHAPE), Hash::seeded(1), SHAPE))
}

fn draft(time: i64) -> Draft<'static> {
    Draft {
        timestamp: time,
        wall_time: 0,
        parent_id: 0,
        type_id: 1,
        node_id: 0,
        flags: 0,
        encoding: Encoding::Raw,
        correlation: Some(b"c"),
        pid: b"",
        data: b"data",
    }
}

/// The hash of the events' correlation id, by which chains and compact indexes know them.
fn key() -> u64 {
    Hash::seeded(1).bytes(b"c")
}

/// The later an event is stored, the older it is: of two, both bounds and the order are at stake.
fn time_of(seq: u64) -> i64 {
    30 - seq as i64 * 10
}

fn append(writer: &mut Writer, seq: u64) {
    let index = writer.stage(&draft(time_of(seq)), key()).unwrap();
    writer.finish(index, seq, 100 + seq, 1);
    writer.publish();
}

/// Everything that can be read is whole, and what the indexes lead to is what they say.
fn check(segment: &Segment) -> u32 {
    let seen = segment.committed();
    for index in 0..seen {
        let record = segment.record(index).unwrap();
        let seq = u64::from(index) + 1;
        assert_eq!((record.seq(), record.event_id(), record.data()), (seq, 100 + seq, &b"data"[..]));
        assert_eq!(segment.times(seen)[index as usize], time_of(seq));
        let mut found = segment.hits(Index::EventId, 100 + seq).unwrap().newest_first(segment);
        assert!(found.any(|at| at == index), "a published event is in the index");
        let (low, high) = segment.time_bounds();
        assert!(low <= time_of(seq) && time_of(seq) <= high);
        let (low, high) = segment.id_bounds();
        assert!(low <= 100 + seq && 100 + seq <= high);
    }
    // The chain of all events: the newest is perhaps not published yet, and leads to those that are.
    let mut next = seen;
    for index in segment.hits(Index::Correlation, key()).unwrap().newest_first(segment) {
        if let Some(record) = segment.record(index) {
            assert_eq!(record.correlation(), Some(&b"c"[..]));
        }
        assert!(index >= next || index + 1 == next, "{index} is behind {next} in the chain");
        next = next.min(index);
    }
    assert_eq!(next, 0, "the chain leads to all {seen} events");
    assert!(seen < 2 || !segment.in_time_order(seen));
    seen
}

#[test]
fn loom_a_reader_of_a_segment_sees_whole_events_only() {
    // Seven indexes are linked for each event: every interleaving would take hours. Three preemptions show what can
    // go wrong between two threads; LOOM_MAX_PREEMPTIONS asks for more.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(|| {
        let mut writer = Segment::create(&shared(), SHAPE, 0).unwrap();
        let segment = Held::clone(writer.segment());
        let reader = thread::spawn(move || {
            let first = check(&segment);
            assert!(check(&segment) >= first);
        });
        append(&mut writer, 1);
        append(&mut writer, 2);
        assert_eq!(check(writer.segment()), 2);
        reader.join().unwrap();
    });
}

/// The indexes of a segment that gets no more events.
fn compact(segment: &Segment, shared: &Shared) -> Compact {
    Compact::build(segment, shared.hash, Some(&shared.filters)).0
}

#[test]
fn loom_a_reader_finds_an_event_before_while_and_after_its_segment_is_sealed() {
    loom::model(|| {
        let shared = shared();
        let mut writer = Segment::create(&shared, SHAPE, 0).unwrap();
        append(&mut writer, 1);
        append(&mut writer, 2);
        let segment = Held::clone(writer.segment());
        drop(writer);
        let reader = thread::spawn({
            let segment = Held::clone(&segment);
            move || {
                // A walk that began along the chain ends there, whatever becomes of the segment meanwhile.
                let mut walk = segment.hits(Index::Correlation, key()).unwrap();
                let newest = walk.newest(&segment);
                let mut found = segment.hits(Index::EventId, 101).unwrap().newest_first(&segment);
                assert!(found.any(|at| at == 0));
                assert_eq!((newest, walk.newest(&segment), walk.newest(&segment)), (Some(1), Some(0), None));
            }
        });
        segment.seal(compact(&segment, &shared));
        // The memory of the chains goes to the next segment, once nobody walks them.
        let mut next = Segment::create(&shared, SHAPE, 0).unwrap();
        append(&mut next, 1);
        assert_eq!(
            next.segment().hits(Index::Correlation, key()).unwrap().newest_first(next.segment()).count(),
            1
        );
        assert!(segment.hits(Index::Correlation, key()).unwrap().size().is_some(), "it is sealed");
        reader.join().unwrap();
    });
}

#[test]
fn loom_memory_is_filled_again_only_when_nobody_reads_it() {
    // Both happen: the memory of the first segment is filled again, and it is not since somebody reads it.
    let happened = Arc::new([const { AtomicBool::new(false) }; 2]);
    let noted = Arc::clone(&happened);
    loom::model(move || {
        let shared = shared();
        let mut writer = Segment::create(&shared, SHAPE, 0).unwrap();
        append(&mut writer, 1);
        append(&mut writer, 2);
        let segment = Held::clone(writer.segment());
        let allocated = shared.pool.allocated();
        let reader = thread::spawn(move || assert_eq!(check(&segment), 2));
        // The store lets go of it and needs memory: what the reader holds is not taken.
        drop(writer);
        let mut next = Segment::create(&shared, SHAPE, 0).unwrap();
        append(&mut next, 1);
        append(&mut next, 2);
        assert_eq!(check(next.segment()), 2);
        reader.join().unwrap();
        noted[usize::from(shared.pool.allocated() == allocated)].store(true, Ordering::Relaxed);
    });
    assert!(happened.iter().all(|happened| happened.load(Ordering::Relaxed)), "{happened:?}");
}

/// Filters, of which that of pids holds this key, or nothing.
fn sides(filters: &Filters, key: Option<u64>) -> Sides {
    let mut bits = filters.bits();
    key.into_iter().for_each(|key| bits.insert(key));
    [None, None, Some(bits), None]
}

#[test]
fn loom_a_column_shows_its_segments_keys_while_others_come_and_go() {
    let mut model = loom::model::Builder::new();
    // Every row is looked at whenever a column is filled.
    model.max_branches = 10_000;
    model.check(|| {
        let filters = Arc::new(Filters::new(2));
        let holds = |filters: &Filters, column, key| filters.may_hold(column, Kind::Pid, key);
        let (gone, _) = filters.claim(&sides(&filters, Some(2))).unwrap();
        let other = {
            let filters = Arc::clone(&filters);
            thread::spawn(move || {
                let (mine, _) = filters.claim(&sides(&filters, Some(1))).unwrap();
                assert!(holds(&filters, mine, 1));
                mine
            })
        };
        // Its segment goes, and another one gets its place.
        filters.release(gone);
        let (mine, _) = filters.claim(&sides(&filters, Some(1))).unwrap();
        assert!(holds(&filters, mine, 1));
        let other = other.join().unwrap();
        assert!(mine != other && (mine == gone || other == gone));
        assert!([mine, other].iter().all(|column| holds(&filters, *column, 1)));
        assert!(!holds(&filters, gone, 2), "what was there does not shine through");
    });
}

#[test]
fn loom_a_column_is_filled_again_only_when_nobody_holds_its_segment() {
    loom::model(|| {
        let shared = shared();
        let mut writer = Segment::create(&shared, SHAPE, 0).unwrap();
        append(&mut writer, 1);
        let segment = Held::clone(writer.segment());
        drop(writer);
        let (mut compact, sides_of) = Compact::build(&segment, shared.hash, Some(&shared.filters));
        let (column, _) = shared.filters.claim(&sides_of).unwrap();
        compact.marks.column = Some(column);
        segment.seal(compact);
        let reader = thread::spawn({
            let (shared, segment) = (Arc::clone(&shared), Held::clone(&segment));
            move || {
                assert!(shared.filters.may_hold(column, Kind::Correlation, key()));
                drop(segment);
            }
        });
        drop(segment);
        let empty = std::array::from_fn(|_| Some(shared.filters.bits()));
        shared.filters.claim(&empty).unwrap();
        reader.join().unwrap();
    });
}

/// So many events in each shard; the flag of an event is set before it is said to be published.
fn publish(frontier: &Frontier, shard: usize, events: usize, published: &[loom::sync::atomic::AtomicBool]) {
    for _ in 0..events {
        let flight = frontier.begin(shard, 1).unwrap();
        published[flight.first() as usize].store(true, Ordering::Relaxed);
        drop(flight);
    }
}

/// What lies below is published, and seen to be without any other order than the frontier's.
fn check_below(stable: u64, published: &[loom::sync::atomic::AtomicBool]) {
    for seq in 1..stable {
        let there = published[seq as usize].load(Ordering::Relaxed);
        assert!(there, "{seq} is below the frontier {stable} and not published");
    }
}

fn flags(events: usize) -> Arc<[loom::sync::atomic::AtomicBool]> {
    (0..=events).map(|_| loom::sync::atomic::AtomicBool::new(false)).collect()
}

#[test]
fn loom_what_lies_below_the_frontier_can_be_read() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(|| {
        let (frontier, published) = (Arc::new(Frontier::new(2)), flags(3));
        let threads = [(0, 2), (1, 1)].map(|(shard, events)| {
            let (frontier, published) = (Arc::clone(&frontier), Arc::clone(&published));
            thread::spawn(move || publish(&frontier, shard, events, &published))
        });
        let first = frontier.stable();
        check_below(first, &published);
        let second = frontier.stable();
        assert!(first <= second, "it goes back");
        check_below(second, &published);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((frontier.stable(), frontier.next()), (4, 4));
    });
}

#[test]
fn loom_what_one_reader_saw_to_be_stable_others_can_read() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(4));
    model.check(|| {
        let (frontier, published) = (Arc::new(Frontier::new(1)), flags(2));
        let reader = {
            let (frontier, published) = (Arc::clone(&frontier), Arc::clone(&published));
            thread::spawn(move || check_below(frontier.stable(), &published))
        };
        let writer = {
            let (frontier, published) = (Arc::clone(&frontier), Arc::clone(&published));
            thread::spawn(move || publish(&frontier, 0, 2, &published))
        };
        check_below(frontier.stable(), &published);
        reader.join().unwrap();
        writer.join().unwrap();
    });
}

#[test]
fn loom_a_query_waits_for_all_that_began_before_it() {
    loom::model(|| {
        let shared = shared();
        let frontier = Arc::new(Frontier::new(2));
        let mut mine = Segment::create(&shared, SHAPE, 0).unwrap();
        let mut theirs = Segment::create(&shared, SHAPE, 0).unwrap();
        let segments = [Held::clone(mine.segment()), Held::clone(theirs.segment())];
        let store = |writer: &mut Writer, shard: usize, frontier: &Frontier| {
            let index = writer.stage(&draft(0), 7).unwrap();
            let flight = frontier.begin(shard, 1).unwrap();
            writer.finish(index, flight.first(), 1, 1);
            writer.publish();
            flight.first()
        };
        let other = Arc::clone(&frontier);
        let busy = thread::spawn(move || store(&mut theirs, 1, &other));
        let stored = store(&mut mine, 0, &frontier);
        let next = frontier.settled();
        assert!(stored < next, "what was stored is below where the query stops");
        let published: u64 = segments.iter().map(|segment| u64::from(segment.committed())).sum();
        assert!(published >= next - 1, "all below {next} is published");
        busy.join().unwrap();
    });
}

/// A store's shard whose retention keeps so many events, with its first segment.
struct Kept {
    shared: Arc<Shared>,
    shape: Shape,
    shards: [Shard; 1],
    frontier: Frontier,
    retention: Retention,
}

impl Kept {
    fn new(max_events: u64, shape: Shape) -> Self {
        let shared = Arc::new(Shared::new(Names::new().unwrap(), Pool::new(shape), Hash::seeded(1), shape));
        let signal = Arc::clone(&shared.pool.freed);
        let room = Room::new(Overflow::DropOldest, Duration::ZERO, Some(max_events), signal);
        let (shards, frontier, retention) = ([Shard::new()], Frontier::new(1), Retention::new(room));
        Self { shared, shape, shards, frontier, retention }
    }

    /// As an append of the store does it.
    fn append(&self, time: i64) {
        let mut rotated = false;
        {
            let mut active = self.shards[0].lock();
            let staged = active.as_mut().and_then(|writer| writer.stage(&draft(time), key()));
            let index = staged.unwrap_or_else(|| {
                let fresh = Segment::create(&self.shared, self.shape, 0).unwrap();
                self.shards[0].extend(std::slice::from_ref(&fresh));
                rotated = true;
                active.insert(fresh).stage(&draft(time), key()).unwrap()
            });
            let writer = active.as_mut().unwrap();
            let flight = self.frontier.begin(0, 1).unwrap();
            writer.finish(index, flight.first(), 100 + flight.first(), 1);
            writer.publish();
        }
        if rotated {
            self.retention.make_room(&self.shards, &self.frontier);
        }
    }

    /// What a query sees: where its window begins and ends, and what is in it.
    fn look(&self) -> (u64, u64, Vec<u64>) {
        self.retention.look(&self.shards, &self.frontier, |window| {
            let list = self.shards[0].segments();
            let present = list.iter().flat_map(|entry| {
                let segment = &entry.segment;
                let alive = (0..segment.committed()).filter(|index| !is_dead(segment, *index));
                alive.map(|index| segment.record(index).unwrap().seq()).collect::<Vec<_>>()
            });
            let present = present.filter(|seq| (window.low..window.next).contains(seq)).collect();
            (window.low, window.next, present)
        })
    }
}

/// Where a model takes a step that all its threads take. Loom knows one last access of each atomic: a thread that loads
/// before it stores hides from it that the load of another thread could have come after that store. Around a step like
/// this it tries every order of the threads, and stale values show what else may be read.
#[derive(Default)]
struct Turn(loom::sync::atomic::AtomicUsize);

impl Turn {
    fn take(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn loom_what_a_query_may_see_is_not_retired_on_the_way() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(|| {
        let kept = Arc::new((Kept::new(1, Shape { events: 1, bytes: 256 }), Turn::default()));
        kept.0.append(10);
        let writer = {
            let kept = Arc::clone(&kept);
            thread::spawn(move || {
                let (kept, turn) = &*kept;
                turn.take();
                kept.append(20);
                turn.take();
            })
        };
        let (kept, turn) = &*kept;
        turn.take();
        let (low, next, present) = kept.look();
        assert!(low < next && (low..next).eq(present.iter().copied()), "{present:?} of {low}..{next}");
        writer.join().unwrap();
        assert_eq!(kept.look(), (2, 3, vec![2]));
    });
}

#[test]
fn loom_a_query_beside_a_prune_sees_all_that_stays() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(2));
    model.check(|| {
        let kept = Arc::new((Kept::new(2, Shape { events: 4, bytes: 1024 }), Turn::default()));
        kept.0.append(50);
        kept.0.append(10);
        let pruner = {
            let kept = Arc::clone(&kept);
            thread::spawn(move || {
                let (kept, turn) = &*kept;
                turn.take();
                let (removed, _) =
                    kept.retention.remove_before(20, Reason::Asked, &kept.shards, &kept.frontier);
                assert_eq!(removed, 1);
                turn.take();
                // There is room for it.
                kept.append(60);
                turn.take();
            })
        };
        let (kept, turn) = &*kept;
        turn.take();
        let (.., present) = kept.look();
        assert!(present.contains(&1), "{present:?}");
        pruner.join().unwrap();
        assert_eq!(kept.look().2, [1, 3]);
    });
}

#[test]
fn loom_a_count_beside_a_prune_is_of_what_is_there() {
    loom::model(|| {
        let mut writer = Segment::create(&shared(), SHAPE, 0).unwrap();
        append(&mut writer, 1);
        append(&mut writer, 2);
        let segment = Held::clone(writer.segment());
        let dead = segment.dead.get_or_init(|| Dead::new(SHAPE.events));
        let pruner = thread::spawn({
            let segment = Held::clone(&segment);
            move || segment.dead.get().unwrap().mark(0)
        });
        assert_eq!(alive(&segment, 1, 2), 1);
        pruner.join().unwrap();
        assert_eq!((alive(&segment, 0, 2), dead.contains(0), dead.contains(1)), (1, true, false));
    });
}

/// So many writers store an event each; who waits for them is woken for each, else the model never ends.
fn ring(writers: usize) {
    let (frontier, bell) = (Arc::new(Frontier::new(writers)), Arc::new(Bell::new()));
    let threads: Vec<_> = (0..writers)
        .map(|shard| {
            let (frontier, bell) = (Arc::clone(&frontier), Arc::clone(&bell));
            thread::spawn(move || {
                drop(frontier.begin(shard, 1).unwrap());
                bell.stored();
            })
        })
        .collect();
    let mut position = 1;
    while position <= writers as u64 {
        let moment = bell.moment();
        if bell.arm(position, &frontier) {
            bell.wait(moment, Deadline::after(Duration::MAX));
        }
        position = frontier.settled();
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn loom_no_ring_is_missed() {
    loom::model(|| ring(1));
}

#[test]
fn loom_no_ring_is_missed_by_two_writers() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| ring(2));
}

#[test]
fn loom_who_waits_for_room_hears_of_it() {
    loom::model(|| {
        let there = Arc::new((Signal::new(), loom::sync::atomic::AtomicBool::new(false)));
        let waits = {
            let there = Arc::clone(&there);
            thread::spawn(move || {
                let (signal, room) = &*there;
                loop {
                    let moment = signal.moment();
                    if room.load(Ordering::Relaxed) {
                        break;
                    }
                    assert!(signal.wait(moment, Deadline::after(Duration::MAX)));
                }
            })
        };
        let (signal, room) = &*there;
        room.store(true, Ordering::Relaxed);
        signal.tell();
        waits.join().unwrap();
    });
}

fn push(queue: &Queue, id: u64) {
    let event = NewEvent::default();
    let event_type = TypeId::from_raw(1);
    queue.push(&Queued { event_type, event_id: id, timestamp: 0, wall_time: 0, event: &event }).unwrap();
}

/// A worker stores what two threads hand in, and is woken for it; who waits for that is woken, too.
#[test]
fn loom_an_asynchronous_append_wakes_who_stores_and_who_waits() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let queue = Arc::new(Queue::new(Limits { events: 4, bytes: 4_096 }));
        let worker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                while queue.finished() < 2 {
                    queue.drain(u64::MAX, || false, |_, _| Outcome::Stored);
                    if queue.finished() < 2 {
                        queue.rest(Duration::ZERO);
                    }
                }
            })
        };
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || push(&queue, 2))
        };
        push(&queue, 1);
        other.join().unwrap();
        assert!(queue.wait_finished(queue.accepted(), Deadline::after(Duration::MAX), || {}));
        // The books say so to whoever waited.
        let stats = queue.stats();
        assert_eq!((stats.offered, stats.stored, stats.waiting, stats.waiting_bytes), (2, 2, 0, 0));
        worker.join().unwrap();
    });
}

/// A queue is abandoned while somebody stores, who is about to leave: one of the two drops the rest.
#[test]
fn loom_what_is_abandoned_is_dropped_by_somebody() {
    loom::model(|| {
        let queue = Arc::new(Queue::new(Limits { events: 4, bytes: 4_096 }));
        push(&queue, 1);
        queue.close();
        let leaves = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.drain(0, || false, |_, _| Outcome::Stored);
            })
        };
        queue.abandon();
        leaves.join().unwrap();
        let stats = queue.stats();
        assert_eq!((stats.waiting, stats.dropped_at_close, queue.finished()), (0, 1, 1));
    });
}

/// Where there is no worker each caller stores what it handed in, or leaves it to one who does.
#[test]
fn loom_without_a_worker_no_event_is_left_behind() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let queue = Arc::new(Queue::new(Limits { events: 4, bytes: 4_096 }));
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                push(&queue, 2);
                queue.help(9, |_, _| Outcome::Stored);
            })
        };
        push(&queue, 1);
        queue.help(9, |_, _| Outcome::Stored);
        other.join().unwrap();
        let stats = queue.stats();
        assert_eq!((stats.stored, stats.waiting), (2, 0));
    });
}
