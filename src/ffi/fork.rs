//! Fork.
//!
//! After fork, the child has the instances' memory but none of the threads that serve them, so its calls on
//! instances answer ESF_E_FORKED and change nothing; reading an error and using counters, gauges, histograms
//! and config keys goes on working on the child's own copy. A child that calls exec next needs nothing of
//! this. A program that wants to use instances in the child brackets the fork:
//!
//! ```text
//! esf_before_fork(NULL);
//! pid_t child = fork();
//! if (child == 0)
//!     esf_after_fork_child(NULL);
//! else
//!     esf_after_fork_parent(NULL);
//! ```

use super::callback;
use super::error::esf_error;
use super::status::{ESF_OK, esf_status};
use crate::runtime::fork;

/// Makes ready for fork: lets the library's threads come to rest. Call it right before fork.
///
/// If it fails everything goes on as before: do not fork then.
///
/// Errors: ESF_E_REENTRANT from inside a callback; ESF_E_OPERATION_FORBIDDEN if it was called already.
/// Threads: any, one at a time; other threads should not be inside the library during the fork.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_before_fork(err: *mut *mut esf_error) -> esf_status {
    guard! { cold(err) => {
        callback::refuse_inside()?;
        fork::before_fork()?;
        Ok(ESF_OK)
    } }
}

/// Goes on in the parent: starts the threads again. Call it in the parent, also if fork failed.
///
/// Errors: ESF_E_OPERATION_FORBIDDEN if this thread did not call `esf_before_fork`.
/// Threads: the one that called `esf_before_fork`.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_after_fork_parent(err: *mut *mut esf_error) -> esf_status {
    guard! { cold(err) => {
        fork::after_fork_parent()?;
        Ok(ESF_OK)
    } }
}

/// Goes on in the child: the instances are the child's own from now on. Call it in the child.
///
/// Errors: ESF_E_OPERATION_FORBIDDEN if the thread that forked did not call `esf_before_fork`.
/// Threads: the child's only one.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_after_fork_child(err: *mut *mut esf_error) -> esf_status {
    guard! { local(err) => {
        fork::after_fork_child()?;
        Ok(ESF_OK)
    } }
}
