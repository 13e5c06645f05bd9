//! The demonstration: every payment must end as promised, without servers and with them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use payment_service::domain::ClientName;
use sqlx::Connection;

use crate::support::process::SEAL_KEYS;
use crate::support::servers::fresh_servers;

fn demo(variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_payment-service"))
        .arg("demo")
        .env_clear()
        .envs(
            std::env::vars()
                .filter(|(name, _)| ["PATH", "HOME", "TMPDIR"].contains(&name.as_str())),
        )
        .envs(variables.iter().copied())
        .output()
        .expect("the program starts")
}

fn assert_all_promises_kept(output: &Output) {
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    assert!(
        printed.contains("All 14 outcomes are as the cards promise."),
        "{printed}"
    );
    for step in 1..=8 {
        assert!(
            printed.contains(&format!("\n  {step}.  ")),
            "step {step} is missing:\n{printed}"
        );
    }
    assert!(printed.contains("src/worker/authorize/mod.rs"), "{printed}");
}

#[test]
fn the_demonstration_keeps_every_promise_without_servers() {
    assert_all_promises_kept(&demo(&[]));
}

#[tokio::test]
async fn the_demonstration_keeps_every_promise_over_servers_and_refuses_a_database_in_use() {
    let (database, broker) = fresh_servers().await.unwrap();
    let variables = [
        ("DATABASE_URL", &*database),
        ("AMQP_URL", &*broker),
        ("SEAL_KEYS", SEAL_KEYS),
    ];
    assert_all_promises_kept(&demo(&variables));

    let mut connection = sqlx::MySqlConnection::connect(&database).await.unwrap();
    let other = ClientName::parse("another-shop").unwrap();
    sqlx::query("UPDATE payments SET client = ? LIMIT 1")
        .bind(other.as_str())
        .execute(&mut connection)
        .await
        .unwrap();
    let refused = demo(&variables);
    assert_eq!(refused.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(errors.contains("payments of other clients"), "{errors}");
}

#[test]
fn a_demonstration_that_goes_on_ends_with_the_address_of_the_operators_page() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_payment-service"))
        .args(["demo", "--keep"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let printed = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut printed = printed.map(Result::unwrap);
    let last = printed.find(|line| line.contains("in a browser"));
    let last = last.expect("the address of the page");
    let address = last.trim_start().strip_prefix("http://").unwrap();
    let (address, _) = address.split_once('/').unwrap();
    let mut page = TcpStream::connect(address).unwrap();
    let request = format!("GET /payments HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    page.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("/payments/1"), "{answer}");
    let id = demo.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(told.success());
    assert_eq!(demo.wait().unwrap().code(), Some(0));
}
