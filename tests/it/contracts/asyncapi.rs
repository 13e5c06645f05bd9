//! `docs/asyncapi.yaml` is well formed and agrees with the topology and the parsers. All tests that receive messages
//! check that it agrees with what is published.

use std::collections::BTreeMap;

use payment_service::broker::Exchange;
use payment_service::domain::{Currency, WebOrigin};
use payment_service::wire::request::parse_payment;
use payment_service::wire::rules::{CardsAllowed, ClientRules, ReturnOrigins, Rules};
use payment_service::wire::schema;
use serde_json::{Value, json};

use super::messages::{DESCRIPTION, faults};
use super::{read_json, resolved};

#[test]
fn it_is_asyncapi_3_0() {
    let schema = read_json("tests/schemas/asyncapi-3.0.json");
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let document = &DESCRIPTION.document;
    let faults: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let mut broken = document.clone();
    broken["operations"]["takeRequest"]["action"] = json!("take");
    assert!(!validator.is_valid(&broken));
}

#[test]
fn the_version_is_the_programs() {
    assert_eq!(
        DESCRIPTION.document["info"]["version"],
        env!("CARGO_PKG_VERSION")
    );
}

#[test]
fn every_reference_resolves() {
    fn check(document: &Value, value: &Value, seen: &mut u32) {
        match value {
            Value::Object(parts) => {
                if let Some(Value::String(name)) = parts.get("$ref")
                    && !name.starts_with("#/components/schemas/")
                {
                    resolved(document, value);
                    *seen += 1;
                }
                parts.values().for_each(|part| check(document, part, seen));
            }
            Value::Array(parts) => parts.iter().for_each(|part| check(document, part, seen)),
            _ => {}
        }
    }
    let mut seen = 0;
    check(&DESCRIPTION.document, &DESCRIPTION.document, &mut seen);
    assert!(seen > 20, "{seen}");
}

/// Exchanges, queues with their arguments, and bindings are those that the broker loads.
#[test]
fn the_topology_is_that_of_the_brokers_definitions() {
    let definitions = read_json("rabbitmq/definitions.json");
    let channels = DESCRIPTION.document["channels"].as_object().unwrap();
    let amqp = || {
        channels
            .values()
            .map(|channel| &channel["bindings"]["amqp"])
    };

    let exchange = |name: &Value, kind: &Value, durable: &Value, auto_delete: &Value| {
        let name = name.as_str().unwrap().to_owned();
        (name, json!([kind, durable, auto_delete]))
    };
    let described: BTreeMap<String, Value> = amqp()
        .map(|binding| &binding["exchange"])
        .filter(|it| it["name"].as_str().is_some_and(|name| !name.is_empty()))
        .map(|it| exchange(&it["name"], &it["type"], &it["durable"], &it["autoDelete"]))
        .collect();
    let defined: BTreeMap<String, Value> = list(&definitions["exchanges"])
        .map(|it| exchange(&it["name"], &it["type"], &it["durable"], &it["auto_delete"]))
        .collect();
    assert_eq!(described, defined);

    let queue = |name: &Value, durable: &Value, auto_delete: &Value, arguments: &Value| {
        let name = name.as_str().unwrap().to_owned();
        (name, json!([durable, auto_delete, arguments]))
    };
    let queues = || {
        channels
            .values()
            .filter(|channel| !channel["bindings"]["amqp"]["queue"].is_null())
    };
    let described: BTreeMap<String, Value> = queues()
        .map(|channel| {
            let it = &channel["bindings"]["amqp"]["queue"];
            assert_eq!(channel["address"], it["name"]);
            queue(
                &it["name"],
                &it["durable"],
                &it["autoDelete"],
                &channel["x-arguments"],
            )
        })
        .collect();
    let defined: BTreeMap<String, Value> = list(&definitions["queues"])
        .map(|it| {
            queue(
                &it["name"],
                &it["durable"],
                &it["auto_delete"],
                &it["arguments"],
            )
        })
        .collect();
    assert_eq!(described, defined);

    let mut described: Vec<String> = queues()
        .flat_map(|channel| {
            list(&channel["x-bound-to"]).map(|bound| {
                format!(
                    "{} {} {}",
                    bound["exchange"], bound["routingKey"], channel["address"]
                )
            })
        })
        .collect();
    let mut defined: Vec<String> = list(&definitions["bindings"])
        .map(|it| {
            format!(
                "{} {} {}",
                it["source"], it["routing_key"], it["destination"]
            )
        })
        .collect();
    described.sort();
    defined.sort();
    assert_eq!(described, defined);
}

#[test]
fn every_example_matches_its_schema() {
    let document = &DESCRIPTION.document;
    let mut seen = 0;
    for channel in [
        "requests",
        "work",
        "workGroups",
        "operations",
        "results",
        "deadLetters",
    ] {
        for message in document["channels"][channel]["messages"]
            .as_object()
            .unwrap()
            .values()
        {
            let message = resolved(document, message);
            let name = message["name"].as_str().unwrap();
            assert!(!message["examples"].is_null(), "{name} has no example");
            for example in list(&message["examples"]) {
                let faults = faults(channel, name, &example["headers"], &example["payload"]);
                assert!(faults.is_empty(), "{name}: {faults:#?}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 27);
}

#[test]
fn a_message_that_is_not_described_is_found() {
    let example = &DESCRIPTION.document["components"]["messages"]["succeeded"]["examples"][0];
    let found = |change: fn(&mut Value)| {
        let mut changed = example.clone();
        change(&mut changed);
        faults(
            "results",
            "payment.succeeded",
            &changed["headers"],
            &changed["payload"],
        )
    };
    assert!(found(|_| ()).is_empty());
    for change in [
        (|it| it["headers"]["new"] = json!("x")) as fn(&mut Value),
        |it| it["headers"]["content-type"] = json!("application/json"),
        |it| it["payload"]["new"] = json!(1),
        |it| it["payload"]["sequence"] = json!(3),
        |it| it["payload"]["data"]["new"] = json!(1),
        |it| it["payload"]["data"]["status"] = json!("declined"),
        |it| it["payload"]["data"]["payment_id"] = json!("42"),
    ] {
        assert!(!found(change).is_empty());
    }
}

/// The body of a request by message is described where it is parsed.
#[test]
fn described_requests_match_the_parser() {
    let openapi = payment_service::http::openapi::document();
    for (name, parsed) in [
        ("OrderPayment", schema::order_payment()),
        (
            "OrderCapture",
            schema::order_operation(schema::capture_request()),
        ),
        (
            "OrderCancel",
            schema::order_operation(schema::cancel_request()),
        ),
        (
            "OrderRefund",
            schema::order_operation(schema::refund_request()),
        ),
    ] {
        let mut described = DESCRIPTION.document["components"]["schemas"][name].clone();
        for field in described["properties"]
            .as_object_mut()
            .unwrap()
            .values_mut()
            .filter(|field| !field["$ref"].is_null())
        {
            *field = resolved(&openapi, field).clone();
        }
        assert_eq!(described, parsed, "{name}");
    }
    let rules = Rules {
        default_currency: Currency::parse("CAD").unwrap(),
        now: time::macros::datetime!(2026-11-15 12:00 UTC),
        cards: CardsAllowed::No,
        client: &ClientRules {
            return_origins: ReturnOrigins::Listed(vec![
                WebOrigin::parse("https://shop.example").unwrap(),
            ]),
            ..ClientRules::default()
        },
    };
    for example in list(&DESCRIPTION.document["components"]["messages"]["orderPayment"]["examples"])
    {
        parse_payment(&example["payload"], &rules).unwrap();
    }
}

#[test]
fn every_exchange_that_is_published_to_is_described() {
    let text = DESCRIPTION.document["channels"].to_string();
    for exchange in [
        Exchange::Requests,
        Exchange::Work,
        Exchange::Results,
        Exchange::DeadLetters,
    ] {
        assert!(text.contains(exchange.name()), "{}", exchange.name());
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
