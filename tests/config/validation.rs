//! What a tree may hold: every row of the table, every error code, all violations at once.

use elixirscope_foundation::config::{Config, schema};
use elixirscope_foundation::error::{Code, Error};
use serde_json::{Value, json};

use crate::{defaults, open};

/// Path, default, values that are allowed, values that are not, and the code these give.
type Row = (&'static str, Value, Vec<Value>, Vec<Value>, Code);

/// The table of the design, written out by hand.
fn rows() -> Vec<Row> {
    use Code::{ConstraintViolation, InvalidConfigValue, RangeError, ValidationFailed};
    let positive = |path, default: i64| {
        let bad = vec![json!(0), json!(-1), json!(1.5), json!("1"), json!(null), json!(u64::MAX), json!([1])];
        (path, json!(default), vec![json!(1), json!(i64::MAX)], bad, ValidationFailed)
    };
    let boolean = |path, default: bool| {
        let bad = vec![json!(null), json!(1), json!("true"), json!({})];
        (path, json!(default), vec![json!(true), json!(false)], bad, ValidationFailed)
    };
    let word = |path, default: &str, allowed: &[&str]| {
        let bad = vec![json!("other"), json!(null), json!(1), json!(true), json!(["mock"])];
        (path, json!(default), allowed.iter().map(|word| json!(word)).collect(), bad, InvalidConfigValue)
    };
    vec![
        word("ai.provider", "mock", &["mock", "openai", "anthropic", "gemini"]),
        ("ai.api_key", json!(null), vec![json!("k"), json!(null)], vec![json!(1)], ValidationFailed),
        ("ai.model", json!("gpt-4"), vec![json!("m")], vec![json!(1), json!(null)], ValidationFailed),
        positive("ai.analysis.max_file_size", 1_000_000),
        positive("ai.analysis.timeout", 30_000),
        positive("ai.analysis.cache_ttl", 3600),
        word("ai.planning.default_strategy", "balanced", &["fast", "balanced", "thorough"]),
        (
            "ai.planning.performance_target",
            json!(0.01),
            vec![json!(0), json!(0.0), json!(1e9), json!(7)],
            vec![json!(-0.001), json!(-1), json!("0.1"), json!(null)],
            ConstraintViolation,
        ),
        (
            "ai.planning.sampling_rate",
            json!(1.0),
            vec![json!(0), json!(1), json!(0.0), json!(0.5), json!(1.0)],
            vec![json!(1.01), json!(-0.1), json!(2), json!("high"), json!(null)],
            RangeError,
        ),
        positive("capture.ring_buffer.size", 1024),
        positive("capture.ring_buffer.max_events", 1000),
        word(
            "capture.ring_buffer.overflow_strategy",
            "drop_oldest",
            &["drop_oldest", "drop_newest", "block"],
        ),
        (
            "capture.ring_buffer.num_buffers",
            json!("schedulers"),
            vec![json!("schedulers"), json!(1), json!(64)],
            vec![json!(0), json!("all"), json!(null), json!(2.5)],
            ValidationFailed,
        ),
        positive("capture.processing.batch_size", 100),
        positive("capture.processing.flush_interval", 50),
        positive("capture.processing.max_queue_size", 1000),
        boolean("capture.vm_tracing.enable_spawn_trace", true),
        boolean("capture.vm_tracing.enable_exit_trace", true),
        boolean("capture.vm_tracing.enable_message_trace", false),
        boolean("capture.vm_tracing.trace_children", true),
        positive("storage.hot.max_events", 100_000),
        positive("storage.hot.max_age_seconds", 3600),
        positive("storage.hot.prune_interval", 60_000),
        boolean("storage.warm.enable", false),
        (
            "storage.warm.path",
            json!("./elixir_scope_data"),
            vec![json!("/data")],
            vec![json!(1), json!(null)],
            ValidationFailed,
        ),
        positive("storage.warm.max_size_mb", 100),
        word("storage.warm.compression", "zstd", &["none", "gzip", "zstd"]),
        (
            "storage.cold.enable",
            json!(false),
            vec![json!(false)],
            vec![json!(true), json!(0)],
            ValidationFailed,
        ),
        positive("interface.query_timeout", 10_000),
        positive("interface.max_results", 1000),
        boolean("interface.enable_streaming", true),
        boolean("dev.debug_mode", false),
        boolean("dev.verbose_logging", false),
        boolean("dev.performance_monitoring", true),
    ]
}

/// `{"a": {"b": value}}` of `a.b`.
fn nested(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |inner, name| json!({ name: inner }))
}

fn set(tree: &mut Value, path: &str, value: Value) {
    *tree.pointer_mut(&format!("/{}", path.replace('.', "/"))).unwrap() = value;
}

fn remove(tree: &mut Value, path: &str) {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let pointer = if parent.is_empty() { String::new() } else { format!("/{}", parent.replace('.', "/")) };
    tree.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(name).unwrap();
}

fn violations(error: &Error) -> Vec<(String, String)> {
    let list = error.context()["violations"].as_array().unwrap();
    let field = |violation: &Value, name: &str| violation[name].as_str().unwrap().to_owned();
    list.iter().map(|violation| (field(violation, "path"), field(violation, "error_type"))).collect()
}

#[test]
fn every_row_of_the_table_is_in_the_schema_in_its_order() {
    let paths: Vec<_> = rows().into_iter().map(|row| row.0).collect();
    assert_eq!(paths, schema().keys().iter().map(|key| key.path).collect::<Vec<_>>());
    let config = defaults();
    for (path, default, ..) in rows() {
        assert_eq!(config.get(path).unwrap(), default, "{path}");
    }
}

#[test]
fn every_allowed_value_is_taken_and_every_other_refused_with_its_code() {
    let tree = defaults().get("").unwrap();
    for (path, _, allowed, refused, code) in rows() {
        let warm = path.starts_with("storage.warm.") && !path.ends_with("enable");
        let with = |value: &Value| {
            let mut overrides = nested(path, value);
            let mut complete = tree.clone();
            set(&mut complete, path, value.clone());
            if warm {
                overrides["storage"]["warm"]["enable"] = json!(true);
                set(&mut complete, "storage.warm.enable", json!(true));
            }
            (overrides, complete)
        };
        for value in allowed {
            let (overrides, complete) = with(&value);
            let config = open(&overrides).unwrap_or_else(|error| panic!("{path} {value}: {error}"));
            assert_eq!(config.get(path).unwrap(), value, "{path}");
            config.validate(&complete).unwrap();
        }
        for value in refused {
            let (overrides, complete) = with(&value);
            for error in [open(&overrides).unwrap_err(), defaults().validate(&complete).unwrap_err()] {
                assert_eq!(error.code(), code, "{path} {value}");
                assert_eq!(error.context()["path"], path);
                assert!(error.message().contains(path), "{error}");
                assert!(!error.context()["expected"].as_str().unwrap().is_empty());
                assert_eq!(violations(&error), [(path.to_owned(), code.row().name.to_owned())]);
            }
        }
    }
}

#[test]
fn the_codes_have_the_numbers_of_the_table() {
    let number = |overrides: Value| open(&overrides).unwrap_err().code() as u32;
    assert_eq!(number(json!({"ai": {"provider": "hal"}})), 1201);
    assert_eq!(number(json!({"ai": {"planning": {"performance_target": -1}}})), 1202);
    assert_eq!(number(json!({"ai": {"planning": {"sampling_rate": 1.5}}})), 1203);
    assert_eq!(number(json!({"interface": {"max_results": 0}})), 3203);
    assert_eq!(number(json!({"interface": 7})), 1101);
    assert_eq!(number(json!({"interfaces": {}})), 1501);
    assert_eq!(defaults().validate(&json!({})).unwrap_err().code() as u32, 1102);
}

#[test]
fn all_violations_are_reported_at_once_in_the_order_of_the_checks() {
    let error = open(&json!({
        "zzz": 1,
        "dev": {"debug_mode": "yes", "unheard_of": 1},
        "storage": {"cold": {"enable": true}, "hot": []},
        "capture": {"processing": {"batch_size": 0}, "ring_buffer": {"size": 0}},
        "ai": {
            "planning": {"default_strategy": "slow", "sampling_rate": 2, "performance_target": -1},
            "provider": "hal",
            "analysis": {"timeout": 0},
        },
    }))
    .unwrap_err();
    let expected = [
        ("ai.provider", "invalid_config_value"),
        ("ai.analysis.timeout", "validation_failed"),
        ("ai.planning.performance_target", "constraint_violation"),
        ("ai.planning.sampling_rate", "range_error"),
        ("ai.planning.default_strategy", "invalid_config_value"),
        ("capture.ring_buffer.size", "validation_failed"),
        ("capture.processing.batch_size", "validation_failed"),
        ("storage.hot", "invalid_config_structure"),
        ("storage.cold.enable", "validation_failed"),
        ("dev.debug_mode", "validation_failed"),
        ("dev.unheard_of", "unknown_config_key"),
        ("zzz", "unknown_config_key"),
    ];
    let expected = expected.map(|(path, kind)| (path.to_owned(), kind.to_owned()));
    assert_eq!(violations(&error), expected);
    assert_eq!(error.code(), Code::InvalidConfigValue, "the first violation is the error");
    assert_eq!(error.context()["violations_count"], 12);
    assert!(error.message().ends_with("(and 11 more)"), "{error}");
}

#[test]
fn a_complete_tree_misses_nothing() {
    let config = defaults();
    let whole = config.get("").unwrap();
    config.validate(&whole).unwrap();
    let missing = |paths: &[&str]| {
        let mut tree = whole.clone();
        for path in paths {
            remove(&mut tree, path);
        }
        match config.validate(&tree) {
            Ok(()) => vec![],
            Err(error) => violations(&error),
        }
    };
    let one = |path: &str, kind: &str| vec![(path.to_owned(), kind.to_owned())];
    for section in schema().sections().iter().filter(|section| **section != "storage.warm") {
        assert_eq!(missing(&[section]), one(section, "missing_required_field"));
    }
    assert_eq!(missing(&["storage.warm"]), one("storage.warm", "missing_required_field"));
    assert_eq!(missing(&["ai.provider"]), one("ai.provider", "missing_required_field"));
    assert_eq!(missing(&["dev.debug_mode"]), one("dev.debug_mode", "validation_failed"));
    assert_eq!(missing(&["storage.hot.max_events"]), one("storage.hot.max_events", "validation_failed"));
    // Not checked by the reference either: what has a meaning when absent, and the tier that is off.
    assert!(missing(&["ai.api_key", "ai.model", "capture.ring_buffer.num_buffers"]).is_empty());
    assert!(missing(&["storage.warm.path", "storage.warm.compression"]).is_empty());
    assert_eq!(missing(&["ai", "storage.hot"]).len(), 2);
    for (tree, found) in [(json!(null), "null"), (json!([]), "an array"), (json!("x"), "text")] {
        let error = config.validate(&tree).unwrap_err();
        assert_eq!(error.code(), Code::InvalidConfigStructure);
        assert_eq!(error.context()["value"], found);
    }
}

#[test]
fn a_tier_that_is_off_is_not_checked_and_has_no_handles_of_the_wrong_type() {
    let odd = json!({"storage": {"warm": {"max_size_mb": "big", "compression": 7, "path": null}}});
    let config = open(&odd).unwrap();
    assert_eq!(config.get("storage.warm.max_size_mb").unwrap(), "big");
    let error = config.key("storage.warm.max_size_mb").unwrap_err();
    assert_eq!(error.code(), Code::TypeMismatch);
    config.reset().unwrap();
    assert_eq!(config.key("storage.warm.max_size_mb").unwrap().get_i64().unwrap(), 100);
    let mut on = odd;
    on["storage"]["warm"]["enable"] = json!(true);
    let paths: Vec<_> = violations(&open(&on).unwrap_err()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["storage.warm.path", "storage.warm.max_size_mb", "storage.warm.compression"]);
}

#[test]
fn a_secret_is_shown_nowhere_but_to_who_reads_it() {
    let secret = "sk-canary-4711";
    let config = open(&json!({"ai": {"api_key": secret}})).unwrap();
    assert_eq!(config.get_str("ai.api_key").unwrap(), secret);
    let subscription = config.subscribe("", 8).unwrap();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let hook = seen.clone();
    config.set_commit_hook(Box::new(move |change| {
        *hook.lock().unwrap() = format!("{change:?}");
        Ok(())
    }));
    let mut shown = vec![format!("{config:?}"), format!("{:?}", config.snapshot())];
    config.reset().unwrap();
    let change = subscription.try_next().unwrap();
    assert_eq!(change.old["ai"]["api_key"], "<redacted>");
    shown.push(format!("{change:?} {}", serde_json::to_string(&change).unwrap()));
    shown.push(seen.lock().unwrap().clone());
    assert!(!shown.last().unwrap().is_empty());
    let mut complete = config.get("").unwrap();
    complete["ai"]["api_key"] = json!({ "key": secret });
    let errors = [
        config.update("ai.api_key", json!(secret)).unwrap_err(),
        config.validate(&complete).unwrap_err(),
        open(&json!({"ai": {"api_key": [secret]}})).unwrap_err(),
        open(&json!({"ai": {"apikey": secret}})).unwrap_err(),
        open(&json!({"ai": secret})).unwrap_err(),
        config.validate(&json!(secret)).unwrap_err(),
        open(&json!({"ai": {"api_key": {"deep": secret}, "model": 1}})).unwrap_err(),
    ];
    shown.extend(errors.iter().map(|error| format!("{error:?} {}", error.to_json())));
    for text in shown {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn errors_stay_small_whatever_the_input() {
    let text = "x".repeat(1_000_000);
    let mut overrides = json!({"ai": {"provider": text, "model": vec![0; 10_000]}});
    for n in 0..1_000 {
        overrides[format!("{n}{text:.500}")] = json!(n);
    }
    let error = open(&overrides).unwrap_err();
    assert_eq!(error.context()["violations_count"], 1_002);
    assert_eq!(error.context()["violations"].as_array().unwrap().len(), 100);
    assert!(error.to_json().to_string().len() < 150_000);
    assert!(error.message().len() < 1_000);
}

#[test]
fn a_name_with_a_dot_is_not_a_path() {
    let error = open(&json!({"dev.debug_mode": true, "": 1})).unwrap_err();
    assert_eq!(error.code(), Code::UnknownConfigKey);
    assert_eq!(violations(&error).len(), 2);
}

#[test]
fn opening_publishes_nothing_when_refused() {
    let world = crate::World::new();
    world.open(json!({"zzz": 1}).as_object().unwrap()).unwrap_err();
    assert_eq!(world.version.load(std::sync::atomic::Ordering::SeqCst), 0);
    let updatable: Vec<_> = Config::updatable_paths().to_vec();
    assert_eq!(updatable[0], "ai.planning.sampling_rate");
    assert_eq!(updatable.len(), 9);
}
