//! Results: a table on the terminal, one JSON file for each table in `target/bench/`, and the page
//! `docs/performance.md` made from those files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::{Measured, ROUNDS};

/// Where the JSON files are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench")
}

/// What the figures were measured on: never a machine's name, only its kind.
fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|pair| pair.1.to_owned()))
        .unwrap_or_else(|| "unknown".to_owned());
    let memory_gib = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib.div_ceil(1 << 20));
    let release = read("/proc/sys/kernel/osrelease");
    let kernel = release.trim().split('.').take(2).collect::<Vec<_>>().join(".");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "cpu": cpu, "cpus": cpus, "memory_gib": memory_gib, "kernel": kernel, "arch": std::env::consts::ARCH })
}

/// The date in UTC, `YYYY-MM-DD`.
fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    // Civil date of a day count (days since 1970-01-01), by the usual era arithmetic.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Prints one table and writes its JSON file.
pub fn publish(table: &str, title: &str, rows: &[Measured]) -> std::io::Result<()> {
    println!("\n{title}");
    println!(
        "{:<42} {:<40} {:>10} {:>10} {:>10} {:>8}  target",
        "work", "subject", "median ns", "least", "most", "× floor"
    );
    let mut last = "";
    for row in rows {
        let work = if row.work == last { "" } else { &row.work };
        last = &row.work;
        println!(
            "{:<42} {:<40} {:>10} {:>10} {:>10} {:>8}  {}",
            work,
            format!("{}: {}", row.role.name(), row.subject),
            figure(row.median_ns),
            figure(row.least_ns),
            figure(row.most_ns),
            row.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
            row.target
        );
    }
    let json_rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "work": row.work,
                "subject": row.subject,
                "role": row.role.name(),
                "median_ns": row.median_ns,
                "least_ns": row.least_ns,
                "most_ns": row.most_ns,
                "ratio": row.ratio,
                "target": row.target,
            })
        })
        .collect();
    let file = json!({
        "title": title, "date": today(), "machine": machine(), "rounds": ROUNDS, "rows": json_rows
    });
    fs::create_dir_all(folder())?;
    fs::write(folder().join(format!("{table}.json")), format!("{file:#}\n"))
}

/// A figure with as many digits as it deserves.
fn figure(ns: f64) -> String {
    match ns {
        _ if ns < 10.0 => format!("{ns:.2}"),
        _ if ns < 1_000.0 => format!("{ns:.1}"),
        _ => {
            let digits = format!("{ns:.0}");
            let mut grouped = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
    }
}

/// Writes the page from every JSON file that `target/bench/` has: ours, and those that the bindings'
/// benchmarks leave there in the same form.
pub fn write_page(path: &Path) -> std::io::Result<()> {
    let mut tables = BTreeMap::new();
    for entry in fs::read_dir(folder())? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            tables.insert(file.clone(), serde_json::from_str::<Value>(&fs::read_to_string(&file)?)?);
        }
    }
    if tables.is_empty() {
        return Err(std::io::Error::other("nothing was measured yet: run `make bench` first"));
    }
    let mut page = String::from(
        "# Performance\n\n\
         Written by `make bench-docs` from what `make bench` measured; do not edit.\n\n\
         The subjects of one work take turns within one process, and each figure is the median of the rounds.\n\
         A ratio is the median of the rounds' ratios to the floor above it, which is what the hardware needs\n\
         for that work at least. Absolute figures drift from machine to machine and, on a shared one, from\n\
         minute to minute; ratios are what to compare. Times are for one, in nanoseconds; with several threads\n\
         each does its own share, so that a time that does not grow is perfect scaling. On a virtual machine\n\
         two CPUs may be two hardware threads of one core: the floor with two threads shows what they can do.\n\n\
         The targets are the plan's for the first full version, in its own words; they are not results.\n",
    );
    for file in tables.values() {
        let machine = &file["machine"];
        let _ = write!(
            page,
            "\n## {}\n\n{}, {} CPUs of {} ({}), {} GiB, Linux {}; {} rounds.\n\n\
             | work | subject | median | least | most | × floor | target |\n\
             | --- | --- | ---: | ---: | ---: | ---: | --- |\n",
            text(&file["title"]),
            text(&file["date"]),
            machine["cpus"],
            text(&machine["cpu"]),
            text(&machine["arch"]),
            machine["memory_gib"],
            text(&machine["kernel"]),
            file["rounds"]
        );
        for row in file["rows"].as_array().into_iter().flatten() {
            let number = |key: &str| row[key].as_f64().map_or_else(|| "–".to_owned(), figure);
            let ratio = row["ratio"].as_f64().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            let _ = writeln!(
                page,
                "| {} | {}: {} | {} | {} | {} | {} | {} |",
                text(&row["work"]),
                text(&row["role"]),
                text(&row["subject"]).replace('<', "&lt;"),
                number("median_ns"),
                number("least_ns"),
                number("most_ns"),
                ratio,
                text(&row["target"])
            );
        }
    }
    fs::write(path, page)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(1.234), "1.23");
        assert_eq!(figure(123.45), "123.5");
        assert_eq!(figure(1_234_567.8), "1,234,568");
    }

    #[test]
    fn the_date_has_its_form() {
        let date = today();
        assert_eq!(date.len(), 10, "{date}");
        assert!(date.as_str() > "2026-01-01", "{date}");
    }
}
