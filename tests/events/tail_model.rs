//! A tail against a naive one, through any sequence of appends, removals and reads.

use std::collections::VecDeque;

use elixirscope_foundation::events::{GapReason, Query, Tail, TailOptions};
use proptest::prelude::*;

use crate::tails::{Told, all, even, event, gap, matches, open, small, told};

#[derive(Debug, Clone)]
enum Do {
    Append(u64),
    Batch(Vec<u64>),
    Prune(u64),
    Take(usize, usize),
    Open(bool, Option<u64>, Option<u64>),
}

fn deed() -> impl Strategy<Value = Do> {
    let number = 0_u64..50;
    prop_oneof![
        4 => number.clone().prop_map(Do::Append),
        2 => prop::collection::vec(number.clone(), 1..20).prop_map(Do::Batch),
        1 => number.prop_map(Do::Prune),
        5 => (0_usize..4, 1_usize..12).prop_map(|(tail, items)| Do::Take(tail, items)),
        1 => (any::<bool>(), prop::option::of(0_u64..60), prop::option::of(1_u64..10))
            .prop_map(|(filter, from, capacity)| Do::Open(filter, from, capacity)),
    ]
}

/// The naive store: the number of each event by `seq` (from 1), `None` once it was removed.
#[derive(Default)]
struct Naive(Vec<Option<u64>>);

impl Naive {
    fn end(&self) -> u64 {
        self.0.len() as u64 + 1
    }

    fn append(&mut self, number: u64, max_events: usize) {
        self.0.push(Some(number));
        let present = self.0.iter().flatten().count();
        if present > max_events {
            let oldest = self.0.iter_mut().find(|event| event.is_some());
            if let Some(event) = oldest {
                *event = None;
            }
        }
    }

    fn prune(&mut self, before: u64) {
        for event in &mut self.0 {
            *event = event.filter(|number| *number >= before);
        }
    }
}

/// The naive tail. It reads to the end at once, as a real one does where no more than a batch is there.
struct NaiveTail {
    evens: bool,
    capacity: u64,
    position: u64,
    read: VecDeque<Told>,
}

impl NaiveTail {
    fn take(&mut self, store: &Naive) -> Option<Told> {
        // What is read may hold nothing that matches; then all is told.
        if self.read.is_empty() {
            let end = store.end();
            let from = end.saturating_sub(self.capacity);
            for seq in self.position..end {
                let event = store.0[seq as usize - 1].filter(|_| seq >= from);
                match (event, self.read.back_mut()) {
                    (Some(number), _) if matches(number) || !self.evens => {
                        self.read.push_back(Told::Event(seq));
                    }
                    (Some(_), _) => {}
                    (None, Some(Told::Gap(gap))) if gap.last_seq + 1 == seq => gap.last_seq = seq,
                    (None, _) => self.read.push_back(gap(seq, seq, GapReason::Removed)),
                }
            }
            self.position = end;
        }
        self.read.pop_front()
    }
}

/// Gaps that follow one another as one, whatever their reasons.
fn merged(items: &[Told]) -> Vec<Told> {
    let mut merged: Vec<Told> = Vec::new();
    for item in items {
        match (item, merged.last_mut()) {
            (Told::Gap(gap), Some(Told::Gap(last))) if last.last_seq + 1 == gap.first_seq => {
                last.last_seq = gap.last_seq;
            }
            (Told::Gap(next), _) => merged.push(gap(next.first_seq, next.last_seq, GapReason::Removed)),
            (event, _) => merged.push(*event),
        }
    }
    merged
}

proptest! {
    #![proptest_config(crate::property::tried(400))]

    /// Against a naive model, with reads at any moment.
    #[test]
    fn tells_what_the_naive_tail_tells(
        max_events in prop_oneof![Just(None), (4_u64..40).prop_map(Some)],
        deeds in prop::collection::vec(deed(), 1..80),
    ) {
        let (store, mut naive) = (open(small(max_events)), Naive::default());
        let most = max_events.map_or(usize::MAX, |most| most as usize);
        let mut tails: Vec<(Tail, NaiveTail, Vec<Told>, Vec<Told>)> = Vec::new();
        for deed in deeds {
            match deed {
                // Not more than what is read in one go.
                Do::Append(_) | Do::Batch(_) if naive.0.len() > 220 => {}
                Do::Append(number) => {
                    store.append(&event(number)).unwrap();
                    naive.append(number, most);
                }
                Do::Batch(numbers) => {
                    let events: Vec<_> = numbers.iter().map(|number| event(*number)).collect();
                    store.append_batch(&events).unwrap();
                    for number in numbers {
                        naive.append(number, most);
                    }
                }
                Do::Prune(before) => {
                    store.prune_before(before as i64).unwrap();
                    naive.prune(before);
                }
                Do::Take(at, items) => {
                    let count = tails.len().max(1);
                    let Some((tail, model, told_by, expected)) = tails.get_mut(at % count) else { continue };
                    // Gaps for two reasons are two items there and one here: then all is taken.
                    let items = if model.capacity == u64::MAX { items } else { usize::MAX };
                    told_by.extend((0..items).map_while(|_| tail.try_next().unwrap()).map(|item| told(&item)));
                    expected.extend((0..items).map_while(|_| model.take(&naive)));
                }
                Do::Open(evens, from, capacity) => {
                    let from = from.map(|from| from.clamp(1, naive.end()));
                    let filter = if evens { even() } else { Query::default() };
                    let options = TailOptions { filter, from_seq: from, capacity, window: None };
                    let model = NaiveTail {
                        evens,
                        capacity: capacity.unwrap_or(u64::MAX),
                        position: from.unwrap_or_else(|| naive.end()),
                        read: VecDeque::new(),
                    };
                    tails.push((store.tail(options).unwrap(), model, Vec::new(), Vec::new()));
                }
            }
        }
        for (tail, mut model, mut told_by, mut expected) in tails {
            told_by.extend(all(&tail));
            expected.extend(std::iter::from_fn(|| model.take(&naive)));
            prop_assert_eq!(merged(&told_by), merged(&expected));
            prop_assert_eq!(tail.stats().position, naive.end());
        }
    }
}
