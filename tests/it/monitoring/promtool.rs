//! Runs promtool, which checks metrics and alerting rules.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Where Debian's package puts its programs.
const FOLDER: &str = "/usr/bin";

/// A program of the package prometheus. Fails if it is not installed.
pub fn program(name: &str) -> String {
    let program = format!("{FOLDER}/{name}");
    assert!(
        Path::new(&program).exists(),
        "{program} is missing: run scripts/test once, which installs it, or apt-get install --no-install-recommends prometheus"
    );
    program
}

/// Runs `promtool check metrics` on the output of `/metrics`; returns what it says.
pub fn check_metrics(text: &str) -> Result<(), String> {
    let mut promtool = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    said(&promtool.wait_with_output().unwrap())
}

/// Runs `promtool check rules` or `promtool test rules` on a file of `deploy/monitoring`.
pub fn rules(command: &str, file: &Path) -> Result<(), String> {
    let run = Command::new(program("promtool"))
        .args([command, "rules"])
        .arg(file)
        .output();
    said(&run.unwrap())
}

fn said(output: &Output) -> Result<(), String> {
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    match output.status.success() {
        true => Ok(()),
        false => Err(said.concat()),
    }
}
