//! Reading, updating, resetting: by path, by key, by snapshot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use elixirscope_foundation::config::{ChangeKind, Config, KeyKind, schema};
use elixirscope_foundation::error::{Code, Error};
use serde_json::{Map, json};

use crate::{World, defaults, open};

#[test]
fn an_update_is_visible_at_once_everywhere() {
    let world = World::new();
    let config = world.open(&Map::new()).unwrap();
    assert_eq!((config.version(), world.version.load(Ordering::SeqCst)), (1, 1));
    let key = config.key("ai.planning.sampling_rate").unwrap();
    let held = config.snapshot();
    assert_eq!(config.update("ai.planning.sampling_rate", json!(0.25)).unwrap(), 2);
    assert_eq!(key.get_f64().unwrap().to_bits(), 0.25_f64.to_bits());
    assert_eq!(config.get_f64("ai.planning.sampling_rate").unwrap().to_bits(), 0.25_f64.to_bits());
    assert_eq!(config.get("ai.planning.sampling_rate").unwrap(), json!(0.25));
    assert_eq!(config.get("ai.planning").unwrap()["sampling_rate"], json!(0.25));
    assert_eq!(config.get("").unwrap()["ai"]["planning"]["sampling_rate"], json!(0.25));
    assert_eq!(config.snapshot().value("ai.planning.sampling_rate"), Some(&json!(0.25)));
    assert_eq!((config.version(), world.version.load(Ordering::SeqCst)), (2, 2));
    // What is held stays as it was.
    assert_eq!((held.version(), held.value("ai.planning.sampling_rate")), (1, Some(&json!(1.0))));
    // A whole number is taken as given, and read as a number.
    config.update("ai.planning.sampling_rate", json!(0)).unwrap();
    assert_eq!(config.get("ai.planning.sampling_rate").unwrap(), json!(0));
    assert_eq!(key.get_f64().unwrap().to_bits(), 0.0_f64.to_bits());
}

#[test]
fn every_updatable_path_is_updated_and_every_other_refused() {
    let config = defaults();
    for (at, path) in Config::updatable_paths().iter().enumerate() {
        let value = match schema().find(path).unwrap().kind {
            KeyKind::Bool => json!(true),
            KeyKind::Float { .. } => json!(0.5),
            _ => json!(77),
        };
        config.check_update(path, &value).unwrap();
        assert_eq!(config.version(), at as u64 + 1, "a dry run changes nothing");
        assert_eq!(config.update(path, value.clone()).unwrap(), at as u64 + 2);
        assert_eq!(config.get(path).unwrap(), value);
    }
    let before = config.get("").unwrap();
    let others = schema().keys().iter().filter(|key| !key.updatable).map(|key| key.path);
    let never = ["ai", "ai.planning", "", "storage.encryption_key", "security", "system.node_name", "zzz"];
    for path in others.chain(never) {
        for error in
            [config.update(path, json!(1)).unwrap_err(), config.check_update(path, &json!(1)).unwrap_err()]
        {
            assert_eq!(error.code(), Code::ConfigUpdateForbidden, "{path}");
            assert_eq!(error.context()["path"], path);
            assert_eq!(error.context()["allowed_paths"].as_array().unwrap().len(), 9);
        }
    }
    let error = config.update("ai.planning.sampling_rate", json!(1.5)).unwrap_err();
    assert_eq!(error.code() as u32, 1203);
    assert_eq!(error.context()["violations"][0]["value"], json!(1.5));
    assert_eq!((config.get("").unwrap(), config.version()), (before, 10));
}

#[test]
fn paths_that_lead_nowhere_say_so() {
    let config = defaults();
    for path in ["ai.planning.rate", "zzz", "ai.model.x", "Dev", "dev.debug_mode "] {
        for error in [
            config.get(path).unwrap_err(),
            config.get_f64(path).unwrap_err(),
            config.get_str(path).unwrap_err(),
            config.key(path).unwrap_err(),
            config.subscribe(path, 1).unwrap_err(),
        ] {
            assert_eq!(error.code(), Code::ConfigPathNotFound, "{path}");
            assert_eq!(error.context()["path"], path);
        }
    }
    let long = "a.".repeat(1_000_000);
    for path in [".", "ai.", ".ai", "ai..planning", &long] {
        for error in [config.get(path).unwrap_err(), config.update(path, json!(1)).unwrap_err()] {
            assert_eq!(error.code(), Code::InvalidPath);
            assert!(error.to_json().to_string().len() < 2_000);
        }
    }
}

#[test]
fn typed_reads_say_what_they_found() {
    let config = defaults();
    let cases = [
        (config.get_bool("ai.model").map(drop), "text"),
        (config.get_i64("ai.planning.sampling_rate").map(drop), "a number"),
        (config.get_f64("dev.debug_mode").map(drop), "a boolean"),
        (config.get_f64("interface.max_results").map(drop), "a whole number"),
        (config.get_i64("ai.provider").map(drop), "a word"),
        (config.get_str("ai.api_key").map(drop), "null"),
        (config.get_str("interface.max_results").map(drop), "a whole number"),
        (config.get_str("ai").map(drop), "a section"),
        (config.get_bool("ai").map(drop), "a section"),
        (config.key("ai").map(drop), "a section"),
        (config.key("ai.model").unwrap().get_enum().map(drop), "text"),
    ];
    for (answer, found) in cases {
        let error = answer.unwrap_err();
        assert_eq!(error.code(), Code::TypeMismatch);
        assert_eq!(error.context()["found"], found, "{error}");
    }
    assert_eq!(config.get_str("ai.provider").unwrap(), "mock");
    assert_eq!(config.snapshot().get_str("ai.model").unwrap(), "gpt-4");
    let key = config.key("storage.warm.compression").unwrap();
    assert_eq!((key.get_enum().unwrap(), key.path()), ("zstd", "storage.warm.compression"));
    assert_eq!(config.key("ai.model").unwrap().kind(), KeyKind::Str { nullable: false });
}

#[test]
fn reset_goes_back_to_the_defaults_not_to_the_overrides() {
    let world = World::new();
    let overrides = json!({"ai": {"provider": "openai", "api_key": "k"}, "dev": {"debug_mode": true}});
    let config = world.open(overrides.as_object().unwrap()).unwrap();
    let (provider, debug) = (config.key("ai.provider").unwrap(), config.key("dev.debug_mode").unwrap());
    assert_eq!((provider.get_enum().unwrap(), debug.get_bool().unwrap()), ("openai", true));
    world.clock.advance(5_000_000);
    config.update("interface.max_results", json!(5)).unwrap();
    world.clock.advance(7_000_000);
    assert_eq!(config.reset().unwrap(), 3);
    assert_eq!(config.get("").unwrap(), defaults().get("").unwrap());
    assert_eq!((provider.get_enum().unwrap(), debug.get_bool().unwrap()), ("mock", false));
    let stats = config.stats();
    assert_eq!((stats.version, stats.updates_count, stats.resets_count), (3, 1, 1));
    assert_eq!((stats.uptime_ms, stats.last_update_ns), (12, Some(5_001_000)));
    assert_eq!(world.version.load(Ordering::SeqCst), 3);
    assert_eq!(defaults().stats().last_update_ns, None);
}

#[test]
fn a_refused_commit_changes_nothing() {
    let world = World::new();
    let config = world.open(&Map::new()).unwrap();
    let subscription = config.subscribe("", 8).unwrap();
    let refuse = Arc::new(AtomicBool::new(true));
    let published = Arc::new(AtomicU64::new(0));
    let (refused, counted) = (refuse.clone(), published.clone());
    config.set_commit_hook(Box::new(move |change| {
        assert_eq!(change.version, 2);
        let full = || Error::new(Code::StoreFull, "the store is full").with("path", change.path);
        if refused.load(Ordering::SeqCst) { Err(full()) } else { Ok(()) }
    }));
    config.set_published_hook(Box::new(move |change| {
        counted.fetch_add(change.version, Ordering::SeqCst);
    }));
    let before = config.get("").unwrap();
    let key = config.key("dev.debug_mode").unwrap();
    for error in [config.update("dev.debug_mode", json!(true)).unwrap_err(), config.reset().unwrap_err()] {
        assert_eq!(error.code(), Code::ServiceUnavailable);
        assert_eq!(error.context()["cause"]["error_type"], "store_full");
    }
    assert_eq!(config.get("").unwrap(), before);
    assert!(!key.get_bool().unwrap());
    assert_eq!((config.version(), world.version.load(Ordering::SeqCst)), (1, 1));
    assert!(subscription.try_next().is_none());
    assert_eq!(config.stats().updates_count + config.stats().resets_count, 0);
    assert_eq!(published.load(Ordering::SeqCst), 0);
    refuse.store(false, Ordering::SeqCst);
    assert_eq!(config.update("dev.debug_mode", json!(true)).unwrap(), 2);
    assert!(key.get_bool().unwrap());
    assert_eq!(published.load(Ordering::SeqCst), 2);
}

#[test]
fn the_commit_hook_sees_the_change_before_any_reader() {
    let config = Arc::new(defaults());
    let log = Arc::new(Mutex::new(Vec::new()));
    let (weak, hook_log): (Weak<Config>, _) = (Arc::downgrade(&config), log.clone());
    config.set_commit_hook(Box::new(move |change| {
        let now = weak.upgrade().unwrap().get("interface.max_results").unwrap();
        let line =
            (change.path, change.old.clone(), change.new.clone(), change.kind, change.updates_count, now);
        hook_log.lock().unwrap().push(line);
        Ok(())
    }));
    config.update("interface.max_results", json!(5)).unwrap();
    config.reset().unwrap();
    let log = log.lock().unwrap();
    assert_eq!(log[0], ("interface.max_results", json!(1000), json!(5), ChangeKind::Updated, 0, json!(1000)));
    assert_eq!((log[1].0, log[1].3, log[1].4, &log[1].5), ("", ChangeKind::Reset, 1, &json!(5)));
}

#[test]
fn a_panicking_hook_leaves_everything_as_it_was() {
    let config = defaults();
    config.set_commit_hook(Box::new(|change| {
        assert_ne!(change.new, &json!(13), "unlucky");
        Ok(())
    }));
    let update = |n: i64| config.update("interface.max_results", json!(n));
    assert!(catch_unwind(AssertUnwindSafe(|| update(13))).is_err());
    assert_eq!((config.version(), config.get_i64("interface.max_results").unwrap()), (1, 1000));
    assert_eq!(update(14).unwrap(), 2);
    assert_eq!(config.get_i64("interface.max_results").unwrap(), 14);
}

#[test]
fn a_hook_that_updates_gets_an_answer_not_a_deadlock() {
    let config = Arc::new(defaults());
    let inner = Arc::new(Mutex::new(None));
    let (weak, answer) = (Arc::downgrade(&config), inner.clone());
    config.set_commit_hook(Box::new(move |_| {
        let config = weak.upgrade().unwrap();
        *answer.lock().unwrap() = Some(config.update("dev.debug_mode", json!(true)).unwrap_err().code());
        Ok(())
    }));
    config.update("interface.max_results", json!(5)).unwrap();
    assert_eq!(*inner.lock().unwrap(), Some(Code::Reentrant));
    // After the change is published there is no lock any more.
    let weak = Arc::downgrade(&config);
    config.set_commit_hook(Box::new(|_| Ok(())));
    config.set_published_hook(Box::new(move |change| {
        if change.path == "interface.max_results" {
            weak.upgrade().unwrap().update("dev.debug_mode", json!(true)).unwrap();
        }
    }));
    assert_eq!(config.update("interface.max_results", json!(6)).unwrap(), 3);
    assert_eq!(config.version(), 4);
}

#[test]
fn instances_do_not_see_each_other_and_keys_outlive_them() {
    let (first, second) = (defaults(), open(&json!({"interface": {"max_results": 2}})).unwrap());
    let keys = [&first, &second].map(|config| config.key("interface.max_results").unwrap());
    first.update("interface.max_results", json!(1)).unwrap();
    assert_eq!(keys.each_ref().map(|key| key.get_i64().unwrap()), [1, 2]);
    drop(first);
    let later: Vec<_> = (0..20).map(|_| open(&json!({"interface": {"max_results": 3}})).unwrap()).collect();
    assert_eq!(keys[0].get_i64().unwrap(), 1, "a key keeps what it reads");
    drop(later);
}

#[test]
fn readers_under_writers_see_versions_that_only_grow() {
    let config = defaults();
    let rounds = 3_000;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let key = config.key("interface.max_results").unwrap();
                let mut seen = 0;
                while !done.load(Ordering::Acquire) {
                    let by = [
                        key.get_i64().unwrap(),
                        config.get("interface.max_results").unwrap().as_i64().unwrap(),
                        config.get_i64("interface.max_results").unwrap(),
                        config.snapshot().value("interface.max_results").unwrap().as_i64().unwrap(),
                    ];
                    for value in by {
                        let value = if value == 1000 { 0 } else { value - 10_000 };
                        assert!(value >= seen, "{value} after {seen}");
                        seen = value;
                    }
                }
            });
        }
        for n in 1..=rounds {
            config.update("interface.max_results", json!(10_000 + n)).unwrap();
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(config.version(), rounds as u64 + 1);
}

#[test]
fn concurrent_updates_are_all_made() {
    let config = defaults();
    std::thread::scope(|scope| {
        for path in ["interface.max_results", "interface.query_timeout", "capture.processing.batch_size"] {
            let config = &config;
            scope.spawn(move || {
                for n in 1..=500 {
                    config.update(path, json!(n)).unwrap();
                }
            });
        }
    });
    assert_eq!((config.version(), config.stats().updates_count), (1501, 1500));
    assert_eq!(config.get_i64("interface.query_timeout").unwrap(), 500);
}
