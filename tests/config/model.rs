//! Any history of updates and resets, against a map and rules written out by hand.

use std::collections::BTreeMap;

use elixirscope_foundation::config::{ChangeKind, Key, KeyKind, schema};
use elixirscope_foundation::error::Code;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::defaults;

type Model = BTreeMap<&'static str, Value>;

fn initial() -> Model {
    schema().keys().iter().map(|key| (key.path, key.default.to_value())).collect()
}

/// What an update answers, by rules that do not ask the schema.
fn expected(path: &str, value: &Value) -> Result<(), Code> {
    let whole = |code| if value.as_i64().is_some_and(|n| n > 0) { Ok(()) } else { Err(code) };
    let number = |low: f64, high: f64, code| match value.as_f64() {
        Some(n) if n >= low && n <= high => Ok(()),
        _ => Err(code),
    };
    match path {
        "ai.planning.sampling_rate" => number(0.0, 1.0, Code::RangeError),
        "ai.planning.performance_target" => number(0.0, f64::MAX, Code::ConstraintViolation),
        "capture.processing.batch_size"
        | "capture.processing.flush_interval"
        | "interface.query_timeout"
        | "interface.max_results" => whole(Code::ValidationFailed),
        "dev.debug_mode" | "dev.verbose_logging" | "dev.performance_monitoring" => {
            if value.is_boolean() {
                Ok(())
            } else {
                Err(Code::ValidationFailed)
            }
        }
        _ => Err(Code::ConfigUpdateForbidden),
    }
}

fn read(key: &Key) -> Option<Value> {
    match key.kind() {
        KeyKind::Bool => Some(key.get_bool().unwrap().into()),
        KeyKind::Int { .. } => Some(key.get_i64().unwrap().into()),
        KeyKind::Float { .. } => Some(key.get_f64().unwrap().into()),
        KeyKind::Enum { .. } | KeyKind::EnumOrInt { .. } => Some(key.get_enum().unwrap().into()),
        KeyKind::Str { .. } => None,
    }
}

fn same(left: &Value, right: &Value) -> bool {
    left == right || (left.is_number() && left.as_f64() == right.as_f64())
}

fn path() -> impl Strategy<Value = &'static str> {
    let all: Vec<_> = schema().keys().iter().map(|key| key.path).chain(["ai", "zzz", "dev.zzz"]).collect();
    let updatable: Vec<_> = schema().keys().iter().filter(|key| key.updatable).map(|key| key.path).collect();
    prop_oneof![5 => prop::sample::select(updatable), 1 => prop::sample::select(all)]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-3_i64..2_000).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-0.2_f64..1.4).prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        Just(json!(null)),
        Just(json!("text")),
        Just(json!({"a": 1})),
    ]
}

proptest! {
    #![proptest_config(crate::property::tried(96))]

    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec(prop::option::weighted(0.92, (path(), value())), 1..40)) {
        let config = defaults();
        let mut model = initial();
        let mut version = 1;
        let keys: Vec<_> = schema().keys().iter().map(|key| config.key(key.path).unwrap()).collect();
        let everything = config.subscribe("", 65_536).unwrap();
        let mut told = initial();
        for (at, step) in steps.iter().enumerate() {
            if let Some((path, value)) = step {
                let wanted = expected(path, value);
                prop_assert_eq!(config.check_update(path, value).map_err(|error| error.code()), wanted);
                let answer = config.update(path, value.clone()).map_err(|error| error.code());
                if wanted.is_ok() {
                    version += 1;
                    model.insert(path, value.clone());
                }
                prop_assert_eq!(answer, wanted.map(|()| version));
            } else {
                version += 1;
                prop_assert_eq!(config.reset().unwrap(), version);
                model = initial();
            }
            prop_assert_eq!(config.version(), version);
            let snapshot = config.snapshot();
            prop_assert_eq!(snapshot.version(), version);
            for key in &keys {
                let wanted = &model[key.path()];
                prop_assert_eq!(&config.get(key.path()).unwrap(), wanted);
                prop_assert_eq!(snapshot.value(key.path()), Some(wanted));
                if let Some(word) = read(key) {
                    prop_assert!(same(&word, wanted), "{}: {word}, not {wanted}", key.path());
                }
            }
            // Read now and then, so that changes coalesce in between.
            if at % 7 == 6 || at + 1 == steps.len() {
                while let Some(change) = everything.try_next() {
                    if change.kind == ChangeKind::Reset {
                        told = initial();
                    } else {
                        told.insert(change.path, change.new);
                    }
                }
                prop_assert_eq!(&told, &model);
            }
        }
        config.validate(&config.get("").unwrap()).unwrap();
        let stats = everything.stats();
        prop_assert_eq!(stats.pushed, version - 1);
        prop_assert_eq!(stats.dropped, 0);
    }
}
