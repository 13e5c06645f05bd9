//! docs/integration.md: runs all its commands in one shell, in order, without a gateway and through a
//! stand-in for it. The output must be the one that the guide shows; `…` matches anything.

use serde_json::Value;

use super::clients::python;
use super::fixture::{Fixture, KEY};
use crate::page::Front;

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/integration.md");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples");
/// A gateway configuration from a lab, with its own routes.
const GATEWAY_FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/clients/lab-gateway.json"
);
pub const MARK: &str = "@@@ next block";

#[tokio::test]
async fn the_commands_of_the_guide_work_without_a_gateway() {
    let fixture = Fixture::start(&[("FIRST_PAYMENT_ID", "1000001")]).await;
    let service = fixture.url();
    follow(&fixture, &service, KEY).await;
}

#[tokio::test]
async fn the_commands_of_the_guide_work_through_the_gateway() {
    let fixture = Fixture::start(&[("FIRST_PAYMENT_ID", "1000001")]).await;
    let front = Front::start(&fixture.client()).await;
    // The gateway adds the key.
    follow(&fixture, &front.url("/payments-api"), "").await;
    merged_routes_are_those_of_both_files(&fixture);
}

/// What the guide's last command wrote.
fn merged_routes_are_those_of_both_files(fixture: &Fixture) {
    let read = |path: &std::path::Path| -> Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let merged = read(&fixture.folder.path().join("krakend-merged.json"));
    let before = read(std::path::Path::new(GATEWAY_FILE));
    let endpoints = merged["endpoints"].as_array().unwrap();
    for route in before["endpoints"].as_array().unwrap() {
        let payments = route["endpoint"]
            .as_str()
            .unwrap()
            .starts_with("/payments-api/");
        assert_eq!(endpoints.contains(route), !payments, "{route}");
    }
    let payments = endpoints
        .iter()
        .filter(|route| route["output_encoding"] == "no-op");
    let all = payments.clone().all(|route| {
        route["backend"][0]["host"][0] == "http://payments_api:5009" && route["timeout"].is_string()
    });
    assert!(all && payments.count() >= 8, "{merged}");
    let created = endpoints
        .iter()
        .find(|route| route["endpoint"] == "/payments-api/payments")
        .unwrap();
    assert!(
        created.to_string().contains("Bearer key-of-store-manager"),
        "{created}"
    );
    assert_eq!(merged["timeout"], before["timeout"]);
}

async fn follow(fixture: &Fixture, payments: &str, key: &str) {
    let blocks = blocks(&std::fs::read_to_string(GUIDE).unwrap());
    let mut script = "set -eu\n".to_owned();
    for block in &blocks {
        script.push_str(&format!("echo '{MARK}'\n{}\n", block.commands));
    }
    // For `python` in the guide, the interpreter of the tests.
    let folder = fixture.folder.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(python_wrapper(fixture), folder.join("python")).unwrap();
    let path = format!(
        "{}:{}",
        folder.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let variables = [
        ("PAYMENTS", payments),
        ("KEY", key),
        ("EXAMPLES", EXAMPLES),
        ("GATEWAY_FILE", GATEWAY_FILE),
        ("STORE_MANAGER_API_KEY", KEY),
        ("PATH", path.as_str()),
    ];
    let said = fixture
        .run("bash", &["-c", &script], &variables)
        .await
        .ended(0);
    let outputs: Vec<&str> = said.split(&format!("{MARK}\n")).skip(1).collect();
    assert_eq!(outputs.len(), blocks.len(), "{said}");
    assert!(blocks.len() >= 6, "the guide has lost its commands");
    for (block, output) in blocks.iter().zip(outputs) {
        block.check(output);
    }
}

/// A virtual environment has to be started by its own path.
fn python_wrapper(fixture: &Fixture) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = fixture.folder.path().join("python");
    std::fs::write(&file, format!("#!/bin/sh\nexec '{}' \"$@\"\n", python())).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

pub struct Block {
    pub commands: String,
    /// Language and text of the output that is shown, if one is.
    shown: Option<(String, String)>,
}

impl Block {
    pub fn check(&self, output: &str) {
        match &self.shown {
            None => {}
            Some((language, shown)) if language == "json" => {
                let read = |text: &str| -> Value {
                    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
                };
                agrees(&read(shown), &read(output), &self.commands);
            }
            Some((_, shown)) => {
                assert!(
                    fits(shown.trim(), output.trim()),
                    "{}\n{shown}\n{output}",
                    self.commands
                );
            }
        }
    }
}

/// Each `sh` block, with the `json` or `text` block that follows it before the next one.
pub fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fences = guide.split("\n```").skip(1);
    while let (Some(fence), Some(_)) = (fences.next(), fences.next()) {
        let (language, text) = fence.split_once('\n').expect("a fence");
        match (language, blocks.last_mut()) {
            ("sh", _) => blocks.push(Block {
                commands: text.to_owned(),
                shown: None,
            }),
            ("json" | "text", Some(block)) if block.shown.is_none() => {
                block.shown = Some((language.to_owned(), text.to_owned()));
            }
            _ => {}
        }
    }
    blocks
}

/// Every shown field is there; others may be, too.
fn agrees(shown: &Value, said: &Value, commands: &str) {
    match (shown, said) {
        (Value::Object(shown), Value::Object(_)) => {
            for (name, value) in shown {
                agrees(value, &said[name], commands);
            }
        }
        (Value::String(shown), Value::String(said)) => {
            assert!(fits(shown, said), "{commands}\n{shown}\n{said}");
        }
        _ => assert_eq!(shown, said, "{commands}"),
    }
}

/// Whether a text is as shown; `…` matches anything.
fn fits(shown: &str, said: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| said.strip_prefix(first)) else {
        return false;
    };
    for part in parts {
        match rest.split_once(part) {
            Some(("", _)) if part.is_empty() => return true,
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.is_empty() || shown.ends_with('…')
}

#[test]
fn the_outputs_in_the_guide_are_up_to_date() {
    assert!(fits("a", "a") && fits("a…c", "abbc") && fits("…", "x") && fits("a…", "ab"));
    assert!(!fits("a", "b") && !fits("a", "ab") && !fits("a…c", "ab") && !fits("a…c", "abcd"));
}
