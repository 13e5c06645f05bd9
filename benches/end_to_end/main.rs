//! How many payments the service ends, on this machine, with everything that counts switched on: private databases
//! that flush at every commit, a private RabbitMQ with confirms and quorum queues, api and worker as processes.
//!
//! `cargo bench --bench end_to_end` prints one table with a row for each database, with and without TLS, near and with a
//! longer round trip. MySQL's rows, and the current RabbitMQ for all rows, need the folder that
//! `scripts/test --servers new` makes; without it they are left out.
//!
//! - `BENCH_ROWS=mysql,mariadb` chooses rows by words of their names.
//! - `BENCH_SECONDS` (20), `BENCH_ROUNDS` (1), `BENCH_CONNECTIONS` (256), `BENCH_WORKERS` (1): how long and how much.
//! - `BENCH_PROGRAM` is the program of another build, measured in turns with this one.
//! - `BENCH_SERVER=default` leaves out what docs/deployment.md advises for the database; `BENCH_SERVER_ARGS` are further
//!   arguments of it. Several lists, separated by `|` (one of them may be empty), are servers that are measured in turns.
//! - `BENCH_PAGE=20` measures in turns with so many open operators' pages (120 at most): each reads the events, and
//!   fetches the overview while it does not come by them, as a browser does. At the end there is the ratio to the rows without pages.
//! - `BENCH_BASELINES=off` leaves out what one connection can do without group commit on the same server, right before
//!   and right after: payments with their outbox row, one a transaction, and single rows.

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

mod latency;
mod load;
mod measure;
mod pages;
mod probe;
mod report;
mod rows;
mod settings;

use std::time::Duration;

use measure::{Servers, measure};
use rows::Row;
use settings::Arguments;
use support::certificates::Certificates;
use support::servers::{Broker, BrokerOptions, Database, DatabaseOptions, Flavor};

#[tokio::main]
async fn main() {
    let arguments = Arguments::from_env();
    let rows = rows::chosen(&std::env::var("BENCH_ROWS").unwrap_or_default());
    let certificates = Certificates::make();
    let broker = broker(&certificates);
    let mut table = Vec::new();
    for flavor in [Flavor::Old, Flavor::New] {
        let rows: Vec<Row> = rows
            .iter()
            .filter(|row| row.database == flavor)
            .copied()
            .collect();
        if rows.is_empty() {
            continue;
        }
        let mut servers = Vec::new();
        for arguments in &settings::variants() {
            match Server::start(flavor, &certificates, arguments).await {
                Ok(server) => servers.push(server),
                Err(error) => {
                    let names: Vec<_> = rows.iter().map(|row| row.name).collect();
                    println!("left out: {} {arguments}: {error}", names.join(", "));
                }
            }
        }
        if servers.is_empty() {
            continue;
        }
        let bench = Bench {
            arguments: &arguments,
            certificates: &certificates,
            broker: &broker,
            servers: &servers,
        };
        table.extend(bench.rows(&rows).await);
    }
    report::table(&table);
    report::ratios(&table, arguments.pages);
    assert!(
        table
            .iter()
            .all(|(_, measured)| measured.drained_after.is_some()),
        "accepted payments have no outcome"
    );
}

/// A database server and who observes it.
struct Server {
    /// Its further arguments, in brackets, if there are any.
    name: String,
    probe: probe::Probe,
    database: Database,
}

impl Server {
    async fn start(
        flavor: Flavor,
        certificates: &Certificates,
        arguments: &str,
    ) -> support::servers::Result<Self> {
        let database = database(flavor, certificates, arguments)?;
        Ok(Self {
            name: if arguments.is_empty() {
                String::new()
            } else {
                format!(" ({arguments})")
            },
            probe: probe::Probe::new(&database).await,
            database,
        })
    }
}

/// The servers of one kind, measured in turns.
struct Bench<'a> {
    arguments: &'a Arguments,
    certificates: &'a Certificates,
    broker: &'a Broker,
    servers: &'a [Server],
}

impl Bench<'_> {
    async fn rows(&self, rows: &[Row]) -> Vec<(String, measure::Measured)> {
        println!(
            "\n{}, RabbitMQ ({}), {} s, {} connections, 1 api, {} worker(s)",
            self.servers[0].probe.version().await,
            self.broker.flavor(),
            self.arguments.seconds,
            self.arguments.connections,
            self.arguments.workers,
        );
        let before = self.baselines().await;
        let mut table = Vec::new();
        for _ in 0..self.arguments.rounds {
            for (row, server) in rows
                .iter()
                .flat_map(|row| self.servers.iter().map(move |server| (row, server)))
            {
                for (suffix, program, pages) in self.arguments.turns() {
                    let name = format!("{}{}{suffix}", row.name, server.name);
                    let measured = self.row(row, server, (program, pages)).await;
                    report::details(&name, &measured);
                    table.push((name, measured));
                }
            }
        }
        if let (Some(before), Some(after)) = (before, self.baselines().await) {
            let rate = table.first().map_or(0.0, |(_, measured)| measured.rate());
            report::baselines(before, after, rate);
        }
        table
    }

    /// On empty tables and queues.
    async fn row(
        &self,
        row: &Row,
        server: &Server,
        (program, pages): (&str, usize),
    ) -> measure::Measured {
        server.probe.make_database().await;
        let vhost = self.broker.vhost().expect("a virtual host");
        let [mut database_port, mut broker_port] = [
            server.database.port(),
            if row.amqps {
                self.broker.tls_port()
            } else {
                self.broker.port()
            },
        ];
        if row.round_trip > Duration::ZERO {
            database_port = latency::before(database_port, row.round_trip);
            broker_port = latency::before(broker_port, row.round_trip);
        }
        let ssl_mode = row
            .ssl_mode
            .map_or(String::new(), |mode| format!("?ssl-mode={mode}"));
        let database_url = format!("mysql://root@127.0.0.1:{database_port}/bench{ssl_mode}");
        let scheme = if row.amqps { "amqps" } else { "amqp" };
        let far_url = format!("{scheme}://guest:guest@localhost:{broker_port}/{vhost}");
        let operators = self.arguments.operators.path().display().to_string();
        let mut settings = settings::of_the_service(&database_url, &far_url);
        settings = settings.with("ADMIN_FILE", &operators);
        if row.amqps {
            settings = settings.with("AMQP_CA_FILE", &self.certificates.file("right"));
        }
        let servers = Servers {
            settings,
            amqp_url: &self.broker.url(&vhost),
            pids: [server.database.pid(), self.broker.pid()],
        };
        let turn = (program, pages);
        measure(turn, self.arguments, &servers, &server.probe).await
    }

    /// Durable transactions per second on one connection: of one row, and of one payment with its outbox row.
    async fn baselines(&self) -> Option<(f64, f64)> {
        if std::env::var("BENCH_BASELINES").is_ok_and(|baselines| baselines == "off") {
            return None;
        }
        let each = Duration::from_secs(4);
        Some((
            self.servers[0].probe.one_row_rate(each).await,
            self.servers[0].probe.one_payment_rate(each).await,
        ))
    }
}

/// The current one if there is one: the same for all rows.
fn broker(certificates: &Certificates) -> Broker {
    let start = |flavor| {
        Broker::start(&BrokerOptions {
            flavor: Some(flavor),
            vhosts: 32,
            tls: Some(certificates.server.clone()),
            ..BrokerOptions::default()
        })
    };
    start(Flavor::New)
        .or_else(|_| start(Flavor::Old))
        .expect("a broker")
}

fn database(
    flavor: Flavor,
    certificates: &Certificates,
    arguments: &str,
) -> support::servers::Result<Database> {
    let is_mariadb = flavor == Flavor::Old;
    Database::start(&DatabaseOptions {
        flavor: Some(flavor),
        durable: true,
        tls: is_mariadb.then(|| certificates.server.clone()),
        arguments: settings::of_the_database(is_mariadb, arguments),
    })
}
