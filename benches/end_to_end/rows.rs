//! What the table has rows for: databases and brokers, with and without TLS, near and far.

use std::time::Duration;

use crate::support::servers::Flavor;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    /// Old: MariaDB. New: MySQL.
    pub database: Flavor,
    /// The URL's `ssl-mode`; none as an operator leaves it.
    pub ssl_mode: Option<&'static str>,
    pub amqps: bool,
    /// To database and broker and back, on top of what loopback takes.
    pub round_trip: Duration,
}

const fn row(name: &'static str, database: Flavor, ssl_mode: Option<&'static str>) -> Row {
    Row {
        name,
        database,
        ssl_mode,
        amqps: false,
        round_trip: Duration::ZERO,
    }
}

const fn far(name: &'static str, milliseconds: u64) -> Row {
    let mut row = row(name, Flavor::New, None);
    row.round_trip = Duration::from_millis(milliseconds);
    row
}

const fn with_amqps(mut row: Row) -> Row {
    row.amqps = true;
    row
}

/// All rows; those of one server stand together. MySQL offers TLS as it is installed; MariaDB 10.11 is given a
/// certificate.
pub const ROWS: [Row; 7] = [
    row("MariaDB without TLS", Flavor::Old, Some("DISABLED")),
    row("MariaDB with TLS", Flavor::Old, Some("REQUIRED")),
    row("MySQL without TLS", Flavor::New, Some("DISABLED")),
    row("MySQL as installed (TLS)", Flavor::New, None),
    with_amqps(row("MySQL as installed, AMQP over TLS", Flavor::New, None)),
    far("MySQL as installed, 1 ms away", 1),
    far("MySQL as installed, 5 ms away", 5),
];

/// Those whose name has one of these words (`BENCH_ROWS`, separated by commas); all without any.
pub fn chosen(words: &str) -> Vec<Row> {
    let is_chosen = |row: &Row| {
        words.split(',').any(|word| {
            row.name
                .to_lowercase()
                .contains(&word.trim().to_lowercase())
        })
    };
    ROWS.into_iter().filter(is_chosen).collect()
}
