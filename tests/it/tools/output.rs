//! Commands whose output is not read to the end or cannot be written.

use std::fs::OpenOptions;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::fixture::{Fixture, run_with};
use crate::app::eventually;

const COMMANDS: [&[&str]; 5] = [
    &["check", "--json"],
    &["check", "--payments"],
    &["payments", "list"],
    &["dead-letters", "list"],
    &["keys"],
];

fn command(fixture: &Fixture, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payment-service"));
    command
        .args(arguments)
        .env_clear()
        .envs(fixture.variables())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn a_reader_that_closes_the_pipe_ends_a_command_quietly() {
    let fixture = Fixture::embedded().await;
    for arguments in COMMANDS {
        let mut started = command(&fixture, arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // As `head` does, but before the first byte.
        drop(started.stdout.take());
        let ended = started.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(said, "", "{arguments:?}");
        assert_ne!(ended.status.code(), Some(101), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_full_disk_gives_one_line_and_an_exit_code() {
    let fixture = Fixture::embedded().await;
    for arguments in COMMANDS {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = command(&fixture, arguments).stdout(full).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.contains("the output cannot be written"), "{said}");
        assert_eq!(ended.status.code(), Some(74), "{arguments:?}");
    }
}

/// A log that cannot be written, and the end of a command that fails.
#[tokio::test]
async fn an_unwritable_standard_error_does_not_panic() {
    let fixture = Fixture::nothing();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = command(&fixture, &["check", "--payments"])
        .stderr(full())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));

    let admin = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = admin.local_addr().unwrap().to_string();
    drop(admin);
    let mut service = command(&fixture, &[])
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("ADMIN_ADDR", &address)
        .env("LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(full())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&service);
    eventually("the service is live", || async {
        let asked = [("ADMIN_ADDR", address.clone())];
        run_with(&["check", "--live"], &asked).await.code == 0
    })
    .await;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut out = String::new();
    let mut stdout = service.stdout.take().unwrap();
    stdout.read_to_string(&mut out).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(0), "{out}");
}
