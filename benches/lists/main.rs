//! How long every list of the service takes with millions of payments: those of the REST interface and those of the
//! operators' page, each with its filters.
//!
//! `cargo bench --bench lists` starts a private database and a private RabbitMQ, fills them, starts an api, and sends requests
//! with other values each time over kept connections, one after the other. It prints one table, and exits with 1 if a request
//! in a hundred takes longer than the limit in any list. Ten million payments need 12 GB in the temporary folder.
//!
//! - `BENCH_PAYMENTS` (10,000,000): how many payments there are.
//! - `BENCH_ROWS=mysql` measures on MySQL, from the folder that `scripts/test --servers new` makes, instead of MariaDB.
//! - `BENCH_LISTS=shopper,until` chooses lists by words of their names and filters.
//! - `BENCH_REQUESTS` (200): timed requests of each list, after a tenth as many that are not timed.
//! - `BENCH_LIMIT_MS` (50): the limit.
//! - `BENCH_SERVER_ARGS`: further arguments of the database, such as `--innodb-buffer-pool-size=4G`.
//! - `BENCH_KEEP=on` prints the database's address and waits for a line on standard input, with other words or without: then it
//!   measures again, with the service's program as it is by then. The end of the input ends it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that cannot be set up ends"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod dead_letters;
mod fill;
mod measure;
mod requests;
mod sample;

use std::process::ExitCode;
use std::time::Instant;

use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, MySqlConnection};
use tempfile::NamedTempFile;

use measure::{Caller, Measured, api_key};
use requests::List;
use support::operator;
use support::process::{Process, Settings};
use support::servers::{Broker, BrokerOptions, Database, DatabaseOptions, Flavor};

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

/// Payments whose values are asked for.
const SAMPLED: u64 = 5000;

#[tokio::main]
async fn main() -> ExitCode {
    let payments = number("BENCH_PAYMENTS", 10_000_000);
    let timed = number("BENCH_REQUESTS", 200);
    let limit = number("BENCH_LIMIT_MS", 50) as f64;
    let warm_up = timed / 10;
    let database = database();
    let url = database.url("bench");
    make_database(&database).await;
    let broker = Broker::start(&BrokerOptions {
        flavor: Some(database.flavor()),
        ..BrokerOptions::default()
    });
    let broker = broker.expect("a broker");
    let amqp_url = broker.url(&broker.vhost().expect("a virtual host"));
    let (clients, operators) = (clients_file(), operator::admin_file());
    let settings = Settings::servers(&url, &amqp_url)
        .with("LOG", "error")
        .with("CLIENTS_FILE", &clients.path().display().to_string())
        .with("ADMIN_FILE", &operators.path().display().to_string());
    set_up(&settings);
    fill::fill(&url, payments).await;
    dead_letters::publish(&amqp_url).await;
    let sample = sample::sample(&url, payments, SAMPLED).await;
    let lists = requests::all(&sample, timed + warm_up);
    println!("\n{payments} payments on {}", version(&url).await);
    let mut words = std::env::var("BENCH_LISTS").unwrap_or_default();
    loop {
        let chosen = lists.iter().filter(|list| list.has_one_of(&words));
        let is_quick = measure_all(&settings, chosen, (warm_up as usize, limit)).await;
        match next_words(&url) {
            Some(next) => words = next,
            None if is_quick => return ExitCode::SUCCESS,
            None => return ExitCode::FAILURE,
        }
    }
}

/// The schema of the program.
fn set_up(settings: &Settings) {
    let is_done = Process::spawn(PROGRAM, "setup", settings).wait();
    assert!(is_done, "setup failed");
}

/// Starts an api, prints the table, and returns whether all lists keep to the limit.
async fn measure_all(
    settings: &Settings,
    lists: impl Iterator<Item = &List>,
    (warm_up, limit): (usize, f64),
) -> bool {
    set_up(settings);
    let began = Instant::now();
    let api = Process::start(PROGRAM, "api", settings).await;
    println!("the api was ready after {:.1?}", began.elapsed());
    let caller = Caller::new(api.api, api.admin).await;
    println!("\n| list | filter | p50 (ms) | p99 (ms) | max (ms) |");
    println!("|---|---|--:|--:|--:|");
    let mut slow = Vec::new();
    for list in lists {
        let measured = caller.measure(list, warm_up).await;
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| measured.latency(share));
        println!(
            "| {} | {} | {p50:.1} | {p99:.1} | {max:.1} |",
            measured.name, measured.filter
        );
        if p99 > limit || measured.failed.is_some() {
            slow.push(measured);
        }
    }
    println!();
    slow.iter().for_each(|measured| complain(measured, limit));
    slow.is_empty()
}

fn complain(measured: &Measured, limit: f64) {
    let name = format!("{}, filter {}", measured.name, measured.filter);
    let p99 = measured.latency(0.99);
    if p99 > limit {
        println!(
            "{name}: p99 of {p99:.0} ms is over {limit} ms; the slowest was {}",
            measured.slowest
        );
    }
    if let Some((count, first)) = &measured.failed {
        println!("{name}: {count} requests failed, the first: {first}");
    }
}

/// What to measure next, if `BENCH_KEEP=on`.
fn next_words(url: &str) -> Option<String> {
    if std::env::var("BENCH_KEEP").is_ok_and(|keep| keep == "on") {
        println!("the database is {url}; a line on standard input measures again");
        let mut line = String::new();
        let length = std::io::stdin().read_line(&mut line).ok()?;
        return (length > 0).then(|| line.trim().to_owned());
    }
    None
}

fn database() -> Database {
    let is_mysql = std::env::var("BENCH_ROWS").is_ok_and(|rows| rows.to_lowercase() == "mysql");
    let (flavor, log) = if is_mysql {
        (Flavor::New, "--innodb-redo-log-capacity=2G")
    } else {
        (Flavor::Old, "--innodb-log-file-size=2G")
    };
    let further = std::env::var("BENCH_SERVER_ARGS").unwrap_or_default();
    // A quarter of what docs/deployment.md starts with, so that not all payments fit.
    let own = [
        "--innodb-buffer-pool-size=1G",
        log,
        "--innodb-sort-buffer-size=64M",
    ];
    let arguments = own.into_iter().chain(further.split_whitespace());
    let database = Database::start(&DatabaseOptions {
        flavor: Some(flavor),
        arguments: arguments.map(str::to_owned).collect(),
        ..DatabaseOptions::default()
    });
    database.expect("a database server")
}

async fn make_database(database: &Database) {
    let mut connection = MySqlConnection::connect(&database.admin_url())
        .await
        .expect("the database server");
    connection
        .execute("CREATE DATABASE bench")
        .await
        .expect("a database");
}

async fn version(url: &str) -> String {
    let mut connection = MySqlConnection::connect(url)
        .await
        .expect("the database server");
    sqlx::query_scalar(
        "SELECT CONCAT(VERSION(), ', innodb_buffer_pool_size ', @@innodb_buffer_pool_size DIV 1048576, ' MiB')",
    )
    .fetch_one(&mut connection)
    .await
    .expect("a version")
}

/// A `CLIENTS_FILE` with all clients.
fn clients_file() -> NamedTempFile {
    let clients = fill::CLIENTS.map(|(name, _)| {
        let digest = hex::encode(Sha256::digest(api_key(name)));
        serde_json::json!({ "name": name, "api_key_sha256": [digest] })
    });
    let file = NamedTempFile::new().expect("a file");
    let content = serde_json::json!({ "clients": clients });
    std::fs::write(file.path(), content.to_string()).expect("the file is written");
    file
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}
