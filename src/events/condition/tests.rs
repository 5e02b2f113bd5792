//! Conditions against a naive evaluator, and against data that nobody should send.

#![allow(
    clippy::needless_pass_by_value,
    clippy::needless_for_each,
    reason = "what json! makes reads best as an argument"
)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Verdict::{Fails, Holds, Uncomparable};
use super::*;
use crate::error::Code;

fn condition(path: Value, op: &str, value: Value) -> Condition {
    let text = json!([{"path": path, "op": op, "value": value}]).to_string();
    Condition::list_from_json(&text).unwrap().remove(0)
}

fn exists(path: Value) -> Condition {
    Condition::list_from_json(&json!([{"path": path, "op": "exists"}]).to_string()).unwrap().remove(0)
}

/// The same value in Erlang's external format; what `atoms` says chooses between atoms and binaries.
fn etf(value: &Value, atoms: bool, out: &mut Vec<u8>) {
    let text = |text: &str, out: &mut Vec<u8>| {
        if atoms && text.len() < 256 {
            out.extend([119, text.len() as u8]);
        } else {
            out.push(109);
            out.extend((text.len() as u32).to_be_bytes());
        }
        out.extend(text.as_bytes());
    };
    match value {
        Value::Null => out.extend([119, 3, b'n', b'i', b'l']),
        Value::Bool(true) => out.extend([119, 4, b't', b'r', b'u', b'e']),
        Value::Bool(false) => out.extend([119, 5, b'f', b'a', b'l', b's', b'e']),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(small @ 0..=255), _) => out.extend([97, small as u8]),
            (Some(int), _) if i32::try_from(int).is_ok() => {
                out.push(98);
                out.extend((int as i32).to_be_bytes());
            }
            (Some(int), _) => {
                out.extend([110, 8, u8::from(int < 0)]);
                out.extend(int.unsigned_abs().to_le_bytes());
            }
            (None, Some(int)) => {
                out.extend([110, 8, 0]);
                out.extend(int.to_le_bytes());
            }
            (None, None) => {
                out.push(70);
                out.extend(number.as_f64().unwrap().to_be_bytes());
            }
        },
        Value::String(string) => text(string, out),
        Value::Array(items) if atoms => {
            out.push(105);
            out.extend((items.len() as u32).to_be_bytes());
            items.iter().for_each(|item| etf(item, atoms, out));
        }
        Value::Array(items) if items.is_empty() => out.push(106),
        Value::Array(items) => {
            out.push(108);
            out.extend((items.len() as u32).to_be_bytes());
            items.iter().for_each(|item| etf(item, atoms, out));
            out.push(106);
        }
        Value::Object(map) => {
            out.push(116);
            out.extend((map.len() as u32).to_be_bytes());
            for (key, value) in map {
                text(key, out);
                etf(value, atoms, out);
            }
        }
    }
}

/// The three ways in which a value can be stored.
fn encodings(value: &Value) -> [(Encoding, Vec<u8>); 3] {
    let (mut binaries, mut atoms) = (vec![131], vec![131]);
    etf(value, false, &mut binaries);
    etf(value, true, &mut atoms);
    [(Encoding::Json, value.to_string().into_bytes()), (Encoding::Etf, binaries), (Encoding::Etf, atoms)]
}

#[test]
fn each_operator_in_each_encoding() {
    let data = json!({
        "n": 7, "f": 1.5, "s": "text", "none": null, "yes": true,
        "list": [1, {"deep": "é\n"}], "empty": {}, "$": -3,
    });
    let cases = [
        (json!(["n"]), "==", json!(7.0), Holds),
        (json!("n"), "!=", json!(8), Holds),
        (json!("n"), "<", json!(7), Fails),
        (json!("n"), "<=", json!(7), Holds),
        (json!("f"), ">", json!(1), Holds),
        (json!("f"), ">=", json!(2), Fails),
        (json!("n"), "==", json!("7"), Uncomparable),
        (json!("n"), "!=", json!("7"), Uncomparable),
        (json!("s"), "==", json!("text"), Holds),
        (json!("s"), "<", json!("texts"), Holds),
        (json!("none"), "==", json!(null), Holds),
        (json!("none"), "<", json!(null), Fails),
        (json!("none"), "==", json!("nil"), Uncomparable),
        (json!("yes"), "==", json!(true), Holds),
        (json!("yes"), ">", json!(false), Holds),
        (json!("yes"), "==", json!("true"), Uncomparable),
        (json!(["list", 0]), "==", json!(1), Holds),
        (json!(["list", 1, "deep"]), "==", json!("é\n"), Holds),
        (json!(["list", 2]), "!=", json!(1), Fails),
        (json!(["list", "0"]), "==", json!(1), Fails),
        (json!(["n", "deeper"]), "==", json!(1), Fails),
        (json!("list"), "==", json!(1), Uncomparable),
        (json!("empty"), "!=", json!(1), Uncomparable),
        (json!("gone"), "!=", json!(1), Fails),
        (json!("$"), "in", json!([1, "x", -3.0]), Holds),
        (json!("$"), "in", json!([1, 2]), Fails),
        (json!("$"), "in", json!(["x"]), Uncomparable),
        (json!("$"), "in", json!([]), Fails),
        (json!("s"), "prefix", json!("te"), Holds),
        (json!("s"), "prefix", json!("text and more"), Fails),
        (json!("n"), "prefix", json!("7"), Uncomparable),
        (json!("list"), "exists", json!(true), Holds),
        (json!("none"), "exists", json!(true), Holds),
        (json!("none"), "exists", json!(false), Fails),
        (json!(["empty", "x"]), "exists", json!(false), Holds),
        (json!(["empty", "x"]), "exists", json!(true), Fails),
    ];
    for (encoding, bytes) in encodings(&data) {
        for (path, op, value, expected) in &cases {
            let verdict = condition(path.clone(), op, value.clone()).judge(encoding, &bytes);
            assert_eq!(verdict, *expected, "{encoding:?} {path} {op} {value}");
        }
        assert_eq!(exists(json!("n")).judge(encoding, &bytes), Holds);
    }
}

#[test]
fn integers_of_any_size_are_exact_in_both_encodings() {
    let json = br#"{"big": 123456789012345678901234567890123456789012}"#;
    let value = |text: &str| {
        let text = format!(r#"[{{"path":"big","op":"==","value":{text}}}]"#);
        Condition::list_from_json(&text).unwrap().remove(0)
    };
    assert_eq!(
        value("123456789012345678901234567890123456789012").judge(Encoding::Json, json),
        Verdict::Holds
    );
    assert_eq!(
        value("123456789012345678901234567890123456789013").judge(Encoding::Json, json),
        Verdict::Fails
    );
    // 2^136 and one more, as terms.
    let mut term = vec![131, 116, 0, 0, 0, 1, 119, 3, b'b', b'i', b'g', 110, 18, 0];
    term.extend([[0; 17].as_slice(), &[1]].concat());
    assert_eq!(
        value("87112285931760246646623899502532662132736").judge(Encoding::Etf, &term),
        Verdict::Holds
    );
    term[14] = 1;
    assert_eq!(
        value("87112285931760246646623899502532662132736").judge(Encoding::Etf, &term),
        Verdict::Fails
    );
    assert_eq!(
        value("87112285931760246646623899502532662132737").judge(Encoding::Etf, &term),
        Verdict::Holds
    );
    let operand = Operand::from_etf(&[131, 110, 1, 1, 5]).unwrap();
    assert_eq!(operand, Operand::from(-5));
    assert!(Operand::from_etf(&[131, 106]).is_err());
}

#[test]
fn terms_that_json_has_not() {
    let charlist = [131, 116, 0, 0, 0, 1, 119, 1, b'a', 107, 0, 2, 104, 105];
    assert_eq!(condition(json!(["a", 1]), "==", json!(105)).judge(Encoding::Etf, &charlist), Verdict::Holds);
    assert_eq!(
        condition(json!(["a"]), "==", json!("hi")).judge(Encoding::Etf, &charlist),
        Verdict::Uncomparable
    );
    assert_eq!(exists(json!(["a", 2])).judge(Encoding::Etf, &charlist), Verdict::Fails);
    assert_eq!(exists(json!(["a", 0, 0])).judge(Encoding::Etf, &charlist), Verdict::Fails);
    let latin = [131, 116, 0, 0, 0, 1, 115, 1, 0xe9, 100, 0, 1, 0xe8];
    assert_eq!(condition(json!(["é"]), "==", json!("è")).judge(Encoding::Etf, &latin), Verdict::Holds);
    // Pids, references, ports and funs are passed over and are there, and are not compared.
    let pid = [&[88, 119, 1, b'n'][..], &[0; 12]].concat();
    let reference = [&[90, 0, 2, 119, 1, b'n'][..], &[0; 12]].concat();
    let old = [&[103, 119, 1, b'n'][..], &[0; 9]].concat();
    let port = [&[120, 119, 1, b'n'][..], &[0; 12]].concat();
    let fun = [&[112, 0, 0, 0, 32, 1][..], &[7; 16], &[0, 0, 0, 3, 0, 0, 0, 0, 119, 1, b'm', 106]].concat();
    let fun = {
        let mut fun = fun;
        let size = fun.len() as u8 - 1;
        fun[4] = size;
        fun
    };
    let export = vec![113, 119, 1, b'm', 119, 1, b'f', 97, 2];
    let improper = vec![108, 0, 0, 0, 1, 97, 1, 97, 2];
    let float = [&[99][..], b"1.50000000000000000000e+00\0\0\0\0\0"].concat();
    for term in [pid, reference, old, port, fun, export, improper, vec![77, 0, 0, 0, 1, 3, 160]] {
        let tuple = [&[131, 104, 2][..], &term, &[97, 9]].concat();
        let verdict = condition(json!([1]), "==", json!(9)).judge(Encoding::Etf, &tuple);
        assert_eq!(verdict, Verdict::Holds, "{term:?}");
        assert_eq!(condition(json!([0]), "==", json!(9)).judge(Encoding::Etf, &tuple), Verdict::Uncomparable);
        assert_eq!(exists(json!([0])).judge(Encoding::Etf, &tuple), Verdict::Holds);
    }
    let tuple = [&[131, 104, 1][..], &float].concat();
    assert_eq!(condition(json!([0]), "==", json!(1.5)).judge(Encoding::Etf, &tuple), Verdict::Holds);
}

#[test]
fn data_that_cannot_be_read_satisfies_nothing() {
    let deep = [&[131][..], &[104, 1].repeat(300_000), &[106]].concat();
    let lie = [131, 104, 2, 105, 255, 255, 255, 255, 97];
    for op in ["==", "!=", "exists"] {
        let one = condition(json!([1, "a"]), op, json!(true));
        for (encoding, data) in [
            (Encoding::Raw, &b"{}"[..]),
            (Encoding::Json, b"[1,{\"a\":true}"),
            (Encoding::Json, b"[1,{\"a\":true}] more"),
            (Encoding::Json, b"[1,{\"a\":tru}]"),
            (Encoding::Etf, b""),
            (Encoding::Etf, &[130, 97, 1]),
            (Encoding::Etf, &[131, 104, 2, 97]),
            (Encoding::Etf, &[131, 104, 2, 1, 1]),
            (Encoding::Etf, &lie),
        ] {
            assert_eq!(one.judge(encoding, data), Verdict::Uncomparable, "{encoding:?} {data:?} {op}");
        }
        assert_ne!(condition(json!(["a"]), op, json!(true)).judge(Encoding::Etf, &deep), Verdict::Holds);
    }
    let nested = [&b"[1,".repeat(200_000)[..], b"2"].concat();
    assert_eq!(exists(json!([0])).judge(Encoding::Json, &nested), Verdict::Uncomparable);
    assert_eq!(exists(json!(["a"])).judge(Encoding::Json, b""), Verdict::Fails);
    assert_eq!(
        condition(json!("a"), "==", json!(2)).judge(Encoding::Json, br#"{"a":1,"a":2}"#),
        Verdict::Holds
    );
}

#[test]
fn conditions_that_say_nothing_are_refused() {
    let many = format!("[{}]", [r#"{"path":"a","op":"exists"}"#; MAX_CONDITIONS + 1].join(","));
    let long = json!([{"path": vec!["a"; MAX_STEPS + 1], "op": "exists"}]).to_string();
    let wide = json!([{"path": "a", "op": "in", "value": vec![1; MAX_CHOICES + 1]}]).to_string();
    for text in [
        "",
        "{}",
        "[1]",
        r#"[{"path":[],"op":"exists"}]"#,
        r#"[{"path":[-1],"op":"exists"}]"#,
        r#"[{"path":"a","op":"~","value":1}]"#,
        r#"[{"path":"a","op":"=="}]"#,
        r#"[{"path":"a","op":"==","value":[1]}]"#,
        r#"[{"path":"a","op":"in","value":1}]"#,
        r#"[{"path":"a","op":"prefix","value":1}]"#,
        r#"[{"path":"a","op":"exists","value":1}]"#,
        r#"[{"path":"a","op":"==","value":1e999}]"#,
        r#"[{"path":"a","op":"==","value":1,"more":2}]"#,
        &many,
        &long,
        &wide,
    ] {
        assert_eq!(Condition::list_from_json(text).unwrap_err().code(), Code::InvalidInput, "{text:.60}");
    }
    assert!(Test::from_operator("==", vec![]).is_err());
    assert!(Test::from_operator("~", vec![Operand::NULL]).is_err());
    assert_eq!(Test::from_operator("exists", vec![true.into()]).unwrap(), Test::Exists(true));
}

/// What the naive evaluator says of data that was parsed as a whole.
fn naive(data: &Value, path: &[Value], op: &str, operand: &Value) -> bool {
    let mut at = Some(data);
    for step in path {
        at = match (at, step) {
            (Some(Value::Object(map)), Value::String(key)) => map.get(key),
            (Some(Value::Array(list)), Value::Number(index)) => list.get(index.as_u64().unwrap() as usize),
            _ => None,
        };
    }
    let Some(found) = at else { return false };
    let order = match (found, operand) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()),
        _ => None,
    };
    let compare = |wanted: fn(Ordering) -> bool| order.is_some_and(wanted);
    match op {
        "==" => compare(Ordering::is_eq),
        "!=" => compare(Ordering::is_ne),
        "<" => compare(Ordering::is_lt),
        "<=" => compare(Ordering::is_le),
        ">" => compare(Ordering::is_gt),
        ">=" => compare(Ordering::is_ge),
        _ => true,
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..300).prop_map(Value::from),
        // Small enough that a float says them exactly, for the sake of the naive evaluator.
        (-(1_i64 << 52)..1 << 52).prop_map(Value::from),
        (-4_i32..8).prop_map(|half| Value::from(f64::from(half) / 2.0)),
        "[ab\"\\\\é\n]{0,3}".prop_map(Value::from),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abcé]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Some path through the tree, mostly one that is there.
fn path_into(tree: &Value, mut choices: u64) -> Vec<Value> {
    let mut path = Vec::new();
    let mut at = tree;
    loop {
        let choice = (choices % 5) as usize;
        choices /= 5;
        let next = match at {
            Value::Object(map) if !map.is_empty() => {
                let (key, value) = map.iter().nth(choice % map.len()).unwrap();
                path.push(Value::from(key.clone()));
                value
            }
            Value::Array(list) if !list.is_empty() => {
                path.push(Value::from(choice % list.len()));
                &list[choice % list.len()]
            }
            _ => break,
        };
        at = next;
        if choices.is_multiple_of(3) {
            break;
        }
    }
    if path.is_empty() || choices.is_multiple_of(11) {
        path.push(if choices.is_multiple_of(2) { json!("a") } else { json!(0) });
    }
    path
}

proptest! {
    #![proptest_config(crate::property::tried(2_000))]

    #[test]
    fn the_walk_in_place_says_what_a_naive_evaluator_says(
        data in tree(), choices in any::<u64>(), operand in scalar(), own in any::<bool>(),
        op in prop::sample::select(&["==", "!=", "<", "<=", ">", ">=", "exists"][..]),
    ) {
        let path = path_into(&data, choices);
        // Comparing with what stands there makes equality common.
        let own = own.then(|| path.iter().try_fold(&data, |at, step| match step {
            Value::String(key) => at.get(key),
            index => at.get(index.as_u64().unwrap() as usize),
        })).flatten().filter(|value| !value.is_array() && !value.is_object()).cloned();
        let operand = if op == "exists" { json!(true) } else { own.unwrap_or(operand) };
        let condition = condition(path.clone().into(), op, operand.clone());
        let expected = naive(&data, &path, op, &operand);
        for (encoding, bytes) in encodings(&data) {
            let verdict = condition.judge(encoding, &bytes);
            prop_assert_eq!(verdict == Verdict::Holds, expected, "{:?} {:?} {:?}", encoding, path, verdict);
        }
    }

    #[test]
    fn no_bytes_whatsoever_make_it_panic(
        mut bytes in prop::collection::vec(prop_oneof![
            any::<u8>(), 0_u8..4,
            prop::sample::select(&[97_u8, 98, 70, 99, 104, 105, 106, 107, 108, 109, 116, 110, 111, 88, 90, 112, 113, 119][..]),
            prop::sample::select(&b"{}[]\",:0123456789truefalsn\\e.-"[..]),
        ], 0..40),
        key in any::<bool>(), index in 0_u32..3,
    ) {
        let path = if key { json!(["a", index]) } else { json!([index, "a"]) };
        let one = condition(path, "<", json!(1));
        one.judge(Encoding::Json, &bytes);
        bytes.insert(0, 131);
        one.judge(Encoding::Etf, &bytes);
    }
}
