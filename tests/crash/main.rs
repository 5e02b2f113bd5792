//! Crash tests: whatever stops the process or the machine, at whatever operation, every promise is kept.

mod careless;
mod machine;
mod promises;
mod store;
mod toy;

use careless::Forgets;
use machine::{Plan, explore};
use store::Store;

#[test]
fn the_store_keeps_its_promises() {
    let store = Store { forgets: Forgets::Nothing, faults: false };
    explore(&store, Plan::from_environment()).expect_kept("the store");
}

#[test]
fn the_store_keeps_its_promises_on_a_disk_that_fails() {
    let store = Store { forgets: Forgets::Nothing, faults: true };
    explore(&store, Plan::from_environment()).expect_kept("the store on a failing disk");
}
