//! The parser for all received JSON: by HTTP, by message and from CLIENTS_FILE.
//!
//! An object with a duplicate key is refused (RFC 7493, section 2.3): a proxy that reads the first value and a service
//! that reads the last one would see different amounts. A byte order mark is skipped. Never repeats a value in a
//! message: it may be card data.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::fields::{Faults, FieldError, shown};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why bytes cannot be read as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Only white space.
    Empty,
    /// Not UTF-8, the required encoding of JSON (RFC 8259, section 8.1).
    NotUtf8,
    /// Not JSON.
    Syntax {
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
    },
    /// JSON, with these invalid fields.
    Fields(Vec<FieldError>),
}

/// As one sentence, without its subject: `is empty`.
impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty: send a JSON object"),
            Self::NotUtf8 => f.write_str("is not UTF-8: send JSON in UTF-8"),
            Self::Syntax { line, column } => {
                write!(f, "is not JSON: look at line {line}, column {column}")
            }
            Self::Fields(_) => f.write_str("has invalid fields"),
        }
    }
}

/// Reads one JSON value.
pub fn parse(bytes: &[u8]) -> Result<Value, Unreadable> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(Unreadable::Empty);
    }
    if std::str::from_utf8(bytes).is_err() {
        return Err(Unreadable::NotUtf8);
    }
    let reading = Reading::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = Element(&reading)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    let value = read.map_err(|error| reading.explained(&error))?;
    match reading.faults.into_inner().settle(Some(value)) {
        Ok(value) => Ok(value),
        Err(faults) => Err(Unreadable::Fields(faults)),
    }
}

/// The parser's current path, and the faults so far.
#[derive(Default)]
struct Reading {
    path: RefCell<Vec<Step>>,
    faults: RefCell<Faults>,
}

enum Step {
    Key(String),
    Place(usize),
}

impl Reading {
    /// Goes one step down in the path while `read` runs.
    fn within<T, E>(&self, step: Step, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.path.borrow_mut().push(step);
        let read = read()?;
        self.path.borrow_mut().pop();
        Ok(read)
    }

    /// `metadata.note`, `clients[0].name`; long names are cut, and digits of card numbers masked.
    fn path(&self) -> String {
        let mut text = String::new();
        for step in self.path.borrow().iter() {
            match step {
                Step::Key(name) if text.is_empty() => text.push_str(&shown(name)),
                Step::Key(name) => text.extend([".", &shown(name)]),
                Step::Place(place) => text.push_str(&format!("[{place}]")),
            }
        }
        text
    }

    fn note_repeated(&self, name: &str) {
        self.path.borrow_mut().push(Step::Key(name.to_owned()));
        let path = self.path();
        self.path.borrow_mut().pop();
        let message = "was sent more than once: send it once";
        self.faults
            .borrow_mut()
            .add(path, "duplicate_field", message);
    }

    /// A number outside the range of floats stops the parser, but is reported as a fault of its field.
    fn explained(&self, error: &serde_json::Error) -> Unreadable {
        if error.to_string().starts_with("number out of range") {
            let mut faults = Faults::default();
            let (path, message) = (self.path(), "is a number that is too large");
            faults.add(path, "too_large", message);
            if let Err(faults) = faults.settle(None::<Value>) {
                return Unreadable::Fields(faults);
            }
        }
        Unreadable::Syntax {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// Reads one value and everything within it.
struct Element<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        let mut next = || {
            let step = Step::Place(values.len());
            let element = self
                .0
                .within(step, || elements.next_element_seed(Element(self.0)))?;
            Ok::<_, A::Error>(element.map(|value| values.push(value)))
        };
        while next()?.is_some() {}
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut repeated = HashSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            if map.contains_key(&name) && repeated.insert(name.clone()) {
                self.0.note_repeated(&name);
            }
            let step = Step::Key(name.clone());
            let value = self
                .0
                .within(step, || entries.next_value_seed(Element(self.0)))?;
            map.insert(name, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests;
