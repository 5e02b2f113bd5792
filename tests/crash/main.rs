//! Crash tests: whatever stops the process or the machine, at whatever operation, every promise is kept.

mod careless;
mod kills;
mod machine;
mod promises;
mod store;
mod toy;

use careless::Forgets;
use elixirscope_foundation::planted::Mistake;
use machine::{Plan, explore};
use store::Store;

#[test]
fn the_store_keeps_its_promises() {
    let store = Store { forgets: Forgets::Nothing, faults: false, mistake: None };
    explore(&store, Plan::share(60)).expect_kept("the store");
}

#[test]
fn the_store_keeps_its_promises_on_a_disk_that_fails() {
    let store = Store { forgets: Forgets::Nothing, faults: true, mistake: None };
    explore(&store, Plan::share(40)).expect_kept("the store on a failing disk");
}

/// Five mistakes that durable stores are known for: whoever makes one is caught.
#[test]
fn planted_bugs_are_caught() {
    let right = Store { forgets: Forgets::Nothing, faults: false, mistake: None };
    for (name, store) in [
        ("no sync of the directory", Store { forgets: Forgets::Directories, ..right }),
        ("acknowledged before the sync", Store { forgets: Forgets::Files("log-"), ..right }),
        ("checksum not compared", Store { mistake: Some(Mistake::ChecksumNotCompared), ..right }),
        ("appended to an unclean log", Store { mistake: Some(Mistake::AppendToUnclean), ..right }),
        ("manifest before data", Store { forgets: Forgets::Files("seg-"), ..right }),
    ] {
        let plan = Plan { until_failure: true, states: 20_000, ..Plan::share(100) };
        let report = explore(&store, plan);
        let (place, broken) = report.failures.first().unwrap_or_else(|| panic!("{name}: not caught"));
        let broken = broken.split(';').next().unwrap_or_default();
        eprintln!("{name}: caught after {} states, at {place}: {broken}", report.checked);
    }
}
