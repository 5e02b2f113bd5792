//! Our hot paths beside their floors, in one run.
//!
//! `foundation-benches run [TABLE…]` measures and prints, and leaves one JSON file for each table in
//! `target/bench/`; `foundation-benches report FILE` makes the page from those files.

#![expect(clippy::disallowed_methods, reason = "measures the real clock, threads and files")]

mod config;
mod events;
mod ffi;
mod harness;
mod report;
mod telemetry;

use std::path::Path;
use std::process::ExitCode;

use harness::Measured;

/// Name, title, and what measures it.
type Table = (&'static str, &'static str, fn() -> Vec<Measured>);

const TABLES: &[Table] = &[
    ("config", "Configuration, from Rust", config::run),
    ("telemetry", "Telemetry, from Rust", telemetry::run),
    ("events", "Events in memory, from Rust", events::run),
    ("ffi", "Through the C ABI (the shared library, by dlopen)", ffi::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["run", chosen @ ..] => run(chosen),
        ["report", file] => report::write_page(Path::new(file)).map_err(|error| error.to_string()),
        _ => Err("usage: foundation-benches run [TABLE…] | report FILE".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("foundation-benches: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(chosen: &[&str]) -> Result<(), String> {
    if let Some(unknown) = chosen.iter().find(|name| !TABLES.iter().any(|table| table.0 == **name)) {
        let names: Vec<&str> = TABLES.iter().map(|table| table.0).collect();
        return Err(format!("no table {unknown}; there are {}", names.join(", ")));
    }
    for (name, title, measure) in TABLES {
        if chosen.is_empty() || chosen.contains(name) {
            report::publish(name, title, &measure()).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
