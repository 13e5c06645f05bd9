//! Builds one operation of the description, step by step.

use serde_json::{Map, Value, json};

use crate::http::problem::Problem;

/// Name, one line, value.
pub(super) type Sample = (&'static str, &'static str, Value);

/// One method of one path.
pub(super) struct Operation {
    pub path: &'static str,
    pub method: &'static str,
    pub description: Value,
}

impl Operation {
    pub fn get(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new("get", path, id, summary)
    }

    pub fn post(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new("post", path, id, summary)
    }

    fn new(method: &'static str, path: &'static str, id: &str, summary: &str) -> Self {
        Self {
            path,
            method,
            description: json!({
                "operationId": id,
                "summary": summary,
                "parameters": [],
                "responses": {},
            }),
        }
    }

    pub fn tag(mut self, tag: &str) -> Self {
        self.description["tags"] = json!([tag]);
        self
    }

    pub fn about(mut self, description: &str) -> Self {
        self.description["description"] = json!(description);
        self
    }

    /// Needs no key.
    pub fn public(mut self) -> Self {
        self.description["security"] = json!([]);
        self
    }

    /// Takes parameters of [`super::components`].
    pub fn takes(mut self, parameters: &[&str]) -> Self {
        let reference = |name: &&str| json!({"$ref": format!("#/components/parameters/{name}")});
        self.description["parameters"] = parameters.iter().map(reference).collect();
        self
    }

    /// A JSON body, with examples.
    pub fn body(mut self, schema: &str, examples: &[Sample]) -> Self {
        self.description["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {
                "schema": {"$ref": format!("#/components/schemas/{schema}")},
                "examples": named(examples),
            }},
        });
        self
    }

    /// Any JSON body of this schema.
    pub fn takes_json(mut self, schema: Value) -> Self {
        let content = json!({"application/json": {"schema": schema}});
        self.description["requestBody"] = json!({"required": true, "content": content});
        self
    }

    /// The body may be left out.
    pub fn body_is_optional(mut self) -> Self {
        self.description["requestBody"]["required"] = json!(false);
        self
    }

    /// An answer in JSON, with its headers and examples.
    pub fn answers(
        self,
        status: u16,
        description: &str,
        headers: &[&str],
        content: (Value, &[Sample]),
    ) -> Self {
        let (schema, examples) = content;
        let json = json!({"application/json": {"schema": schema, "examples": named(examples)}});
        self.answers_with(status, description, headers, Some(json))
    }

    /// An answer of another kind, or without a body.
    pub fn answers_with(
        mut self,
        status: u16,
        description: &str,
        headers: &[&str],
        content: Option<Value>,
    ) -> Self {
        let answer = &mut self.description["responses"][status.to_string()];
        answer["description"] = json!(description);
        merge(&mut answer["headers"], references(headers));
        if let Some(content) = content {
            merge(&mut answer["content"], content);
        }
        self
    }

    /// Problems, each an example of the answer with its status.
    pub fn refuses(mut self, problems: &[(&str, Problem)]) -> Self {
        for (name, problem) in problems {
            let status = problem.kind().status().as_u16();
            let response = &mut self.description["responses"][status.to_string()];
            if response.is_null() {
                *response = json!({
                    "description": problem.kind().title(),
                    "headers": references(problem_headers(status)),
                    "content": {"application/problem+json": {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }},
                });
            }
            let example = json!({"summary": problem.sentence(), "value": problem.document()});
            response["content"]["application/problem+json"]["examples"][*name] = example;
        }
        self
    }
}

/// Puts the fields of one object into another.
pub(super) fn merge(into: &mut Value, from: Value) {
    if let Value::Object(from) = from {
        for (name, value) in from {
            into[name] = value;
        }
    }
}

fn problem_headers(status: u16) -> &'static [&'static str] {
    match status {
        // With 415 only if the body was compressed.
        415 => &["Accept-Encoding", "Cache-Control"],
        401 => &["WWW-Authenticate", "Cache-Control"],
        429 | 503 => &["Retry-After", "Cache-Control"],
        _ => &["Cache-Control"],
    }
}

/// These headers, and the one of every answer.
fn references(headers: &[&str]) -> Value {
    let reference = |name: &&str| {
        let target = json!({"$ref": format!("#/components/headers/{name}")});
        ((*name).to_owned(), target)
    };
    let headers = headers.iter().chain(&["X-Request-Id"]);
    Value::Object(headers.map(reference).collect())
}

fn named(examples: &[Sample]) -> Value {
    let mut named = Map::new();
    for (place, (name, summary, value)) in (1..).zip(examples) {
        let example = json!({"summary": summary, "value": value});
        // JSON parsers need not keep the order of names, but documentation pages show the first one first.
        named.insert(format!("{place}_{name}"), example);
    }
    named.into()
}
