//! Migrations that are interrupted, refused, or from a later release.

use std::path::Path;
use std::process::{Command, Stdio};

use payment_service::store::mysql::parse_url;
use payment_service::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};

use crate::support::process::SEAL_KEYS;
use crate::support::proxy::{Proxy, Trigger};
use crate::support::servers::{fresh_database, fresh_vhost};

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

/// Every statement of `migrations/mysql`, in order, without the comments before it.
fn statements() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/mysql");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        for part in text.split_inclusive(";\n") {
            let is_comment = |line: &&str| line.is_empty() || line.starts_with("--");
            let lines: Vec<&str> = part.lines().skip_while(is_comment).collect();
            if !lines.is_empty() {
                found.push(lines.join("\n").trim_end_matches(';').to_owned());
            }
        }
    }
    assert!(found.len() >= 9, "{found:#?}");
    found
}

/// `setup` as a process.
fn setup(database: &str, amqp: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("setup")
        .env_clear()
        .env("DATABASE_URL", database)
        .env("AMQP_URL", amqp)
        .env("SEAL_KEYS", SEAL_KEYS)
        .env("LOG", "warn")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

async fn succeeds(mut command: Command) {
    let ended = tokio::task::spawn_blocking(move || command.status());
    assert!(ended.await.unwrap().unwrap().success());
}

/// The schema of the tables, and the state of the migrations.
async fn schema(url: &str) -> Vec<String> {
    let mut connection = MySqlConnection::connect(url).await.unwrap();
    let tables: Vec<(String,)> = sqlx::query_as(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables
         WHERE table_schema = DATABASE() ORDER BY table_name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut found = Vec::new();
    for (table,) in tables {
        let show = AssertSqlSafe(format!("SHOW CREATE TABLE `{table}`"));
        let (_, made): (String, String) = sqlx::query_as(show)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        found.push(made);
    }
    let unfinished: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations WHERE NOT success")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    found.push(format!("unfinished: {unfinished}"));
    found
}

#[tokio::test]
async fn a_setup_killed_at_any_statement_completes_the_next_time() {
    let amqp = fresh_vhost().await.unwrap();
    let whole = fresh_database().await.unwrap();
    succeeds(setup(&whole, &amqp)).await;
    let expected = schema(&whole).await;
    for statement in statements() {
        for carried_out in [false, true] {
            let url = format!("{}?ssl-mode=DISABLED", &*fresh_database().await.unwrap());
            let proxy = Proxy::before(&url).unwrap();
            let trigger = if carried_out {
                Trigger::client_is_not_answered(statement.as_bytes())
            } else {
                Trigger::client_says(statement.as_bytes())
            };
            let tripped = proxy.cut_at(trigger);
            let mut killed = setup(&proxy.url(&url), &amqp).spawn().unwrap();
            let in_time = tokio::time::timeout(std::time::Duration::from_secs(60), tripped.wait());
            assert!(in_time.await.expect("in time"), "{statement}");
            killed.kill().unwrap();
            killed.wait().unwrap();
            assert_ne!(schema(&url).await, expected, "{statement}");
            succeeds(setup(&url, &amqp)).await;
            assert_eq!(schema(&url).await, expected, "{carried_out}: {statement}");
        }
    }
}

fn connect(url: &str) -> Store {
    Store::mysql(parse_url(url).unwrap(), 4)
}

#[tokio::test]
async fn a_foreign_table_is_never_mistaken_for_one_of_the_service() {
    for table in ["payments", "outbox"] {
        let url = fresh_database().await.unwrap();
        let mut connection = MySqlConnection::connect(&url).await.unwrap();
        let made = AssertSqlSafe(format!("CREATE TABLE {table} (x INT PRIMARY KEY)"));
        connection.execute(made).await.unwrap();
        for _ in 0..3 {
            let refused = connect(&url).migrate().await;
            assert!(
                matches!(refused, Err(StoreError::Migration(_))),
                "{refused:?}"
            );
        }
        let dropped = AssertSqlSafe(format!("DROP TABLE {table}"));
        connection.execute(dropped).await.unwrap();
        let database = connect(&url);
        database.migrate().await.unwrap();
        database.check().await.unwrap();
    }
}

#[tokio::test]
async fn the_schema_of_a_later_release_is_accepted_during_and_after_its_migration() {
    let url = fresh_database().await.unwrap();
    let database = connect(&url);
    database.migrate().await.unwrap();
    assert_eq!(database.check().await.unwrap().later_migration, None);
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    for success in ["FALSE", "TRUE"] {
        let later = AssertSqlSafe(format!(
            "REPLACE INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', {success}, X'00', -1)"
        ));
        connection.execute(later).await.unwrap();
        let checked = database.check().await.unwrap();
        assert_eq!(checked.later_migration, Some(9999));
        database.migrate().await.unwrap();
    }
}
