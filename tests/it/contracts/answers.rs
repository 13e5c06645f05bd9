//! Every answer that the tests get is checked against the description: an undescribed status, header or field is a
//! failure, and so is an accepted request that the description forbids.

use std::sync::LazyLock;

use payment_service::http::openapi;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::schemas::Schemas;

/// The part of a request that the description covers.
pub struct Asked {
    pub method: String,
    pub path: String,
    pub body: Option<Value>,
}

/// A response.
pub struct Came<'a> {
    pub status: u16,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

struct Description {
    document: Value,
    answers: Schemas,
    requests: Schemas,
}

static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| {
    let document = openapi::document();
    Description {
        answers: Schemas::strictly_of(&document),
        requests: Schemas::of(&document),
        document,
    }
});

/// Headers of the transport, not of the interface.
const TRANSPORT: [&str; 9] = [
    "content-type",
    "content-length",
    "content-encoding",
    "date",
    "allow",
    "vary",
    "connection",
    "x-content-type-options",
    "referrer-policy",
];

impl Asked {
    pub fn of(request: &reqwest::Request) -> Self {
        let body = request.body().and_then(reqwest::Body::as_bytes);
        Self {
            method: request.method().as_str().to_lowercase(),
            path: request.url().path().to_owned(),
            body: body.and_then(|body| serde_json::from_slice(body).ok()),
        }
    }

    /// Checks an answer against the description.
    #[track_caller]
    pub fn must_allow(&self, came: &Came) {
        let faults = self.faults(came);
        assert!(
            faults.is_empty(),
            "not as described in src/http/openapi: {} {} answered {}: {faults:#?}",
            self.method,
            self.path,
            came.status
        );
    }

    fn faults(&self, came: &Came) -> Vec<String> {
        // The payment page is for people.
        let html = came.headers.get("content-type");
        let html = html.is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
        if html && self.path.starts_with("/payments/process/") {
            return Vec::new();
        }
        let description = &*DESCRIPTION;
        let Some(operation) = operation(&description.document, &self.method, &self.path) else {
            return self.not_described(came);
        };
        let response = &operation["responses"][came.status.to_string()];
        if response.is_null() {
            return vec!["this status is not described".to_owned()];
        }
        let mut faults = headers(description, response, came);
        faults.extend(body(description, response, came));
        if came.status < 300
            && let Some(sent) = &self.body
        {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if !schema.is_null() {
                let forbidden = description.requests.faults(schema, sent);
                let said = |fault| format!("taken, although the description forbids it: {fault}");
                faults.extend(forbidden.into_iter().map(said));
            }
        }
        faults
    }

    /// Other addresses and methods do not exist; `/metrics` is for operators.
    fn not_described(&self, came: &Came) -> Vec<String> {
        if self.path == "/metrics" || self.path.starts_with("/docs/") || self.method == "head" {
            return Vec::new();
        }
        if !matches!(came.status, 404 | 405) {
            return vec!["this operation is not described".to_owned()];
        }
        let problem = json!({"content": {"application/problem+json": {
            "schema": {"$ref": "#/components/schemas/Problem"},
        }}});
        body(&DESCRIPTION, &problem, came)
    }
}

/// The operation of a path: of several, the one with the fewest placeholders.
fn operation<'d>(document: &'d Value, method: &str, path: &str) -> Option<&'d Value> {
    let fits = |template: &str| {
        let (parts, given): (Vec<_>, Vec<_>) =
            (template.split('/').collect(), path.split('/').collect());
        let alike = parts.len() == given.len()
            && parts
                .iter()
                .zip(&given)
                .all(|(part, given)| part == given || (part.starts_with('{') && !given.is_empty()));
        alike.then(|| parts.iter().filter(|part| part.starts_with('{')).count())
    };
    document["paths"]
        .as_object()?
        .iter()
        .filter(|(_, operations)| !operations[method].is_null())
        .filter_map(|(template, operations)| Some((fits(template)?, &operations[method])))
        .min_by_key(|(variables, _)| *variables)
        .map(|(_, operation)| operation)
}

fn headers(description: &Description, response: &Value, came: &Came) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, value) in came.headers {
        let name = name.as_str();
        if TRANSPORT.contains(&name) {
            continue;
        }
        let described = response["headers"].as_object().into_iter().flatten();
        let Some((_, reference)) = described
            .into_iter()
            .find(|(described, _)| described.eq_ignore_ascii_case(name))
        else {
            faults.push(format!("the header {name} is not described"));
            continue;
        };
        let header = super::resolved(&description.document, reference);
        let text = value.to_str().unwrap();
        let value = match header["schema"]["type"].as_str() {
            Some("integer") => text.parse::<i64>().map_or(json!(text), Value::from),
            _ => json!(text),
        };
        for fault in description.answers.faults(&header["schema"], &value) {
            faults.push(format!("header {name}: {fault}"));
        }
    }
    faults
}

fn body(description: &Description, response: &Value, came: &Came) -> Vec<String> {
    let described = &response["content"];
    let Some(content_type) = came.headers.get("content-type") else {
        let fault = "a body is described, none came".to_owned();
        return described.is_null().then(Vec::new).unwrap_or(vec![fault]);
    };
    let media_type = content_type.to_str().unwrap().split(';').next().unwrap();
    let schema = &described[media_type]["schema"];
    if schema.is_null() {
        return vec![format!("a body of type {media_type} is not described")];
    }
    if !media_type.ends_with("json") {
        return Vec::new();
    }
    match serde_json::from_slice(came.body) {
        Ok(value) => description.answers.faults(schema, &value),
        Err(error) => vec![format!("the body is not JSON: {error}")],
    }
}

/// The check itself must be able to fail.
#[test]
fn answers_that_are_not_described_are_found() {
    let about = json!({
        "service": "payment-service", "status": "running", "version": "1", "processor": "simulated",
    });
    let found = |method: &str, path: &str, status: u16, header: &str, body: &Value| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert(
            reqwest::header::HeaderName::from_bytes(header.as_bytes()).unwrap(),
            "no-store".parse().unwrap(),
        );
        let asked = Asked {
            method: method.to_owned(),
            path: path.to_owned(),
            body: None,
        };
        let body = body.to_string();
        let came = Came {
            status,
            headers: &headers,
            body: body.as_bytes(),
        };
        asked.faults(&came)
    };
    assert!(found("get", "/", 200, "cache-control", &about).is_empty());
    for faults in [
        found("get", "/", 201, "cache-control", &about),
        found("get", "/", 200, "x-new", &about),
        found(
            "get",
            "/",
            200,
            "cache-control",
            &json!({"service": "payment-service"}),
        ),
        found("get", "/new", 200, "cache-control", &about),
        found(
            "get",
            "/payments/7",
            200,
            "cache-control",
            &json!({"payment_id": 7}),
        ),
        found("delete", "/payments/7", 200, "cache-control", &about),
    ] {
        assert_eq!(faults.len().min(1), 1);
    }
}
