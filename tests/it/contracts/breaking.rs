//! Which changes of a description break callers: something is removed, newly required, or narrowed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::resolved;

/// The breaking changes, each in one line.
pub fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Comparison {
        old,
        new,
        found: Vec::new(),
    };
    found.paths();
    found.found
}

struct Comparison<'d> {
    old: &'d Value,
    new: &'d Value,
    found: Vec<String>,
}

/// Who sends what the schema describes: callers break if they may send less, or get less.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    ByCaller,
    ByService,
}

impl<'d> Comparison<'d> {
    fn add(&mut self, place: &str, what: &str) {
        self.found.push(format!("{place}: {what}"));
    }

    fn paths(&mut self) {
        for (path, methods) in entries(&self.old["paths"]) {
            for (method, old) in entries(methods) {
                let place = format!("{} {path}", method.to_uppercase());
                match &self.new["paths"][path][method] {
                    Value::Null => self.add(&place, "is gone"),
                    new => self.operation(&place, old, new),
                }
            }
        }
    }

    fn operation(&mut self, place: &str, old: &'d Value, new: &'d Value) {
        self.parameters(place, old, new);
        self.content(
            &format!("{place}, body"),
            (&old["requestBody"], &new["requestBody"]),
            Sent::ByCaller,
        );
        if old["security"] != new["security"] {
            self.add(place, "asks for another key");
        }
        for (status, old) in entries(&old["responses"]) {
            let place = format!("{place}, {status}");
            let new = &new["responses"][status];
            if new.is_null() {
                self.add(&place, "is gone");
                continue;
            }
            for (header, _) in entries(&old["headers"]) {
                if new["headers"][header].is_null() {
                    self.add(&place, &format!("the header {header} is gone"));
                }
            }
            self.content(&place, (old, new), Sent::ByService);
        }
    }

    fn parameters(&mut self, place: &str, old: &'d Value, new: &'d Value) {
        let named = |document: &'d Value, operation: &'d Value| {
            let all = operation["parameters"].as_array().into_iter().flatten();
            all.map(move |parameter| resolved(document, parameter))
                .map(|parameter| (parameter["name"].as_str().unwrap(), parameter))
                .collect::<Vec<_>>()
        };
        let (before, after) = (named(self.old, old), named(self.new, new));
        for (name, parameter) in &after {
            let known = before.iter().find(|(known, _)| known == name);
            if parameter["required"] == true && known.is_none_or(|(_, old)| old["required"] != true)
            {
                self.add(place, &format!("{name} is required now"));
            }
            if let Some((_, old)) = known {
                let place = format!("{place}, {name}");
                self.schema(
                    &place,
                    (&old["schema"], &parameter["schema"]),
                    Sent::ByCaller,
                );
            }
        }
        for (name, _) in before {
            if after.iter().all(|(known, _)| *known != name) {
                self.add(place, &format!("{name} is gone"));
            }
        }
    }

    fn content(&mut self, place: &str, (old, new): (&'d Value, &'d Value), sent: Sent) {
        if new["required"] == true && old["required"] != true {
            self.add(place, "is required now");
        }
        for (media_type, old) in entries(&old["content"]) {
            match &new["content"][media_type] {
                Value::Null => self.add(place, &format!("{media_type} is gone")),
                new => self.schema(place, (&old["schema"], &new["schema"]), sent),
            }
        }
    }

    fn schema(&mut self, place: &str, (old, new): (&'d Value, &'d Value), sent: Sent) {
        let (old, new) = (resolved(self.old, old), resolved(self.new, new));
        self.values(place, old, new, sent);
        for (name, old) in entries(&old["properties"]) {
            match &new["properties"][name] {
                Value::Null => self.add(place, &format!("{name} is gone")),
                new => self.schema(&format!("{place}, {name}"), (old, new), sent),
            }
        }
        let (before, after) = (texts(&old["required"]), texts(&new["required"]));
        match sent {
            Sent::ByCaller => {
                for name in after.difference(&before) {
                    self.add(place, &format!("{name} is required now"));
                }
            }
            Sent::ByService => {
                for name in before.difference(&after) {
                    self.add(place, &format!("{name} may be absent now"));
                }
            }
        }
        if !old["items"].is_null() {
            self.schema(place, (&old["items"], &new["items"]), sent);
        }
        for (index, old) in old["anyOf"].as_array().into_iter().flatten().enumerate() {
            match &new["anyOf"][index] {
                Value::Null => self.add(place, "one of its forms is gone"),
                new => self.schema(place, (old, new), sent),
            }
        }
    }

    /// Types, listed values and limits.
    fn values(&mut self, place: &str, old: &Value, new: &Value, sent: Sent) {
        for keyword in ["type", "enum"] {
            let (before, after) = (texts(&old[keyword]), texts(&new[keyword]));
            let (narrower, wider) = (!after.is_superset(&before), !before.is_superset(&after));
            let breaks = match (keyword, sent) {
                // Callers read types strictly, but must expect new values in a list.
                ("type", Sent::ByService) => narrower || wider,
                ("type", Sent::ByCaller) | ("enum", Sent::ByCaller) => narrower,
                _ => false,
            };
            if breaks {
                self.add(place, &format!("{keyword} was {before:?}, is {after:?}"));
            }
        }
        for keyword in LIMITS {
            if sent == Sent::ByCaller && old[keyword] != new[keyword] && !new[keyword].is_null() {
                let change = format!("{keyword} was {}, is {}", old[keyword], new[keyword]);
                self.add(place, &change);
            }
        }
        if sent == Sent::ByService && !old["const"].is_null() && old["const"] != new["const"] {
            let change = format!("was always {}, is {}", old["const"], new["const"]);
            self.add(place, &change);
        }
    }
}

/// A change of one of these in requests needs a deliberate decision.
const LIMITS: [&str; 9] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxProperties",
    "additionalProperties",
    "not",
];

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A text or a list of texts.
fn texts(value: &Value) -> BTreeSet<&str> {
    match value {
        Value::String(one) => BTreeSet::from([one.as_str()]),
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}
