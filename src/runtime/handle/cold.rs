//! The cold table: values that are pinned while a call uses them.
//!
//! One word of a slot says everything: its generation, whether it is live, whether it is being closed,
//! and how many pins there are. Invariants: the value is there exactly while the slot is live; it is
//! written before the slot becomes live (release) and moved out only by the one remover that set
//! `CLOSING`, after it saw no pin (acquire, against the release of each unpin); a pin is taken only by
//! a compare-and-swap that sees the right generation, live and not closing. So a `&T` behind a pin is never
//! aliased by a `&mut` and never outlives the value.
//!
//! [`ColdTable::rest`] brings all calls to rest, for a fork: a pin is taken first and looks at `paused`
//! after, the pauser sets `paused` first and looks at the pins after, all sequentially consistent, so one of
//! the two sees the other. It keeps the table's lock, so that no other thread holds it at the moment of the
//! fork. A pin that is given back as soon as `paused` was seen, and a removal that waits for the lock, may be
//! caught by that moment: in the child, which lacks their threads, they are undone.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::chunks::{Chunks, MAX_SLOTS};
use super::{GENERATION_MASK, INDEX_SHIFT, LAST_GENERATION, TableStats, Tag};
use super::{exhausted, generation_of, pack, stale};
use crate::error::{Code, Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::fork;
use crate::runtime::sync::{
    AtomicBool, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, UnsafeCell, lock, wait_timeout,
};

const PINS: u64 = (1 << 32) - 1;
const CLOSING: u64 = 1 << 32;
const LIVE: u64 = 1 << 33;
const STATE_GENERATION_SHIFT: u32 = 40;

/// Handles that stand for a value which calls borrow. A table belongs in a `static`.
pub struct ColdTable<T: 'static> {
    tag: Tag,
    limit: u32,
    slots: Chunks<Slot<T>>,
    state: Mutex<State>,
    unpinned: Condvar,
    paused: AtomicBool,
}

struct Slot<T> {
    state: AtomicU64,
    /// Boxed, so that a chunk of empty slots is small whatever they will hold.
    value: UnsafeCell<Option<Box<T>>>,
}

// SAFETY: `state` guards `value` as the module's invariants say: shared references to the value go to
// several threads (T: Sync), and it is moved in by one thread and out by another (T: Send).
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

struct State {
    /// Free slots, the longest free first: a number comes back as late as possible.
    free: VecDeque<u32>,
    /// Slots that were ever in use: those below this.
    opened: u32,
    retired: u32,
}

/// A value in use: while this lives the value cannot be removed.
pub struct Pin<'a, T: Send + Sync + 'static> {
    table: &'a ColdTable<T>,
    slot: &'static Slot<T>,
    value: &'a T,
}

impl<T: Send + Sync + 'static> ColdTable<T> {
    /// An empty table for handles of this kind, at most `limit` at a time.
    #[cfg(not(loom))]
    pub const fn new(tag: Tag, limit: u32) -> Self {
        Self {
            tag,
            limit: if limit < MAX_SLOTS { limit } else { MAX_SLOTS },
            slots: Chunks::new(),
            state: Mutex::new(State { free: VecDeque::new(), opened: 0, retired: 0 }),
            unpinned: Condvar::new(),
            paused: AtomicBool::new(false),
        }
    }

    /// As without loom, whose atomics cannot be made in a constant.
    #[cfg(loom)]
    pub fn new(tag: Tag, limit: u32) -> Self {
        Self {
            tag,
            limit: limit.min(MAX_SLOTS),
            slots: Chunks::new(),
            state: Mutex::new(State { free: VecDeque::new(), opened: 0, retired: 0 }),
            unpinned: Condvar::new(),
            paused: AtomicBool::new(false),
        }
    }

    /// A new handle for this value; `resource_exhausted` (and the value is gone) when the table is full.
    pub fn insert(&self, value: T) -> Result<u64> {
        fork::under_way_here()?;
        let mut state = lock(&self.state);
        let index = if let Some(index) = state.free.pop_front() {
            index
        } else if state.opened < self.limit {
            state.opened += 1;
            state.opened - 1
        } else {
            drop(state);
            return Err(exhausted(self.tag, self.limit));
        };
        let index = u64::from(index);
        let Some(slot) = self.slots.get_or_grow(index, |_| Slot::new()) else {
            return Err(Error::new(
                Code::InternalError,
                format!("handle slot {index} lies outside its table"),
            ));
        };
        let generation = slot.state.load(Ordering::Acquire) >> STATE_GENERATION_SHIFT;
        let value = Box::new(value);
        // SAFETY: the slot is free, so there is no pin and no remover; the lock keeps other inserts out.
        slot.value.with_mut(|place| unsafe { *place = Some(value) });
        slot.state.store(generation << STATE_GENERATION_SHIFT | LIVE, Ordering::Release);
        Ok(pack(self.tag, index, generation))
    }

    /// The value of a live handle, for as long as the pin is kept: `stale_handle` when the handle is freed
    /// or not one of this table's, `closing` while it is being removed.
    pub fn pin(&self, handle: u64) -> Result<Pin<'_, T>> {
        let slot = self.slot(handle)?;
        let mut state = slot.state.load(Ordering::Relaxed);
        loop {
            self.check(handle, state)?;
            if state & PINS == PINS {
                return Err(exhausted(self.tag, u32::MAX));
            }
            match slot.state.compare_exchange_weak(state, state + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) if self.paused.load(Ordering::SeqCst) => {
                    let here = fork::under_way_here();
                    if here.is_err() {
                        // Nobody waits for this pin, and the lock is this thread's own.
                        slot.state.fetch_sub(1, Ordering::SeqCst);
                    } else {
                        self.unpin(slot);
                    }
                    here?;
                    self.wait_until_resumed();
                    state = slot.state.load(Ordering::Relaxed);
                }
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        // SAFETY: the pin just taken keeps the value where it is and keeps writers away; it is given back
        // when the `Pin` is dropped, which the reference does not outlive.
        let value = slot.value.with(|value| unsafe { (*value).as_deref() });
        if let Some(value) = value {
            return Ok(Pin { table: self, slot, value });
        }
        self.unpin(slot);
        Err(stale(self.tag, handle))
    }

    /// Takes the value out and makes the handle stale. From the start on new pins answer `closing`; when
    /// those in use are not given back by the deadline the handle is open again and this is a `timeout`.
    /// A second removal answers `stale_handle`, or `closing` while the first still waits.
    pub fn remove(&self, handle: u64, deadline: Duration) -> Result<T> {
        fork::under_way_here()?;
        let deadline = Deadline::after(deadline);
        let slot = self.slot(handle)?;
        let mut state = slot.state.load(Ordering::Relaxed);
        loop {
            self.check(handle, state)?;
            match slot.state.compare_exchange_weak(
                state,
                state | CLOSING,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        let mut table = lock(&self.state);
        loop {
            let pins = slot.state.load(Ordering::Acquire) & PINS;
            if pins == 0 {
                break;
            }
            let Some(left) = deadline.left() else {
                slot.state.fetch_and(!CLOSING, Ordering::Release);
                return Err(self.still_used(handle, pins));
            };
            table = wait_timeout(&self.unpinned, table, left);
        }
        // SAFETY: only the remover that set CLOSING comes here, there is no pin and none can be taken.
        let value = slot.value.with_mut(|place| unsafe { (*place).take() });
        let generation = generation_of(handle);
        if generation == LAST_GENERATION {
            table.retired += 1;
            slot.state.store(generation << STATE_GENERATION_SHIFT, Ordering::Release);
        } else {
            slot.state.store((generation + 1) << STATE_GENERATION_SHIFT, Ordering::Release);
            table.free.push_back((handle >> INDEX_SHIFT) as u32);
        }
        value.map(|value| *value).ok_or_else(|| stale(self.tag, handle))
    }

    /// Waits until there is no pin, and lets nothing be pinned, inserted or removed while the answer is kept:
    /// then no call is under way and no lock that calls take is held by another thread. `timeout` when calls
    /// are still running at the deadline.
    pub(crate) fn rest(&self, deadline: Duration) -> Result<ColdRest<'_, T>> {
        let deadline = Deadline::after(deadline);
        self.paused.store(true, Ordering::SeqCst);
        // Made at once, so that dropping it ends the pause whatever comes.
        let mut rest = ColdRest { table: self, state: Some(lock(&self.state)) };
        let mut index = 0;
        while let Some(state) = rest.state.take() {
            let slot = if index < state.opened { self.slots.get(u64::from(index)) } else { None };
            let pins = slot.map(|slot| slot.state.load(Ordering::SeqCst) & PINS);
            let left = deadline.left();
            rest.state = Some(match (pins, left) {
                (Some(0), _) => {
                    index += 1;
                    state
                }
                (Some(_), Some(left)) => wait_timeout(&self.unpinned, state, left),
                (Some(pins), None) => {
                    rest.state = Some(state);
                    let message = format!("{pins} calls use one {} and do not end", self.tag.name());
                    return Err(Error::new(Code::Timeout, message));
                }
                (None, _) => {
                    rest.state = Some(state);
                    break;
                }
            });
        }
        Ok(rest)
    }

    /// Calls with every value, pinned for the call, except those that are being removed.
    pub(crate) fn for_each(&self, call: impl Fn(&T)) {
        let opened = lock(&self.state).opened;
        for index in (0..opened).map(u64::from) {
            let Some(slot) = self.slots.get(index) else { break };
            let generation = (slot.state.load(Ordering::Acquire) >> STATE_GENERATION_SHIFT) & GENERATION_MASK;
            if let Ok(value) = self.pin(pack(self.tag, index, generation)) {
                call(&value);
            }
        }
    }

    /// In a forked child: takes back the pins and removals of threads that are not there any more.
    fn undo(&self, state: &State) {
        for index in (0..state.opened).map(u64::from) {
            if let Some(slot) = self.slots.get(index) {
                slot.state.fetch_and(!(PINS | CLOSING), Ordering::SeqCst);
            }
        }
    }

    #[cold]
    fn wait_until_resumed(&self) {
        let mut table = lock(&self.state);
        while self.paused.load(Ordering::SeqCst) {
            table = wait_timeout(&self.unpinned, table, Duration::from_secs(1));
        }
    }

    /// How full the table is.
    pub fn stats(&self) -> TableStats {
        let state = lock(&self.state);
        let (opened, free) = (u64::from(state.opened), state.free.len() as u64);
        let retired = u64::from(state.retired);
        TableStats { live: opened - free - retired, limit: u64::from(self.limit), retired }
    }

    /// The slot that this handle names, if it is one of this table's kind and of this library copy.
    fn slot(&self, handle: u64) -> Result<&'static Slot<T>> {
        let slot =
            if Tag::of(handle) == Some(self.tag) { self.slots.get(handle >> INDEX_SHIFT) } else { None };
        slot.ok_or_else(|| stale(self.tag, handle))
    }

    fn check(&self, handle: u64, state: u64) -> Result<()> {
        let generation = (state >> STATE_GENERATION_SHIFT) & GENERATION_MASK;
        if generation != generation_of(handle) || state & LIVE == 0 {
            return Err(stale(self.tag, handle));
        }
        if state & CLOSING != 0 {
            let message = format!("this {} is being closed", self.tag.name());
            return Err(Error::new(Code::Closing, message).with("handle", format!("{handle:#x}")));
        }
        Ok(())
    }

    fn unpin(&self, slot: &Slot<T>) {
        let before = slot.state.fetch_sub(1, Ordering::SeqCst);
        let awaited = before & CLOSING != 0 || self.paused.load(Ordering::SeqCst);
        if awaited && before & PINS == 1 {
            // Under the lock, so that it cannot fall between the waiter's look and its wait.
            let _table = lock(&self.state);
            self.unpinned.notify_all();
        }
    }

    #[cold]
    fn still_used(&self, handle: u64, pins: u64) -> Error {
        Error::new(
            Code::Timeout,
            format!("{pins} calls still use this {}; it stays open: close it again later", self.tag.name()),
        )
        .with("handle", format!("{handle:#x}"))
        .with("calls", pins)
    }
}

/// A cold table at rest, until this is dropped: in the child of the fork if that was what it rested for.
pub(crate) struct ColdRest<'a, T: Send + Sync + 'static> {
    table: &'a ColdTable<T>,
    /// Always there, except while `rest` waits.
    state: Option<MutexGuard<'a, State>>,
}

impl<T: Send + Sync + 'static> Drop for ColdRest<'_, T> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            if fork::is_forked() {
                self.table.undo(&state);
            }
            self.table.paused.store(false, Ordering::SeqCst);
            self.table.unpinned.notify_all();
        }
    }
}

impl<T> Slot<T> {
    fn new() -> Self {
        Self { state: AtomicU64::new(0), value: UnsafeCell::new(None) }
    }
}

impl<T: Send + Sync + 'static> Deref for Pin<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

impl<T: Send + Sync + 'static> Drop for Pin<'_, T> {
    fn drop(&mut self) {
        self.table.unpin(self.slot);
    }
}

impl<T: Send + Sync + fmt::Debug + 'static> fmt::Debug for Pin<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.value, f)
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for ColdTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ColdTable").field(&self.tag).field(&self.stats()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::runtime::fork::tests::in_child;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_value_lives_until_it_is_removed() {
        static TABLE: ColdTable<String> = ColdTable::new(Tag::Cursor, 10);
        let handle = TABLE.insert("one".to_owned()).unwrap();
        assert_eq!(*TABLE.pin(handle).unwrap(), "one");
        assert_eq!(TABLE.remove(handle, LONG).unwrap(), "one");
        for error in [TABLE.pin(handle).unwrap_err(), TABLE.remove(handle, LONG).unwrap_err()] {
            assert_eq!(error.code(), Code::StaleHandle);
        }
        let next = TABLE.insert("two".to_owned()).unwrap();
        assert_eq!(next >> INDEX_SHIFT, handle >> INDEX_SHIFT, "the slot is used again");
        assert_eq!(TABLE.pin(handle).unwrap_err().code(), Code::StaleHandle);
        assert_eq!(*TABLE.pin(next).unwrap(), "two");
    }

    #[test]
    fn a_pause_waits_for_calls_and_keeps_others_out() {
        static TABLE: ColdTable<u32> = ColdTable::new(Tag::Instance, 10);
        let handle = TABLE.insert(5).unwrap();
        let pin = TABLE.pin(handle).unwrap();
        assert_eq!(TABLE.rest(Duration::ZERO).err().unwrap().code(), Code::Timeout);
        assert_eq!(*TABLE.pin(handle).unwrap(), 5, "a pause that failed is over");
        std::thread::scope(|scope| {
            let unpinned = scope.spawn(move || drop(pin));
            let rest = TABLE.rest(LONG).unwrap();
            unpinned.join().unwrap();
            let late = scope.spawn(|| *TABLE.pin(handle).unwrap());
            assert_eq!(TABLE.slot(handle).unwrap().state.load(Ordering::SeqCst) & CLOSING, 0);
            drop(rest);
            assert_eq!(late.join().unwrap(), 5);
        });
    }

    #[test]
    fn what_a_fork_catches_half_done_is_undone_in_the_child() {
        static TABLE: ColdTable<u32> = ColdTable::new(Tag::Instance, 10);
        fork::arm();
        let handle = TABLE.insert(5).unwrap();
        let rest = TABLE.rest(LONG).unwrap();
        let state = &TABLE.slot(handle).unwrap().state;
        // Another thread pins and has yet to see that it must not, and a third is about to remove.
        state.fetch_add(1, Ordering::SeqCst);
        state.fetch_or(CLOSING, Ordering::SeqCst);
        let code = in_child(|| {
            drop(rest);
            let pinned = TABLE.pin(handle).is_ok_and(|value| *value == 5);
            let removed = TABLE.remove(handle, Duration::ZERO).is_ok();
            i32::from(pinned) | i32::from(removed) << 1
        });
        assert_eq!(code, 0b11);
        assert_eq!(TABLE.pin(handle).unwrap_err().code(), Code::Closing, "in the parent they go on");
    }

    #[test]
    fn removal_waits_for_pins_and_opens_again_when_it_takes_too_long() {
        static TABLE: ColdTable<u32> = ColdTable::new(Tag::Instance, 10);
        let handle = TABLE.insert(5).unwrap();
        let pin = TABLE.pin(handle).unwrap();
        let error = TABLE.remove(handle, Duration::ZERO).unwrap_err();
        assert_eq!((error.code(), &error.context()["calls"]), (Code::Timeout, &1.into()));
        assert_eq!(*TABLE.pin(handle).unwrap(), 5, "open again");
        std::thread::scope(|scope| {
            let remover = scope.spawn(|| TABLE.remove(handle, LONG));
            // New pins are refused from the moment that the removal has begun.
            while let Ok(again) = TABLE.pin(handle) {
                drop(again);
                std::thread::yield_now();
            }
            assert_eq!(TABLE.pin(handle).unwrap_err().code(), Code::Closing);
            assert_eq!(TABLE.remove(handle, LONG).unwrap_err().code(), Code::Closing);
            assert_eq!(*pin, 5);
            drop(pin);
            assert_eq!(remover.join().unwrap().unwrap(), 5);
        });
        assert_eq!(TABLE.stats(), TableStats { live: 0, limit: 10, retired: 0 });
    }

    #[test]
    fn nothing_else_is_a_handle() {
        static TABLE: ColdTable<u32> = ColdTable::new(Tag::Error, 10);
        let handle = TABLE.insert(5).unwrap();
        for number in (0..64).map(|bit| handle ^ 1 << bit).chain([0, u64::MAX]) {
            assert_eq!(TABLE.pin(number).unwrap_err().code(), Code::StaleHandle, "{number:#x}");
            assert_eq!(TABLE.remove(number, LONG).unwrap_err().code(), Code::StaleHandle);
        }
        // The state of slots that were never used is all zero: their first generation is not live.
        assert_eq!(TABLE.pin(pack(Tag::Error, 1, 0)).unwrap_err().code(), Code::StaleHandle);
    }

    #[test]
    fn the_limit_holds_and_worn_slots_are_retired() {
        static TABLE: ColdTable<u32> = ColdTable::new(Tag::Subscription, 1);
        let handle = TABLE.insert(1).unwrap();
        assert_eq!(TABLE.insert(2).unwrap_err().context()["limit"], 1);
        TABLE.remove(handle, LONG).unwrap();
        let slot = TABLE.slots.get(0).unwrap();
        slot.state.store(LAST_GENERATION << STATE_GENERATION_SHIFT, Ordering::Relaxed);
        let last = TABLE.insert(3).unwrap();
        assert_eq!(TABLE.remove(last, LONG).unwrap(), 3);
        assert_eq!(TABLE.pin(last).unwrap_err().code(), Code::StaleHandle);
        assert_eq!(
            (TABLE.insert(4).unwrap_err().code(), TABLE.stats().retired),
            (Code::ResourceExhausted, 1)
        );
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    /// A value that says whether it is still in the table.
    struct Value(Arc<AtomicBool>);

    /// A call against a removal: while the call holds its pin the value is in the table, and the removal
    /// gets the value in the end.
    #[test]
    fn loom_cold_removal_waits_for_the_pin() {
        loom::model(|| {
            let table = Arc::new(ColdTable::new(Tag::Cursor, 1));
            let there = Arc::new(AtomicBool::new(true));
            let handle = table.insert(Value(there.clone())).unwrap();
            let user = {
                let table = table.clone();
                thread::spawn(move || match table.pin(handle) {
                    Ok(pin) => assert!(pin.0.load(Ordering::Relaxed), "removed under a pin"),
                    Err(error) => assert!(matches!(error.code(), Code::Closing | Code::StaleHandle)),
                })
            };
            let value = table.remove(handle, LONG).map_err(|error| error.code()).ok().unwrap();
            value.0.store(false, Ordering::Relaxed);
            assert_eq!(table.pin(handle).err().map(|error| error.code()), Some(Code::StaleHandle));
            user.join().unwrap();
        });
    }

    /// A value is published whole: a handle that was passed on without ordering is not found, or found
    /// with its value (loom checks the cell for races).
    #[test]
    fn loom_cold_insert_publishes_whole() {
        loom::model(|| {
            let table = Arc::new(ColdTable::new(Tag::Cursor, 1));
            let passed = Arc::new(AtomicU64::new(0));
            let writer = {
                let (table, passed) = (table.clone(), passed.clone());
                thread::spawn(move || {
                    let handle = table.insert(7_u32).unwrap();
                    passed.store(handle, Ordering::Relaxed);
                })
            };
            if let Ok(pin) = table.pin(passed.load(Ordering::Relaxed)) {
                assert_eq!(*pin, 7);
            }
            writer.join().unwrap();
        });
    }

    /// Two removals: one gets the value.
    #[test]
    fn loom_cold_removal_succeeds_once() {
        loom::model(|| {
            let table = Arc::new(ColdTable::new(Tag::Cursor, 1));
            let handle = table.insert(5_u32).unwrap();
            let other = {
                let table = table.clone();
                thread::spawn(move || table.remove(handle, LONG).is_ok())
            };
            let here = table.remove(handle, LONG).is_ok();
            assert!(here ^ other.join().unwrap());
        });
    }

    /// A stale handle against the reuse of its slot: never the new value.
    #[test]
    fn loom_cold_stale_handles_stay_stale() {
        loom::model(|| {
            let table = Arc::new(ColdTable::new(Tag::Cursor, 1));
            let first = table.insert(1_u32).unwrap();
            let user = {
                let table = table.clone();
                thread::spawn(move || {
                    if let Ok(pin) = table.pin(first) {
                        assert_eq!(*pin, 1);
                    }
                })
            };
            assert_eq!(table.remove(first, LONG).ok(), Some(1));
            let second = table.insert(2_u32).unwrap();
            assert_eq!(table.pin(second).map(|pin| *pin).ok(), Some(2));
            user.join().unwrap();
        });
    }

    /// A removal that gives up at once leaves the handle open, whatever the pins do meanwhile.
    #[test]
    fn loom_cold_timeout_opens_again() {
        loom::model(|| {
            let table = Arc::new(ColdTable::new(Tag::Cursor, 1));
            let handle = table.insert(1_u32).unwrap();
            let user = {
                let table = table.clone();
                thread::spawn(move || drop(table.pin(handle)))
            };
            let removed = table.remove(handle, Duration::ZERO);
            let timed_out = removed.as_ref().is_err_and(|error| error.code() == Code::Timeout);
            assert!(removed.is_ok() || timed_out);
            user.join().unwrap();
            assert_eq!(table.pin(handle).is_ok(), timed_out);
        });
    }
}
