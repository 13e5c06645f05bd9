//! Every callback that the tests receive is checked against the webhooks of docs/openapi.json.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use payment_service::clients::callback::EVENTS;
use payment_service::http::openapi;
use serde_json::{Value, json};

use super::resolved;
use super::schemas::Schemas;

/// The part of a call that the description covers.
pub struct Called<'a> {
    pub method: &'a str,
    /// Name and value of each header; names in lower case.
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: &'a str,
}

struct Description {
    document: Value,
    schemas: Schemas,
}

static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| {
    let document = openapi::document();
    Description {
        schemas: Schemas::strictly_of(&document),
        document,
    }
});

impl Called<'_> {
    /// How the call differs from the description; empty if it does not.
    pub fn faults(&self) -> Vec<String> {
        let Ok(body) = serde_json::from_str::<Value>(self.body) else {
            return vec!["the body is not JSON".to_owned()];
        };
        let Description { document, schemas } = &*DESCRIPTION;
        let (name, method) = match body["type"].as_str() {
            Some(kind) => (kind, "post"),
            None => ("orderPaid", "put"),
        };
        let webhook = &document["webhooks"][name][method];
        if webhook.is_null() || self.method.to_lowercase() != method {
            return vec![format!("{} of {name} is not described", self.method)];
        }
        let content = &webhook["requestBody"]["content"][self.header("content-type").unwrap_or("")];
        if content.is_null() {
            return vec!["its content type is not described".to_owned()];
        }
        let mut faults = schemas.faults(&content["schema"], &body);
        faults.extend(self.header_faults(webhook));
        faults
    }

    /// Headers of Standard Webhooks; all others belong to the transport.
    fn header_faults(&self, webhook: &Value) -> Vec<String> {
        let parameters = webhook["parameters"].as_array().unwrap().iter();
        let parameters: Vec<_> = parameters
            .map(|parameter| resolved(&DESCRIPTION.document, parameter))
            .collect();
        let missing = parameters
            .iter()
            .filter(|it| it["required"] == true)
            .filter(|it| self.header(it["name"].as_str().unwrap()).is_none())
            .map(|it| format!("the header {} is missing", it["name"]));
        let unknown = self
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("webhook-"))
            .filter(|(name, _)| parameters.iter().all(|it| it["name"] != *name))
            .map(|(name, _)| format!("the header {name} is not described"));
        missing.chain(unknown).collect()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value)
    }
}

#[test]
fn every_event_that_a_client_can_subscribe_to_is_described() {
    let webhooks = DESCRIPTION.document["webhooks"].as_object().unwrap();
    let described: BTreeSet<&str> = webhooks.keys().map(String::as_str).collect();
    assert_eq!(described, EVENTS.into_iter().chain(["orderPaid"]).collect());
}

/// The example of a webhook, as a call.
fn example(name: &str) -> (&'static str, Value) {
    let webhook = &DESCRIPTION.document["webhooks"][name];
    let method = if name == "orderPaid" { "put" } else { "post" };
    let content = &webhook[method]["requestBody"]["content"]["application/json"];
    (method, content["example"].clone())
}

fn faults(method: &str, body: &Value, without: &str) -> Vec<String> {
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", "019a3f00-0000-7000-8000-000000000004"),
        ("webhook-timestamp", "1793527200"),
        ("webhook-signature", "v1,x"),
    ];
    let body = body.to_string();
    let call = Called {
        method,
        headers: headers
            .into_iter()
            .filter(|(name, _)| *name != without)
            .collect(),
        body: &body,
    };
    call.faults()
}

#[test]
fn every_example_of_a_callback_is_as_described() {
    for name in EVENTS.into_iter().chain(["orderPaid"]) {
        let (method, example) = example(name);
        assert_eq!(faults(method, &example, ""), Vec::<String>::new(), "{name}");
    }
}

/// The check itself must be able to fail.
#[test]
fn a_callback_that_is_not_described_is_found() {
    let (method, refund) = example("refund.succeeded");
    let found = |change: fn(&mut Value)| {
        let mut changed = refund.clone();
        change(&mut changed);
        faults(method, &changed, "")
    };
    assert!(found(|_| ()).is_empty());
    for change in [
        (|it| it["new"] = json!(1)) as fn(&mut Value),
        |it| it["type"] = json!("refund.pending"),
        |it| it["type"] = json!("refund.failed"),
        |it| it["type"] = json!("payment.succeeded"),
        |it| it["data"]["new"] = json!(1),
        |it| it["data"]["amount"] = json!("25.00"),
        |it| it["data"]["status"] = json!("pending"),
        |it| drop(it.as_object_mut().unwrap().remove("sequence")),
    ] {
        assert!(!found(change).is_empty());
    }
    for header in ["content-type", "webhook-id", "webhook-signature"] {
        assert!(!faults(method, &refund, header).is_empty(), "{header}");
    }
    assert!(!faults("put", &refund, "").is_empty());
    let (put, order) = example("orderPaid");
    assert!(
        faults(put, &order, "webhook-signature").is_empty(),
        "Store Manager needs no signature"
    );
}
