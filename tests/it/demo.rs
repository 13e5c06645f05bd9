//! The demonstration: every payment must end as promised, without servers and with them.

use std::process::{Command, Output};

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
