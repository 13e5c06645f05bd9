use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::domain::WebOrigin;
use crate::wire::rules::{ClientRules, ReturnOrigins, UnknownFields};

static STRICT: LazyLock<ClientRules> = LazyLock::new(ClientRules::default);

static LENIENT: LazyLock<ClientRules> = LazyLock::new(|| ClientRules {
    unknown_fields: UnknownFields::Ignore,
    ..ClientRules::default()
});

fn rules(cards: CardsAllowed) -> Rules<'static> {
    Rules {
        default_currency: Currency::parse("CAD").expect("CAD"),
        now: datetime!(2026-11-15 12:00 UTC),
        cards,
        client: &STRICT,
    }
}

fn over_http() -> Rules<'static> {
    rules(CardsAllowed::Yes)
}

fn lenient(cards: CardsAllowed) -> Rules<'static> {
    Rules {
        client: &LENIENT,
        ..rules(cards)
    }
}

fn payment(body: &Value) -> Result<PaymentRequest, Vec<FieldError>> {
    parse_payment(body, &over_http())
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
fn requests_of_existing_callers_are_accepted() {
    let request =
        payment(&json!({"user_id": 1, "order_id": 2, "total_amount": 13999.930000000002}))
            .expect("a good request");
    assert_eq!((request.order_id, request.user_id), (OrderId(2), UserId(1)));
    assert_eq!(request.amount.to_string(), "13999.93 CAD");
    assert!(request.method.is_none());

    let card =
        json!({"cardNumber": 9999999999999_u64, "cardCode": 7, "expirationDate": "2030-01-05"});
    let PaymentMethod::Card(card) = parse_method(&card, &over_http()).expect("a good card") else {
        panic!("no card");
    };
    assert_eq!(card.number.expose(), "9999999999999");
    assert_eq!(card.code.expose(), "007");
    assert_eq!(card.expiration.to_string(), "2030-01");
}

#[test]
fn every_invalid_field_is_listed() {
    let body = json!({
        "order_id": "01", "user_id": 0, "total_amount": 1.005, "currency": "cad", "ordr_id": 1,
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
fn an_empty_object_lacks_every_required_field() {
    assert_eq!(
        faults(payment(&json!({}))),
        ["order_id", "total_amount", "user_id"].map(|field| fault(field, "missing"))
    );
    assert_eq!(
        faults(parse_method(&json!({"cardNumber": null}), &over_http())),
        ["cardCode", "cardNumber", "expirationDate"].map(|field| fault(field, "missing"))
    );
    for other in [json!(null), json!([]), json!("x"), json!(1)] {
        assert_eq!(faults(payment(&other)), [fault("", "wrong_type")]);
        assert_eq!(
            faults(parse_card(&other, &over_http())),
            [fault("", "wrong_type")]
        );
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
    // The decimals of an unknown currency are not known.
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
    assert!(parse_card(&good, &over_http()).is_ok());
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
        assert_eq!(faults(parse_card(&card, &over_http())), [fault(name, code)]);
        let body = json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card": card});
        assert_eq!(
            faults(payment(&body)),
            [fault(&format!("card.{name}"), code)]
        );
    }
}

#[test]
fn a_message_may_carry_a_token_but_no_card() {
    let message = |body: &Value| parse_payment(body, &rules(CardsAllowed::No));
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
fn process_accepts_a_token_or_a_card() {
    let token =
        parse_method(&json!({"card_token": "tok_visa"}), &over_http()).expect("a good token");
    assert!(matches!(token, PaymentMethod::Token(_)));
    let both = json!({"card_token": "tok_visa", "cardNumber": "4242424242424242"});
    assert_eq!(
        faults(parse_method(&both, &over_http())),
        [fault("card_token", "conflicting_fields")]
    );
}

fn with_method(method: Value) -> Value {
    json!({"order_id": 1, "user_id": 1, "total_amount": 1, "payment_method": method})
}

#[test]
fn a_payment_method_names_its_type() {
    let card = json!({
        "type": "card", "cardNumber": "4242424242424242", "cardCode": 123, "expirationDate": "01/30",
    });
    let token = json!({"type": "card", "card_token": "tok_visa"});
    let both = [with_method(card.clone()), json!({"payment_method": card})];
    for (read, body) in [
        (payment(&both[0]).map(|it| it.method), &both[0]),
        (parse_method(&both[1], &over_http()).map(Some), &both[1]),
    ] {
        assert!(
            matches!(read.as_ref(), Ok(Some(PaymentMethod::Card(_)))),
            "{read:?}"
        );
        assert_eq!(method_form(body, MethodForm::Whole), MethodForm::Nested);
    }
    for cards in [CardsAllowed::Yes, CardsAllowed::No] {
        let read = parse_payment(&with_method(token.clone()), &rules(cards));
        let read = read.expect("a good request");
        assert!(matches!(read.method, Some(PaymentMethod::Token(token)) if token == "tok_visa"));
        assert_eq!(read.method_form, MethodForm::Nested);
        let none = parse_payment(&with_method(Value::Null), &rules(cards));
        assert!(none.expect("a good request").method.is_none());
    }
    let none = parse_method(&json!({"payment_method": null}), &over_http());
    assert_eq!(faults(none).len(), 3);
}

#[test]
fn the_page_of_a_platform_is_a_payment_method_everywhere() {
    let redirect = json!({"type": "redirect", "processor": "paypal"});
    for cards in [CardsAllowed::Yes, CardsAllowed::No] {
        let read = parse_payment(&with_method(redirect.clone()), &rules(cards));
        let Some(PaymentMethod::Other(method)) = read.expect("a good request").method else {
            panic!("not another method");
        };
        let summary = method.summary();
        assert_eq!(
            (summary.name.as_str(), summary.processor()),
            ("redirect", Some("paypal"))
        );
    }
}

#[test]
fn faults_of_a_payment_method_have_its_path() {
    let bad_card = json!({
        "type": "card", "cardNumber": "4242x", "cardCode": 12345, "expirationDate": "2030-13", "holder": "x",
    });
    let of_card = [
        fault("payment_method.cardCode", "invalid_card_code"),
        fault("payment_method.cardNumber", "invalid_card_number"),
        fault("payment_method.expirationDate", "invalid_expiration_date"),
        fault("payment_method.holder", "unknown_field"),
    ];
    assert_eq!(faults(payment(&with_method(bad_card.clone()))), of_card);
    let whole = json!({"payment_method": bad_card});
    assert_eq!(faults(parse_method(&whole, &over_http())), of_card);
    for (method, field, code) in [
        (json!("card"), "payment_method", "wrong_type"),
        (json!([]), "payment_method", "wrong_type"),
        (json!({}), "payment_method.type", "missing"),
        (json!({"type": 1}), "payment_method.type", "wrong_type"),
        (
            json!({"type": "Card"}),
            "payment_method.type",
            "unknown_method",
        ),
        (
            json!({"type": "4242424242424242"}),
            "payment_method.type",
            "unknown_method",
        ),
        (
            json!({"type": "card", "card_token": "visa"}),
            "payment_method.card_token",
            "invalid_card_token",
        ),
        (
            json!({"type": "redirect", "processor": "Pay Pal"}),
            "payment_method.processor",
            "invalid_processor",
        ),
        (
            json!({"type": "redirect", "processor": "paypal", "token": "tok_1"}),
            "payment_method.token",
            "unknown_field",
        ),
    ] {
        for body in [
            with_method(method.clone()),
            json!({"payment_method": method}),
        ] {
            let found = match body.get("order_id") {
                Some(_) => payment(&body).expect_err("a fault"),
                None => parse_method(&body, &over_http()).expect_err("a fault"),
            };
            assert!(!format!("{found:?}").contains("4242"));
            assert_eq!(faults::<()>(Err(found)), [fault(field, code)], "{body}");
        }
    }
    let hint = |name: &str| {
        let found = payment(&with_method(json!({"type": name}))).expect_err("a fault");
        found[0].message.clone()
    };
    assert!(hint("cards").ends_with("did you mean card?"));
    assert!(
        hint("paypal")
            .ends_with("is not a known payment method: send card, wallet, token or redirect.")
    );
}

#[test]
fn a_method_comes_in_one_form_only() {
    let token = json!({"type": "card", "card_token": "tok_visa"});
    let card =
        json!({"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "01/30"});
    let conflict = [fault("payment_method", "conflicting_fields")];
    for (name, value) in [("card", card.clone()), ("card_token", json!("tok_visa"))] {
        let mut body = with_method(token.clone());
        body[name] = value;
        assert_eq!(faults(payment(&body)), conflict);
    }
    for name in ["cardNumber", "cardCode", "expirationDate", "card_token"] {
        let mut body = json!({"payment_method": token});
        body[name] = json!("1");
        assert_eq!(faults(parse_method(&body, &over_http())), conflict);
    }
    let mut both = card;
    both["type"] = json!("card");
    both["card_token"] = json!("tok_visa");
    assert_eq!(
        faults(payment(&with_method(both))),
        [fault("payment_method.card_token", "conflicting_fields")]
    );
}

#[test]
fn a_message_carries_no_card_in_its_payment_method() {
    for rules in [rules, lenient] {
        let message = |method: Value| parse_payment(&with_method(method), &rules(CardsAllowed::No));
        for name in [
            "cardNumber",
            "cardCode",
            "expirationDate",
            "card_number",
            "card",
        ] {
            let mut method = json!({"type": "card", "card_token": "tok_visa"});
            method[name] = json!("4242424242424242");
            let field = format!("payment_method.{name}");
            assert_eq!(faults(message(method)), [fault(&field, "card_in_clear")]);
        }
        let nothing = faults(message(json!({"type": "card"})));
        assert_eq!(nothing, [fault("payment_method.card_token", "missing")]);
        let without_type = json!({"cardNumber": "4242424242424242"});
        assert_eq!(
            faults(message(without_type)),
            [
                fault("payment_method.cardNumber", "card_in_clear"),
                fault("payment_method.type", "missing"),
            ]
        );
    }
}

#[test]
fn numbers_may_be_text_as_redis_stores_them() {
    let request = payment(&json!({"user_id": "1", "order_id": "2", "total_amount": "71.0"}));
    let request = request.expect("a good request");
    assert_eq!((request.order_id, request.user_id), (OrderId(2), UserId(1)));
    assert_eq!(request.amount.to_string(), "71.00 CAD");
    let body = json!({"user_id": 1, "order_id": 2, "total_amount": 71});
    let number = payment(&body).expect("a good request");
    assert_eq!(request.canonical(), number.canonical());
    let message = json!({"user_id": "1", "order_id": "2", "total_amount": "71.0"});
    let message = parse_payment(&message, &rules(CardsAllowed::No)).expect("a good request");
    assert_eq!(request.canonical(), message.canonical());
}

#[test]
fn extra_fields_of_a_lenient_client_are_dropped() {
    let body = json!({
        "order_id": 1, "user_id": 1, "total_amount": 1, "items": [{"id": 1}], "cart": {"x": 1}, "is_paid": false,
        "payment": {"pan": "4242424242424242"}, "4242424242424242": 1,
    });
    let plain = json!({"order_id": 1, "user_id": 1, "total_amount": 1});
    for cards in [CardsAllowed::Yes, CardsAllowed::No] {
        let read = parse_payment(&body, &lenient(cards)).expect("a good request");
        let expected = parse_payment(&plain, &rules(cards)).expect("a good request");
        // It is not part of the fingerprint either.
        assert_eq!(read.canonical(), expected.canonical());
        assert!(!format!("{read:?}").contains("4242"));
        assert_eq!(faults(parse_payment(&body, &rules(cards))).len(), 5);
    }
    let card = json!({
        "cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "01/30", "holder": "X", "zip": "H3C",
    });
    assert!(parse_card(&card, &lenient(CardsAllowed::Yes)).is_ok());
    assert!(parse_method(&card, &lenient(CardsAllowed::Yes)).is_ok());
    let mut body = plain;
    body["card"] = card;
    assert!(parse_payment(&body, &lenient(CardsAllowed::Yes)).is_ok());
}

#[test]
fn known_fields_of_a_lenient_client_are_not_dropped() {
    let with = |name: &str, value: Value| {
        let mut body = json!({"order_id": 1, "user_id": 1, "total_amount": 1});
        body[name] = value;
        body
    };
    for name in [
        "currancy",
        "Currency",
        "cardToken",
        "card_tokn",
        "meta_data",
        "returnUrl",
        "Card",
    ] {
        for cards in [CardsAllowed::Yes, CardsAllowed::No] {
            let found = faults(parse_payment(&with(name, json!("x")), &lenient(cards)));
            let code = match (name, cards) {
                ("Card", CardsAllowed::No) => "card_in_clear",
                _ => "unknown_field",
            };
            assert_eq!(found, [fault(name, code)]);
        }
    }
    // A card in the wrong place would not be charged.
    for name in ["cardNumber", "card_number"] {
        let body = with(name, json!("4242424242424242"));
        let found = faults(parse_payment(&body, &lenient(CardsAllowed::Yes)));
        assert_eq!(found, [fault(name, "unknown_field")]);
    }
    for name in ["card", "cardNumber", "cardCode", "expirationDate"] {
        let body = with(name, json!({"cardNumber": "4242424242424242"}));
        let found = faults(parse_payment(&body, &lenient(CardsAllowed::No)));
        assert_eq!(found, [fault(name, "card_in_clear")]);
    }
    // Without its key a repeated request would make another payment.
    for name in [
        "idempotency_key",
        "idempotencyKey",
        "Idempotency-Key",
        "idempotency_ky",
    ] {
        for rules in [lenient, rules] {
            for (cards, meant) in [
                (CardsAllowed::Yes, "send the header Idempotency-Key"),
                (CardsAllowed::No, "the AMQP property message-id"),
            ] {
                let refused = parse_payment(&with(name, json!("order-1")), &rules(cards));
                let refused = refused.expect_err("faults");
                assert_eq!(refused.len(), 1, "{refused:?}");
                assert_eq!(
                    (refused[0].field.as_str(), refused[0].code),
                    (name, "unknown_field")
                );
                assert!(refused[0].message.contains(meant), "{refused:?}");
            }
        }
    }
}

#[test]
fn a_return_url_must_have_an_origin_of_its_client() {
    let listed = ["https://shop.example", "http://localhost:3000"];
    let origins = listed.map(|text| WebOrigin::parse(text).expect("an origin"));
    let client = ClientRules {
        return_origins: ReturnOrigins::Listed(origins.into()),
        ..ClientRules::default()
    };
    let loopback = ClientRules {
        return_origins: ReturnOrigins::Loopback,
        ..ClientRules::default()
    };
    let read = |client: &ClientRules, url: Value, cards| {
        let body = json!({"order_id": 1, "user_id": 1, "total_amount": 1, "return_url": url});
        let rules = Rules {
            client,
            ..rules(cards)
        };
        parse_payment(&body, &rules)
            .map(|request| request.return_url.map(|url| url.as_str().to_owned()))
    };
    for cards in [CardsAllowed::Yes, CardsAllowed::No] {
        for url in [
            "https://shop.example/orders/1?x=y",
            "http://localhost:3000/",
            "HTTPS://SHOP.example:443",
        ] {
            assert_eq!(read(&client, json!(url), cards), Ok(Some(url.to_owned())));
        }
        assert_eq!(read(&client, Value::Null, cards), Ok(None));
        assert!(read(&loopback, json!("http://127.0.0.1:8000/x"), cards).is_ok());
        let long = format!("https://shop.example/{}", "x".repeat(2048));
        for (url, code) in [
            (json!("https://elsewhere.example/"), "foreign_origin"),
            (
                json!("https://shop.example.evil.example/"),
                "foreign_origin",
            ),
            (json!("https://shop.example:8443/"), "foreign_origin"),
            (json!("http://localhost:3001/"), "foreign_origin"),
            (json!("http://shop.example/"), "not_https"),
            (json!("javascript:alert(1)"), "not_https"),
            (json!("https://a:b@shop.example/"), "invalid_url"),
            (json!("https://shop.example/#x"), "invalid_url"),
            (
                json!("https://shop.example/%34242424242424242"),
                "card_in_clear",
            ),
            (
                json!("https://shop.example/?card=4242424242424242"),
                "card_in_clear",
            ),
            (json!("/orders/1"), "invalid_url"),
            (json!(""), "invalid_url"),
            (json!(long), "too_long"),
            (json!(1), "wrong_type"),
        ] {
            let found = faults(read(&client, url.clone(), cards));
            assert_eq!(found, [fault("return_url", code)], "{url}");
        }
        assert_eq!(
            faults(read(&STRICT, json!("https://shop.example/"), cards)),
            [fault("return_url", "foreign_origin")]
        );
        assert_eq!(
            faults(read(&loopback, json!("https://shop.example/"), cards)),
            [fault("return_url", "foreign_origin")]
        );
    }
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
    fn no_document_panics_or_fails_without_an_error(body in any_json()) {
        for cards in [CardsAllowed::Yes, CardsAllowed::No] {
            if let Err(faults) = parse_payment(&body, &rules(cards)) {
                prop_assert!(!faults.is_empty());
            }
        }
        let _ = parse_method(&body, &over_http());
        let _ = parse_card(&body, &over_http());
    }

    #[test]
    fn every_missing_field_is_named(kept in proptest::collection::vec(any::<bool>(), 3)) {
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
    fn errors_never_repeat_card_digits(number in "[0-9]{11,22}", code in "[0-9]{1,6}") {
        let body = json!({"order_id": 1, "user_id": 1, "total_amount": 1, &number: 1, "card_token": &number,
            "metadata": {&number: 1}, "card": {"cardNumber": number, "cardCode": code, "expirationDate": number}});
        let faults = payment(&body).expect_err("faults");
        let said = format!("{faults:?}");
        prop_assert!(!said.contains(&number));
    }
}
