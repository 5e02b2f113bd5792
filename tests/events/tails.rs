//! Tails: each event told once, filtered or in a gap, however the store changes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    Condition, EventStore, EventStoreOptions, Gap, GapReason, MAX_TAILS, NewEvent, Order, Query, Tail,
    TailItem, TailOptions,
};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SystemClock};
use elixirscope_foundation::runtime::queue::Pop;

pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn open(options: EventStoreOptions) -> Arc<EventStore> {
    let clock = AnchoredClock::new(Arc::new(SystemClock), 0);
    Arc::new(EventStore::open(options, clock, Arc::default()).unwrap())
}

pub(crate) fn small(max_events: Option<u64>) -> EventStoreOptions {
    EventStoreOptions {
        max_events,
        shards: Some(2),
        segment_events: Some(16),
        segment_bytes: Some(4 << 10),
        ..EventStoreOptions::default()
    }
}

/// An event whose type and time follow from a number.
pub(crate) fn event(number: u64) -> NewEvent<'static> {
    let event_type = if matches(number) { "even" } else { "odd" };
    NewEvent { event_type: event_type.into(), timestamp: Some(number as i64), ..NewEvent::default() }
}

pub(crate) fn matches(number: u64) -> bool {
    number.is_multiple_of(2)
}

pub(crate) fn even() -> Query {
    Query { types: vec!["even".into()], ..Query::default() }
}

fn from_start(filter: Query) -> TailOptions {
    TailOptions { filter, from_seq: Some(1), ..TailOptions::default() }
}

/// What an item says, small enough to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Event(u64),
    Gap(Gap),
}

pub(crate) fn told(item: &TailItem) -> Told {
    match item {
        TailItem::Event(event) => Told::Event(event.view().seq()),
        TailItem::Gap(gap) => Told::Gap(*gap),
    }
}

pub(crate) fn all(tail: &Tail) -> Vec<Told> {
    std::iter::from_fn(|| tail.try_next().unwrap()).map(|item| told(&item)).collect()
}

pub(crate) fn gap(first_seq: u64, last_seq: u64, reason: GapReason) -> Told {
    Told::Gap(Gap { first_seq, last_seq, reason })
}

/// Checks what a tail told from `start` up to below `end` against which events match: each of those is told once, in
/// order, or lies in a gap; gaps do not overlap events. How many events and how many in gaps.
pub(crate) fn check(items: &[TailItem], start: u64, end: u64, matching: impl Fn(u64) -> bool) -> (u64, u64) {
    let (mut position, mut events, mut missed) = (start, 0, 0);
    let untold = |from: u64, to: u64| {
        if let Some(seq) = (from..to).find(|seq| matching(*seq)) {
            panic!("event {seq} was neither told nor is it in a gap");
        }
    };
    for item in items {
        match item {
            TailItem::Event(event) => {
                let seq = event.view().seq();
                assert!(seq >= position && matching(seq), "event {seq} was told after {position}");
                untold(position, seq);
                (position, events) = (seq + 1, events + 1);
            }
            TailItem::Gap(gap) => {
                assert!(
                    gap.first_seq >= position && gap.last_seq >= gap.first_seq,
                    "{gap:?} after {position}"
                );
                untold(position, gap.first_seq);
                assert_eq!(gap.count(), gap.last_seq + 1 - gap.first_seq);
                (position, missed) = (gap.last_seq + 1, missed + gap.count());
            }
        }
    }
    assert!(position <= end);
    untold(position, end);
    (events, missed)
}

#[test]
fn catch_up_goes_over_into_live_without_a_hole_or_a_double() {
    let store = open(small(None));
    for number in 1..=10 {
        store.append(&event(number)).unwrap();
    }
    let now = store.tail(TailOptions::default()).unwrap();
    let from_four = store.tail(TailOptions { from_seq: Some(4), ..TailOptions::default() }).unwrap();
    let evens = store.tail(from_start(even())).unwrap();
    assert!(now.try_next().unwrap().is_none());
    for number in 11..=12 {
        store.append(&event(number)).unwrap();
    }
    assert_eq!(all(&now), [Told::Event(11), Told::Event(12)]);
    assert_eq!(all(&from_four), (4..=12).map(Told::Event).collect::<Vec<_>>());
    assert_eq!(all(&evens), [2, 4, 6, 8, 10, 12].map(Told::Event));
    let stats = evens.stats();
    assert_eq!((stats.position, stats.behind, stats.unread), (13, 0, 0));
    assert_eq!((stats.counts.delivered, stats.counts.filtered), (6, 6));
    drop((now, from_four, evens));
    let tails = store.stats().tails;
    assert_eq!((tails.tails, tails.counts.delivered), (0, 2 + 9 + 6), "the counts outlive the tails");
}

#[test]
fn a_batch_larger_than_what_is_read_in_one_go_is_told_whole() {
    let store = open(small(None));
    let tail = store.tail(TailOptions::default()).unwrap();
    let large = vec![b'x'; 50_000];
    let events: Vec<_> = (0..2_000)
        .map(|i| NewEvent { data: if i % 100 == 0 { &large } else { b"small" }, ..event(i) })
        .collect();
    store.append_batch(&events).unwrap();
    let items: Vec<_> = std::iter::from_fn(|| tail.try_next().unwrap()).collect();
    for (item, event) in items.iter().zip(&events) {
        let TailItem::Event(told) = item else { panic!("{item:?}") };
        assert_eq!(told.view().data(), event.data);
        assert_eq!(Some(told.view().timestamp()), event.timestamp);
    }
    assert_eq!(items.len(), events.len());
}

#[test]
fn an_event_outlives_the_tail_the_store_and_later_reading() {
    let store = open(small(Some(16)));
    let tail = store.tail(TailOptions::default()).unwrap();
    store.append(&NewEvent { data: b"kept", node: "here", ..event(1) }).unwrap();
    let Some(TailItem::Event(kept)) = tail.try_next().unwrap() else { panic!("it is told") };
    for number in 2..200 {
        store.append(&event(number)).unwrap();
        tail.try_next().unwrap();
    }
    drop((tail, store));
    let view = kept.view();
    assert_eq!((view.data(), view.node(), view.event_type()), (&b"kept"[..], "here", "odd"));
}

#[test]
fn what_the_store_dropped_before_the_tail_came_is_a_gap() {
    let store = open(small(Some(8)));
    let (late, evens) =
        (store.tail(TailOptions::default()).unwrap(), store.tail(from_start(even())).unwrap());
    for number in 1..=20 {
        store.append(&event(number)).unwrap();
    }
    let removed = gap(1, 12, GapReason::Removed);
    let expected: Vec<_> = std::iter::once(removed).chain((13..=20).map(Told::Event)).collect();
    assert_eq!(all(&late), expected);
    assert_eq!(all(&evens)[..2], [removed, Told::Event(14)]);
    // Holes between events, and one at the end.
    store.prune_before(16).unwrap();
    let again = store.tail(TailOptions { from_seq: Some(14), ..TailOptions::default() }).unwrap();
    store.append(&event(3)).unwrap();
    store.prune_before(16).unwrap();
    let expected: Vec<_> = std::iter::once(gap(14, 15, GapReason::Removed))
        .chain((16..=20).map(Told::Event))
        .chain([gap(21, 21, GapReason::Removed)])
        .collect();
    assert_eq!(all(&again), expected);
    assert_eq!(again.stats().counts.missed_removed, 3);
}

#[test]
fn a_tail_with_a_capacity_passes_over_what_is_too_old() {
    let store = open(small(None));
    let options = TailOptions { capacity: Some(3), ..TailOptions::default() };
    let tail = store.tail(options).unwrap();
    for number in 1..=10 {
        store.append(&event(number)).unwrap();
    }
    let lagged = gap(1, 7, GapReason::Lagged);
    assert_eq!(all(&tail), [lagged, Told::Event(8), Told::Event(9), Told::Event(10)]);
    store.append(&event(11)).unwrap();
    assert_eq!(all(&tail), [Told::Event(11)]);
    assert_eq!(tail.stats().counts.missed_lagged, 7);
}

#[test]
fn names_that_are_new_to_the_store_are_told_too() {
    let store = open(small(None));
    let filter =
        Query { types: vec!["odd".into(), "even".into()], node: Some("n".into()), ..Query::default() };
    let tail = store.tail(TailOptions { filter, ..TailOptions::default() }).unwrap();
    store.append(&event(2)).unwrap();
    store.append(&NewEvent { node: "n", event_type: "other".into(), ..event(1) }).unwrap();
    assert!(tail.try_next().unwrap().is_none());
    store.append(&NewEvent { node: "n", ..event(2) }).unwrap();
    store.append(&NewEvent { node: "n", ..event(1) }).unwrap();
    assert_eq!(all(&tail), [Told::Event(3), Told::Event(4)]);
}

#[test]
fn the_filter_is_that_of_a_query() {
    let store = open(small(None));
    let condition = r#"[{"path": "n", "op": ">", "value": 4}]"#;
    let filters = [
        even(),
        Query { correlation_id: Some(b"b".to_vec()), ..Query::default() },
        Query { time_range: Some((3, 8)), ..Query::default() },
        Query { parent_id: Some(3), ..Query::default() },
        Query { pid: Some("p1".into()), ..Query::default() },
        Query { id_range: Some((102, 107)), ..Query::default() },
        Query { conditions: Condition::list_from_json(condition).unwrap(), ..even() },
    ];
    let tails: Vec<_> =
        filters.iter().map(|filter| store.tail(from_start(filter.clone())).unwrap()).collect();
    for number in 1..=10 {
        let (data, pid) = (format!("{{\"n\":{number}}}"), format!("p{}", number % 3));
        let event = NewEvent {
            data: data.as_bytes(),
            pid: &pid,
            event_id: Some(100 + number),
            parent_id: Some(number % 4 + 1),
            correlation_id: Some(if number % 3 == 0 { b"a" } else { b"b" }),
            ..event(number)
        };
        store.append(&event).unwrap();
    }
    for (filter, tail) in filters.into_iter().zip(tails) {
        let mut cursor = store.query(&Query { order: Order::Seq, ..filter.clone() }).unwrap();
        let mut expected = Vec::new();
        while let Some(event) = cursor.next() {
            expected.push(Told::Event(event.seq()));
        }
        assert!(!expected.is_empty() && expected.len() < 10, "{filter:?} shows nothing");
        assert_eq!(all(&tail), expected, "{filter:?}");
    }
}

#[test]
fn what_a_tail_cannot_do_is_refused() {
    let store = open(small(None));
    store.append(&event(1)).unwrap();
    let filters = [
        Query { seq_range: Some((1, 2)), ..Query::default() },
        Query { order: Order::Id, ..Query::default() },
        Query { descending: true, ..Query::default() },
        Query { limit: Some(1), ..Query::default() },
        Query { offset: 1, ..Query::default() },
        Query { timeout: Some(LONG), ..Query::default() },
    ];
    let wrong = filters.map(|filter| TailOptions { filter, ..TailOptions::default() });
    let others = [
        TailOptions { from_seq: Some(3), ..TailOptions::default() },
        TailOptions { capacity: Some(0), ..TailOptions::default() },
        TailOptions { window: Some(5), ..TailOptions::default() },
    ];
    for options in wrong.into_iter().chain(others) {
        assert_eq!(store.tail(options.clone()).unwrap_err().code(), Code::InvalidInput, "{options:?}");
    }
    assert!(store.tail(TailOptions { from_seq: Some(2), ..TailOptions::default() }).is_ok());
    let full: Vec<_> = (0..MAX_TAILS).map(|_| store.tail(TailOptions::default()).unwrap()).collect();
    assert_eq!(store.tail(TailOptions::default()).unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(store.stats().tails.tails, full.len() as u64);
    store.close_tails();
    drop(full);
    assert_eq!(store.tail(TailOptions::default()).unwrap_err().code(), Code::Closing);
}

#[test]
fn who_waits_is_woken_by_an_event_and_by_the_end() {
    let store = open(small(None));
    let tail = store.tail(from_start(even())).unwrap();
    assert!(matches!(tail.next_timeout(Duration::ZERO).unwrap(), Pop::TimedOut));
    assert!(matches!(tail.next_timeout(Duration::from_millis(1)).unwrap(), Pop::TimedOut));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| tail.next_timeout(LONG).unwrap());
        for number in 1..=2 {
            store.append(&event(number)).unwrap();
        }
        let Pop::Item(item) = waits.join().unwrap() else { panic!("it was not woken") };
        assert_eq!(told(&item), Told::Event(2));
        let (one, two) = (
            scope.spawn(|| tail.next_timeout(LONG).unwrap()),
            scope.spawn(|| tail.next_timeout(LONG).unwrap()),
        );
        tail.end();
        for waits in [one, two] {
            assert!(matches!(waits.join().unwrap(), Pop::Closed));
        }
    });
    assert!(matches!(tail.next_timeout(LONG).unwrap(), Pop::Closed));
    // The store goes while somebody waits.
    let tail = store.tail(TailOptions::default()).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| tail.next_timeout(LONG).unwrap());
        drop(store);
        assert!(matches!(waits.join().unwrap(), Pop::Closed));
    });
    assert_eq!(tail.stats().behind, 0);
}

#[test]
fn a_stream_of_single_events_reaches_who_waits_each_time() {
    let store = open(small(None));
    let (tail, answers) =
        (store.tail(from_start(even())).unwrap(), store.tail(TailOptions::default()).unwrap());
    // Ping and pong: each waits for the other's event, so a ring that is missed stops both.
    std::thread::scope(|scope| {
        let pong = scope.spawn(|| {
            for _ in 0..2_000 {
                let Pop::Item(_) = tail.next_timeout(LONG).unwrap() else { panic!("pong was not woken") };
                store.append_batch(&[event(1)]).unwrap();
            }
        });
        for round in 0..2_000 {
            store.append(&event(2)).unwrap();
            for seq in [2 * round + 1, 2 * round + 2] {
                let Pop::Item(item) = answers.next_timeout(LONG).unwrap() else {
                    panic!("ping was not woken")
                };
                assert_eq!(told(&item), Told::Event(seq));
            }
        }
        pong.join().unwrap();
    });
}

fn readable(descriptor: i32) -> bool {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd, no waiting.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLIN != 0
}

#[test]
fn the_descriptor_is_readable_while_there_may_be_something_to_take() {
    let store = open(small(None));
    let tail = store.tail(TailOptions::default()).unwrap();
    store.append(&event(1)).unwrap();
    let descriptor = tail.descriptor().unwrap();
    assert_eq!(tail.descriptor().unwrap(), descriptor);
    assert!(readable(descriptor), "an event was there before the descriptor");
    assert!(tail.try_next().unwrap().is_some() && readable(descriptor));
    assert!(tail.try_next().unwrap().is_none() && !readable(descriptor));
    for number in 2..=3 {
        store.append(&event(number)).unwrap();
        assert!(readable(descriptor));
    }
    assert_eq!(all(&tail).len(), 2);
    assert!(!readable(descriptor));
    tail.end();
    assert!(
        readable(descriptor) && tail.try_next().unwrap().is_none() && readable(descriptor),
        "over: readable for good"
    );
    let closing = store.tail(TailOptions::default()).unwrap();
    let descriptor = closing.descriptor().unwrap();
    assert!(closing.try_next().unwrap().is_none() && !readable(descriptor));
    drop(store);
    assert!(readable(descriptor) && closing.try_next().unwrap().is_none() && readable(descriptor));
}

/// Two producers, one that prunes, a store that drops its oldest: and tails of every kind, quick and slow.
#[test]
fn under_threads_every_event_is_told_filtered_or_in_a_gap() {
    const EACH: u64 = 15_000;
    for max_events in [None, Some(500)] {
        let store = open(small(max_events));
        let done = AtomicBool::new(false);
        let options = [
            from_start(Query::default()),
            from_start(even()),
            TailOptions { capacity: Some(64), ..from_start(even()) },
            TailOptions { from_seq: None, ..from_start(Query::default()) },
        ];
        let heard = std::thread::scope(|scope| {
            let readers = options.map(|options| {
                let tail = store.tail(options).unwrap();
                let (store, done) = (&store, &done);
                scope.spawn(move || hear(store, &tail, done))
            });
            let writers = [0, 1].map(|_| scope.spawn(|| produce(&store, EACH)));
            let pruner = scope.spawn(|| {
                while max_events.is_some() && !done.load(Ordering::SeqCst) {
                    // Cuts holes: times are spread over all positions.
                    store.prune_before(20).unwrap();
                    std::thread::yield_now();
                }
            });
            let written = writers.map(ScopedJoinHandle::join);
            done.store(true, Ordering::SeqCst);
            store.append(&event(2)).unwrap();
            assert!(written.iter().all(Result::is_ok));
            pruner.join().unwrap();
            readers.map(|reader| reader.join().unwrap())
        });
        let end = 2 * EACH + 2;
        assert_eq!(store.stats().next_seq, end);
        let (events, missed) = check(&heard[0], 1, end, |_| true);
        assert_eq!(events + missed, end - 1, "each is told or missed, never both");
        let (from_now, missed_from_now) = check(&heard[3], 1, end, |_| true);
        assert_eq!(from_now + missed_from_now, end - 1);
        for filtered in &heard[1..=2] {
            check_filtered(filtered, &heard[0], end);
        }
        if max_events.is_none() {
            assert_eq!((missed, missed_from_now), (0, 0), "nothing was removed, so nothing is missing");
        }
        let counts = store.stats().tails.counts;
        assert_eq!(
            counts.delivered + counts.filtered + counts.missed_removed + counts.missed_lagged,
            4 * (end - 1)
        );
    }
}

fn produce(store: &EventStore, events: u64) {
    for start in (0..events).step_by(5) {
        let batch: Vec<_> = (start..start + 4).map(event_in_time).collect();
        store.append_batch(&batch).unwrap();
        store.append(&event_in_time(start + 4)).unwrap();
    }
}

/// Its number tells whether it matches; its time is one of forty, so that pruning cuts holes.
fn event_in_time(number: u64) -> NewEvent<'static> {
    NewEvent { timestamp: Some((number * 7 % 40) as i64), ..event(number) }
}

fn hear(store: &EventStore, tail: &Tail, done: &AtomicBool) -> Vec<TailItem> {
    let mut items = Vec::new();
    loop {
        match tail.next_timeout(Duration::from_millis(50)).unwrap() {
            Pop::Item(item) => items.push(item),
            Pop::TimedOut
                if done.load(Ordering::SeqCst) && tail.stats().position == store.stats().next_seq =>
            {
                return items;
            }
            Pop::TimedOut => {}
            Pop::Closed => panic!("nobody ends it"),
        }
        if items.len() % 100 == 0 {
            // Slow now and then, so that the store overtakes it.
            std::thread::yield_now();
        }
    }
}

/// Which events match is known from the tail that told all: those that it missed may be anything.
fn check_filtered(items: &[TailItem], everything: &[TailItem], end: u64) {
    let mut even = vec![None; end as usize];
    for item in everything {
        if let TailItem::Event(event) = item {
            even[event.view().seq() as usize] = Some(event.view().event_type() == "even");
        }
    }
    for item in items {
        if let TailItem::Event(event) = item {
            assert_eq!(event.view().event_type(), "even");
            even[event.view().seq() as usize] = Some(true);
        }
    }
    check(items, 1, end, |seq| even[seq as usize] == Some(true));
}
