//! Fork.
//!
//! After fork, the child has the instances' memory but none of the threads that serve them, so its calls on
//! instances answer ESF_E_FORKED and change nothing; reading an error and using counters, gauges, histograms
//! and config keys goes on working on the child's own copy. A child that calls exec next needs nothing of
//! this. A program that wants to use instances in the child brackets the fork, and calls nothing else of this
//! library in between on the thread that forks:
//!
//! ```text
//! esf_before_fork(NULL);
//! pid_t child = fork();
//! if (child == 0)
//!     esf_after_fork_child(NULL);
//! else
//!     esf_after_fork_parent(NULL);
//! ```
//!
//! Files stay the parent's: the child finds what was in memory, and its appends on an instance with files answer
//! ESF_E_FORKED; for storing events it opens an instance of its own in another directory, or in the same one after
//! the parent has closed it. A child that was not bracketed and lives on after its parent was killed keeps the
//! directory locked, until it ends or calls exec.
//!
//! The descriptor of a subscription or a tail is the child's own afterwards, under the same number: it has to
//! be added to an epoll instance of the child's again.

use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::OnceCell;

use super::callback;
use super::error::{self, esf_error};
use super::status::{ESF_OK, esf_status};
use super::text;
use crate::error::Result;
use crate::runtime::fork::{self, ForkHook, Registration};

/// How long a fork waits for whoever reads an error.
const REST: Duration = Duration::from_secs(5);

/// Has the tables of errors and texts rest around forks. Called before anything else is registered, so that
/// they rest last: callbacks, which may fail, are over then.
pub(super) fn prepare() -> Result<()> {
    struct Tables;

    impl ForkHook for Tables {
        fn before_fork(&self) -> Result<()> {
            error::rest(REST)?;
            text::rest(REST)
        }

        fn after_fork_parent(&self) {}

        fn after_fork_child(&self) {}
    }

    static REGISTERED: OnceCell<Registration> = OnceCell::new();
    REGISTERED.get_or_try_init(|| fork::register(Arc::new(Tables))).map(|_| ())
}

/// Makes ready for fork: lets the library's threads and the calls of other threads come to rest. Call it right
/// before fork.
///
/// Calls that are under way are waited for; those that come later wait until the fork is over, except those on
/// counters, gauges, histograms and config keys, which go on. If it fails everything goes on as before: do
/// not fork then.
///
/// Errors: ESF_E_TIMEOUT if calls or callbacks do not end within 5 seconds, such as a long wait in
/// `esf_config_next_change` or `esf_tail_next`; ESF_E_REENTRANT from inside a callback;
/// ESF_E_OPERATION_FORBIDDEN if it was called already. Until esf_after_fork_parent or esf_after_fork_child,
/// other calls of this thread on instances, cursors, tails and subscriptions, and calls of it that make or free
/// something, answer ESF_E_OPERATION_FORBIDDEN.
/// Threads: any, one at a time.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_before_fork(err: *mut *mut esf_error) -> esf_status {
    guard! { cold(err) => {
        callback::refuse_inside()?;
        prepare()?;
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
