//! Our hot paths beside their floors and their peers, in one run.
//!
//! `foundation-benches run [--quick] [--events N] [--rounds N] [TABLE…]` measures and prints, and leaves one JSON file
//! for each table in `target/bench/`; `foundation-benches report FILE` makes the page from those files. Peers are
//! built only with the feature `peers`.

#![expect(clippy::disallowed_methods, reason = "measures the real clock, threads and files")]

mod config;
mod contest;
mod disk;
mod ffi;
mod harness;
mod library;
mod machine;
mod memory;
mod report;
mod steady;
mod stores;
mod tails;
mod telemetry;
mod workload;

use std::path::Path;
use std::process::ExitCode;

use harness::{Effort, Measured};
use report::Outcome;

/// Name, title, and what measures it.
type Table = (&'static str, &'static str, fn(&Effort) -> Result<Outcome, String>);

const TABLES: &[Table] = &[
    ("config", "Configuration, from Rust", |effort| rows(config::run(effort))),
    ("telemetry", "Telemetry, from Rust", |effort| rows(telemetry::run(effort))),
    ("events", "Events in memory, from Rust", events),
    ("tails", "Tails of events in memory, from Rust", |effort| rows(tails::run(effort))),
    ("disk", "Events on disk, from Rust", disk::run),
    ("ffi", "Through the C ABI (the shared library, by dlopen)", |effort| rows(ffi::run(effort))),
];

#[expect(clippy::unnecessary_wraps, reason = "a table can fail")]
fn rows(rows: Vec<Measured>) -> Result<Outcome, String> {
    Ok(Outcome { rows, notes: Vec::new() })
}

fn events(effort: &Effort) -> Result<Outcome, String> {
    let mut outcome = memory::run(effort)?;
    outcome.rows.extend(steady::run(effort));
    Ok(outcome)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["run", rest @ ..] => run(rest),
        ["report", file] => report::write_page(Path::new(file)).map_err(|error| error.to_string()),
        // Started by the tables themselves, for what wants a process of its own.
        ["resident", name, events] => number(events).and_then(|events| memory::print_resident(name, events)),
        ["append-and-die", path, events] => {
            number(events).and_then(|events| disk::append_and_die(Path::new(path), events))
        }
        _ => Err("usage: foundation-benches run [--quick] [--events N] [--rounds N] [TABLE…] | report FILE"
            .to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("foundation-benches: {message}");
            ExitCode::FAILURE
        }
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("not a number above 0: {word}"))
}

fn run(words: &[&str]) -> Result<(), String> {
    let mut effort = if words.contains(&"--quick") { Effort::quick() } else { Effort::full() };
    let mut chosen = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value =
            || words.next().ok_or_else(|| format!("{word} wants a number")).and_then(|word| number(word));
        match *word {
            "--quick" => {}
            "--events" => effort.events = value()?,
            "--rounds" => effort.rounds = value()? as usize,
            name => chosen.push(name),
        }
    }
    if let Some(unknown) = chosen.iter().find(|name| !TABLES.iter().any(|table| table.0 == **name)) {
        let names: Vec<&str> = TABLES.iter().map(|table| table.0).collect();
        return Err(format!("no table {unknown}; there are {}", names.join(", ")));
    }
    for (name, title, measure) in TABLES {
        if chosen.is_empty() || chosen.contains(name) {
            let machine = machine::kind();
            let outcome = measure(&effort)?;
            report::publish((name, title), &outcome, &effort, &machine).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
