//! The wiring of an instance: a change of configuration is an event and a count before `update` returns,
//! every event carries the configuration version in force, and instances are isolated.

use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{NewEvent, Query};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::handles::{self, Instance};
use elixirscope_foundation::options::Options;
use elixirscope_foundation::runtime::clock::SimClock;
use serde_json::{Value, json};

const SAMPLING_RATE: &str = "ai.planning.sampling_rate";
const CLOSE: Duration = Duration::from_secs(5);

fn open() -> Foundation {
    Foundation::open_with(&Options::default(), Arc::new(SimClock::new(1_000))).unwrap()
}

fn append(foundation: &Foundation, event_type: &str) -> u64 {
    let event = NewEvent { event_type: event_type.into(), data: b"{}", ..NewEvent::default() };
    foundation.events().append(&event).unwrap().event_id
}

#[test]
fn an_update_is_stored_and_counted_before_it_returns() {
    let foundation = open();
    let version = foundation.config().update(SAMPLING_RATE, json!(0.25)).unwrap();
    assert_eq!(version, 2);

    let query = Query { types: vec!["config_updated".into()], ..Query::default() };
    let mut found = foundation.events().query(&query).unwrap();
    let event = found.next().unwrap();
    let data: Value = serde_json::from_slice(event.data()).unwrap();
    assert_eq!(data["path"], SAMPLING_RATE);
    assert_eq!(data["previous_value"], json!(1.0));
    assert_eq!(data["new_value"], json!(0.25));
    assert_eq!(data["version"], json!(2));
    assert!(found.next().is_none());
    assert!(foundation.prometheus().contains("\nesf_config_updates_total 1\n"));
}

#[test]
fn a_refused_update_leaves_no_trace() {
    let foundation = open();
    let error = foundation.config().update(SAMPLING_RATE, json!(1.5)).unwrap_err();
    assert_eq!(error.code(), Code::RangeError);
    let error = foundation.config().update("ai.provider", json!("openai")).unwrap_err();
    assert_eq!(error.code(), Code::ConfigUpdateForbidden);
    assert_eq!(foundation.config().version(), 1);
    assert_eq!(foundation.events().stats().stored, 0);
    assert!(foundation.prometheus().contains("\nesf_config_updates_total 0\n"));
}

#[test]
fn a_reset_is_an_event_too() {
    let foundation = open();
    foundation.config().update(SAMPLING_RATE, json!(0.5)).unwrap();
    foundation.config().reset().unwrap();
    let query = Query { types: vec!["config_reset".into()], ..Query::default() };
    let mut found = foundation.events().query(&query).unwrap();
    let data: Value = serde_json::from_slice(found.next().unwrap().data()).unwrap();
    assert_eq!(data["reset_from_updates_count"], json!(1));
    assert_eq!(data["version"], json!(3));
}

#[test]
fn each_event_carries_the_version_in_force() {
    let foundation = open();
    let before = append(&foundation, "before");
    foundation.config().update(SAMPLING_RATE, json!(0.5)).unwrap();
    let after = append(&foundation, "after");
    assert_eq!(foundation.events().get(before).unwrap().view().config_version(), 1);
    assert_eq!(foundation.events().get(after).unwrap().view().config_version(), 2);
}

/// The promise of the stamp, with writers of both kinds at work: an event that is appended after `update`
/// returned carries at least that version, whatever other threads do.
#[test]
fn the_stamp_never_lags_behind_an_update_that_returned() {
    let foundation = Foundation::open(&Options::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let foundation = &foundation;
            scope.spawn(move || {
                for step in 0..300 {
                    let rate = f64::from(step % 100) / 100.0 + f64::from(thread) / 1000.0;
                    let version = foundation.config().update(SAMPLING_RATE, json!(rate)).unwrap();
                    let id = append(foundation, "after");
                    let stamped = foundation.events().get(id).unwrap().view().config_version();
                    assert!(stamped >= version, "stamped {stamped} after the update to {version}");
                }
            });
        }
    });
    assert_eq!(foundation.config().version(), 601);
    let query = Query { types: vec!["config_updated".into()], ..Query::default() };
    assert_eq!(foundation.events().query(&query).unwrap().count().unwrap(), 600);
}

#[test]
fn the_bound_comes_from_options_or_else_from_configuration() {
    let given = Options::from_json(r#"{"event_store": {"max_events": 7}}"#).unwrap();
    let foundation = Foundation::open(&given).unwrap();
    assert_eq!(foundation.events().stats().max_events, Some(7));
    let configured = Options::from_json(r#"{"config": {"storage": {"hot": {"max_events": 9}}}}"#).unwrap();
    let foundation = Foundation::open(&configured).unwrap();
    for _ in 0..20 {
        append(&foundation, "tick");
    }
    let stats = foundation.events().stats();
    assert_eq!((stats.events, stats.dropped_oldest), (9, 11));
}

#[test]
fn instances_are_isolated() {
    let (one, two) = (open(), open());
    one.config().update(SAMPLING_RATE, json!(0.5)).unwrap();
    one.telemetry().counter("hits", &[]).unwrap().add(3);
    assert_eq!(two.config().version(), 1);
    assert_eq!(two.events().stats().stored, 0);
    assert!(!two.prometheus().contains("hits"));
}

#[test]
fn an_instance_needs_no_thread_until_something_is_to_be_called() {
    let foundation = open();
    append(&foundation, "tick");
    assert!(foundation.status().workers.is_empty());
    let (told, heard) = std::sync::mpsc::channel();
    let callback = Box::new(move |change: &elixirscope_foundation::config::Change| {
        told.send(change.new.clone()).unwrap();
    });
    let subscription = foundation.config().subscribe_callback("ai", 8, callback).unwrap();
    foundation.config().update(SAMPLING_RATE, json!(0.5)).unwrap();
    assert_eq!(heard.recv_timeout(CLOSE).unwrap(), json!(0.5));
    assert_eq!(foundation.status().workers.len(), 1);
    drop(subscription);
    assert!(foundation.close(CLOSE).unfinished.is_empty());
}

#[test]
fn closing_makes_every_handle_of_the_instance_stale() {
    let handle = Instance::open(&Options::default()).unwrap();
    let (key, counter, event_type) = {
        let instance = Instance::pin(handle).unwrap();
        let key = instance.config_key(SAMPLING_RATE).unwrap();
        (key, instance.counter("hits", &[]).unwrap(), instance.event_type("tick").unwrap())
    };
    assert_eq!(handles::config_key(key).unwrap().get_f64().unwrap().to_bits(), 1.0_f64.to_bits());
    assert_eq!(handles::counter_add(counter, 2), Some(()));
    assert_eq!(handles::counter_value(counter), Some(2));
    assert!(Instance::close(handle, CLOSE).unwrap().unfinished.is_empty());

    assert!(handles::config_key(key).is_none());
    assert!(handles::counter_add(counter, 2).is_none());
    assert!(handles::event_type(event_type).is_none());
    assert_eq!(Instance::pin(handle).unwrap_err().code(), Code::StaleHandle);
    assert_eq!(Instance::close(handle, CLOSE).unwrap_err().code(), Code::StaleHandle);
}

#[test]
fn a_pinned_instance_is_closed_only_when_the_call_is_over() {
    let handle = Instance::open(&Options::default()).unwrap();
    let pin = Instance::pin(handle).unwrap();
    let error = Instance::close(handle, Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    append(pin.foundation(), "still_open");
    drop(pin);
    assert!(Instance::close(handle, CLOSE).is_ok());
}

#[test]
fn an_event_type_of_another_instance_is_refused() {
    let (one, two) = (open(), open());
    let foreign = one.events().event_type("tick").unwrap();
    let event = NewEvent { event_type: foreign.into(), ..NewEvent::default() };
    assert_eq!(two.events().append(&event).unwrap_err().code(), Code::InvalidEventType);
}

#[test]
fn the_status_says_what_runs() {
    let foundation = open();
    append(&foundation, "tick");
    let status = serde_json::to_value(foundation.status()).unwrap();
    assert_eq!(status["status"], "running");
    assert_eq!(status["namespace"], "default");
    assert_eq!(status["events"]["events"], 1);
    assert_eq!(status["config"]["version"], 1);
}

#[test]
fn an_event_is_not_stamped_older_than_the_configuration_that_its_producer_has_seen() {
    let foundation = Foundation::open(&Options::default()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..40_000 {
                foundation.config().update(SAMPLING_RATE, (f64::from(turn % 10) / 10.0).into()).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let event = NewEvent { event_type: "t".into(), ..NewEvent::default() };
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            foundation.config().get("ai.planning").unwrap();
            let seen = foundation.config().version();
            let id = foundation.events().append(&event).unwrap().event_id;
            let stamp = foundation.events().get(id).unwrap().view().config_version();
            assert!(stamp >= seen, "{stamp} after {seen}");
        }
    });
}
