//! An instance with files: its options, its configuration's past, its threads, its end.

use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{Level, NewEvent, Query};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;
use elixirscope_foundation::runtime::clock::SimClock;
use elixirscope_foundation::storage::{SimStorage, Storage};

const CLOSE: Duration = Duration::from_secs(30);
const RATE: &str = "ai.planning.sampling_rate";

fn open(storage: &Arc<dyn Storage>, wall_ns: i64, options: &str) -> Foundation {
    let options = Options::from_json(options).unwrap();
    Foundation::open_on(&options, Arc::new(SimClock::new(wall_ns)), storage, &mut |_| ()).unwrap()
}

fn disk() -> Arc<dyn Storage> {
    Arc::new(SimStorage::new(7))
}

#[test]
fn the_configuration_is_there_again_with_its_version_and_its_events() {
    for mode in ["crash_safe", "interval", "group", "strict"] {
        for closes in [true, false] {
            let simulated = SimStorage::new(7);
            let storage: Arc<dyn Storage> = Arc::new(simulated.clone());
            let options = format!(r#"{{"event_store": {{"data_dir": "d", "durability": "{mode}"}}}}"#);
            let first = open(&storage, 1_000, &options);
            assert_eq!(first.config().update(RATE, 0.25.into()).unwrap(), 2);
            assert_eq!(first.config().update("dev.debug_mode", true.into()).unwrap(), 3);
            let event = NewEvent { event_type: "tick".into(), ..NewEvent::default() };
            first.events().append(&event).unwrap();
            // Either it is closed, or the process dies here and another finds what it left.
            let left: Arc<dyn Storage> = if closes {
                assert_eq!(first.close(CLOSE).unfinished, Vec::<String>::new());
                Arc::new(simulated)
            } else {
                let left = simulated.fork();
                left.kill();
                Arc::new(left)
            };
            let second = open(&left, 1_000, &options);
            assert_eq!(second.config().get_f64(RATE).unwrap(), 0.25, "{mode}");
            assert!(second.config().get_bool("dev.debug_mode").unwrap());
            assert_eq!(second.config().version(), 3);
            let mut ticks =
                second.events().query(&Query { types: vec!["tick".into()], ..Query::default() }).unwrap();
            assert_eq!(ticks.next().map(|tick| tick.config_version()), Some(3));
            assert_eq!(second.config().reset().unwrap(), 4);
            assert_eq!(second.close(CLOSE).unfinished, Vec::<String>::new());
            let third = open(&left, 1_000, &options);
            assert_eq!((third.config().get_f64(RATE).unwrap(), third.config().version()), (1.0, 4));
        }
    }
}

#[test]
fn time_never_goes_back_and_a_future_that_cannot_be_is_not_believed() {
    const HOUR: i64 = 3_600_000_000_000;
    let storage = disk();
    let options = r#"{"event_store": {"data_dir": "d"}}"#;
    let first = open(&storage, 10 * HOUR, options);
    let event = NewEvent { event_type: "tick".into(), ..NewEvent::default() };
    first.events().append(&event).unwrap();
    let newest = first.clock().now_ns();
    assert!(first.close(CLOSE).unfinished.is_empty());
    let second = open(&storage, 10 * HOUR - HOUR / 2, options);
    assert!(second.clock().now_ns() > newest, "half an hour back is a step of the clock");
    assert!(second.close(CLOSE).unfinished.is_empty());
    let third = open(&storage, HOUR, options);
    assert!(third.clock().now_ns() < 2 * HOUR);
    let stepped = Query { types: vec!["clock_stepped".into()], ..Query::default() };
    assert_eq!(third.events().query(&stepped).unwrap().count().unwrap(), 1);
}

#[test]
fn options_that_do_not_go_together_are_refused_and_the_warm_tier_means_files() {
    let refused = |options: &str| {
        let options = Options::from_json(options).unwrap();
        Foundation::open_on(&options, Arc::new(SimClock::new(0)), &disk(), &mut |_| ()).unwrap_err()
    };
    let error = refused(r#"{"event_store": {"durability": "group"}}"#);
    assert_eq!(
        (error.code(), &error.context()["path"]),
        (Code::InvalidInput, &"event_store.data_dir".into())
    );
    let storage = disk();
    let options = r#"{"config": {"storage": {"warm": {"enable": true, "path": "warm"}}}}"#;
    let instance = open(&storage, 0, options);
    assert_eq!(instance.events().disk_stats().unwrap().data_dir, "warm");
    assert!(storage.exists(std::path::Path::new("warm/MANIFEST")).unwrap());
    let volatile = open(&storage, 0, r#"{"event_store": {"data_dir": "v", "durability": "volatile"}}"#);
    assert!(volatile.events().disk_stats().is_none());
}

#[test]
fn a_wait_for_what_is_not_stored_yet_is_no_work_and_ends_with_the_store() {
    let storage = disk();
    let instance = open(&storage, 0, r#"{"event_store": {"data_dir": "d", "durability": "group"}}"#);
    let events = instance.events();
    let (told, outcome) = std::sync::mpsc::channel();
    let then = move |outcome: elixirscope_foundation::error::Result<()>| told.send(outcome).unwrap();
    events.when_durable(1 << 40, Level::Durable, Box::new(then)).unwrap();
    let event = NewEvent { event_type: "tick".into(), ..NewEvent::default() };
    for _ in 0..100 {
        events.append(&event).unwrap();
    }
    // Whoever appends may lead a round, and the thread that serves waits another; none is for nothing.
    let syncs = events.disk_stats().unwrap().syncs;
    assert!(syncs <= 300, "{syncs} syncs for 100 events");
    assert_eq!(instance.close(CLOSE).unfinished, Vec::<String>::new());
    assert_eq!(outcome.recv().unwrap().unwrap_err().code(), Code::Closing);
}

#[test]
fn a_wait_with_a_deadline_is_served_in_every_mode() {
    for mode in ["crash_safe", "interval", "group", "strict"] {
        let storage = disk();
        let options = format!(r#"{{"event_store": {{"data_dir": "d", "durability": "{mode}"}}}}"#);
        let instance = open(&storage, 0, &options);
        let event = NewEvent { event_type: "tick".into(), ..NewEvent::default() };
        let receipt = instance.events().append_with(&event, Some(Level::Accepted)).unwrap();
        instance.events().wait_durable(receipt.seq, Level::Durable, CLOSE).unwrap();
        assert!(instance.events().watermark(Level::Durable) > receipt.seq, "{mode}");
        for timeout in [Duration::ZERO, Duration::from_millis(5)] {
            let error = instance.events().wait_durable(receipt.seq + 1, Level::Durable, timeout).unwrap_err();
            assert_eq!(error.code(), Code::Timeout, "{mode}");
        }
    }
}
