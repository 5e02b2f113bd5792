//! Supervision: the named worker threads of one instance.
//!
//! A worker whose body panics is started again, alone (one-for-one), at most [`MAX_RESTARTS`] times within
//! [`WINDOW_NS`] of the instance's clock; one panic more and it is `failed`, which health reports while
//! everything that can go on without it goes on. Threads exist only for workers that were started, and
//! stop when asked: a body looks at its [`StopToken`], and whatever it waits in is woken through
//! [`StopToken::on_stop`]. No lock is held while a body or a waker runs.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use serde::Serialize;

use super::clock::Clock;
use super::deadline::Deadline;
pub use super::stop::StopToken;
use super::thread;
use crate::error::{Code, Error, Result};

/// How many restarts a worker gets within the window.
pub const MAX_RESTARTS: usize = 3;
/// How long the window is that restarts are counted in: 60 s.
pub const WINDOW_NS: i64 = 60_000_000_000;
/// How many workers one instance may have.
pub const MAX_WORKERS: usize = 64;

type Body = Arc<dyn Fn(&StopToken) + Send + Sync>;

/// The worker threads of one instance. Dropping it asks them to stop without waiting;
/// [`shutdown`](Self::shutdown) waits.
pub struct Supervisor {
    shared: Arc<Shared>,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It runs, or will run again when the fork under way is over.
    Running,
    /// Its body came to its end, or it was asked to stop.
    Stopped,
    /// It panicked too often to be started again, or its thread could not be started.
    Failed,
}

/// One worker, for status and health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// The name it was started under, without `esf-`.
    pub name: String,
    /// What it is doing.
    pub state: WorkerState,
    /// How often it was started again after a panic.
    pub restarts: u64,
    /// The message of the last panic.
    pub last_panic: Option<String>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    workers: Vec<Worker>,
    closed: bool,
    quiesced: bool,
}

struct Worker {
    status: WorkerStatus,
    /// Let go at the worker's end, with whatever it holds on to.
    body: Option<Body>,
    token: StopToken,
    /// When it was started again, within the window.
    recent: VecDeque<i64>,
    thread: Option<JoinHandle<()>>,
    /// Its thread has nothing left to do but end.
    finished: bool,
    /// Its thread ended for a fork; `resume` starts another.
    paused: bool,
    /// It was asked to stop for good.
    stopped: bool,
}

impl Supervisor {
    /// A supervisor without workers, which counts restarts by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let inner = Mutex::new(Inner { workers: Vec::new(), closed: false, quiesced: false });
        Self { shared: Arc::new(Shared { clock, inner, changed: Condvar::new() }) }
    }

    /// Starts the worker `esf-<name>`. The body runs until it returns, which is its regular end; a panic
    /// runs it again. A worker that has stopped or failed can be started anew under its name.
    pub fn start(&self, name: &str, body: impl Fn(&StopToken) + Send + Sync + 'static) -> Result<()> {
        let mut inner = self.shared.lock();
        if inner.closed {
            return Err(Error::new(Code::Closing, format!("worker {name} comes too late: closing")));
        }
        let old = inner.workers.iter().position(|worker| worker.status.name == name);
        let gone = old.and_then(|at| inner.workers.get(at)).is_none_or(Worker::is_gone);
        if !gone {
            return Err(Error::new(Code::InvalidInput, format!("worker {name} runs already")));
        }
        if old.is_none() && inner.workers.len() >= MAX_WORKERS {
            let message = format!("there are {MAX_WORKERS} workers, which is the limit");
            return Err(Error::new(Code::ResourceExhausted, message).with("limit", MAX_WORKERS));
        }
        let mut worker = Worker::new(name, Arc::new(body));
        if inner.quiesced {
            worker.finished = true;
            worker.paused = true;
        } else {
            worker.launch(&self.shared)?;
        }
        let ended = old.map(|at| inner.workers.remove(at));
        inner.workers.push(worker);
        drop(inner);
        if let Some(thread) = ended.and_then(|worker| worker.thread) {
            join(thread);
        }
        Ok(())
    }

    /// Asks one worker to stop and waits until its thread is gone: `timeout` if that takes longer than
    /// the deadline (it ends later, by itself), `reentrant` when the worker asks for itself. After
    /// [`shutdown`](Self::shutdown), which had its own deadline, nothing is waited for again.
    pub fn stop(&self, name: &str, deadline: Duration) -> Result<()> {
        let mut inner = self.shared.lock();
        let deadline = Deadline::after(if inner.closed { Duration::ZERO } else { deadline });
        let Some(worker) = inner.workers.iter_mut().find(|worker| worker.status.name == name) else {
            return Err(Error::new(Code::ServiceNotFound, format!("there is no worker {name}")));
        };
        if worker.thread_id() == Some(std::thread::current().id()) {
            return Err(Error::new(Code::Reentrant, format!("worker {name} cannot wait for itself")));
        }
        worker.stopped = true;
        if worker.paused {
            worker.end(WorkerState::Stopped);
        }
        let token = worker.token.clone();
        drop(inner);
        token.stop();
        if self.finish(deadline, |worker| worker.status.name == name).is_empty() {
            return Ok(());
        }
        let message = format!("worker {name} has not stopped by the deadline");
        Err(Error::new(Code::Timeout, message).with("worker", name))
    }

    /// Every worker that was ever started, in the order of their (last) start.
    pub fn status(&self) -> Vec<WorkerStatus> {
        self.shared.lock().workers.iter().map(|worker| worker.status.clone()).collect()
    }

    /// Waits until the worker is in this state; whether it got there in time.
    pub fn wait_state(&self, name: &str, state: WorkerState, timeout: Duration) -> bool {
        let deadline = Deadline::after(timeout);
        let mut inner = self.shared.lock();
        loop {
            if inner.workers.iter().any(|worker| worker.status.name == name && worker.status.state == state) {
                return true;
            }
            let Some(left) = deadline.left() else { return false };
            inner = self.shared.wait(inner, left);
        }
    }

    /// Asks all workers to stop, waits for their threads up to the deadline, and starts no more. Answers
    /// the names of those that did not finish in time; calling again waits for them again.
    pub fn shutdown(&self, deadline: Duration) -> Vec<String> {
        let deadline = Deadline::after(deadline);
        {
            let mut inner = self.shared.lock();
            inner.closed = true;
            for worker in inner.workers.iter_mut().filter(|worker| worker.paused) {
                worker.end(WorkerState::Stopped);
            }
        }
        self.stop_all();
        self.finish(deadline, |_| true)
    }

    /// Ends all threads for a fork, without ending the workers: [`resume`](Self::resume), in the parent and
    /// in the child, starts them again. Answers the names of those still running at the deadline: then do
    /// not fork, and resume.
    pub fn quiesce(&self, deadline: Duration) -> Vec<String> {
        let deadline = Deadline::after(deadline);
        self.shared.lock().quiesced = true;
        self.stop_all();
        self.finish(deadline, |_| true)
    }

    /// Starts the workers again that [`quiesce`](Self::quiesce) ended. One whose thread cannot be started
    /// is `failed`.
    pub fn resume(&self) {
        let mut inner = self.shared.lock();
        inner.quiesced = false;
        if inner.closed {
            return;
        }
        for worker in &mut inner.workers {
            if !std::mem::take(&mut worker.paused) {
                continue;
            }
            worker.token = StopToken::new();
            if let Err(error) = worker.launch(&self.shared) {
                worker.end(WorkerState::Failed);
                worker.status.last_panic = Some(error.message().to_owned());
            }
        }
        drop(inner);
        self.shared.changed.notify_all();
    }

    fn stop_all(&self) {
        let tokens: Vec<_> = self.shared.lock().workers.iter().map(|worker| worker.token.clone()).collect();
        for token in tokens {
            token.stop();
        }
    }

    /// Waits for the chosen workers' threads to come to their end and joins them. Answers the names of
    /// those that did not; the thread that asks is not waited for.
    fn finish(&self, deadline: Deadline, chosen: impl Fn(&Worker) -> bool) -> Vec<String> {
        let me = Some(std::thread::current().id());
        let mut inner = self.shared.lock();
        let (ended, late) = loop {
            let mut waiting = inner.workers.iter().filter(|worker| chosen(worker) && !worker.finished);
            let left = deadline.left();
            match left {
                Some(left) if waiting.any(|worker| worker.thread_id() != me) => {
                    inner = self.shared.wait(inner, left);
                }
                _ => break inner.collect(&chosen),
            }
        };
        drop(inner);
        for thread in ended {
            join(thread);
        }
        late
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.stop_all();
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supervisor").field(&self.status()).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What it guards is whole at every step, so a holder's panic changes nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, Inner>, timeout: Duration) -> MutexGuard<'a, Inner> {
        self.changed.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    /// A worker's thread: the body, again after each panic that the window allows.
    fn run(&self, name: &str, body: &Body, token: &StopToken) {
        let mut token = token.clone();
        loop {
            token.forget_wakers();
            let outcome = catch_unwind(AssertUnwindSafe(|| body(&token)));
            let next = self.lock().after_run(name, outcome.err().map(message_of), &token, &*self.clock);
            self.changed.notify_all();
            let Some(next) = next else { return };
            token = next;
        }
    }
}

impl Inner {
    /// Records how a run ended; the token of the next one, if the body is to run again.
    fn after_run(
        &mut self,
        name: &str,
        panic: Option<String>,
        token: &StopToken,
        clock: &dyn Clock,
    ) -> Option<StopToken> {
        let (closed, quiesced) = (self.closed, self.quiesced);
        let worker = self.workers.iter_mut().find(|worker| worker.status.name == name)?;
        let mut intensity_reached = false;
        if let Some(message) = panic {
            worker.status.last_panic = Some(message);
            let now = clock.boot_ns();
            worker.recent.retain(|then| now.saturating_sub(*then) < WINDOW_NS);
            intensity_reached = worker.recent.len() >= MAX_RESTARTS;
            if !intensity_reached && !token.is_stopped() {
                worker.recent.push_back(now);
                worker.status.restarts += 1;
                return Some(token.clone());
            }
        }
        let for_a_fork = token.is_stopped() && !worker.stopped && !closed && !intensity_reached;
        if for_a_fork && !quiesced {
            // It was too late for the fork, which is over.
            worker.token = StopToken::new();
            return Some(worker.token.clone());
        }
        worker.finished = true;
        if for_a_fork {
            worker.paused = true;
        } else {
            worker.end(if intensity_reached { WorkerState::Failed } else { WorkerState::Stopped });
        }
        None
    }

    /// The threads of the chosen workers that are at their end, and the names of those that are not.
    fn collect(&mut self, chosen: impl Fn(&Worker) -> bool) -> (Vec<JoinHandle<()>>, Vec<String>) {
        let (mut ended, mut late) = (Vec::new(), Vec::new());
        for worker in self.workers.iter_mut().filter(|worker| chosen(worker)) {
            if worker.finished {
                ended.extend(worker.thread.take());
            } else {
                late.push(worker.status.name.clone());
            }
        }
        (ended, late)
    }
}

impl Worker {
    fn new(name: &str, body: Body) -> Self {
        let name = name.to_owned();
        Self {
            status: WorkerStatus { name, state: WorkerState::Running, restarts: 0, last_panic: None },
            body: Some(body),
            token: StopToken::new(),
            recent: VecDeque::new(),
            thread: None,
            finished: false,
            paused: false,
            stopped: false,
        }
    }

    /// Starts the thread. Its first look at the supervisor waits for the lock that the caller holds.
    fn launch(&mut self, shared: &Arc<Shared>) -> Result<()> {
        let Some(body) = self.body.clone() else { return Ok(()) };
        let (shared, token, name) = (shared.clone(), self.token.clone(), self.status.name.clone());
        self.finished = true;
        self.thread = Some(thread::spawn(&self.status.name, move || shared.run(&name, &body, &token))?);
        self.finished = false;
        Ok(())
    }

    fn end(&mut self, state: WorkerState) {
        self.status.state = state;
        self.body = None;
        self.paused = false;
    }

    fn is_gone(&self) -> bool {
        self.finished && !self.paused
    }

    fn thread_id(&self) -> Option<ThreadId> {
        self.thread.as_ref().map(|thread| thread.thread().id())
    }
}

/// Joins a thread that is at its end. It cannot have panicked: bodies are caught.
fn join(thread: JoinHandle<()>) {
    drop(thread.join());
}

fn message_of(payload: Box<dyn std::any::Any + Send>) -> String {
    if let Some(message) = payload.downcast_ref::<&str>() {
        return (*message).to_owned();
    }
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(other) => {
            // A payload of an unknown type may panic when it is dropped, which nothing here could catch.
            std::mem::forget(other);
            "a panic without a message".to_owned()
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::resume_unwind;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::runtime::clock::SimClock;

    const LONG: Duration = Duration::from_secs(30);

    fn supervisor() -> (Supervisor, Arc<SimClock>) {
        let clock = Arc::new(SimClock::new(0));
        (Supervisor::new(clock.clone()), clock)
    }

    /// A worker that panics once for each message (without the hook's noise), and its sender.
    fn start_panicker(supervisor: &Supervisor, name: &str) -> Sender<&'static str> {
        let (sender, receiver) = channel::<&'static str>();
        let receiver = Mutex::new(receiver);
        let body = move |_: &StopToken| {
            let message = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            if let Ok(message) = message {
                resume_unwind(Box::new(message));
            }
        };
        supervisor.start(name, body).unwrap();
        sender
    }

    fn wait_restarts(supervisor: &Supervisor, name: &str, restarts: u64) {
        let mut inner = supervisor.shared.lock();
        while !inner.workers.iter().any(|w| w.status.name == name && w.status.restarts == restarts) {
            inner = supervisor.shared.wait(inner, LONG);
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the kernel's list of threads is no storage of ours")]
    fn threads_named(name: &str) -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        // A thread may end between the listing and the reading of its name.
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|comm| comm.trim_end() == name).count()
    }

    #[test]
    fn four_panics_within_the_window_fail_the_worker() {
        let (supervisor, clock) = supervisor();
        let panics = start_panicker(&supervisor, "fragile");
        for n in 1..=3 {
            panics.send("boom").unwrap();
            wait_restarts(&supervisor, "fragile", n);
            clock.advance(19_000_000_000);
        }
        assert_eq!(supervisor.status()[0].state, WorkerState::Running);
        panics.send("the last straw").unwrap();
        assert!(supervisor.wait_state("fragile", WorkerState::Failed, LONG));
        let expected = WorkerStatus {
            name: "fragile".into(),
            state: WorkerState::Failed,
            restarts: 3,
            last_panic: Some("the last straw".into()),
        };
        assert_eq!(supervisor.status(), [expected]);
        let json = serde_json::to_value(supervisor.status()).unwrap();
        assert_eq!(json[0]["state"], "failed");
        assert!(supervisor.shutdown(LONG).is_empty());
    }

    #[test]
    fn the_window_forgets() {
        let (supervisor, clock) = supervisor();
        let panics = start_panicker(&supervisor, "moody");
        for n in 1..=9 {
            panics.send("boom").unwrap();
            wait_restarts(&supervisor, "moody", n);
            if n % 3 == 0 {
                clock.advance(WINDOW_NS);
            }
        }
        assert_eq!(supervisor.status()[0].state, WorkerState::Running);
        drop(panics);
        assert!(supervisor.wait_state("moody", WorkerState::Stopped, LONG), "a regular end is no failure");
    }

    #[test]
    fn one_for_one_and_startable_again() {
        let (supervisor, _clock) = supervisor();
        let runs = Arc::new(AtomicU64::new(0));
        let counted = runs.clone();
        let steady = move |token: &StopToken| {
            counted.fetch_add(1, Ordering::SeqCst);
            while !token.wait_timeout(LONG) {}
        };
        supervisor.start("steady", steady).unwrap();
        let panics = start_panicker(&supervisor, "other");
        panics.send("boom").unwrap();
        wait_restarts(&supervisor, "other", 1);
        assert_eq!(supervisor.start("other", |_| ()).unwrap_err().code(), Code::InvalidInput);
        drop(panics);
        assert!(supervisor.wait_state("other", WorkerState::Stopped, LONG));
        supervisor.start("other", |_| ()).unwrap();
        supervisor.stop("steady", LONG).unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(supervisor.stop("none", LONG).unwrap_err().code(), Code::ServiceNotFound);
    }

    #[test]
    fn shutdown_leaves_no_thread_behind() {
        let (supervisor, _clock) = supervisor();
        for name in ["gone-a", "gone-b"] {
            let (sender, receiver) = channel();
            supervisor
                .start(name, move |token| {
                    let _ = sender.send(());
                    while !token.wait_timeout(LONG) {}
                })
                .unwrap();
            receiver.recv().unwrap();
        }
        assert_eq!((threads_named("esf-gone-a"), threads_named("esf-gone-b")), (1, 1));
        assert!(supervisor.shutdown(LONG).is_empty());
        // The kernel lists a joined thread for an instant more.
        let deadline = Deadline::after(LONG);
        while threads_named("esf-gone-a") + threads_named("esf-gone-b") > 0 {
            assert!(deadline.left().is_some(), "a thread was left behind");
            std::thread::yield_now();
        }
        assert_eq!(supervisor.start("late", |_| ()).unwrap_err().code(), Code::Closing);
    }

    #[test]
    fn a_deadline_names_who_is_late() {
        let (supervisor, _clock) = supervisor();
        let (release, hold) = channel::<()>();
        let hold = Mutex::new(hold);
        supervisor.start("deaf", move |_| hold.lock().unwrap().recv().unwrap()).unwrap();
        assert_eq!(supervisor.stop("deaf", Duration::ZERO).unwrap_err().code(), Code::Timeout);
        assert_eq!(supervisor.shutdown(Duration::ZERO), ["deaf"]);
        release.send(()).unwrap();
        assert!(supervisor.shutdown(LONG).is_empty());
        assert_eq!(supervisor.status()[0].state, WorkerState::Stopped);
    }

    #[test]
    fn a_worker_cannot_wait_for_itself() {
        let (supervisor, _clock) = supervisor();
        let supervisor = Arc::new(supervisor);
        let (sender, receiver) = channel();
        let inside = Arc::downgrade(&supervisor);
        supervisor
            .start("selfish", move |_| {
                if let Some(supervisor) = inside.upgrade() {
                    let answer = supervisor.stop("selfish", LONG).map_err(|error| error.code());
                    let _ = sender.send((answer, supervisor.shutdown(LONG)));
                }
            })
            .unwrap();
        assert_eq!(receiver.recv().unwrap(), (Err(Code::Reentrant), vec!["selfish".to_owned()]));
    }

    #[test]
    fn quiesce_ends_threads_and_resume_starts_them() {
        let (supervisor, _clock) = supervisor();
        let runs = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = channel();
        let counted = runs.clone();
        let body = move |token: &StopToken| {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = sender.send(());
            while !token.wait_timeout(LONG) {}
        };
        supervisor.start("forked", body.clone()).unwrap();
        receiver.recv().unwrap();
        assert!(supervisor.quiesce(LONG).is_empty());
        assert!(supervisor.shared.lock().workers.iter().all(|worker| worker.thread.is_none()));
        assert_eq!(supervisor.start("forked", |_| ()).unwrap_err().code(), Code::InvalidInput);
        supervisor.start("waiting", body).unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 1, "nothing runs before the resume");
        supervisor.resume();
        receiver.recv().unwrap();
        receiver.recv().unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        assert!(supervisor.status().iter().all(|worker| worker.state == WorkerState::Running));
        assert!(supervisor.shutdown(LONG).is_empty());
    }

    #[test]
    fn a_worker_that_ends_lets_go_of_what_it_held() {
        let (supervisor, _clock) = supervisor();
        let held = Arc::new(());
        let (one, two) = (held.clone(), held.clone());
        supervisor.start("short", move |_| drop(one.clone())).unwrap();
        assert!(supervisor.wait_state("short", WorkerState::Stopped, LONG));
        supervisor.quiesce(LONG);
        supervisor.start("paused", move |_| drop(two.clone())).unwrap();
        assert!(supervisor.shutdown(LONG).is_empty());
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(supervisor.status().iter().all(|worker| worker.state == WorkerState::Stopped));
        supervisor.resume();
        assert!(supervisor.status().iter().all(|worker| worker.state == WorkerState::Stopped));
    }

    #[test]
    fn the_number_of_workers_is_bounded() {
        let (supervisor, _clock) = supervisor();
        supervisor.quiesce(LONG);
        for n in 0..MAX_WORKERS {
            supervisor.start(&format!("w{n}"), |_| ()).unwrap();
        }
        assert_eq!(supervisor.start("more", |_| ()).unwrap_err().code(), Code::ResourceExhausted);
    }

    #[test]
    fn a_worker_that_is_too_late_for_a_fork_goes_on_after_it() {
        let (supervisor, _) = supervisor();
        let (enters, entered) = channel();
        let (go, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let body = move |stop: &StopToken| {
            enters.send(()).unwrap();
            // Such as a callback of the host's that takes its time; not the second time.
            let _ = gate.lock().unwrap().recv();
            stop.wait_timeout(LONG);
        };
        supervisor.start("slow", body).unwrap();
        entered.recv().unwrap();
        assert_eq!(supervisor.quiesce(Duration::ZERO), ["slow"], "then do not fork");
        supervisor.resume();
        drop(go);
        assert!(entered.recv_timeout(Duration::from_secs(5)).is_ok(), "nobody runs it any more");
        assert_eq!(supervisor.status()[0].state, WorkerState::Running);
        supervisor.stop("slow", LONG).unwrap();
        assert_eq!(supervisor.status()[0].state, WorkerState::Stopped);
    }

    #[test]
    fn a_worker_that_is_stopped_while_it_rests_for_a_fork_stays_so() {
        let (supervisor, _) = supervisor();
        let (enters, entered) = channel();
        let body = move |stop: &StopToken| {
            enters.send(()).unwrap();
            stop.wait_timeout(LONG);
        };
        supervisor.start("once", body).unwrap();
        entered.recv().unwrap();
        assert!(supervisor.quiesce(LONG).is_empty());
        supervisor.stop("once", LONG).unwrap();
        supervisor.resume();
        assert_eq!(supervisor.status()[0].state, WorkerState::Stopped);
        assert!(entered.recv_timeout(Duration::from_millis(100)).is_err(), "it runs again");
    }
}
