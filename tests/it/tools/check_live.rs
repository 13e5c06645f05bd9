//! `check --live`: needs nothing but the address.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::fixture::run_with;
use crate::support::process::{Process, Settings};

#[tokio::test]
async fn check_live_tells_a_running_process_from_a_dead_one() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_payment-service");
    let mut process = Process::start(program, "", &Settings::embedded(folder.path())).await;
    let address = process.admin.to_string();
    let asked = [("ADMIN_ADDR", address.clone())];
    let live = run_with(&["check", "--live"], &asked).await.with(0);
    assert_eq!(live.out, format!("live: http://{address}/health/live\n"));

    process.kill();
    let dead = run_with(&["check", "--live"], &asked).await.with(1);
    assert_eq!(
        dead.out,
        format!("not live: http://{address}/health/live: Connection refused (os error 111)\n")
    );
}

#[tokio::test]
async fn a_process_that_listens_on_all_addresses_is_checked_on_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_payment-service");
    let process = Process::start(program, "", &Settings::embedded(folder.path())).await;
    let asked = [("ADMIN_ADDR", format!("0.0.0.0:{}", process.admin.port()))];
    run_with(&["check", "--live"], &asked).await.with(0);
}

#[tokio::test]
async fn a_stuck_process_is_not_live_and_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let body = r#"{"status":"stuck","reason":"the relay has stopped"}"#;
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    });
    let asked = [("ADMIN_ADDR", address.clone())];
    let stuck = run_with(&["check", "--live"], &asked).await.with(1);
    assert_eq!(
        stuck.out,
        format!(
            "not live: http://{address}/health/live: 503 Service Unavailable, the relay has stopped\n"
        )
    );
}

#[tokio::test]
async fn an_invalid_address_is_named() {
    let asked = [("ADMIN_ADDR", "everywhere".to_owned())];
    let ended = run_with(&["check", "--live"], &asked).await.with(1);
    assert!(ended.out.contains("ADMIN_ADDR"), "{ended:?}");
}
