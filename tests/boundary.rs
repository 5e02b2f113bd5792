//! The C ABI where several threads, callbacks or a fork meet, called from Rust as a C program would.
//!
//! What a program can get wrong with one call is the business of tests/c.

#![cfg(feature = "capi")]

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::ffi::config::*;
use elixirscope_foundation::ffi::error::*;
use elixirscope_foundation::ffi::fork::*;
use elixirscope_foundation::ffi::foundation::*;
use elixirscope_foundation::ffi::query::*;
use elixirscope_foundation::ffi::status::*;
use elixirscope_foundation::ffi::text::*;
use elixirscope_foundation::ffi::watch::*;
use elixirscope_foundation::runtime::deadline::Deadline;

/// A fork waits for every callback in the process, so these tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(text: &str) -> esf_str {
    esf_str { ptr: text.as_ptr().cast(), len: text.len() }
}

fn open() -> *mut esf_foundation {
    let mut foundation = null_mut();
    // SAFETY: the out parameter lives through the call, as in all calls of this file.
    assert_eq!(unsafe { esf_foundation_open(text(""), &raw mut foundation, null_mut()) }, ESF_OK);
    foundation
}

fn update(foundation: *mut esf_foundation, value: &str) {
    let path = text("ai.planning.sampling_rate");
    // SAFETY: as above.
    let status = unsafe { esf_config_update(foundation, path, text(value), null_mut(), null_mut()) };
    assert_eq!(status, ESF_OK);
}

fn subscribe(foundation: *mut esf_foundation, callback: esf_config_change_fn) -> *mut esf_subscription {
    let mut subscription = null_mut();
    // SAFETY: as above; the callbacks of this file take no data.
    let status = unsafe {
        let out = &raw mut subscription;
        esf_config_subscribe_callback(foundation, text(""), 4, callback, null_mut(), None, out, null_mut())
    };
    assert_eq!(status, ESF_OK);
    subscription
}

/// Waits until it is so, at most half a minute.
fn wait_until(so: impl Fn() -> bool) {
    let deadline = Deadline::after(Duration::from_secs(30));
    while !so() {
        assert!(deadline.left().is_some(), "it never came to that");
        thread::yield_now();
    }
}

#[test]
fn only_the_very_number_of_a_prepared_error_is_one() {
    let _alone = alone();
    let mut message = esf_str { ptr: null(), len: 0 };
    let prepared = 1_usize << 62 | Code::RangeError as usize;
    for (number, expected) in [
        (prepared, ESF_OK),
        (prepared | 1 << 40, Code::StaleHandle as i32),
        (prepared | 1 << 63, Code::StaleHandle as i32),
        (prepared & !(1 << 62), Code::StaleHandle as i32),
    ] {
        let error = std::ptr::without_provenance(number);
        // SAFETY: a handle is never dereferenced.
        assert_eq!(unsafe { esf_error_message(error, &raw mut message) }, expected, "{number:#x}");
    }
}

#[test]
fn a_flag_that_is_not_known_is_refused() {
    let _alone = alone();
    let foundation = open();
    // SAFETY: all fields are integers and raw pointers, for which zero is a value.
    let mut query: esf_event_query = unsafe { std::mem::zeroed() };
    query.size = size_of::<esf_event_query>() as u32;
    query.order = ESF_ORDER_SEQ;
    query.flags = 16;
    let mut cursor = null_mut();
    // SAFETY: as above.
    unsafe {
        let status = esf_events_query(foundation, &raw const query, &raw mut cursor, null_mut());
        assert_eq!(status, Code::InvalidInput as i32);
        assert_eq!(esf_foundation_close(foundation, 1_000, null_mut()), ESF_OK);
    }
}

#[test]
fn the_headers_example_of_options_opens_an_instance() {
    let _alone = alone();
    let header = include_str!("../include/elixirscope_foundation.h");
    let (_, example) = header.split_once("Instances: open,").unwrap();
    let (_, example) = example.split_once(" *     {").unwrap();
    let (example, _) = example.split_once(" *     }").unwrap();
    let options: String = example.lines().map(|line| line.trim_start_matches(" *")).collect();
    let options = format!("{{{options}}}");
    let mut foundation = null_mut();
    // SAFETY: as above.
    unsafe {
        assert_eq!(esf_foundation_open(text(&options), &raw mut foundation, null_mut()), ESF_OK, "{options}");
        assert_eq!(esf_foundation_close(foundation, 1_000, null_mut()), ESF_OK);
    }
}

static ENTERED: AtomicUsize = AtomicUsize::new(0);
static GO_ON: AtomicBool = AtomicBool::new(false);

extern "C" fn blocks(_: *mut c_void, _: *const esf_config_change) {
    ENTERED.fetch_add(1, Ordering::SeqCst);
    wait_until(|| GO_ON.load(Ordering::SeqCst));
}

#[test]
fn closing_keeps_its_deadline_while_a_callback_blocks() {
    let _alone = alone();
    GO_ON.store(false, Ordering::SeqCst);
    let entered = ENTERED.load(Ordering::SeqCst);
    let foundation = open();
    let subscription = subscribe(foundation, Some(blocks));
    update(foundation, "0.25");
    wait_until(|| ENTERED.load(Ordering::SeqCst) > entered);
    let soon = Deadline::after(Duration::from_secs(4));
    // SAFETY: as above.
    unsafe {
        assert_eq!(esf_foundation_close(foundation, 50, null_mut()), ESF_TIMED_OUT);
        assert!(soon.left().is_some(), "it took more than four seconds");
        GO_ON.store(true, Ordering::SeqCst);
        assert_eq!(esf_subscription_cancel(subscription, null_mut()), ESF_OK);
    }
}

static OWN: AtomicPtr<esf_subscription> = AtomicPtr::new(null_mut());
static ANSWER: AtomicI32 = AtomicI32::new(-1);

extern "C" fn cancels_itself(_: *mut c_void, _: *const esf_config_change) {
    ENTERED.fetch_add(1, Ordering::SeqCst);
    wait_until(|| GO_ON.load(Ordering::SeqCst));
    // SAFETY: as above.
    ANSWER
        .store(unsafe { esf_subscription_cancel(OWN.load(Ordering::SeqCst), null_mut()) }, Ordering::SeqCst);
}

/// Whether the subscription is over, as its queue knows.
fn is_over(subscription: *mut esf_subscription) -> bool {
    let mut change = esf_config_change {
        size: size_of::<esf_config_change>() as u32,
        kind: 0,
        version: 0,
        timestamp: 0,
        path: text(""),
        old_json: text(""),
        new_json: text(""),
    };
    let mut owner = esf_string { ptr: null(), len: 0, owner: 0 };
    // SAFETY: as above.
    let status =
        unsafe { esf_config_next_change(subscription, 0, &raw mut change, &raw mut owner, null_mut()) };
    status == ESF_DONE
}

#[test]
fn a_callback_cancels_itself_while_another_thread_waits_for_it() {
    let _alone = alone();
    GO_ON.store(false, Ordering::SeqCst);
    let entered = ENTERED.load(Ordering::SeqCst);
    let foundation = open();
    OWN.store(subscribe(foundation, Some(cancels_itself)), Ordering::SeqCst);
    update(foundation, "0.25");
    wait_until(|| ENTERED.load(Ordering::SeqCst) > entered);
    let soon = Deadline::after(Duration::from_secs(4));
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            // SAFETY: as above.
            unsafe { esf_subscription_cancel(OWN.load(Ordering::SeqCst), null_mut()) }
        });
        wait_until(|| is_over(OWN.load(Ordering::SeqCst)));
        GO_ON.store(true, Ordering::SeqCst);
        assert_eq!(other.join().unwrap(), Code::StaleHandle as i32, "the callback was first to free it");
    });
    assert_eq!(ANSWER.load(Ordering::SeqCst), ESF_OK);
    assert!(soon.left().is_some(), "they waited for each other");
    // SAFETY: as above.
    assert_eq!(unsafe { esf_foundation_close(foundation, 1_000, null_mut()) }, ESF_OK);
}

#[test]
fn between_the_brackets_of_a_fork_the_thread_gets_answers_instead_of_waiting_for_itself() {
    let _alone = alone();
    let foundation = open();
    let mut err = null_mut();
    let mut json = esf_string { ptr: null(), len: 0, owner: 0 };
    let mut code = 0;
    let forbidden = Code::OperationForbidden as i32;
    // SAFETY: as above; the handles of errors are passed on as they were given.
    unsafe {
        assert_eq!(esf_config_updatable_paths_json(&raw mut json, null_mut()), ESF_OK);
        assert_eq!(esf_before_fork(null_mut()), ESF_OK);
        assert_eq!(esf_before_fork(&raw mut err), forbidden);
        assert_eq!((esf_error_code(err, &raw mut code), code), (ESF_OK, forbidden));
        assert_eq!(esf_config_version(foundation, &mut 0, null_mut()), forbidden);
        assert_eq!(esf_foundation_close(foundation, 1_000, null_mut()), forbidden);
        let mut another = null_mut();
        assert_eq!(esf_foundation_open(text(""), &raw mut another, null_mut()), forbidden);
        assert_eq!(esf_string_free(&raw mut json), forbidden);
        assert_eq!(esf_after_fork_parent(null_mut()), ESF_OK);
        assert_eq!(esf_string_free(&raw mut json), ESF_OK);
        assert_eq!(esf_foundation_close(foundation, 1_000, null_mut()), ESF_OK);
    }
}
