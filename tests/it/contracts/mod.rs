//! The descriptions of both interfaces: that they are well formed and correct, and that they do not change
//! unnoticed.

pub mod answers;
mod asyncapi;
mod breaking;
pub mod callbacks;
pub mod messages;
mod openapi;
mod schemas;
mod schemathesis;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of the project.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read_json(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

/// The target of a `$ref` within a document; other values are returned unchanged.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let reference = value["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix('#'));
    match reference {
        Some(pointer) => document
            .pointer(pointer)
            .unwrap_or_else(|| panic!("no {pointer}")),
        None => value,
    }
}
