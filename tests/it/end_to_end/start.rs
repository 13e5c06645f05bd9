//! The start of a process: quick, small, and not at all with a wrong configuration.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::processes::{PROGRAM, until_listening};
use crate::app::{Api, eventually};
use crate::support::process::{Process, Settings};

/// Resident memory of a process, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_embedded_service_is_ready_within_a_second_and_idles_below_50_mib() {
    // Of three starts the best counts: other tests want the processors as well.
    let (mut best, mut idle) = (Duration::MAX, u64::MAX);
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::embedded(folder.path()).with_log(&folder.path().join("log"));
        let started = Instant::now();
        let mut service = Process::spawn(PROGRAM, "", &settings);
        until_listening(service.admin).await;
        let admin = Api::new(service.admin);
        eventually("it is ready", || async {
            admin.get("/health/ready").await["status"] == "ready"
        })
        .await;
        best = best.min(started.elapsed());
        idle = idle.min(memory(service.pid()));
        assert!(service.stop());
    }
    let profile = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    // Past the capture of test output: these figures are wanted.
    let _ = writeln!(
        std::io::stderr(),
        "embedded service, {profile} profile: ready after {} ms, idle memory {:.1} MiB",
        best.as_millis(),
        idle as f64 / 1024.0,
    );
    assert!(best < Duration::from_secs(1), "ready after {best:?}");
    assert!(idle < 50 * 1024, "idle memory {idle} KiB");
}

fn run(role: Option<&str>, variables: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM)
        .env_clear()
        .args(role)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn all_faults_of_a_configuration_are_listed_before_a_port_is_bound() {
    // Taken: binding would fail, and say so.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let output = run(
        None,
        &[
            ("LISTEN_ADDR", &taken),
            ("ADMIN_ADDR", "nowhere"),
            ("DATABASE_URL", "mysql://root@127.0.0.1/payments"),
            ("SWEEP_EVERY", "soon"),
            ("MAX_TRIES", "0"),
            ("DEFAULT_CURRENCY", "ABC"),
            ("CLIENTS_FILE", "/nowhere/clients.json"),
            ("SEAL_KEYS", "short"),
            ("ISSUER_LEDGER", "perhaps"),
        ],
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    for variable in [
        "ADMIN_ADDR is `nowhere`",
        "AMQP_URL is missing",
        "SWEEP_EVERY is `soon`",
        "MAX_TRIES is `0`",
        "DEFAULT_CURRENCY is `ABC`",
        "CLIENTS_FILE cannot be used",
        "SEAL_KEYS cannot be used",
        "ISSUER_LEDGER is `perhaps`",
    ] {
        assert!(said.contains(variable), "{variable} is not in:\n{said}");
    }
    assert!(said.contains("8 fault(s)"), "{said}");
    assert!(!said.contains("cannot listen"), "{said}");
}

#[test]
fn an_api_and_a_worker_need_both_servers() {
    for role in ["api", "worker"] {
        let output = run(Some(role), &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        for variable in [
            "DATABASE_URL is missing",
            "AMQP_URL is missing",
            "SEAL_KEYS is missing",
        ] {
            assert!(said.contains(variable), "{said}");
        }
    }
}

#[test]
fn nobody_listens_beyond_loopback_without_api_keys() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let output = run(None, &[("LISTEN_ADDR", "0.0.0.0:0"), ("DATA_DIR", &data)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("payment-service keys"), "{said}");
}
