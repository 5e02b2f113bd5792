//! The bounded queue between a writer that must never wait and a subscriber that may be slow.
//!
//! [`Queue::push`] never blocks and never fails. An item whose key has an unread item takes that one's
//! place (counted `coalesced`); when the queue is full the oldest item goes (counted `dropped`). So at
//! every moment `pushed = popped + len + coalesced + dropped`, and a subscriber can say what it missed.
//! A subscriber polls, waits with a timeout, or waits on a descriptor in its own event loop.
//!
//! Invariants, all under the one lock: `index` maps the key of every unread keyed item to its absolute
//! position (`head` is the position of the oldest unread item); the descriptor, once made, is readable
//! exactly when the queue is closed or holds an item.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::os::fd::RawFd;
use std::time::Duration;

use serde::Serialize;

use super::deadline::Deadline;
use super::descriptor::Descriptor;
use super::sync::{Condvar, Mutex, lock, wait_timeout};
use crate::error::Result;

/// What an item is about, so that a newer one can take the place of an unread older one.
pub trait Keyed {
    /// What two items of one thing have in common.
    type Key: Hash + Eq;

    /// The key of this item; `None` when every item stands for itself.
    fn key(&self) -> Option<Self::Key>;
}

/// What [`Queue::pop_timeout`] came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pop<T> {
    /// The oldest unread item.
    Item(T),
    /// Nothing came in time, or [`Queue::wake`] was called.
    TimedOut,
    /// The queue is closed and everything in it was read.
    Closed,
}

/// What went through a queue: `pushed = popped + len + coalesced + dropped`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct QueueStats {
    /// Items that are unread now.
    pub len: u64,
    /// How many unread items the queue holds at most.
    pub capacity: u64,
    /// Items handed in since the queue was made.
    pub pushed: u64,
    /// Items read.
    pub popped: u64,
    /// Items that a newer one of the same key replaced before they were read.
    pub coalesced: u64,
    /// Items that had to go because the queue was full, or that came after it was closed.
    pub dropped: u64,
}

/// A bounded queue; share it behind an `Arc`.
///
/// ```
/// use elixirscope_foundation::runtime::queue::{Keyed, Queue};
///
/// struct Reading(&'static str, f64);
/// impl Keyed for Reading {
///     type Key = &'static str;
///     fn key(&self) -> Option<&'static str> { Some(self.0) }
/// }
///
/// let queue = Queue::new(8);
/// queue.push(Reading("load", 0.5));
/// queue.push(Reading("load", 0.75));
/// assert_eq!(queue.try_pop().unwrap().1, 0.75);
/// assert_eq!(queue.stats().coalesced, 1);
/// ```
pub struct Queue<T: Keyed> {
    capacity: usize,
    inner: Mutex<Inner<T>>,
    changed: Condvar,
}

struct Inner<T: Keyed> {
    items: VecDeque<T>,
    index: HashMap<T::Key, u64>,
    head: u64,
    closed: bool,
    woken: bool,
    pushed: u64,
    popped: u64,
    coalesced: u64,
    dropped: u64,
    descriptor: Option<Descriptor>,
}

impl<T: Keyed> Queue<T> {
    /// A queue of at most this many unread items (at least one).
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            inner: Mutex::new(Inner {
                items: VecDeque::new(),
                index: HashMap::new(),
                head: 0,
                closed: false,
                woken: false,
                pushed: 0,
                popped: 0,
                coalesced: 0,
                dropped: 0,
                descriptor: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Hands an item in; never blocks, never fails.
    ///
    /// An unread item of the same key is replaced where it stands, so that a key which changes all the
    /// time is still delivered in its turn. Into a full queue the item comes at the cost of the oldest.
    pub fn push(&self, item: T) {
        // What leaves the queue unread is destroyed after the lock is given back.
        let _unread = {
            let mut inner = lock(&self.inner);
            let unread = inner.push(item, self.capacity);
            inner.signal();
            unread
        };
        self.changed.notify_one();
    }

    /// The oldest unread item, if there is one.
    pub fn try_pop(&self) -> Option<T> {
        let mut inner = lock(&self.inner);
        let item = inner.pop_front();
        if item.is_some() {
            inner.popped += 1;
            inner.signal();
        }
        item
    }

    /// The oldest unread item; waits for one up to `timeout`. What is in a closed queue is still read.
    pub fn pop_timeout(&self, timeout: Duration) -> Pop<T> {
        let deadline = Deadline::after(timeout);
        let mut inner = lock(&self.inner);
        loop {
            if let Some(item) = inner.pop_front() {
                inner.popped += 1;
                inner.signal();
                return Pop::Item(item);
            }
            if inner.closed {
                return Pop::Closed;
            }
            if std::mem::take(&mut inner.woken) {
                return Pop::TimedOut;
            }
            let Some(left) = deadline.left() else { return Pop::TimedOut };
            inner = wait_timeout(&self.changed, inner, left);
        }
    }

    /// Makes the pop that waits, or else the next one that would wait, come back at once with
    /// [`Pop::TimedOut`]: for a worker that is asked to stop.
    pub fn wake(&self) {
        lock(&self.inner).woken = true;
        self.changed.notify_all();
    }

    /// Closes the queue: nothing more comes in (later items count as dropped), whoever waits wakes up.
    /// Closing twice is fine.
    pub fn close(&self) {
        {
            let mut inner = lock(&self.inner);
            inner.closed = true;
            inner.signal();
        }
        self.changed.notify_all();
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.inner).closed
    }

    /// What went through so far.
    pub fn stats(&self) -> QueueStats {
        let inner = lock(&self.inner);
        QueueStats {
            len: inner.items.len() as u64,
            capacity: self.capacity as u64,
            pushed: inner.pushed,
            popped: inner.popped,
            coalesced: inner.coalesced,
            dropped: inner.dropped,
        }
    }

    /// A descriptor for `poll`, `epoll`, `select` and event loops: readable while an item is unread or
    /// the queue is closed. It belongs to the queue and dies with it: wait on it, never read, write or
    /// close it. Made at the first call; later calls answer the same one.
    pub fn descriptor(&self) -> Result<RawFd> {
        let mut inner = lock(&self.inner);
        if let Some(descriptor) = &inner.descriptor {
            return Ok(descriptor.number());
        }
        let descriptor = Descriptor::new()?;
        let number = descriptor.number();
        inner.descriptor = Some(descriptor);
        inner.signal();
        Ok(number)
    }
}

impl<T: Keyed> Queue<T> {
    /// In a forked child: puts an event of its own in the place of the one that it shares with the parent,
    /// under the same descriptor, so that reading here does not take the parent's signal away. Where none
    /// can be made, the descriptor is closed; the next one that is asked for is new.
    pub fn separate(&self) {
        let mut inner = lock(&self.inner);
        let Some(shared) = inner.descriptor.take() else { return };
        inner.descriptor = shared.separate();
        inner.signal();
    }
}

impl<T: Keyed> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.stats()).finish()
    }
}

impl<T: Keyed> Inner<T> {
    /// Puts the item in and returns what has to go for it: the one it replaces, the oldest, or itself.
    fn push(&mut self, item: T, capacity: usize) -> Option<T> {
        self.pushed += 1;
        if self.closed {
            self.dropped += 1;
            return Some(item);
        }
        let key = item.key();
        let unread = key.as_ref().and_then(|key| self.index.get(key)).map(|position| position - self.head);
        if let Some(place) = unread.and_then(|offset| self.items.get_mut(offset as usize)) {
            self.coalesced += 1;
            return Some(std::mem::replace(place, item));
        }
        let mut oldest = None;
        if self.items.len() >= capacity {
            oldest = self.pop_front();
            self.dropped += 1;
        }
        if let Some(key) = key {
            self.index.insert(key, self.head + self.items.len() as u64);
        }
        self.items.push_back(item);
        oldest
    }

    fn pop_front(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.head += 1;
        if let Some(key) = item.key() {
            self.index.remove(&key);
        }
        Some(item)
    }

    /// Brings the descriptor in line with the queue.
    fn signal(&mut self) {
        let readable = self.closed || !self.items.is_empty();
        if let Some(descriptor) = &mut self.descriptor {
            descriptor.set(readable);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::runtime::fork::tests::in_child;

    #[derive(Debug, Clone, PartialEq)]
    struct Item(Option<u8>, u32);

    impl Keyed for Item {
        type Key = u8;
        fn key(&self) -> Option<u8> {
            self.0
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    fn readable(descriptor: RawFd) -> bool {
        let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd, no waiting.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        ready == 1 && poll.revents & libc::POLLIN != 0
    }

    #[test]
    fn a_forked_child_reads_without_taking_the_parents_signal() {
        let queue = Queue::new(4);
        let descriptor = queue.descriptor().unwrap();
        queue.push(Item(None, 1));
        let code = in_child(|| {
            queue.separate();
            let same = queue.descriptor().is_ok_and(|own| own == descriptor) && readable(descriptor);
            let empty = queue.try_pop().is_some() && !readable(descriptor);
            queue.push(Item(None, 2));
            let signalled = readable(descriptor) && queue.try_pop().is_some();
            i32::from(same) | i32::from(empty) << 1 | i32::from(signalled) << 2
        });
        assert_eq!(code, 0b111);
        assert!(readable(descriptor), "the item is unread here");
        assert!(queue.try_pop().is_some() && !readable(descriptor));
    }

    #[test]
    fn the_newest_of_a_key_takes_the_place_of_the_unread_one() {
        let queue = Queue::new(4);
        for item in [Item(Some(1), 10), Item(Some(2), 20), Item(Some(1), 11), Item(None, 30)] {
            queue.push(item);
        }
        assert_eq!(queue.try_pop(), Some(Item(Some(1), 11)));
        queue.push(Item(Some(1), 12));
        let rest: Vec<_> = std::iter::from_fn(|| queue.try_pop()).collect();
        assert_eq!(rest, [Item(Some(2), 20), Item(None, 30), Item(Some(1), 12)]);
        let stats = queue.stats();
        assert_eq!((stats.pushed, stats.popped, stats.coalesced, stats.dropped), (5, 4, 1, 0));
    }

    #[test]
    fn a_full_queue_drops_its_oldest() {
        let queue = Queue::new(2);
        for n in 0..5 {
            queue.push(Item(None, n));
        }
        assert_eq!(queue.stats().dropped, 3);
        assert_eq!(queue.try_pop(), Some(Item(None, 3)));
        assert_eq!(Queue::<Item>::new(0).stats().capacity, 1);
    }

    #[test]
    fn a_closed_queue_is_read_to_its_end_and_takes_nothing() {
        let queue = Queue::new(2);
        queue.push(Item(None, 1));
        queue.close();
        queue.push(Item(None, 2));
        assert_eq!(queue.pop_timeout(LONG), Pop::Item(Item(None, 1)));
        assert_eq!(queue.pop_timeout(LONG), Pop::Closed);
        assert!(queue.is_closed());
        assert_eq!(queue.stats().dropped, 1);
    }

    #[test]
    fn waiting_ends_with_the_timeout_or_a_wake() {
        let queue = Queue::<Item>::new(2);
        assert_eq!(queue.pop_timeout(Duration::ZERO), Pop::TimedOut);
        queue.wake();
        assert_eq!(queue.pop_timeout(LONG), Pop::TimedOut);
        queue.push(Item(None, 1));
        queue.wake();
        assert_eq!(queue.pop_timeout(LONG), Pop::Item(Item(None, 1)));
    }

    #[test]
    fn an_item_wakes_a_waiting_thread() {
        let queue = Arc::new(Queue::new(2));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.pop_timeout(LONG));
            queue.push(Item(None, 7));
            assert_eq!(waiter.join().unwrap(), Pop::Item(Item(None, 7)));
        });
    }

    #[test]
    fn the_descriptor_is_readable_while_there_is_something_to_read() {
        let queue = Queue::new(2);
        queue.push(Item(None, 1));
        let descriptor = queue.descriptor().unwrap();
        assert_eq!(queue.descriptor().unwrap(), descriptor);
        assert!(readable(descriptor), "an item was there before the descriptor");
        queue.push(Item(None, 2));
        queue.try_pop();
        assert!(readable(descriptor));
        queue.pop_timeout(LONG);
        assert!(!readable(descriptor));
        queue.push(Item(None, 3));
        assert!(readable(descriptor));
        queue.try_pop();
        queue.close();
        assert!(readable(descriptor), "closed: readable for good");
    }

    proptest! {
        /// Against a naive model: a list that is searched from the front.
        #[test]
        fn behaves_like_a_list(
            capacity in 1_usize..6,
            steps in prop::collection::vec(prop::option::weighted(0.7, (prop::option::of(0_u8..4), any::<u32>())), 0..120),
        ) {
            let queue = Queue::new(capacity);
            let mut model: Vec<Item> = Vec::new();
            for step in steps {
                if let Some((key, value)) = step {
                    let item = Item(key, value);
                    queue.push(item.clone());
                    if let Some(old) = model.iter_mut().find(|old| key.is_some() && old.0 == key) {
                        *old = item;
                    } else {
                        if model.len() == capacity {
                            model.remove(0);
                        }
                        model.push(item);
                    }
                } else {
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    prop_assert_eq!(queue.try_pop(), expected);
                }
                let stats = queue.stats();
                prop_assert_eq!(stats.len, model.len() as u64);
                prop_assert_eq!(stats.pushed, stats.popped + stats.len + stats.coalesced + stats.dropped);
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Item(Option<u8>, u32);

    impl Keyed for Item {
        type Key = u8;
        fn key(&self) -> Option<u8> {
            self.0
        }
    }

    const LONG: Duration = Duration::from_secs(3_600);

    /// Two writers and a reader that waits: the counts agree at the end, each item is read at most once,
    /// and the newest item is never the one that is lost.
    #[test]
    fn loom_no_item_is_lost_unaccounted() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(1));
            let writers: Vec<_> = (1..=2)
                .map(|n| {
                    let queue = queue.clone();
                    thread::spawn(move || queue.push(Item(None, n)))
                })
                .collect();
            let Pop::Item(first) = queue.pop_timeout(LONG) else {
                unreachable!("nothing closes the queue");
            };
            for writer in writers {
                writer.join().unwrap();
            }
            let second = queue.try_pop();
            assert_ne!(Some(&first), second.as_ref());
            let stats = queue.stats();
            assert_eq!(stats.pushed, 2);
            assert_eq!(stats.popped, 1 + u64::from(second.is_some()));
            assert_eq!(stats.pushed, stats.popped + stats.len + stats.coalesced + stats.dropped);
        });
    }

    /// Coalescing against a reader: one key, two values; the last one is always read.
    #[test]
    fn loom_the_last_value_of_a_key_is_read() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(2));
            let writer = {
                let queue = queue.clone();
                thread::spawn(move || {
                    queue.push(Item(Some(1), 1));
                    queue.push(Item(Some(1), 2));
                    queue.close();
                })
            };
            let mut last = 0;
            while let Pop::Item(item) = queue.pop_timeout(LONG) {
                assert!(item.1 > last, "read twice or backwards");
                last = item.1;
            }
            assert_eq!(last, 2);
            writer.join().unwrap();
            let stats = queue.stats();
            assert_eq!(stats.pushed, stats.popped + stats.coalesced);
        });
    }

    /// Close, against two threads that wait: both wake up.
    #[test]
    fn loom_close_wakes_every_waiter() {
        loom::model(|| {
            let queue = Arc::new(Queue::<Item>::new(1));
            let waiter = {
                let queue = queue.clone();
                thread::spawn(move || queue.pop_timeout(LONG))
            };
            let closer = {
                let queue = queue.clone();
                thread::spawn(move || queue.close())
            };
            assert_eq!(queue.pop_timeout(LONG), Pop::Closed);
            assert_eq!(waiter.join().unwrap(), Pop::Closed);
            closer.join().unwrap();
        });
    }

    /// A wake is not lost when it comes between the worker's look at its stop flag and its wait.
    #[test]
    fn loom_wake_is_never_lost() {
        loom::model(|| {
            let queue = Arc::new(Queue::<Item>::new(1));
            let waker = {
                let queue = queue.clone();
                thread::spawn(move || queue.wake())
            };
            assert_eq!(queue.pop_timeout(LONG), Pop::TimedOut);
            waker.join().unwrap();
        });
    }
}
