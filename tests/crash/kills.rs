//! Real kills on a real disk: a child process writes from several threads until it gets SIGKILL; what it had been
//! told is safe must be found, again and again in the same directory.
//!
//! The child says on its standard output what it begins and what was answered, one line each, so a line that was
//! not written is a promise that nobody heard.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use elixirscope_foundation::events::{Encoding, NewEvent, Order, Query, Receipt};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;

use crate::machine::Loss;
use crate::promises::{Append, Found, Moment, Safe, Span, Story};
use crate::store::{Dice, data};

const MODES: [&str; 4] = ["crash_safe", "interval", "group", "strict"];
const SETTING: &str = "ai.planning.sampling_rate";
/// What a child is told: mode, first number, directory.
const ORDERS: &str = "ESF_CRASH_WRITER";
/// Kills in one directory before the next one is begun.
const SAME_DIRECTORY: u64 = 10;
/// The child's threads number their events apart.
const THREADS: u64 = 2;
const APART: u64 = 1_000_000;
/// Settings are numbers of this many steps between 0 and 1.
const STEPS: f64 = 1_000_000.0;

fn open(mode: &str, directory: &Path, read_only: bool) -> Foundation {
    let options = serde_json::json!({"event_store": {
        "data_dir": directory,
        "durability": mode,
        "sync_interval_ms": 5,
        "max_events": 1 << 30,
        "read_only": read_only,
    }});
    let options = Options::from_json(&options.to_string()).unwrap();
    Foundation::open(&options).unwrap_or_else(|error| panic!("P5: {mode}: {error}"))
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever killed us does not listen any more.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

fn told(letter: char, numbers: &[u64], receipts: &[Receipt]) {
    let mut line = format!("{letter} {}", receipts.iter().map(|receipt| receipt.level).min().unwrap_or(0));
    for (index, number) in numbers.iter().enumerate() {
        let _ = write!(line, " {}:{number}", receipts.get(index).map_or(0, |receipt| receipt.seq));
    }
    line.push('\n');
    say(&line);
}

/// The child: writes until it is killed.
#[test]
#[ignore = "the child of the test of kills"]
fn writer() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let mut orders = orders.splitn(3, ':');
    let (mode, first, directory) = (orders.next().unwrap(), orders.next().unwrap(), orders.next().unwrap());
    let first: u64 = first.parse().unwrap();
    say("starting\n");
    let instance = open(mode, Path::new(directory), false);
    say("open\n");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let events = instance.events();
            scope.spawn(move || {
                let mut next = first + thread * APART;
                let mut dice = Dice::new(next);
                loop {
                    let count = if dice.roll(3) == 0 { 2 + dice.roll(20) } else { 1 };
                    let numbers: Vec<u64> = (next..next + count).collect();
                    next += count;
                    let contents: Vec<Vec<u8>> = numbers.iter().map(|number| data(*number)).collect();
                    let batch: Vec<NewEvent<'_>> = numbers
                        .iter()
                        .zip(&contents)
                        .map(|(number, data)| NewEvent {
                            event_type: "written".into(),
                            timestamp: Some(*number as i64),
                            encoding: Encoding::Raw,
                            data,
                            ..NewEvent::default()
                        })
                        .collect();
                    told('b', &numbers, &[]);
                    let receipts = match batch.as_slice() {
                        [one] => vec![events.append(one).unwrap()],
                        batch => events.append_batch(batch).unwrap(),
                    };
                    told('a', &numbers, &receipts);
                }
            });
        }
        for value in first.. {
            say(&format!("c {value}\n"));
            instance.config().update(SETTING, ((value % 1_000_000) as f64 / STEPS).into()).unwrap();
            say(&format!("C {value}\n"));
        }
    });
}

/// What is known of one directory.
struct Watched {
    mode: &'static str,
    directory: PathBuf,
    story: Story,
    /// Appends that were begun, and not answered.
    open: Vec<Vec<u64>>,
    /// Values that the setting may have.
    settings: BTreeSet<u64>,
    next: u64,
}

impl Watched {
    fn new(mode: &'static str, number: u64) -> Self {
        let name = format!("kills-{}-{number}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let settings = [STEPS as u64].into();
        Self { mode, directory, story: Story::new(number), open: Vec::new(), settings, next: 1 }
    }

    fn start(&self) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::writer", "--ignored", "--nocapture", "--test-threads", "1"])
            .env(ORDERS, format!("{}:{}:{}", self.mode, self.next, self.directory.display()))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Has a child write, kills it after so many lines, and takes down what it was told.
    fn kill_after(&mut self, lines: u64) {
        let mut child = self.start();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut begun: BTreeSet<Vec<u64>> = BTreeSet::new();
        for (number, line) in out.split(b'\n').enumerate() {
            let line = line.unwrap();
            // The last line may have been cut by the kill: it ends in the middle of a number.
            self.take_down(&String::from_utf8_lossy(&line), &mut begun);
            if number as u64 == lines {
                child.kill().unwrap();
            }
        }
        let status = child.wait().unwrap();
        assert_eq!(status.code(), None, "the child ended by itself: {status}");
        self.open.extend(begun);
        self.next += 10 * APART;
    }

    fn take_down(&mut self, line: &str, begun: &mut BTreeSet<Vec<u64>>) {
        let mut words = line.split(' ');
        let Some(letter) = words.next() else { return };
        match letter {
            "c" => drop(words.next().and_then(|v| v.parse().ok()).map(|v| self.settings.insert(v))),
            "C" => {
                let value = words.next().and_then(|value| value.parse().ok()).unwrap();
                self.settings = [value].into();
            }
            "b" | "a" => {
                let level: u32 = words.next().unwrap().parse().unwrap();
                let pairs = words.map(|word| word.split_once(':').unwrap());
                let events: Vec<(u64, u64)> =
                    pairs.map(|(seq, number)| (seq.parse().unwrap(), number.parse().unwrap())).collect();
                let numbers: Vec<u64> = events.iter().map(|(_, number)| *number).collect();
                if letter == "b" {
                    begun.insert(numbers);
                } else {
                    assert!(begun.remove(&numbers), "answered and not begun");
                    let safe = if level >= 2 { Safe::Process } else { Safe::Memory };
                    self.story.appends.push(Append::new(Span::PAST, events, safe));
                }
            }
            _ => {}
        }
    }

    /// Opens what is left and compares it with what was told.
    fn check(&mut self, read_only: bool) -> Result<(), String> {
        let instance = open(self.mode, &self.directory, read_only);
        let mut found = Found::default();
        let query = Query { order: Order::Seq, ..Query::default() };
        let mut cursor = instance.events().query(&query).map_err(|error| format!("P5: {error}"))?;
        let mut own = Vec::new();
        while let Some(view) = cursor.try_next().map_err(|error| format!("P5: {error}"))? {
            if view.event_type() != "written" {
                own.push(view.seq());
                continue;
            }
            let number = view.timestamp() as u64;
            if view.data() != data(number) {
                return Err(format!("P2: event {number} has other contents than it was given"));
            }
            found.events.push((view.seq(), number));
        }
        // What the instance stored itself is told by nobody.
        for seq in &own {
            self.story.appends.retain(|append| append.events != [(*seq, 0)]);
            self.story.appends.push(Append::new(Span::PAST, vec![(*seq, 0)], Safe::Memory));
            found.events.push((*seq, 0));
        }
        found.events.sort_unstable();
        let recovery = instance.events().disk_stats().ok_or("no files")?.recovery;
        found.gaps = recovery.gaps.iter().map(|gap| (gap.first_seq, gap.last_seq)).collect();
        self.adopt(&found)?;
        self.story.check(Moment::running(0), Loss::Process, &found)?;
        let value = instance.config().get_f64(SETTING).map_err(|error| error.to_string())?;
        let matches = |setting: &u64| {
            let setting = if *setting == STEPS as u64 { 1.0 } else { (setting % 1_000_000) as f64 / STEPS };
            (setting - value).abs() < 1e-9
        };
        if !self.settings.iter().any(matches) {
            return Err(format!("P8: the setting is {value}, it may be one of {:?}", self.settings));
        }
        self.settings.retain(matches);
        let report = instance.close(std::time::Duration::from_mins(1));
        if !report.unfinished.is_empty() {
            return Err(format!("closing left {:?}", report.unfinished));
        }
        Ok(())
    }

    /// Appends that nobody heard of and that are there are there for good; all of one, or none.
    fn adopt(&mut self, found: &Found) -> Result<(), String> {
        let seqs: BTreeMap<u64, u64> = found.events.iter().map(|(seq, number)| (*number, *seq)).collect();
        for numbers in std::mem::take(&mut self.open) {
            let events: Vec<(u64, u64)> =
                numbers.iter().filter_map(|number| Some((*seqs.get(number)?, *number))).collect();
            if events.len() == numbers.len() {
                self.story.appends.push(Append::new(Span::PAST, events, Safe::Process));
            } else if !events.is_empty() {
                return Err(format!("P4: of {numbers:?} only {events:?} are there"));
            }
        }
        Ok(())
    }
}

impl Drop for Watched {
    #[allow(clippy::disallowed_methods, reason = "the seam removes no trees; a test may")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// `ESF_CRASH_KILLS` says how many, over all modes.
#[test]
fn killed_processes_keep_their_promises() {
    let kills = std::env::var("ESF_CRASH_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8);
    let directories = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let told = Mutex::new(BTreeMap::<&str, (u64, usize)>::new());
    let per_directory = SAME_DIRECTORY.min(kills / MODES.len() as u64).max(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) < kills {
                    let number = directories.fetch_add(1, Ordering::Relaxed);
                    let mode = MODES[(number % MODES.len() as u64) as usize];
                    let mut watched = Watched::new(mode, number);
                    let mut dice = Dice::new(number);
                    for kill in 0..per_directory {
                        let lines = if dice.roll(8) == 0 { dice.roll(12) } else { 10 + dice.roll(600) };
                        watched.kill_after(lines);
                        if let Err(broken) = watched.check(dice.roll(2) == 0) {
                            let place = watched.directory.display();
                            panic!("{mode}, kill {kill} after {lines} lines, in {place}: {broken}");
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    let mut told = told.lock().unwrap();
                    let (kills, appends) = told.entry(mode).or_default();
                    *kills += per_directory;
                    *appends += watched.story.appends.len();
                }
            });
        }
    });
    for (mode, (kills, appends)) in told.into_inner().unwrap() {
        eprintln!("{mode}: {kills} kills, {appends} appends that were answered or found");
    }
}
