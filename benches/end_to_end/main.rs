//! How many payments the service ends, on this machine, with everything that counts switched on: a private MariaDB
//! that flushes at every commit, a private RabbitMQ with confirms and quorum queues, api and worker as processes.
//!
//! `cargo bench --bench end_to_end` ; `BENCH_SECONDS` (60), `BENCH_CONNECTIONS` (256), `BENCH_WORKERS` (1) and
//! `BENCH_SERVER=default` change it; `BENCH_SERVER_ARGS` are further arguments of the database. What one connection can
//! do without group commit is measured on the same server, right before and right after, since disks differ and machines
//! are noisy: payments with their outbox row, one a transaction, and single rows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that cannot be set up ends"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod load;
mod probe;

use std::time::{Duration, Instant};

use support::process::{Process, Settings};
use support::servers::{Broker, BrokerOptions, Database, DatabaseOptions};

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

#[tokio::main]
async fn main() {
    let seconds = number("BENCH_SECONDS", 60);
    let connections = number("BENCH_CONNECTIONS", 256) as usize;
    let workers = number("BENCH_WORKERS", 1);
    let database = Database::start(&DatabaseOptions {
        durable: true,
        arguments: server_options(),
        ..DatabaseOptions::default()
    })
    .expect("a database");
    let broker = Broker::start(&BrokerOptions::default()).expect("a broker");
    let probe = probe::Probe::new(&database).await;
    let vhost = broker.vhost().expect("a virtual host");
    let (database_url, amqp_url) = (database.url("bench"), broker.url(&vhost));
    let settings = Settings::servers(&database_url, &amqp_url)
        .with("LOG", "warn")
        .with(
            "ISSUER_LATENCY",
            &std::env::var("ISSUER_LATENCY").unwrap_or_else(|_| "25ms".to_owned()),
        )
        .with(
            "WORKER_CONCURRENCY",
            &std::env::var("WORKER_CONCURRENCY").unwrap_or_else(|_| "512".to_owned()),
        )
        .with(
            "ISSUER_LEDGER",
            &std::env::var("ISSUER_LEDGER").unwrap_or_else(|_| "on".to_owned()),
        )
        // As in a container with at most one processor, which is where docs/deployment.md starts.
        .with(
            "TOKIO_WORKER_THREADS",
            &std::env::var("TOKIO_WORKER_THREADS").unwrap_or_else(|_| "1".to_owned()),
        );
    let mut setup = Process::spawn(PROGRAM, "setup", &settings);
    assert!(setup.wait(), "setup failed");
    let api = Process::start(PROGRAM, "api", &settings).await;
    let mut running = Vec::new();
    for _ in 0..workers {
        running.push(Process::start(PROGRAM, "worker", &settings).await);
    }

    println!(
        "{seconds} s, {connections} connections, 1 api, {workers} worker(s), {}",
        probe.version().await
    );
    let (one_row_before, one_payment_before) = baselines(&probe).await;
    let commits = probe.commits().await;
    let results = load::Results::subscribe(&amqp_url).await;
    let processes = [
        ("database", database.pid()),
        ("broker", broker.pid()),
        ("api", Some(api.pid())),
        ("worker", running.first().map(Process::pid)),
        ("load", Some(std::process::id())),
    ];
    let cpu_before = processes.map(|(_, pid)| pid.map_or(0.0, probe::cpu_seconds));
    let machine_before = probe::machine_cpu_seconds();
    let began = Instant::now();
    let sent = load::run(api.api, connections, Duration::from_secs(seconds), &results).await;
    let ended_in_time = results.ended();
    let load_took = began.elapsed();
    let machine = probe::machine_cpu_seconds() - machine_before;
    let cpu = processes.map(|(_, pid)| pid.map_or(0.0, probe::cpu_seconds));
    let queue = probe::queue_depth(&amqp_url).await;
    let outbox = probe.outbox_depth().await;
    let drained = results.until(sent.accepted, Duration::from_secs(120)).await;
    let took = began.elapsed();
    let transactions = probe.commits_after_outbox_is_empty(commits).await;
    let (one_row_after, one_payment_after) = baselines(&probe).await;
    let rate = ended_in_time as f64 / load_took.as_secs_f64();
    println!(
        "payments accepted                   {:>10}   refused or failed {}",
        sent.accepted, sent.failed
    );
    println!(
        "payments ended during the load      {ended_in_time:>10}   in {:.1} s",
        load_took.as_secs_f64()
    );
    println!("payments ended per second           {rate:>10.0}");
    println!("202 latency p50 / p95 / p99 / max   {}", sent.latency());
    println!(
        "queue and outbox at the load's end  {queue:>10} / {outbox}   (work queue, outbox rows)"
    );
    println!(
        "all ended after                     {:>10.1} s   ({})",
        took.as_secs_f64(),
        if drained { "every one" } else { "NOT ALL" }
    );
    println!(
        "durable transactions per payment    {:>10.3}",
        transactions as f64 / sent.accepted.max(1) as f64
    );
    compare(
        "one payment a transaction",
        rate,
        one_payment_before,
        one_payment_after,
    );
    compare("one row a transaction", rate, one_row_before, one_row_after);
    println!(
        "memory of api / worker              {:>7} MiB / {} MiB",
        probe::memory_mib(api.pid()),
        running
            .first()
            .map_or(0, |worker| probe::memory_mib(worker.pid()))
    );
    println!(
        "CPU seconds during the load         {}, others {:.1}",
        processes
            .iter()
            .zip(cpu.iter().zip(cpu_before))
            .map(|((name, _), (after, before))| format!("{name} {:.1}", after - before))
            .collect::<Vec<_>>()
            .join(", "),
        machine - (cpu.iter().sum::<f64>() - cpu_before.iter().sum::<f64>())
    );
    assert!(drained, "accepted payments have no outcome");
}

/// What docs/deployment.md advises for the database, unless `BENCH_SERVER=default` asks for how it comes.
fn server_options() -> Vec<String> {
    let as_it_comes = std::env::var("BENCH_SERVER").is_ok_and(|server| server == "default");
    let advised: &[&str] = if as_it_comes {
        &[]
    } else {
        &[
            "--binlog-row-image=MINIMAL",
            "--binlog-annotate-row-events=OFF",
            "--binlog-cache-size=1M",
        ]
    };
    let further = std::env::var("BENCH_SERVER_ARGS").unwrap_or_default();
    let further = further.split_whitespace();
    let all = advised.iter().copied().chain(further);
    all.map(str::to_owned).collect()
}

/// Durable transactions per second on one connection: of one row, and of one payment with its outbox row.
async fn baselines(probe: &probe::Probe) -> (f64, f64) {
    let each = Duration::from_secs(4);
    (
        probe.one_row_rate(each).await,
        probe.one_payment_rate(each).await,
    )
}

fn compare(name: &str, rate: f64, before: f64, after: f64) {
    let single = f64::midpoint(before, after);
    println!(
        "{name:<36}{single:>10.0}   per second ({before:.0} before, {after:.0} after): {:.2} times as many payments end",
        rate / single
    );
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}
