//! Every interleaving of the code that ships: publication of a segment, the frontier above it, the bell of tails, and the
//! queue of asynchronous appends.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::compact::Compact;
use super::frontier::Frontier;
use super::hash::Hash;
use super::later::{Limits, Outcome, Queue, Queued};
use super::model::{Encoding, NewEvent, TypeId};
use super::names::Names;
use super::record::Draft;
use super::recycle::Pool;
use super::segment::{Index, Segment, Shape, Shared, Writer};
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

fn append(writer: &mut Writer, seq: u64) {
    let index = writer.stage(&draft(seq as i64 * 10), key()).unwrap();
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
        assert_eq!(segment.times(seen)[index as usize], seq as i64 * 10);
        let mut found = segment.hits(Index::EventId, 100 + seq).unwrap().newest_first(segment);
        assert!(found.any(|at| at == index), "a published event is in the index");
    }
    for index in segment.hits(Index::Correlation, key()).unwrap().newest_first(segment) {
        if let Some(record) = segment.record(index) {
            assert_eq!(record.correlation(), Some(&b"c"[..]));
        }
    }
    let (low, high) = segment.time_bounds();
    assert!(seen == 0 || (low <= 10 && high >= i64::from(seen) * 10));
    assert!(segment.in_time_order(seen));
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
        let segment = Arc::clone(writer.segment());
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
        let segment = Arc::clone(writer.segment());
        drop(writer);
        let reader = thread::spawn({
            let segment = Arc::clone(&segment);
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
    loom::model(|| {
        let shared = shared();
        let mut writer = Segment::create(&shared, SHAPE, 0).unwrap();
        append(&mut writer, 1);
        append(&mut writer, 2);
        let pinned = loom::sync::Arc::new(Arc::clone(writer.segment()));
        drop(writer);
        let reader = thread::spawn({
            let pinned = loom::sync::Arc::clone(&pinned);
            move || assert_eq!(check(&pinned), 2)
        });
        // The store lets go of it and needs memory: what the reader holds is not taken.
        drop(pinned);
        let mut next = Segment::create(&shared, SHAPE, 0).unwrap();
        append(&mut next, 1);
        assert_eq!(check(next.segment()), 1);
        reader.join().unwrap();
    });
}

#[test]
fn loom_what_lies_below_the_frontier_can_be_read() {
    loom::model(|| {
        let shared = shared();
        let frontier = Arc::new(Frontier::new(2));
        let writers = [0, 1].map(|_| Segment::create(&shared, SHAPE, 0).unwrap());
        let segments = [0, 1].map(|i: usize| Arc::clone(writers[i].segment()));
        let mut number = 0;
        let threads = writers.map(|mut writer| {
            let (shard, frontier) = (number, Arc::clone(&frontier));
            number += 1;
            thread::spawn(move || {
                let index = writer.stage(&draft(0), 7).unwrap();
                let flight = frontier.begin(shard, 1).unwrap();
                writer.finish(index, flight.first(), 100 + flight.first(), 1);
                writer.publish();
            })
        });
        let stable = frontier.stable();
        let published: Vec<u64> = segments
            .iter()
            .flat_map(|segment| (0..segment.committed()).filter_map(|i| segment.record(i)))
            .map(|record| record.seq())
            .collect();
        for seq in 1..stable {
            assert!(published.contains(&seq), "{seq} is below the frontier {stable} and not published");
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((frontier.stable(), frontier.next()), (3, 3));
    });
}

#[test]
fn loom_a_query_waits_for_all_that_began_before_it() {
    loom::model(|| {
        let shared = shared();
        let frontier = Arc::new(Frontier::new(2));
        let mut mine = Segment::create(&shared, SHAPE, 0).unwrap();
        let mut theirs = Segment::create(&shared, SHAPE, 0).unwrap();
        let segments = [Arc::clone(mine.segment()), Arc::clone(theirs.segment())];
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
                    queue.drain(u64::MAX, || false, |_| Outcome::Stored);
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
        worker.join().unwrap();
        let stats = queue.stats();
        assert_eq!((stats.offered, stats.stored, stats.waiting, stats.waiting_bytes), (2, 2, 0, 0));
    });
}
