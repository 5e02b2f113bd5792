//! Opening our store after the process that wrote it was killed.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::contest::append_batches;
use crate::harness::{Effort, Role, Rounds, Target, Unit, progress};
use crate::machine::{Folder, settle};
use crate::report::Outcome;
use crate::stores::{Durability, Ours, Store};
use crate::workload::{Workload, timestamp};

/// A process stores events and is killed; then the store is opened here and must hold them all.
pub fn opened(effort: &Effort, outcome: &mut Outcome) -> Result<(), String> {
    let folder = Folder::new("crashed")?;
    if let Err(why) = Ours::on_disk(&folder.sub("trial")?, Durability::CrashSafe) {
        outcome.notes.push(format!("opening after a crash is not measured: {why}"));
        return Ok(());
    }
    let path = folder.sub("store")?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    progress(&format!("{} events, then SIGKILL", effort.crashed));
    let mut child = Command::new(program)
        .arg("append-and-die")
        .arg(&path)
        .arg(effort.crashed.to_string())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut complaint = String::new();
    if let Some(stderr) = child.stderr.as_mut() {
        stderr.read_to_string(&mut complaint).map_err(|error| error.to_string())?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.signal() != Some(libc::SIGKILL) {
        return Err(format!("the process that should be killed ended by itself: {status}: {complaint}"));
    }
    settle();
    let start = Instant::now();
    let store = Ours::on_disk(&path, Durability::CrashSafe)?;
    let took = start.elapsed();
    let found = store.count(timestamp(0), timestamp(effort.crashed - 1));
    if found != effort.crashed {
        return Err(format!("after the crash there are {found} of {} events", effort.crashed));
    }
    let mut rounds = Rounds::new(
        &format!("open {} events after a crash", effort.crashed),
        Unit::Nanoseconds,
        Target::at_most("10,000,000: ≤ 1 s", 1e9),
    );
    let index = rounds.subject(Role::Ours, "EventStore");
    rounds.push(index, took.as_nanos() as f64);
    outcome.rows.extend(rounds.rows());
    Ok(())
}

/// The process that [`opened`] starts: stores so many events and kills itself.
pub fn append_and_die(path: &Path, events: u64) -> Result<(), String> {
    let store = Ours::on_disk(path, Durability::CrashSafe)?;
    append_batches(&store, Workload::of(events), 0..events);
    // SAFETY: ends this process at once, which is what it is for.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    Err("the process survived SIGKILL".to_owned())
}
