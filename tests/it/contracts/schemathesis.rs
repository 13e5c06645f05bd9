//! Schemathesis looks for differences between the description and the running service, with requests that the
//! description allows and forbids, alone and in sequences.

use std::io::Write;
use std::process::Command;

use payment_service::clients::new_api_key;
use tempfile::TempDir;

use crate::support::process::{Process, Settings};
use crate::support::python;

/// Seconds, unless `SCHEMATHESIS_SECONDS` is set. The examples and the limits of all fields are always tried;
/// the remaining time is for random requests.
const SECONDS: &str = "25";

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_problem() {
    let folder = TempDir::new().unwrap();
    let (key, digest) = new_api_key();
    let clients = folder.path().join("clients.json");
    let text = format!(r#"{{"clients": [{{"name": "shop", "api_key_sha256": ["{digest}"]}}]}}"#);
    std::fs::write(&clients, text).unwrap();
    let settings = Settings::embedded(folder.path())
        .with("CLIENTS_FILE", &clients.display().to_string())
        .with("ISSUER_LATENCY", "0ms")
        .with("MAX_WAIT", "1s");
    let service = Process::start(env!("CARGO_BIN_EXE_payment-service"), "", &settings).await;

    let seconds = std::env::var("SCHEMATHESIS_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let output = Command::new(python::interpreter())
        .current_dir(&folder)
        .args(["-m", "schemathesis.cli"])
        .arg("--config-file")
        .arg(super::file("tests/schemathesis.toml"))
        .args(["run", &service.url("/openapi.json")])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        // One worker: two threads of Python 3.11 that parse at the same time may break its parser.
        .args(["--checks", "all", "--workers", "1", "--max-time", &seconds])
        .args([
            "--continue-on-failure",
            "--no-color",
            "--generation-database",
            "none",
        ])
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let counted = |line: &&str| line.contains(" generated, ") || line.ends_with(" generated");
    let cases = said.lines().find(counted);
    let cases = cases.unwrap_or_else(|| panic!("how many requests?\n{said}"));
    // Not captured like other test output, so that the figure is seen.
    let _ = writeln!(std::io::stderr(), "schemathesis: {}", cases.trim());
    let number: u32 = cases.split_whitespace().next().unwrap().parse().unwrap();
    assert!(number > 200, "{said}");
}
