//! The C ABI: what the shared and the static library export, one file for each concept, in the order of the
//! header.
//!
//! Every export is written out as a plain function whose whole body is one [`guard!`]: it refuses calls in
//! a forked child, checks and converts the arguments, catches panics, and turns the outcome into a status
//! and an `esf_error`. `tests/ffi_guard.rs` fails on an export without it. Nothing in here decides
//! anything: the functions convert and delegate.
//!
//! `build.rs` makes the header from these files with cbindgen: a file's first paragraphs (up to the first
//! `# ` heading) become its section's text, its doc comments the functions' manual, and its `layout!`
//! tables the assertions on the size of each struct.
//!
//! # Invariants
//!
//! The unsafe code of this module leans on these, and on nothing else:
//!
//! 1. A pointer that came from C is touched in `arg` and `text` only, after it was checked for NULL,
//!    alignment and, where a length belongs to it, an upper bound. That it then points to what its type
//!    says, for the call's duration, is the caller's half of the contract, printed at the top of the header.
//! 2. Structs of the header are `repr(C)`, hold integers, floats and raw pointers only, and so are valid for
//!    any bytes whatsoever. No enum and no `bool` is ever read from C's memory.
//! 3. A handle is never dereferenced: it is a number that a generation-checked table resolves.
//! 4. What is lent to C (text of an error, a view of an event) belongs to a table's entry and is dropped
//!    only by the calls that the header names.

// The names are C's: they are what the header shows. What every pointer must be is said once, in the
// header's introduction, instead of under a `# Safety` heading on each function.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unreachable, clippy::todo))]

#[macro_use]
mod guard;
#[macro_use]
mod layout;

pub mod abi;
mod arg;
mod callback;
mod record;
mod swift;

pub mod status;
pub mod text;

pub mod error;
pub mod version;

pub mod foundation;

pub mod config;
pub mod watch;

pub mod durability;
pub mod event;
pub mod query;
pub mod summary;
pub mod tail;
pub mod trace;
pub mod upkeep;

pub mod telemetry;

pub mod fork;
