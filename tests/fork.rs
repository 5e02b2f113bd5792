//! Forking with hooks: order, both sides, and a fork that is called off. One process, one test: hooks and
//! the guard are the process's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elixirscope_foundation::error::{Code, Error, Result};
use elixirscope_foundation::runtime::clock::SystemClock;
use elixirscope_foundation::runtime::fork::{self, ForkHook};
use elixirscope_foundation::runtime::supervisor::{StopToken, Supervisor, WorkerState};

const LONG: Duration = Duration::from_secs(30);

/// What an instance is to the guard: a name in the log, a worker, and perhaps a reason not to fork.
struct Instance {
    name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
    supervisor: Supervisor,
    runs: Arc<AtomicU64>,
    refuses: AtomicBool,
    panics: AtomicBool,
}

impl Instance {
    fn new(name: &'static str, log: &Arc<Mutex<Vec<String>>>) -> Arc<Self> {
        let supervisor = Supervisor::new(Arc::new(SystemClock));
        let runs = Arc::new(AtomicU64::new(0));
        let counted = runs.clone();
        let worker = move |token: &StopToken| {
            counted.fetch_add(1, Ordering::SeqCst);
            while !token.wait_timeout(LONG) {}
        };
        supervisor.start(name, worker).unwrap();
        let (refuses, panics) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { name, log: log.clone(), supervisor, runs, refuses, panics })
    }

    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{what} {}", self.name));
    }

    /// Waits until the worker's body has begun this many times.
    fn wait_runs(&self, runs: u64) -> bool {
        let deadline = elixirscope_foundation::runtime::deadline::Deadline::after(LONG);
        while self.runs.load(Ordering::SeqCst) < runs {
            if deadline.left().is_none() {
                return false;
            }
            std::thread::yield_now();
        }
        self.supervisor.wait_state(self.name, WorkerState::Running, LONG)
    }
}

impl ForkHook for Instance {
    fn before_fork(&self) -> Result<()> {
        self.note("before");
        if self.panics.load(Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("no"));
        }
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Error::new(Code::Timeout, "busy"));
        }
        assert!(self.supervisor.quiesce(LONG).is_empty());
        Ok(())
    }

    fn after_fork_parent(&self) {
        self.note("parent");
        self.supervisor.resume();
    }

    fn after_fork_child(&self) {
        self.note("child");
        self.supervisor.resume();
    }
}

/// What the child finds, as the number of the first thing that is wrong; 0 when all is well.
fn child(log: &Mutex<Vec<String>>, instances: &[&Arc<Instance>]) -> i32 {
    if fork::check().map_err(|error| error.code()) != Err(Code::Forked) {
        return 1;
    }
    if fork::after_fork_child().is_err() || fork::is_forked() {
        return 2;
    }
    if !log.lock().unwrap().ends_with(&["child one".to_owned(), "child two".to_owned()]) {
        return 3;
    }
    if !instances.iter().all(|instance| instance.wait_runs(2)) {
        return 4;
    }
    if !instances.iter().all(|instance| instance.supervisor.shutdown(LONG).is_empty()) {
        return 5;
    }
    if fork::after_fork_child().map_err(|error| error.code()) != Err(Code::OperationForbidden) {
        return 6;
    }
    0
}

#[test]
fn instances_rest_before_a_fork_and_go_on_after_it_on_both_sides() {
    assert!(!fork::is_forked(), "not armed: no");
    fork::arm();
    let log = Arc::new(Mutex::new(Vec::new()));
    let (one, two) = (Instance::new("one", &log), Instance::new("two", &log));
    let first = fork::register(one.clone()).unwrap();
    let second = fork::register(two.clone()).unwrap();
    assert!(one.wait_runs(1) && two.wait_runs(1));
    assert_eq!(fork::after_fork_parent().unwrap_err().code(), Code::OperationForbidden);

    fork::before_fork().unwrap();
    assert_eq!(fork::before_fork().unwrap_err().code(), Code::OperationForbidden);
    assert_eq!(fork::register(one.clone()).unwrap_err().code(), Code::ServiceUnavailable);
    // SAFETY: the threads of ours rest, the test harness's own are not needed in the child, and glibc keeps
    // its allocator usable there; the child leaves by _exit and is reaped.
    let status = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(child(&log, &[&one, &two]));
        }
        fork::after_fork_parent().unwrap();
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
        status
    };
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 0, "what went wrong in the child");
    assert!(!fork::is_forked());
    assert_eq!(*log.lock().unwrap(), ["before two", "before one", "parent one", "parent two"]);
    assert!(one.wait_runs(2) && two.wait_runs(2), "the workers run again in the parent");

    // Called off: who was brought to rest goes on, whoever was not asked is left alone.
    log.lock().unwrap().clear();
    two.refuses.store(true, Ordering::SeqCst);
    assert_eq!(fork::before_fork().unwrap_err().message(), "busy");
    assert_eq!(*log.lock().unwrap(), ["before two", "parent two"]);
    log.lock().unwrap().clear();
    two.refuses.store(false, Ordering::SeqCst);
    one.panics.store(true, Ordering::SeqCst);
    assert_eq!(fork::before_fork().unwrap_err().code(), Code::InternalError);
    assert_eq!(*log.lock().unwrap(), ["before two", "before one", "parent one", "parent two"]);
    assert!(two.wait_runs(3));

    // A hook that was taken out is not called; taking one out while a fork is under way works too.
    log.lock().unwrap().clear();
    drop(first);
    fork::before_fork().unwrap();
    drop(second);
    fork::after_fork_parent().unwrap();
    assert_eq!(*log.lock().unwrap(), ["before two"]);
    two.supervisor.resume();
    for instance in [one, two] {
        assert!(instance.supervisor.shutdown(LONG).is_empty());
        assert_eq!(Arc::strong_count(&instance), 1, "the guard holds on to nothing");
    }
}
