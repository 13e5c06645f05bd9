//! JSON Schemas within a description.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonschema::Validator;
use serde_json::{Value, json};

/// Validators for the schemas of one document; each is created once.
pub struct Schemas {
    components: Value,
    made: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Schemas {
    /// For a document as it is.
    pub fn of(document: &Value) -> Self {
        Self {
            components: document["components"].clone(),
            made: Mutex::default(),
        }
    }

    /// For a document whose objects may have only the fields that they name. Callers must expect new fields, but the
    /// service must not send fields that are not described.
    pub fn strictly_of(document: &Value) -> Self {
        let mut schemas = Self::of(document);
        close(&mut schemas.components["schemas"]);
        schemas
    }

    /// For a document that refers to schemas of another one.
    pub fn with_those_of(document: &Value, other: &Value) -> Self {
        let mut schemas = Self::strictly_of(other);
        let own = document["components"]["schemas"].as_object();
        for (name, schema) in own.into_iter().flatten() {
            // Schemas of the other document are references to it.
            if schemas.components["schemas"][name].is_null() {
                schemas.components["schemas"][name] = schema.clone();
            }
        }
        schemas
    }

    /// The errors of a value by a schema of the document; none if it is valid.
    pub fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let validator = self.validator(schema);
        let fault = |error: jsonschema::ValidationError| {
            format!("{} (at {:?})", error, error.instance_path().to_string())
        };
        validator.iter_errors(value).map(fault).collect()
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let key = schema.to_string();
        if let Some(made) = self.made.lock().unwrap().get(&key) {
            return Arc::clone(made);
        }
        let whole = json!({"allOf": [schema], "components": self.components});
        let made = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&whole)
            .unwrap_or_else(|error| panic!("{schema} is no schema: {error}"));
        let made = Arc::new(made);
        let mut all = self.made.lock().unwrap();
        Arc::clone(all.entry(key).or_insert(made))
    }
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(parts) => {
            if parts.contains_key("properties") && !parts.contains_key("not") {
                parts.entry("additionalProperties").or_insert(json!(false));
            }
            parts.values_mut().for_each(close);
        }
        Value::Array(parts) => parts.iter_mut().for_each(close),
        _ => {}
    }
}
