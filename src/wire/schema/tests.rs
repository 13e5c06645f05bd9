use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::Map;
use time::macros::datetime;

use super::*;
use crate::domain::Currency;
use crate::wire::request::{parse_card, parse_method, parse_payment};
use crate::wire::rules::{CardsAllowed, ClientRules, ReturnOrigins, Rules};

static CLIENT: LazyLock<ClientRules> = LazyLock::new(|| ClientRules {
    return_origins: ReturnOrigins::Loopback,
    ..ClientRules::default()
});

fn rules(cards: CardsAllowed) -> Rules<'static> {
    Rules {
        default_currency: Currency::parse("CAD").expect("CAD"),
        now: datetime!(2026-11-15 12:00 UTC),
        cards,
        client: &CLIENT,
    }
}

/// `body` as the description sees it: a field that is null counts as absent.
fn without_nulls(body: &Value) -> Value {
    let mut body = body.clone();
    if let Value::Object(entries) = &mut body {
        entries.retain(|_, value| !value.is_null());
        for value in entries.values_mut().filter(|value| value.is_object()) {
            *value = without_nulls(value);
        }
    }
    body
}

static PAYMENT_REQUEST: LazyLock<Validator> = LazyLock::new(|| validator(payment_request()));
static ORDER_PAYMENT: LazyLock<Validator> = LazyLock::new(|| validator(order_payment()));
static CARD: LazyLock<Validator> = LazyLock::new(|| validator(card()));
static CARD_OR_TOKEN: LazyLock<Validator> = LazyLock::new(|| validator(card_or_token()));

fn validator(mut schema: Value) -> Validator {
    schema["components"] = json!({"schemas": {
        "Card": card(), "PresentedCard": presented_card(), "PresentedToken": presented_token(), "PresentedMethod": presented_method(),
        "GivenMethod": given_method(), "CardMethod": card_method(), "TokenMethod": token_method(),
        "WalletMethod": wallet_method(), "PlatformMethod": platform_method(),
        "RedirectMethod": redirect_method(),
    }});
    jsonschema::draft202012::new(&schema).expect("a schema")
}

fn parsed(body: &Value, cards: CardsAllowed) -> bool {
    parse_payment(body, &rules(cards)).is_ok()
}

/// Mostly valid values, some invalid ones.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let field = |(name, values): (&'static str, BoxedStrategy<Value>)| {
        let strange = prop_oneof![
            Just(Value::Null),
            Just(json!(true)),
            Just(json!("")),
            Just(json!(-1)),
            Just(json!(1.5)),
            Just(json!({})),
            any::<i64>().prop_map(Value::from),
            "[ 0-9/.-]{0,22}".prop_map(Value::from),
        ];
        let value = prop_oneof![6 => values, 1 => strange];
        prop_oneof![5 => value.prop_map(move |value| Some((name, value))), 1 => Just(None)]
    };
    let fields: Vec<_> = fields.into_iter().map(field).collect();
    (fields, prop::bool::weighted(0.1))
        .prop_map(|(fields, unknown)| {
            let mut object: Map<String, Value> = fields
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            if unknown {
                object.insert("colour".to_owned(), json!(1));
            }
            object.into()
        })
        .boxed()
}

fn some(values: Vec<Value>) -> BoxedStrategy<Value> {
    prop::sample::select(values).boxed()
}

fn any_card() -> BoxedStrategy<Value> {
    object(card_parts())
}

/// Seldom anything: the other fields of a card must then be absent.
fn any_method() -> BoxedStrategy<Value> {
    let kind = || ("type", some(vec![json!("card"), json!("Card")]));
    let token = some(vec![json!("tok_visa"), json!(null), json!("visa")]);
    let card = [vec![kind()], card_parts()].concat();
    let token = vec![kind(), ("card_token", token)];
    prop_oneof![
        4 => Just(Value::Null),
        1 => object(card),
        1 => object(token),
    ]
    .boxed()
}

fn card_parts() -> Vec<(&'static str, BoxedStrategy<Value>)> {
    let number = prop_oneof![
        "[0-9]{12,19}".prop_map(Value::from),
        "-?([0-9][ -]?){11,20}".prop_map(Value::from),
        "([0-9]{4}[\u{a0}\u{2009}\u{2011}\u{2013}]?){3,5}".prop_map(Value::from),
        (100_000_000_000_u64..=9_999_999_999_999_999_999).prop_map(Value::from),
    ];
    let code = prop_oneof![
        "[0-9]{2,5}".prop_map(Value::from),
        (0..20_000).prop_map(Value::from)
    ];
    let month = prop_oneof![
        "(20[0-9]{2}-[01][0-9](-[0-3][0-9])?|[01][0-9]/[0-9]{2})".prop_map(Value::from),
        " ?(20)?[0-9]{1,2}[ \u{a0}]?[-/.]?[ \u{202f}]?(20)?[0-9]{1,2}([-/.][0-9]{1,2})? ?"
            .prop_map(Value::from),
    ];
    vec![
        ("cardNumber", number.boxed()),
        ("cardCode", code.boxed()),
        ("expirationDate", month.boxed()),
    ]
}

fn any_payment() -> BoxedStrategy<Value> {
    let number = 1..=Object::MAX_INTEGER;
    let id = prop_oneof![
        number.clone().prop_map(Value::from),
        number.prop_map(|number| Value::from(number.to_string())),
        "[0+ -]?[0-9]{1,18}".prop_map(Value::from),
    ];
    let amount = prop_oneof![
        (1..1_000_000_i64).prop_map(|cents| json!(cents as f64 / 100.0)),
        "[0-9]{1,12}(\\.[0-9]{1,3})?".prop_map(Value::from),
    ];
    let metadata = prop::collection::btree_map("[a-z0-9]{0,42}", "[a-z]{0,20}|[0-9]{16}", 0..22)
        .prop_map(|texts| json!(texts));
    object(vec![
        ("order_id", id.clone().boxed()),
        ("user_id", id.boxed()),
        ("total_amount", amount.boxed()),
        (
            "currency",
            some(vec![json!("EUR"), json!("JPY"), json!("cad"), json!("XXX")]),
        ),
        ("payment_method", any_method()),
        ("card", prop_oneof![any_card(), Just(Value::Null)].boxed()),
        (
            "card_token",
            some(vec![
                json!("tok_visa"),
                json!(null),
                json!("visa"),
                json!("tok_é"),
            ]),
        ),
        ("metadata", metadata.boxed()),
        (
            "return_url",
            some(vec![
                json!("http://localhost:3000/paid"),
                json!("https://localhost"),
                json!("https://shop.example/"),
                json!("http://localhost/#x"),
            ]),
        ),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The service must not accept what the description forbids.
    #[test]
    fn accepted_documents_match_the_schema(
        payment in any_payment(), card_given in any_card(), token in any_payment(), method in any_method(),
    ) {
        let method = json!({"payment_method": method});
        if parsed(&payment, CardsAllowed::Yes) {
            prop_assert!(PAYMENT_REQUEST.is_valid(&without_nulls(&payment)), "{payment}");
        }
        if parsed(&payment, CardsAllowed::No) {
            prop_assert!(ORDER_PAYMENT.is_valid(&without_nulls(&payment)), "{payment}");
        }
        for body in [&card_given, &token, &method] {
            if parse_card(body, &rules(CardsAllowed::Yes)).is_ok() {
                prop_assert!(CARD.is_valid(&without_nulls(body)), "{body}");
            }
            if parse_method(body, &rules(CardsAllowed::Yes)).is_ok() {
                prop_assert!(CARD_OR_TOKEN.is_valid(&without_nulls(body)), "{body}");
            }
        }
    }
}

/// The service refuses a described document only for rules that no schema can express.
#[test]
fn documents_that_match_the_schema_are_accepted_except_for_rules_beyond_it() {
    let payments = &*PAYMENT_REQUEST;
    let mut refused = Vec::new();
    for changes in [
        json!({}),
        json!({"currency": null, "card": null, "card_token": null, "metadata": null}),
        json!({"total_amount": "0.01"}),
        json!({"order_id": "1", "user_id": "9007199254740991"}),
        json!({"return_url": "http://localhost/"}),
        json!({"total_amount": 13_999.930_000_000_002_f64}),
        json!({"metadata": {"k": ""}}),
        json!({"card_token": "tok_"}),
        json!({"payment_method": null, "card_token": "tok_visa"}),
        json!({"payment_method": {"type": "card", "card_token": "tok_visa"}, "card": null}),
        json!({"payment_method": {"type": "card", "cardNumber": 4_242_424_242_424_242_u64, "cardCode": 7, "expirationDate": "01/30"}}),
        // No schema can express these.
        json!({"total_amount": 1.005}),
        json!({"currency": "XXX"}),
        json!({"return_url": "https://elsewhere.example/"}),
        json!({"order_id": "9007199254740992"}),
        json!({"metadata": {"k": "4242424242424242"}}),
        json!({"card": {"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2060-01"}}),
        json!({"card": {"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2030-02-31"}}),
    ] {
        let mut payment = json!({"order_id": 1, "user_id": 1, "total_amount": 1});
        for (name, value) in changes.as_object().expect("an object") {
            payment[name] = value.clone();
        }
        assert!(payments.is_valid(&payment), "{payment}");
        if !parsed(&payment, CardsAllowed::Yes) {
            refused.push(changes);
        }
    }
    assert_eq!(refused.len(), 7, "{refused:?}");
}

#[test]
fn invalid_documents_do_not_match_the_schema() {
    let payments = &*PAYMENT_REQUEST;
    for wrong in [
        json!({}),
        json!({"order_id": 1, "user_id": 1}),
        json!({"order_id": null, "user_id": 1, "total_amount": 1}),
        json!({"order_id": "01", "user_id": 1, "total_amount": 1}),
        json!({"order_id": "+1", "user_id": 1, "total_amount": 1}),
        json!({"order_id": "0", "user_id": 1, "total_amount": 1}),
        json!({"order_id": 0, "user_id": 1, "total_amount": 1}),
        json!({"order_id": 1, "user_id": 1, "total_amount": 0}),
        json!({"order_id": 1, "user_id": 1, "total_amount": "1,5"}),
        json!({"order_id": 1, "user_id": 1, "total_amount": 1, "colour": 1}),
        json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card_token": "visa"}),
        json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card_token": "tok_visa",
            "card": {"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2030-01"}}),
        json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card_token": "tok_visa",
            "payment_method": {"type": "card", "card_token": "tok_visa"}}),
        json!({"order_id": 1, "user_id": 1, "total_amount": 1, "payment_method": {"card_token": "tok_visa"}}),
        json!({"order_id": 1, "user_id": 1, "total_amount": 1, "payment_method": {"type": "iou", "card_token": "tok_visa"}}),
    ] {
        assert!(!payments.is_valid(&wrong), "{wrong}");
        assert!(!parsed(&wrong, CardsAllowed::Yes), "{wrong}");
    }
    let card =
        json!({"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2030-01"});
    let message = json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card": card.clone()});
    assert!(!ORDER_PAYMENT.is_valid(&message));
    let mut method = card;
    method["type"] = json!("card");
    let message = json!({"order_id": 1, "user_id": 1, "total_amount": 1, "payment_method": method});
    assert!(payments.is_valid(&message) && !ORDER_PAYMENT.is_valid(&message));
}

/// A form posts every field it has, the unused ones as null.
#[test]
fn the_other_ways_to_pay_may_be_there_as_null() {
    let nulls = json!({
        "cardNumber": null, "cardCode": null, "expirationDate": null, "card_token": null, "payment_method": null,
    });
    for way in [
        json!({"card_token": "tok_visa"}),
        json!({"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2030-01"}),
        json!({"payment_method": {"type": "card", "card_token": "tok_visa"}}),
    ] {
        let mut body = nulls.clone();
        for (name, value) in way.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        assert!(
            parse_method(&body, &rules(CardsAllowed::Yes)).is_ok(),
            "{body}"
        );
        assert!(CARD_OR_TOKEN.is_valid(&body), "{body}");
    }
}
