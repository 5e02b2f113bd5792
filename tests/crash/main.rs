//! Crash tests: whatever stops the process or the machine, at whatever operation, every promise is kept.

mod careless;
mod machine;
mod promises;
mod toy;
