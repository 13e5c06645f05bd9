//! `docs/openapi.json` is the committed description; the service serves the one generated from its code.

use std::collections::BTreeSet;

use payment_service::http::openapi::document;
use payment_service::http::problem::Kind;
use payment_service::wire::payment::PaymentObject;
use serde_json::{Value, json};

use super::schemas::Schemas;
use super::{breaking, file, read, read_json, resolved};

const KEPT: &str = "docs/openapi.json";

/// `CONTRACT=renew` rewrites the file, unless that breaks callers; `CONTRACT=break` does it in any case.
#[test]
fn the_description_is_the_committed_one() {
    let made = document();
    let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
    let wish = std::env::var("CONTRACT").unwrap_or_default();
    let breaks = if file(KEPT).exists() {
        breaking::changes(&read_json(KEPT), &made)
    } else {
        Vec::new()
    };
    if wish == "break" || (wish == "renew" && breaks.is_empty()) {
        std::fs::write(file(KEPT), &text).unwrap();
    }
    assert!(
        breaks.is_empty() || wish == "break",
        "BREAKING: callers of the REST interface would fail. If that is meant, say so in CHANGELOG.md and run \
         `CONTRACT=break cargo test --test it contracts::openapi`.\n{breaks:#?}"
    );
    let kept = read(KEPT);
    let differs = kept.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(
        kept == text,
        "{KEPT} is not what the code describes. No caller breaks: run `CONTRACT=renew cargo test --test it \
         contracts::openapi` and look at the difference. The first one: {differs:?}"
    );
}

#[test]
fn it_is_openapi_3_1() {
    let schema = read_json("tests/schemas/openapi-3.1.json");
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let document = document();
    let faults: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let broken = json!({"openapi": "3.1.0", "info": {"title": "x"}, "paths": {}});
    assert!(!validator.is_valid(&broken));
}

#[test]
fn every_example_matches_its_schema() {
    let document = document();
    let (strict, lenient) = (Schemas::strictly_of(&document), Schemas::of(&document));
    let mut seen = 0;
    for (place, operation) in operations(&document) {
        let examples = |content: &Value, schemas: &Schemas| {
            for (media_type, content) in content.as_object().into_iter().flatten() {
                for (name, example) in content["examples"].as_object().into_iter().flatten() {
                    let faults = schemas.faults(&content["schema"], &example["value"]);
                    assert!(
                        faults.is_empty(),
                        "{place}, {media_type}, {name}: {faults:#?}"
                    );
                }
            }
            content.as_object().into_iter().flatten().count()
        };
        seen += examples(&operation["requestBody"]["content"], &lenient);
        for (_, response) in operation["responses"].as_object().unwrap() {
            seen += examples(&response["content"], &strict);
        }
        for parameter in operation["parameters"].as_array().unwrap() {
            let parameter = resolved(&document, parameter);
            if let Some(example) = parameter.get("example") {
                let faults = lenient.faults(&parameter["schema"], example);
                assert!(
                    faults.is_empty(),
                    "{place}, {}: {faults:#?}",
                    parameter["name"]
                );
            }
        }
    }
    assert!(seen > 50, "{seen} kinds of content");
}

/// A payment in an example is one that the service could have written.
#[test]
fn payments_in_examples_round_trip() {
    let document = document();
    let examples = &document["paths"]["/payments/{payment_id}"]["get"]["responses"]["200"]["content"]
        ["application/json"]["examples"];
    let states: BTreeSet<&str> = examples
        .as_object()
        .unwrap()
        .values()
        .map(|example| {
            let payment: PaymentObject = serde_json::from_value(example["value"].clone()).unwrap();
            assert_eq!(json!(payment), example["value"]);
            assert_eq!(
                example["value"]["is_paid"],
                example["value"]["status"] == "succeeded"
            );
            example["value"]["status"].as_str().unwrap()
        })
        .collect();
    assert_eq!(states.len(), 8, "one of each state: {states:?}");
}

/// From the router's source: exactly its addresses are described.
#[test]
fn every_address_is_described() {
    let sources = ["src/http/router.rs", "src/http/docs/mod.rs"]
        .map(read)
        .concat();
    let without_space: String = sources.split_whitespace().collect();
    let routed: BTreeSet<&str> = without_space
        .split(".route(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        // The pages of the simulated issuer are for browsers; a real processor has its own.
        .filter(|path| !["/metrics", "/docs/{asset}", "/simulator/actions/{secret}"].contains(path))
        .collect();
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(routed, described);
}

#[test]
fn every_problem_type_is_described() {
    let text = document().to_string();
    for kind in Kind::ALL {
        // Methods that are not allowed need no description, nor does the payment page.
        if !matches!(kind, Kind::MethodNotAllowed | Kind::CrossSite) {
            assert!(
                text.contains(kind.title()),
                "{kind:?} is nowhere in the description"
            );
        }
    }
}

#[test]
fn every_operation_that_needs_a_key_says_so() {
    let open = |operation: &Value| operation["security"] == json!([]);
    for (place, operation) in operations(&document()) {
        let service = operation["tags"] == json!(["service"]);
        // Signed instead.
        let of_platforms = operation["tags"] == json!(["platforms"]);
        assert_eq!(open(&operation), service || of_platforms, "{place}");
        let refused = !operation["responses"]["401"].is_null();
        assert_eq!(refused, !service, "{place}");
    }
}

#[test]
fn breaking_changes_are_distinguished_from_compatible_ones() {
    type Change = (&'static str, fn(&mut Value));
    let schema = "/components/schemas";
    let breaking: [Change; 9] = [
        ("/paths", |paths| drop(remove(paths, "/card-tokens"))),
        ("/paths/~1payments", |path| drop(remove(path, "get"))),
        ("/paths/~1payments/post/responses", |answers| {
            drop(remove(answers, "202"))
        }),
        ("/paths/~1payments/post/responses/202/headers", |headers| {
            drop(remove(headers, "Location"))
        }),
        ("/components/schemas/Payment/properties", |fields| {
            drop(remove(fields, "is_paid"))
        }),
        ("/components/schemas/Payment/properties/order_id", |field| {
            field["type"] = json!("string")
        }),
        ("/components/schemas/Payment", |payment| {
            payment["required"] = json!(["payment_id"])
        }),
        ("/components/schemas/PaymentRequest/required", |names| {
            names.as_array_mut().unwrap().push(json!("currency"));
        }),
        ("/components/parameters/Idempotency-Key", |key| {
            key["required"] = json!(true)
        }),
    ];
    let harmless: [Change; 4] = [
        ("/paths", |paths| {
            paths["/new"] = json!({"get": {"responses": {}}})
        }),
        ("/components/schemas/Payment/properties", |fields| {
            fields["new"] = json!({"type": "string"})
        }),
        ("/components/schemas/PaymentRequest/properties", |fields| {
            fields["new"] = json!({"type": "string"})
        }),
        ("/info", |info| info["description"] = json!("other words")),
    ];
    let old = document();
    assert!(!old.pointer(schema).unwrap().is_null());
    let found = |(pointer, change): Change| {
        let mut new = old.clone();
        change(
            new.pointer_mut(pointer)
                .unwrap_or_else(|| panic!("no {pointer}")),
        );
        assert_ne!(old, new, "{pointer}");
        breaking::changes(&old, &new)
    };
    for change in breaking {
        assert!(!found(change).is_empty(), "breaks unnoticed: {}", change.0);
    }
    for change in harmless {
        assert_eq!(found(change), Vec::<String>::new(), "{}", change.0);
    }
}

fn remove(object: &mut Value, name: &str) -> Value {
    object
        .as_object_mut()
        .unwrap()
        .remove(name)
        .expect("it is there")
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap();
            methods
                .iter()
                .map(move |(method, operation)| (format!("{method} {path}"), operation.clone()))
        })
        .collect()
}
