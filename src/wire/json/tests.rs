//! What is accepted, and how other input is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn faults(text: &str) -> Vec<(String, &'static str)> {
    match parse(text.as_bytes()) {
        Err(Unreadable::Fields(faults)) => faults
            .into_iter()
            .map(|fault| (fault.field, fault.code))
            .collect(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_duplicate_key_is_named_at_every_level() {
    for (text, field) in [
        (r#"{"order_id": 1, "order_id": 2}"#, "order_id"),
        // The same value twice is refused, too.
        (
            r#"{"order_id": 1, "user_id": 1, "order_id": 1}"#,
            "order_id",
        ),
        (r#"{"order_id": null, "order_id": 1}"#, "order_id"),
        (r#"{"order_id": 1, "order\u005fid": 2}"#, "order_id"),
        (r#"{"\u006frder_id": 1, "order_id": 2}"#, "order_id"),
        (
            r#"{"card": {"cardCode": 1, "cardCode": 2}}"#,
            "card.cardCode",
        ),
        (r#"{"card": {}, "card": {}}"#, "card"),
        (r#"{"metadata": {"a": "1", "a": "1"}}"#, "metadata.a"),
        (
            r#"{"clients": [{}, {"name": "a", "name": "b"}]}"#,
            "clients[1].name",
        ),
        (r#"[[{"": 1, "": 2}]]"#, "[0][0]."),
        (r#"{"a": 1, "a": 2, "a": 3}"#, "a"),
    ] {
        assert_eq!(
            faults(text),
            [(field.to_owned(), "duplicate_field")],
            "{text}"
        );
    }
    let several = r#"{"a": {"b": 1, "b": 2}, "a": 1, "c": 1, "c": 2}"#;
    let names: Vec<String> = faults(several).into_iter().map(|fault| fault.0).collect();
    assert_eq!(names, ["a.b", "a", "c"]);
}

#[test]
fn similar_keys_and_keys_of_other_objects_are_not_duplicates() {
    for text in [
        r#"{"order_id": 1, "Order_id": 2, "order_id ": 3}"#,
        r#"{"a": {"b": 1}, "b": {"b": 1}}"#,
        r#"[{"a": 1}, {"a": 1}]"#,
        // Composed and decomposed: different texts, and different keys (RFC 8259, section 8.3).
        r#"{"\u00e9": 1, "e\u0301": 2}"#,
    ] {
        let expected: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(parse(text.as_bytes()), Ok(expected), "{text}");
    }
}

#[test]
fn an_error_names_the_field_without_card_digits() {
    let text = r#"{"4242424242424242": 1, "4242424242424242": 2}"#;
    let Err(Unreadable::Fields(faults)) = parse(text.as_bytes()) else {
        panic!("it is taken")
    };
    assert_eq!(
        faults[0].message,
        "**************** was sent more than once: send it once."
    );
}

#[test]
fn a_byte_order_mark_is_skipped_once() {
    assert_eq!(parse("\u{feff}{\"a\": 1}".as_bytes()), Ok(json!({"a": 1})));
    assert_eq!(parse("\u{feff}".as_bytes()), Err(Unreadable::Empty));
    let twice = parse("\u{feff}\u{feff}{}".as_bytes());
    assert!(matches!(twice, Err(Unreadable::Syntax { .. })), "{twice:?}");
}

#[test]
fn invalid_json_is_distinguished_from_invalid_utf_8() {
    assert_eq!(parse(b""), Err(Unreadable::Empty));
    assert_eq!(parse(b" \n\t"), Err(Unreadable::Empty));
    let utf16 = b"\xff\xfe{\0}\0";
    assert_eq!(parse(utf16), Err(Unreadable::NotUtf8));
    assert_eq!(parse(b"{\"a\": \"\xff\"}"), Err(Unreadable::NotUtf8));
    assert_eq!(
        parse(b"{\n\"a\": }"),
        Err(Unreadable::Syntax { line: 2, column: 6 })
    );
    for broken in [
        "{",
        "{}{}",
        "{} x",
        "{'a': 1}",
        "{\"a\": 01}",
        "NaN",
        "{\"a\": \"\\ud800\"}",
    ] {
        let read = parse(broken.as_bytes());
        assert!(
            matches!(read, Err(Unreadable::Syntax { .. })),
            "{broken}: {read:?}"
        );
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(
        parse(deep.as_bytes()),
        Err(Unreadable::Syntax { .. })
    ));
}

#[test]
fn a_number_too_large_for_a_float_is_an_error_of_its_field() {
    for number in ["1e400", "-1e400", "1E+999999999999"] {
        let text = format!(r#"{{"order_id": 1, "card": {{"cardCode": {number}}}}}"#);
        assert_eq!(faults(&text), [("card.cardCode".to_owned(), "too_large")]);
    }
    assert_eq!(parse(b"1e-400"), Ok(json!(0.0)));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn written_json_can_be_read_again(value in any_value()) {
        let text = value.to_string();
        let expected: Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(parse(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), text in r#"[{}\[\]",:0-9ae\\ ]{0,60}"#) {
        let _ = parse(&bytes);
        let plain = serde_json::from_str::<Value>(&text).is_ok();
        match parse(text.as_bytes()) {
            Ok(_) | Err(Unreadable::Fields(_)) => {}
            Err(_) => prop_assert!(!plain, "{}", text),
        }
    }
}
