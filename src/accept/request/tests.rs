use proptest::prelude::*;
use serde_json::{Value, json};
use time::macros::date;

use super::*;

const TODAY: Date = date!(2026 - 11 - 15);

fn cad() -> Currency {
    Currency::parse("CAD").expect("CAD")
}

fn payment(body: &Value) -> Result<PaymentRequest, Vec<FieldError>> {
    parse_payment(body, cad(), TODAY, CardsAllowed::Yes)
}

fn faults<T: std::fmt::Debug>(read: Result<T, Vec<FieldError>>) -> Vec<(String, &'static str)> {
    let faults = read.expect_err("faults");
    for fault in &faults {
        assert!(fault.message.ends_with(['.', '?']), "{}", fault.message);
        assert!(fault.message.starts_with(&fault.field) || fault.field.is_empty());
    }
    let mut found: Vec<_> = faults
        .into_iter()
        .map(|fault| (fault.field, fault.code))
        .collect();
    found.sort();
    found
}

fn fault(field: &str, code: &'static str) -> (String, &'static str) {
    (field.to_owned(), code)
}

#[test]
fn the_requests_of_the_old_callers_are_taken() {
    let request =
        payment(&json!({"user_id": 1, "order_id": 2, "total_amount": 13999.930000000002}))
            .expect("a good request");
    assert_eq!((request.order_id, request.user_id), (OrderId(2), UserId(1)));
    assert_eq!(request.amount.to_string(), "13999.93 CAD");
    assert!(request.method.is_none());

    let card =
        json!({"cardNumber": 9999999999999_u64, "cardCode": 7, "expirationDate": "2030-01-05"});
    let PaymentMethod::Card(card) = parse_method(&card, TODAY).expect("a good card") else {
        panic!("no card");
    };
    assert_eq!(card.number.expose(), "9999999999999");
    assert_eq!(card.code.expose(), "007");
    assert_eq!(card.expiration.to_string(), "2030-01");
}

#[test]
fn every_field_at_fault_is_listed() {
    let body = json!({
        "order_id": "1", "user_id": 0, "total_amount": 1.005, "currency": "cad", "ordr_id": 1,
        "card": {"cardNumber": "4242x", "cardCode": 12345, "expirationDate": "2030-13", "holder": "x"},
        "card_token": "visa", "metadata": {"a": 1, "b": "4242424242424242"},
    });
    assert_eq!(
        faults(payment(&body)),
        [
            fault("card.cardCode", "invalid_card_code"),
            fault("card.cardNumber", "invalid_card_number"),
            fault("card.expirationDate", "invalid_expiration_date"),
            fault("card.holder", "unknown_field"),
            fault("card_token", "conflicting_fields"),
            fault("card_token", "invalid_card_token"),
            fault("currency", "unknown_currency"),
            fault("metadata", "invalid_metadata"),
            fault("metadata.a", "wrong_type"),
            fault("order_id", "wrong_type"),
            fault("ordr_id", "unknown_field"),
            fault("user_id", "not_positive"),
        ]
    );
}

#[test]
fn an_empty_object_lacks_all_that_is_required() {
    assert_eq!(
        faults(payment(&json!({}))),
        ["order_id", "total_amount", "user_id"].map(|field| fault(field, "missing"))
    );
    assert_eq!(
        faults(parse_method(&json!({"cardNumber": null}), TODAY)),
        ["cardCode", "cardNumber", "expirationDate"].map(|field| fault(field, "missing"))
    );
    for other in [json!(null), json!([]), json!("x"), json!(1)] {
        assert_eq!(faults(payment(&other)), [fault("", "wrong_type")]);
        assert_eq!(faults(parse_card(&other, TODAY)), [fault("", "wrong_type")]);
    }
}

#[test]
fn amounts_are_refused_with_their_reason() {
    let minuses = "-".repeat(60_000);
    for (amount, code) in [
        (json!(0), "not_positive"),
        (json!(-1.5), "not_positive"),
        (json!("-1.50"), "not_positive"),
        (json!(1e12), "too_large"),
        (json!(u64::MAX), "too_large"),
        (json!(0.125), "too_precise"),
        (json!("1.001"), "too_precise"),
        (json!("1,50"), "not_a_number"),
        (json!(minuses), "not_a_number"),
        (json!(true), "wrong_type"),
        (json!([1]), "wrong_type"),
    ] {
        let body = json!({"order_id": 1, "user_id": 1, "total_amount": amount});
        assert_eq!(faults(payment(&body)), [fault("total_amount", code)]);
    }
    // How many decimals an unknown currency has cannot be said.
    let body = json!({"order_id": 1, "user_id": 1, "total_amount": 1.001, "currency": "ABC"});
    assert_eq!(
        faults(payment(&body)),
        [fault("currency", "unknown_currency")]
    );
}

#[test]
fn impossible_cards_are_refused() {
    let good =
        json!({"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "11/46"});
    assert!(parse_card(&good, TODAY).is_ok());
    for (name, value, code) in [
        ("cardNumber", json!("42424242424"), "invalid_card_number"),
        ("cardNumber", json!(42424242424242424242.0), "wrong_type"),
        ("cardNumber", json!(-4242424242424242_i64), "wrong_type"),
        (
            "cardNumber",
            json!("42424242424242424242"),
            "invalid_card_number",
        ),
        ("cardCode", json!(1.5), "wrong_type"),
        ("cardCode", json!("12"), "invalid_card_code"),
        ("cardCode", json!(12345), "invalid_card_code"),
        ("expirationDate", json!("2046-12"), "too_far_ahead"),
        (
            "expirationDate",
            json!("2027-02-29"),
            "invalid_expiration_date",
        ),
        ("expirationDate", json!(2030), "wrong_type"),
    ] {
        let mut card = good.clone();
        card[name] = value;
        assert_eq!(faults(parse_card(&card, TODAY)), [fault(name, code)]);
        let body = json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card": card});
        assert_eq!(
            faults(payment(&body)),
            [fault(&format!("card.{name}"), code)]
        );
    }
}

#[test]
fn a_message_may_carry_a_token_but_no_card() {
    let message = |body: &Value| parse_payment(body, cad(), TODAY, CardsAllowed::No);
    let body = json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card_token": "tok_visa"});
    let request = message(&body).expect("a good request");
    assert!(matches!(request.method, Some(PaymentMethod::Token(token)) if token == "tok_visa"));

    let body = json!({
        "order_id": 1, "user_id": 1, "total_amount": 1, "cardNumber": "4242424242424242",
        "card": {"cardNumber": "4242424242424242"}, "4242424242424242": 1,
    });
    assert_eq!(
        faults(message(&body)),
        [
            fault("****************", "unknown_field"),
            fault("card", "card_in_clear"),
            fault("cardNumber", "card_in_clear"),
        ]
    );
}

#[test]
fn process_takes_a_token_or_a_card() {
    let token = parse_method(&json!({"card_token": "tok_visa"}), TODAY).expect("a good token");
    assert!(matches!(token, PaymentMethod::Token(_)));
    let both = json!({"card_token": "tok_visa", "cardNumber": "4242424242424242"});
    assert_eq!(
        faults(parse_method(&both, TODAY)),
        [fault("card_token", "conflicting_fields")]
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[-0-9./ ]{0,24}".prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let name = prop_oneof![
            proptest::sample::select([PAYMENT_FIELDS.as_slice(), &CARD_FIELDS].concat())
                .prop_map(str::to_owned),
            ".{0,12}",
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..8)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_it_panic_or_fail_without_a_fault(body in any_json()) {
        for cards in [CardsAllowed::Yes, CardsAllowed::No] {
            if let Err(faults) = parse_payment(&body, cad(), TODAY, cards) {
                prop_assert!(!faults.is_empty());
            }
        }
        let _ = parse_method(&body, TODAY);
        let _ = parse_card(&body, TODAY);
    }

    #[test]
    fn every_field_that_is_missing_is_named(kept in proptest::collection::vec(any::<bool>(), 3)) {
        let names = ["order_id", "user_id", "total_amount"];
        let body: Value = names
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| **kept)
            .map(|(name, _)| ((*name).to_owned(), json!(1)))
            .collect();
        let missing = kept.iter().filter(|kept| !**kept).count();
        match payment(&body) {
            Ok(_) => prop_assert_eq!(missing, 0),
            Err(faults) => prop_assert_eq!(faults.len(), missing),
        }
    }

    #[test]
    fn no_digit_of_a_card_is_repeated(number in "[0-9]{11,22}", code in "[0-9]{1,6}") {
        let body = json!({"order_id": 1, "user_id": 1, "total_amount": 1, &number: 1, "card_token": &number,
            "metadata": {&number: 1}, "card": {"cardNumber": number, "cardCode": code, "expirationDate": number}});
        let faults = payment(&body).expect_err("faults");
        let said = format!("{faults:?}");
        prop_assert!(!said.contains(&number));
    }
}
