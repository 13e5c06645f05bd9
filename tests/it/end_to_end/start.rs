//! The start of a process: fast, with little memory, and refused with a wrong configuration.

use std::fs::Permissions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::processes::{PROGRAM, until_listening};
use crate::app::{Api, eventually};
use crate::support::process::{Process, Settings};

/// The most memory that an idle embedded service may use, in KiB.
const MOST_MEMORY: u64 = 40 * 1024;

/// Resident memory of a process without the program itself, in KiB: without optimization, and with what is needed to debug
/// it, that is more than half.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_embedded_service_is_ready_within_a_second_and_needs_little_memory_when_idle() {
    // The best of three starts counts, because other tests use the CPU as well.
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
    // Not captured like other test output, so that the figures are seen.
    let _ = writeln!(
        std::io::stderr(),
        "embedded service, {profile} profile: ready after {} ms, idle memory {:.1} MiB",
        best.as_millis(),
        idle as f64 / 1024.0,
    );
    assert!(best < Duration::from_secs(1), "ready after {best:?}");
    assert!(idle < MOST_MEMORY, "idle memory {idle} KiB");
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
    // In use: binding would fail with an error.
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
fn without_api_keys_only_loopback_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let output = run(None, &[("LISTEN_ADDR", "0.0.0.0:0"), ("DATA_DIR", &data)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("payment-service keys"), "{said}");
}

/// With `umask 000` new files are readable by everyone unless the program prevents it.
#[tokio::test]
async fn only_the_owner_can_read_the_data_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let script = folder.path().join("open-handed");
    let text = format!("#!/bin/sh\numask 000\nexec {PROGRAM} \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let program = script.to_str().unwrap();
    let settings = Settings::embedded(&data);
    let modes = || -> Vec<(String, u32)> {
        let mut files: Vec<_> = std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name().into_string().unwrap(),
                    entry.metadata().unwrap().mode() & 0o777,
                )
            })
            .collect();
        files.sort();
        files
    };
    let all = [
        "payments.db",
        "payments.db-shm",
        "payments.db-wal",
        "seal.keys",
    ]
    .map(|name| (name.to_owned(), 0o600));

    let mut service = Process::start(program, "", &settings).await;
    Api::new(service.api).create(1).await;
    assert_eq!(modes(), all);
    assert_eq!(std::fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
    // Files of an earlier version, which others could read, and the log of a process that was killed.
    service.kill();
    for (name, _) in modes() {
        if name != "seal.keys" {
            std::fs::set_permissions(data.join(name), Permissions::from_mode(0o666)).unwrap();
        }
    }
    let service = Process::start(program, "", &settings).await;
    assert_eq!(
        Api::new(service.api).get("/payments").await.is(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(modes(), all);
}

#[tokio::test]
async fn sighup_and_user_signals_do_not_end_the_service_and_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let settings = Settings::embedded(&folder.path().join("data")).with_log(&log);
    let mut service = Process::start(PROGRAM, "", &settings).await;
    let said = || std::fs::read_to_string(&log).unwrap();
    for name in ["HUP", "USR1", "USR2"] {
        service.signal(name);
        let expected = format!("SIG{name} is ignored: CLIENTS_FILE and ADMIN_FILE are read again");
        eventually("it says so", async || said().contains(&expected)).await;
    }
    Api::new(service.api).create(1).await;
    assert!(service.ended().is_none());
    assert!(service.stop(), "{}", said());
}

#[tokio::test]
async fn the_start_log_says_where_the_data_and_the_documentation_are_and_whether_a_key_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let settings = Settings::embedded(&data).with_log(&log);
    let service = Process::start(PROGRAM, "", &settings).await;
    let said = std::fs::read_to_string(&log).unwrap();
    for part in [
        format!("REST on http://{}", service.api),
        format!("documentation on http://{}/docs", service.api),
        format!("data in {}", data.display()),
        "no API key is needed".to_owned(),
    ] {
        assert!(said.contains(&part), "{part} is not in {said}");
    }
    // With a clients file a key is needed.
    let clients = folder.path().join("clients.json");
    std::fs::write(
        &clients,
        r#"{"clients": [{"name": "shop", "api_key_sha256": []}]}"#,
    )
    .unwrap();
    let log = folder.path().join("log of the second");
    let settings = Settings::embedded(&folder.path().join("other data"))
        .with("CLIENTS_FILE", clients.to_str().unwrap())
        .with_log(&log);
    let _service = Process::start(PROGRAM, "", &settings).await;
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("/docs"), "{said}");
    assert!(!said.contains("no API key"), "{said}");
}
