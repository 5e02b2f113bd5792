//! Results: a table on the terminal, one JSON file for each table in `target/bench/`, and the page
//! `docs/performance.md` made from those files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Effort, Measured};
use crate::machine;

/// What a table comes to.
#[derive(Default)]
pub struct Outcome {
    /// What was measured.
    pub rows: Vec<Measured>,
    /// What a reader should know: what is missing and why, what a peer does less or more.
    pub notes: Vec<String>,
}

/// Where the JSON files are. A quick run's are apart, since its figures are worth nothing.
fn folder(quick: bool) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    if quick { path.join("quick") } else { path }
}

/// Prints one table and writes its JSON file.
pub fn publish(
    (table, title): (&str, &str),
    outcome: &Outcome,
    effort: &Effort,
    machine: &Value,
) -> std::io::Result<()> {
    println!("\n{title}");
    println!(
        "{:<48} {:<36} {:>12} {:>12} {:>12} {:>8} {:>8}  target",
        "work", "subject", "median", "least", "most", "× floor", "× ours"
    );
    let times = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
    let mut last = "";
    for row in &outcome.rows {
        let work = if row.work == last { "" } else { &row.work };
        last = &row.work;
        println!(
            "{:<48} {:<36} {:>12} {:>12} {:>12} {:>8} {:>8}  {} {}",
            work,
            format!("{}: {}", row.role.name(), row.subject),
            figure(row.median),
            figure(row.least),
            figure(row.most),
            times(row.ratio),
            times(row.times_ours),
            row.target,
            row.verdict.as_deref().map(|verdict| format!("→ {verdict}")).unwrap_or_default()
        );
    }
    for note in &outcome.notes {
        println!("note: {note}");
    }
    let rows: Vec<Value> = outcome
        .rows
        .iter()
        .map(|row| {
            json!({
                "work": row.work,
                "subject": row.subject,
                "role": row.role.name(),
                "unit": row.unit.name(),
                "median": row.median,
                "least": row.least,
                "most": row.most,
                "ratio": row.ratio,
                "times_ours": row.times_ours,
                "target": row.target,
                "verdict": row.verdict,
            })
        })
        .collect();
    let file = json!({
        "title": title, "date": machine::today(), "machine": machine, "rounds": effort.rounds,
        "events": effort.events, "notes": outcome.notes, "rows": rows
    });
    let folder = folder(effort.quick);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{table}.json")), format!("{file:#}\n"))
}

/// A figure with as many digits as it deserves.
fn figure(value: f64) -> String {
    match value {
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 1_000.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
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

/// A figure in the unit of its row, as short as can be read.
fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => format!("{} B", figure(value)),
        _ if value >= 1e9 => format!("{} s", figure(value / 1e9)),
        _ if value >= 1e6 => format!("{} ms", figure(value / 1e6)),
        _ if value >= 1e4 => format!("{} µs", figure(value / 1e3)),
        _ => format!("{} ns", figure(value)),
    }
}

/// Writes the page from every JSON file that `target/bench/` has: ours, and those that the bindings'
/// benchmarks leave there in the same form.
pub fn write_page(path: &Path) -> std::io::Result<()> {
    let mut tables = BTreeMap::new();
    for entry in fs::read_dir(folder(false))? {
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
         A ratio is the median of the rounds' ratios: to the floor above it, which is what the hardware needs for\n\
         that work at least, and to ours (how many times what ours takes). Absolute figures drift from machine to\n\
         machine and, on a shared one, from minute to minute; ratios are what to compare. Times are for one; with\n\
         several threads each does its own share, so that a time that does not grow is perfect scaling. On a\n\
         virtual machine two CPUs may be two hardware threads of one core: the floor with two threads shows what\n\
         they can do.\n\n\
         Where stores are compared, all hold the same events with the same indexes, and the run fails if any answer\n\
         is not that of the events that were stored.\n\n\
         The targets are the plan's for the first full version, in its own words; they are not results. Behind the\n\
         arrow stands whether the figure meets what of them a figure can be held against.\n",
    );
    for file in tables.values() {
        write_table(file, &mut page);
    }
    fs::write(path, page)
}

fn write_table(file: &Value, page: &mut String) {
    let machine = &file["machine"];
    let _ = write!(
        page,
        "\n## {}\n\n{}, {} CPUs of {} ({}), {} GiB, Linux {}; load {} when it began; {} rounds.\n",
        text(&file["title"]),
        text(&file["date"]),
        machine["cpus"],
        text(&machine["cpu"]),
        text(&machine["arch"]),
        machine["memory_gib"],
        text(&machine["kernel"]),
        machine["load"],
        file["rounds"]
    );
    let notes: Vec<&str> = file["notes"].as_array().into_iter().flatten().map(text).collect();
    if !notes.is_empty() {
        page.push('\n');
    }
    for note in notes {
        let _ = writeln!(page, "- {note}");
    }
    page.push_str(
        "\n| work | subject | median | least | most | × floor | × ours | target |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    for row in file["rows"].as_array().into_iter().flatten() {
        let unit = row["unit"].as_str().unwrap_or("ns");
        let number =
            |key: &str| row[key].as_f64().map_or_else(|| "–".to_owned(), |value| with_unit(value, unit));
        let ratio =
            |key: &str| row[key].as_f64().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let verdict = match text(&row["verdict"]) {
            "" => String::new(),
            verdict => format!(" → {verdict}"),
        };
        let _ = writeln!(
            page,
            "| {} | {}: {} | {} | {} | {} | {} | {} | {}{} |",
            text(&row["work"]),
            text(&row["role"]),
            text(&row["subject"]).replace('<', "&lt;"),
            number("median"),
            number("least"),
            number("most"),
            ratio("ratio"),
            ratio("times_ours"),
            text(&row["target"]),
            verdict.replace('<', "&lt;")
        );
    }
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
        assert_eq!(with_unit(1_234.0, "bytes"), "1,234 B");
        assert_eq!(with_unit(9_999.0, "ns"), "9,999 ns");
        assert_eq!(with_unit(12_340.0, "ns"), "12.3 µs");
        assert_eq!(with_unit(1.5e6, "ns"), "1.50 ms");
        assert_eq!(with_unit(2.5e9, "ns"), "2.50 s");
    }

    #[test]
    fn a_row_of_the_page_says_whether_the_target_is_met() {
        let file = json!({
            "title": "Title", "date": "2026-01-01", "rounds": 3, "notes": ["a note"],
            "machine": { "cpus": 2, "cpu": "CPU", "arch": "x86_64", "memory_gib": 4, "kernel": "6.1" },
            "rows": [{
                "work": "append", "subject": "Vec<T>", "role": "ours", "unit": "ns", "median": 20.0, "least": 10.0,
                "most": 30.0, "ratio": null, "times_ours": 1.0, "target": "≤ 10 ns", "verdict": "missed: 2 × the limit"
            }]
        });
        let mut page = String::new();
        write_table(&file, &mut page);
        let row = "| append | ours: Vec&lt;T> | 20.0 ns | 10.0 ns | 30.0 ns | – | 1.00 | ≤ 10 ns → missed: 2 × the limit |";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("\n- a note\n"), "{page}");
    }
}
