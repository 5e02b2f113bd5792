//! Opening tails, and what their owner holds.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::super::frontier::FIRST_SEQ;
use super::super::store::EventStore;
use super::deliver;
use super::item::TailItem;
use super::matcher::Matcher;
use super::reader::Reader;
use super::registry::{Entry, Tails, Taken};
use super::{MAX_TAILS, TailCallback, TailOptions, TailStats};
use crate::error::{Code, Error, Result};
use crate::runtime::call::Call;
use crate::runtime::deadline::Deadline;
use crate::runtime::queue::Pop;
use crate::runtime::supervisor::Supervisor;
use crate::runtime::sync::{Mutex, lock};

impl EventStore {
    /// Tells events as they are stored: with a tail to take them from. What is stored after this returned is told.
    ///
    /// Errors: `invalid_input` for a filter with what a tail has not, and for a position that the store has not come
    /// to; `resource_exhausted` beyond [`MAX_TAILS`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use elixirscope_foundation::events::{EventStore, EventStoreOptions, NewEvent, TailItem, TailOptions};
    /// use elixirscope_foundation::runtime::clock::{AnchoredClock, SystemClock};
    ///
    /// # fn main() -> elixirscope_foundation::error::Result<()> {
    /// let clock = AnchoredClock::new(Arc::new(SystemClock), 0);
    /// let store = Arc::new(EventStore::open(EventStoreOptions::default(), clock, Arc::default())?);
    /// let event = NewEvent { event_type: "order_paid".into(), ..NewEvent::default() };
    /// store.append(&event)?;
    /// let tail = store.tail(TailOptions { from_seq: Some(1), ..TailOptions::default() })?;
    /// store.append(&event)?;
    /// for seq in 1..=2 {
    ///     let Some(TailItem::Event(event)) = tail.try_next()? else { panic!("both are told") };
    ///     assert_eq!(event.view().seq(), seq);
    /// }
    /// assert!(tail.try_next()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn tail(self: &Arc<Self>, options: TailOptions) -> Result<Tail> {
        if options.window.is_some() {
            return Err(Error::new(Code::InvalidInput, "a window is for tails with a callback"));
        }
        self.open_tail(options, None)
    }

    /// Ends all tails and refuses new ones, without waiting for a callback that runs: who waits wakes up.
    pub fn close_tails(&self) {
        self.tails.close();
    }

    /// Tells events as they are stored: calls `callback` on the worker `esf-events-tail` of this supervisor, with no
    /// lock held, one call at a time for all tails of the store. It may call anything but what closes the store. A
    /// panic in it is counted.
    ///
    /// Errors: as [`EventStore::tail`].
    pub fn tail_callback(
        self: &Arc<Self>,
        supervisor: &Supervisor,
        options: TailOptions,
        callback: TailCallback,
    ) -> Result<Tail> {
        {
            let mut entries = self.tails.entries();
            if !entries.working {
                let tails = Arc::clone(&self.tails);
                supervisor.start(deliver::WORKER, move |stop| deliver::deliver(&tails, stop))?;
                entries.working = true;
            }
        }
        let tail = self.open_tail(options, Some(Call::new(callback)))?;
        self.tails.bell.wake();
        Ok(tail)
    }

    fn open_tail(self: &Arc<Self>, options: TailOptions, call: Option<Call<TailItem>>) -> Result<Tail> {
        let matcher = Matcher::new(options.filter)?;
        let next = self.frontier.next();
        let from = options.from_seq.unwrap_or(next).max(FIRST_SEQ);
        if from > next {
            let message = format!("the tail is to begin at {from}; the next event of the store gets {next}");
            return Err(Error::new(Code::InvalidInput, message)
                .with("from_seq", from)
                .with("next_seq", next));
        }
        if options.capacity == Some(0) || options.window == Some(0) {
            return Err(Error::new(
                Code::InvalidInput,
                "a tail's capacity or window is 0; at least 1 is allowed",
            ));
        }
        let capacity = options.capacity.unwrap_or(u64::MAX);
        let reader = Reader::new(from, capacity, matcher, &self.shared, Arc::clone(&self.tails.totals));
        let mut entries = self.tails.entries();
        if entries.closed {
            return Err(Error::new(Code::Closing, "the event store is being closed"));
        }
        if entries.live.len() >= MAX_TAILS {
            let message = format!("the event store has {MAX_TAILS} tails; end one first");
            return Err(Error::new(Code::ResourceExhausted, message).with("limit", MAX_TAILS));
        }
        let id = entries.next_id;
        entries.next_id += 1;
        let entry = Arc::new(Entry {
            id,
            store: Arc::downgrade(self),
            reader: Mutex::new(reader),
            call,
            window: options.window.map_or(u64::MAX, u64::from),
            unacknowledged: AtomicU64::new(0),
            over: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            rung: AtomicU64::new(0),
        });
        entries.live.push(Arc::clone(&entry));
        Ok(Tail { entry, tails: Arc::clone(&self.tails) })
    }
}

/// A tail of the event store: items to take, or a callback that is being called. Calls may be made from any thread at
/// once; each item is told once.
///
/// When its store is closed, what the tail has read already can still be taken. Dropping it ends it, without waiting
/// for a callback that runs.
pub struct Tail {
    entry: Arc<Entry>,
    tails: Arc<Tails>,
}

impl Tail {
    /// The next item, if there is one that was stored before the call. It looks at all of that, however much does not
    /// match. An error says that what comes next is in a file that cannot be read; the next call tries again.
    pub fn try_next(&self) -> Result<Option<TailItem>> {
        loop {
            match self.poll() {
                Taken::Item(item) => return Ok(Some(item)),
                Taken::Unfinished => {}
                Taken::Nothing(_) | Taken::Over => return Ok(None),
                Taken::Failed(error) => return Err(error),
            }
        }
    }

    /// The next item; waits for one up to `timeout`; without one, looks as [`try_next`](Self::try_next) does. `Closed` once the tail was ended, or its store closed and what was
    /// read is taken.
    ///
    /// Errors as those of [`try_next`](Self::try_next).
    ///
    /// While events come faster than one in 200 µs it looks at such intervals instead of being woken by each.
    pub fn next_timeout(&self, timeout: Duration) -> Result<Pop<TailItem>> {
        let deadline = Deadline::after(timeout);
        loop {
            let position = match self.poll() {
                Taken::Item(item) => return Ok(Pop::Item(item)),
                Taken::Over => return Ok(Pop::Closed),
                Taken::Failed(error) => return Err(error),
                Taken::Unfinished if !timeout.is_zero() && deadline.left().is_none() => {
                    return Ok(Pop::TimedOut);
                }
                Taken::Unfinished => continue,
                Taken::Nothing(position) => position,
            };
            let Some(left) = deadline.left() else { return Ok(Pop::TimedOut) };
            if let Some(pace) = self.entry.pace() {
                self.tails.bell.pause(pace.min(left), || !self.entry.is_over());
                continue;
            }
            let moment = self.tails.bell.moment();
            let Some(store) = self.entry.store.upgrade() else { continue };
            let waits = self.tails.bell.arm(position, &store.frontier);
            // Not held while waiting, so that the store can go.
            drop(store);
            if waits && !self.entry.is_over() {
                self.tails.bell.wait(moment, deadline);
                self.entry.note_ring();
            }
        }
    }

    /// Takes an item; where there is none and the tail has a descriptor, that is not readable from here on.
    fn poll(&self) -> Taken {
        loop {
            let taken = self.entry.take();
            if let Taken::Nothing(position) = taken
                && self.entry.watched.load(Ordering::Acquire)
                && let Some(store) = self.entry.store.upgrade()
            {
                self.tails.bell.set(self.entry.id, false);
                let waits = self.tails.bell.arm(position, &store.frontier);
                if self.entry.is_over() {
                    self.tails.bell.set(self.entry.id, true);
                }
                if !waits {
                    continue;
                }
            }
            return taken;
        }
    }

    /// A descriptor to wait on in an event loop: readable when there may be something to take, and at the end. Then
    /// take until there is nothing, which makes it wait for more. It belongs to the tail: never read, write or close
    /// it.
    pub fn descriptor(&self) -> Result<RawFd> {
        let number = self.tails.bell.descriptor(self.entry.id)?;
        self.entry.watched.store(true, Ordering::Release);
        Ok(number)
    }

    /// Says that so many of the items that the callback was called with are dealt with.
    pub fn acknowledge(&self, items: u64) {
        let less = |unacknowledged: u64| Some(unacknowledged.saturating_sub(items));
        let before = self.entry.unacknowledged.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        if before.is_ok_and(|before| before >= self.entry.window) {
            self.tails.bell.wake();
        }
    }

    /// How it is doing.
    pub fn stats(&self) -> TailStats {
        let store = self.entry.store.upgrade();
        let reader = lock(&self.entry.reader);
        let next = store.map_or(0, |store| store.frontier.next());
        TailStats {
            position: reader.position(),
            behind: next.saturating_sub(reader.position()),
            unread: reader.unread(),
            unacknowledged: self.entry.unacknowledged.load(Ordering::Relaxed),
            counts: reader.counts(),
        }
    }

    /// Ends the tail. When this returns, the callback is not running and will not be called again, and what it owned
    /// is dropped. Only called from inside the callback itself, it returns at once, and the running call is the last.
    pub fn cancel(&self) {
        self.end().wait();
    }

    /// Ends the tail as [`cancel`](Self::cancel) does, except that waiting for a callback that is running is left to
    /// [`EndedTail::wait`], which needs no hold on the tail.
    pub fn end(&self) -> EndedTail {
        self.entry.over.store(true, Ordering::Release);
        self.tails.remove(&self.entry);
        if let Some(call) = &self.entry.call {
            call.forbid();
        }
        self.tails.bell.set(self.entry.id, true);
        self.tails.bell.wake();
        EndedTail(Arc::clone(&self.entry))
    }

    /// In a forked child: no longer shares the descriptor with the parent.
    pub(crate) fn separate(&self) {
        self.tails.bell.separate(self.entry.id);
    }
}

/// A tail that is over, but whose callback may still be running.
pub struct EndedTail(Arc<Entry>);

impl EndedTail {
    /// Waits until the callback is not running; inside the callback itself that is at once.
    pub fn wait(&self) {
        if let Some(call) = &self.0.call {
            call.wait();
        }
    }
}

impl std::fmt::Debug for EndedTail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndedTail").finish_non_exhaustive()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.end();
        self.tails.bell.forget(self.entry.id);
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tail").field(&self.stats()).finish()
    }
}
