//! From memory to the disk: rounds of writing and syncing, the watermarks, and those who wait for them.
//!
//! One *round* writes everything that is published (`group`: to the log, in the order of `seq`; `strict`: one append)
//! and syncs it. Whoever waits and finds nobody at it leads the next round; the others wait for that one to end, and
//! whatever they stored meanwhile is in the round after it. So one sync serves all who wait, and nobody hands work
//! to another thread only to wait for it.
//!
//! Invariants:
//! - every event below `durable` is on the disk: in a sealed segment, or in a log that was synced behind it;
//! - after a failed write or sync nothing more goes to that file. What was not known to be durable is written again,
//!   from memory, to another one (`Places` start again at `durable`), and only then acknowledged;
//! - nothing below `durable` is ever written again, so a log that was given up holds nothing that is needed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::super::durability::{Durability, Level};
use super::super::record::FLAG_LAST;
use super::super::store::EventStore;
use super::Disk;
use super::gather::Places;
use super::logs::OpenLog;
use super::worker;
use crate::error::{Code, Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::sync::{AtomicU64, Condvar, Mutex, Ordering, lock, wait_timeout};

/// How much is gathered before it is written, in bytes.
const CHUNK: usize = 1 << 20;
/// How many waits that end in a call may be open.
pub(super) const MAX_WAITERS: usize = 65_536;
/// How long one look at the state lasts at most while another thread is at it.
const LOOK: Duration = Duration::from_secs(1);

/// Called once: when the events are as safe as was asked for, or with the reason why not.
pub type WhenSafe = Box<dyn FnOnce(Result<()>) + Send>;

struct Waiter {
    /// Everything below must be safe.
    seq: u64,
    level: Level,
    then: WhenSafe,
}

/// What is being written to.
struct Flusher {
    places: Places,
    log: Option<OpenLog>,
    buffer: Vec<u8>,
}

/// The watermarks of the levels that are waited for, read once for all who wait.
struct Marks {
    crash_safe: u64,
    durable: u64,
}

impl Marks {
    fn of(&self, level: Level) -> u64 {
        if level == Level::Durable { self.durable } else { self.crash_safe }
    }
}

/// The watermarks and the queue before them.
pub(crate) struct Syncing {
    durable: AtomicU64,
    flusher: Mutex<Flusher>,
    state: Mutex<State>,
    changed: Condvar,
    rounds: AtomicU64,
    failures: AtomicU64,
    /// When the last sync ended, on the store's clock, and how long it took.
    last_sync: AtomicU64,
    last_took: AtomicU64,
}

#[derive(Default)]
struct State {
    leading: bool,
    waiters: Vec<Waiter>,
    /// Why the last round failed; `None` since one succeeded.
    failure: Option<Error>,
}

impl Syncing {
    /// Everything below `next` is durable.
    pub(crate) fn new(shards: usize, next: u64) -> Self {
        Self {
            durable: AtomicU64::new(next),
            flusher: Mutex::new(Flusher { places: Places::new(shards, next), log: None, buffer: Vec::new() }),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            rounds: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_sync: AtomicU64::new(0),
            last_took: AtomicU64::new(0),
        }
    }

    /// Every event below it is on the disk.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Rounds, and failures of rounds.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.rounds.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// When the last sync ended and how long it took, in nanoseconds; 0 before the first.
    pub(crate) fn last_sync(&self) -> (u64, u64) {
        (self.last_sync.load(Ordering::Relaxed), self.last_took.load(Ordering::Relaxed))
    }

    /// Why the last round failed, if it did.
    pub(crate) fn failure(&self) -> Option<Error> {
        lock(&self.state).failure.clone()
    }

    /// Whether somebody waits for a call.
    pub(crate) fn has_waiters(&self) -> bool {
        !lock(&self.state).waiters.is_empty()
    }

    /// Everything below is on the disk, whoever saw to it: sealing does too.
    pub(crate) fn raise(&self, seq: u64) {
        self.durable.fetch_max(seq, Ordering::AcqRel);
        let _state = lock(&self.state);
        self.changed.notify_all();
    }

    /// Closes the log that is written to. Nobody writes any more.
    pub(crate) fn finish(&self, disk: &Disk) {
        let log = lock(&self.flusher).log.take();
        if let Some(mut log) = log {
            log.finish();
            disk.logs.close(log);
        }
    }
}

impl EventStore {
    /// Waits until every event up to this `seq` is at least as safe as `level`, for so long at most.
    ///
    /// Errors: `timeout` when that took longer; `operation_forbidden` when the store has no files and the level asks
    /// for them, or is read only; `forked` in the child of a fork, whose files are its parent's; `closing` when it is
    /// closed; `io_error` or `no_space` when the disk would not take it: the events are in memory, and the store
    /// goes on trying.
    pub fn wait_durable(&self, seq: u64, level: Level, timeout: Duration) -> Result<()> {
        let deadline = Deadline::after(timeout);
        self.wait_safe(seq.saturating_add(1), level, Some(deadline))
    }

    /// Every event below this `seq` is at least as safe as `level`.
    pub fn watermark(&self, level: Level) -> u64 {
        match (&self.disk, level) {
            (_, Level::Accepted) => self.frontier.stable(),
            (None, _) => super::super::frontier::FIRST_SEQ,
            (Some(disk), Level::CrashSafe) if disk.mode.maps() => {
                self.frontier.stable().min(disk.mapped.unlogged_from()).max(disk.sync.durable())
            }
            (Some(disk), _) => disk.sync.durable(),
        }
    }

    /// Calls `then` once every event up to this `seq` is at least as safe as `level`, or when the store cannot do it;
    /// from the instance's sync thread, with no lock held, or at once from this thread if it is so already.
    ///
    /// When the store is closed first, `then` is called with `closing`. It may make any call but closing the instance.
    ///
    /// Errors: `resource_exhausted` with 65,536 such waits open; `operation_forbidden`, `forked` and `closing` as for
    /// [`EventStore::wait_durable`]. `then` is not called then.
    pub fn when_durable(&self, seq: u64, level: Level, then: WhenSafe) -> Result<()> {
        let below = seq.saturating_add(1);
        if level == Level::Accepted || self.watermark(level) >= below {
            then(Ok(()));
            return Ok(());
        }
        let Some(disk) = &self.disk else { return without_files(level) };
        {
            let mut state = lock(&disk.sync.state);
            // Under the lock: closing dismisses those who wait only after it is marked.
            disk.check_writable()?;
            if state.waiters.len() >= MAX_WAITERS {
                let message = format!("{MAX_WAITERS} waits for the disk are open, which is the limit");
                return Err(Error::new(Code::ResourceExhausted, message).with("limit", MAX_WAITERS));
            }
            state.waiters.push(Waiter { seq: below, level, then });
        }
        disk.news.tell();
        Ok(())
    }

    /// Waits until everything below `below` is as safe as `level`. Without a deadline this thread may lead a round.
    pub(crate) fn wait_safe(&self, below: u64, level: Level, deadline: Option<Deadline>) -> Result<()> {
        if level == Level::Accepted || self.watermark(level) >= below {
            return Ok(());
        }
        let Some(disk) = &self.disk else { return without_files(level) };
        disk.check_writable()?;
        // What waits only so long does not lead: a disk that hangs would hold it. The thread that syncs cannot wait
        // for itself: a call that it makes may ask for this.
        let leads = deadline.is_none() || !disk.has_worker() || worker::is_syncing_thread();
        let failed_before = disk.sync.counts().1;
        let mut state = lock(&disk.sync.state);
        loop {
            if self.watermark(level) >= below {
                return Ok(());
            }
            if disk.sync.counts().1 > failed_before + 1
                && let Some(failure) = &state.failure
            {
                return Err(not_durable(failure));
            }
            let left = match deadline {
                None => LOOK,
                Some(deadline) => deadline.left().ok_or_else(|| too_slow(level))?.min(LOOK),
            };
            // What is not there yet is no work; the next look asks again.
            let there = below.min(self.frontier.next());
            let lags = self.watermark(level) < there;
            if leads && lags && !state.leading {
                state.leading = true;
                drop(state);
                self.lead(disk);
                state = lock(&disk.sync.state);
                continue;
            }
            if lags && !state.leading {
                disk.pending.fetch_max(there, Ordering::AcqRel);
                disk.news.tell();
            }
            state = wait_timeout(&disk.sync.changed, state, left);
        }
    }

    /// Leads one round, as the one who has set `leading`.
    fn lead(&self, disk: &Disk) {
        let led = Led { disk };
        let outcome = self.round(disk);
        let mut state = lock(&disk.sync.state);
        match outcome {
            Ok(()) => state.failure = None,
            Err(error) => {
                disk.sync.failures.fetch_add(1, Ordering::AcqRel);
                state.failure = Some(error);
            }
        }
        drop(state);
        drop(led);
    }

    /// Leads rounds until everything that is published now is durable, unless a round fails; then its error.
    pub(crate) fn sync_now(&self) -> Result<()> {
        self.wait_safe(self.frontier.settled(), Level::Durable, None)
    }

    /// What the sync thread does when it is woken: a round if somebody needs one, then calls for those whose events
    /// are safe. Waiters whose round failed are told so.
    pub(crate) fn serve_waiters(&self, due: bool) {
        let Some(disk) = &self.disk else { return };
        let failures = disk.sync.counts().1;
        let wanted = {
            let mut state = lock(&disk.sync.state);
            let wanted = !state.leading && (due || self.is_awaited(disk, &state));
            state.leading |= wanted;
            wanted
        };
        if wanted {
            self.lead(disk);
        }
        let failed = disk.sync.counts().1 > failures;
        let mut calls: Vec<(WhenSafe, Result<()>)> = Vec::new();
        {
            let mut state = lock(&disk.sync.state);
            let failure = state.failure.clone().filter(|_| failed);
            let marks = self.marks();
            let waiters = std::mem::take(&mut state.waiters);
            for waiter in waiters {
                if marks.of(waiter.level) >= waiter.seq {
                    calls.push((waiter.then, Ok(())));
                } else if let Some(failure) = &failure {
                    calls.push((waiter.then, Err(not_durable(failure))));
                } else {
                    state.waiters.push(waiter);
                }
            }
        }
        for (then, outcome) in calls {
            call(then, outcome);
        }
    }

    /// Tells all who wait for a call that the store is closed.
    pub(crate) fn dismiss_waiters(&self) {
        let Some(disk) = &self.disk else { return };
        let waiters = std::mem::take(&mut lock(&disk.sync.state).waiters);
        for waiter in waiters {
            let outcome = if self.watermark(waiter.level) >= waiter.seq {
                Ok(())
            } else {
                Err(Error::new(Code::Closing, "the store was closed before the event was durable"))
            };
            call(waiter.then, outcome);
        }
        let waiting = std::mem::take(&mut *lock(&disk.room));
        for then in waiting {
            call(then, Err(Error::new(Code::Closing, "the store was closed before there was room")));
        }
    }

    fn marks(&self) -> Marks {
        Marks { crash_safe: self.watermark(Level::CrashSafe), durable: self.watermark(Level::Durable) }
    }

    /// Whether a round that nobody is at would bring somebody further.
    pub(super) fn wants_round(&self, disk: &Disk) -> bool {
        let state = lock(&disk.sync.state);
        !state.leading && self.is_awaited(disk, &state)
    }

    /// Whether somebody waits for events that are there. Those that are not are no work.
    fn is_awaited(&self, disk: &Disk, state: &State) -> bool {
        let next = self.frontier.next();
        let marks = self.marks();
        let lags = |waiter: &Waiter| marks.of(waiter.level) < waiter.seq.min(next);
        disk.pending.load(Ordering::Acquire) > marks.durable || state.waiters.iter().any(lags)
    }

    /// Writes and syncs once. On success `durable` has moved up to what was published when the round began, or, with
    /// `strict`, by one append.
    fn round(&self, disk: &Disk) -> Result<()> {
        disk.check_writable()?;
        let began = self.clock.now_ns();
        let to = self.frontier.settled();
        let durable = if disk.mode.maps() { self.sync_mapped(disk, to)? } else { self.write_log(disk, to)? };
        let now = self.clock.now_ns();
        disk.sync.last_sync.store(now as u64, Ordering::Relaxed);
        disk.sync.last_took.store(now.saturating_sub(began) as u64, Ordering::Relaxed);
        disk.sync.rounds.fetch_add(1, Ordering::Relaxed);
        disk.sync.durable.fetch_max(durable, Ordering::AcqRel);
        Ok(())
    }

    /// One round of `group` or `strict`: what is published goes to the log, behind it a commit frame, and then it is
    /// synced. After a failure the same goes to another file once more.
    pub(super) fn write_log(&self, disk: &Disk, to: u64) -> Result<u64> {
        let mut flusher = lock(&disk.sync.flusher);
        disk.check_writable()?;
        let one = disk.mode == Durability::Strict;
        let written = self.write_once(disk, &mut flusher, to, one);
        if written.is_ok() {
            return written;
        }
        disk.sync.failures.fetch_add(1, Ordering::AcqRel);
        self.write_once(disk, &mut flusher, to, one)
    }

    fn write_once(&self, disk: &Disk, flusher: &mut Flusher, to: u64, one: bool) -> Result<u64> {
        self.begin_at_durable(disk, flusher);
        if flusher.places.next() >= to {
            return Ok(to);
        }
        if flusher.log.as_ref().is_some_and(OpenLog::full)
            && let Some(mut log) = flusher.log.take()
        {
            log.finish();
            disk.logs.close(log);
        }
        let mut log = match flusher.log.take() {
            Some(log) => log,
            None => disk.logs.open(flusher.places.next())?,
        };
        // A log that was ready begins where the durable events ended when it was made, which may be later than when we
        // looked: of what lies before its beginning nothing would count, nor would what follows that.
        self.begin_at_durable(disk, flusher);
        let outcome = self.fill(disk, flusher, &mut log, to, one);
        match outcome {
            Ok(durable) => {
                flusher.log = Some(log);
                Ok(durable)
            }
            Err(error) => {
                log.give_up();
                disk.logs.close(log);
                flusher.places = Places::new(self.shards.len(), disk.sync.durable());
                Err(error)
            }
        }
    }

    /// Has the next round begin where the durable events end: what was sealed meanwhile is durable that way, and of what
    /// a round has passed and not made durable, because it did not end, nothing is known.
    fn begin_at_durable(&self, disk: &Disk, flusher: &mut Flusher) {
        let durable = disk.sync.durable();
        if flusher.places.next() != durable {
            flusher.places = Places::new(self.shards.len(), durable);
        }
    }

    fn fill(&self, disk: &Disk, flusher: &mut Flusher, log: &mut OpenLog, to: u64, one: bool) -> Result<u64> {
        let Flusher { places, buffer, .. } = flusher;
        buffer.clear();
        let mut position = log.position();
        let names = &self.shared.names;
        places.walk(&self.shards, to, &mut |segment, index, record| {
            log.push(segment, index, names, buffer);
            if buffer.len() >= CHUNK {
                log.write(position, buffer)?;
                position = log.position();
                buffer.clear();
            }
            // Each append has a sync of its own, but for those of a process that is gone.
            let last = record.flags() & FLAG_LAST != 0 && record.seq() + 1 >= disk.recovered_to;
            Ok(!(one && last))
        })?;
        log.push_commit(buffer);
        log.write(position, buffer)?;
        buffer.clear();
        log.sync()?;
        Ok(places.next())
    }
}

/// Gives the lead back, also when the round panicked.
struct Led<'a> {
    disk: &'a Disk,
}

impl Drop for Led<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.disk.sync.state);
        state.leading = false;
        self.disk.sync.changed.notify_all();
        if !state.waiters.is_empty() {
            self.disk.news.tell();
        }
    }
}

/// Calls one who waited. A panic of the host's is the host's: the hook has reported it, and the others are called.
pub(super) fn call(then: WhenSafe, outcome: Result<()>) {
    let _ = catch_unwind(AssertUnwindSafe(|| then(outcome)));
}

fn not_durable(cause: &Error) -> Error {
    let message = format!(
        "the events are in memory and not durable yet; the store goes on trying: {}",
        cause.message()
    );
    Error::new(cause.code(), message).with("cause", cause.to_json())
}

fn too_slow(level: Level) -> Error {
    let message = format!("the events did not become {} in time; the store goes on", level.name());
    Error::new(Code::Timeout, message).with("level", level.name())
}

fn without_files(level: Level) -> Result<()> {
    let message =
        format!("the store has no files, so no event of it gets {}: open it with data_dir", level.name());
    Err(Error::new(Code::OperationForbidden, message).with("level", level.name()))
}
