//! Status: what nearly every function answers.
//!
//! `0` is success; `1` to `99` are outcomes that are no errors; from 1000 on it is the number of an error,
//! the same in every language (`docs/errors.md`), never renumbered and never reused. A program should treat
//! a number it does not know as an error: compare with `>= 1000`.

/// The outcome of a call: `ESF_OK`, another outcome below 100, or the number of an error from 1000 on.
pub type esf_status = i32;

/// The call did what it says.
pub const ESF_OK: esf_status = 0;
/// There is nothing more: a cursor is at its end, or a subscription is over and empty.
pub const ESF_DONE: esf_status = 1;
/// Nothing is there yet, or the buffer was too small: call again, later or with a larger buffer.
pub const ESF_AGAIN: esf_status = 2;
/// Nothing came within the given time.
pub const ESF_TIMED_OUT: esf_status = 3;
/// Events are missing here, and the call says which.
pub const ESF_GAP: esf_status = 4;
