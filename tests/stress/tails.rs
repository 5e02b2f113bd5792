//! Tails that are read while everything happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::events::{EventStore, EventView, Query, Tail, TailItem, TailOptions};
use elixirscope_foundation::runtime::queue::Pop;

use crate::{World, numbered};

/// What a tail has told so far.
#[derive(Default)]
pub(crate) struct Heard {
    /// The `seq` and the number of each event.
    pub(crate) events: BTreeMap<u64, u64>,
    /// The last `seq` that was told or lies in a gap.
    last: u64,
    pub(crate) missed: u64,
}

impl Heard {
    /// Takes one more item, which must lie behind all others. `number` checks an event.
    pub(crate) fn take(&mut self, item: &TailItem, number: impl Fn(&EventView<'_>) -> u64) {
        let (first, last) = match item {
            TailItem::Event(event) => {
                let event = event.view();
                self.events.insert(event.seq(), number(&event));
                (event.seq(), event.seq())
            }
            TailItem::Gap(gap) => {
                self.missed += gap.count();
                (gap.first_seq, gap.last_seq)
            }
        };
        assert!(first > self.last && last >= first, "{item:?} was told after {}", self.last);
        self.last = last;
    }
}

/// Reads a tail until the writers are done and nothing is left.
pub(crate) fn follow(world: &World, tail: &Tail) -> Heard {
    let mut heard = Heard::default();
    loop {
        let last = world.is_done();
        while let Pop::Item(item) = tail.next_timeout(Duration::from_millis(1)).unwrap() {
            heard.take(&item, numbered::check);
        }
        if last {
            return heard;
        }
    }
}

/// Opens a tail, takes a little and drops it, again and again.
pub(crate) fn come_and_go(world: &World, store: &Arc<EventStore>) {
    world.repeat(|round| {
        let filter = Query { types: vec!["second".into()], ..Query::default() };
        let capacity = round.is_multiple_of(2).then_some(50);
        let tail = store
            .tail(TailOptions { filter, capacity, from_seq: Some(1), ..TailOptions::default() })
            .unwrap();
        let mut heard = Heard::default();
        for _ in 0..20 {
            let Some(item) = tail.try_next().unwrap() else { break };
            heard.take(&item, numbered::check);
        }
        if round.is_multiple_of(3) {
            tail.cancel();
        }
    });
}
