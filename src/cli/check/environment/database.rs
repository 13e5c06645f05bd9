//! Checks the database: version, capacity, schema, clock, permissions, keys, ids.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::timeout;

use super::Finding;
use crate::config::{Backend, Config};
use crate::store::Store;
use crate::store::environment::{QuarantinedRows, Server, Stock};
use crate::store::mysql::STATEMENTS;
use crate::store::probe::{End, try_write};
use crate::vault::{Owner, SealError};

/// How long the first query may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many sealed cards of each kind are opened.
const SAMPLE: u32 = 50;

/// More than the network latency explains.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// Leases, tokens and expiry months would be wrong; a running process reports this, too.
const CLOCKS_ARE_WRONG: Duration = Duration::from_secs(60);

/// Two apis and two workers.
const PROCESSES: i64 = 4;

pub(super) async fn look(database: &Store, config: &Config) -> Vec<Finding> {
    let before = OffsetDateTime::now_utc();
    let server = match timeout(PATIENCE, database.server()).await {
        Ok(Ok(server)) => server,
        answer => {
            let cause = match answer {
                Ok(Err(error)) => error.to_string(),
                _ => format!("no answer within {} s", PATIENCE.as_secs()),
            };
            return vec![Finding::fail(
                "database",
                cause,
                "is it running, and are host, login and database in DATABASE_URL correct?",
            )];
        }
    };
    let midway = before + (OffsetDateTime::now_utc() - before) / 2;
    let mut findings = vec![version(&server), clock(&server, midway)];
    findings.extend(room(&server, config));
    // The same check as at start and in readiness.
    match database.check().await {
        Ok(checked) => findings.push(schema(checked.later_migration)),
        Err(error) => {
            findings.push(Finding::fail(
                "schema",
                error.to_string(),
                "run `payment-service setup` of this version, then start all processes with this version",
            ));
            return findings;
        }
    }
    findings.push(rights(database).await);
    match database.stock(SAMPLE).await {
        Ok(stock) => findings.extend([
            keys(&stock, config),
            ids(&stock, config),
            quarantine(stock.quarantined),
        ]),
        Err(error) => findings.push(Finding::fail(
            "rows",
            error.to_string(),
            "another version of the service may have written it",
        )),
    }
    findings
}

/// MySQL 8.4, MariaDB 10.6, or the built-in SQLite.
fn version(server: &Server) -> Finding {
    let text = &server.version;
    let mut numbers = text
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (name, oldest) = match (text.contains("MariaDB"), found.0) {
        (true, _) => ("MariaDB", (10, 6)),
        (false, 3) => ("SQLite", (3, 41)),
        (false, _) => ("MySQL", (8, 4)),
    };
    if found >= oldest {
        return Finding::ok("database", format!("{name} {text}"));
    }
    Finding::fail(
        "database",
        format!("{name} {text} is older than {}.{}", oldest.0, oldest.1),
        "use MySQL 8.4 or later, or MariaDB 10.6 or later",
    )
}

fn schema(later_migration: Option<i64>) -> Finding {
    match later_migration {
        None => Finding::ok("schema", "all migrations of this version are applied"),
        Some(migration) => Finding::warn(
            "schema",
            format!("a later release has changed it (migration {migration}); this one can use it"),
            "start all processes with the later release",
        ),
    }
}

/// How many processes like this one the server has connections and prepared statements for.
fn room(server: &Server, config: &Config) -> Option<Finding> {
    let Backend::Servers { connections, .. } = config.backend else {
        return None;
    };
    let (room, each) = (server.room?, i64::from(connections));
    let statements = each * i64::from(STATEMENTS);
    let processes = (room.connections / each).min(room.prepared_statements / statements);
    let words = format!(
        "processes that fit under full load, with DATABASE_CONNECTIONS={each}: {processes} (max_connections is {}, \
         max_prepared_stmt_count {})",
        room.connections, room.prepared_statements
    );
    Some(if processes >= PROCESSES {
        Finding::ok("database room", words)
    } else {
        let remedy = format!(
            "for n processes raise max_connections to {each} times n and max_prepared_stmt_count to {statements} times n, or \
             lower DATABASE_CONNECTIONS"
        );
        Finding::warn("database room", words, &remedy)
    })
}

fn clock(server: &Server, here: OffsetDateTime) -> Finding {
    let difference = (server.now - here).unsigned_abs();
    let words = format!(
        "differs by {} ms from this machine's",
        difference.as_millis()
    );
    let remedy = "synchronize both clocks (NTP): leases run by the database's clock, cards expire by this machine's";
    match difference {
        it if it > CLOCKS_ARE_WRONG => Finding::fail("clock", words, remedy),
        it if it > CLOCKS_DIFFER => Finding::warn("clock", words, remedy),
        _ => Finding::ok("clock", words),
    }
}

/// Writes, changes and deletes a row, and commits: a full disk, or a log that does not accept it, shows only then.
async fn rights(database: &Store) -> Finding {
    match try_write(database, End::Commit).await {
        Ok(()) => Finding::ok(
            "database rights",
            "rows can be written, changed and deleted",
        ),
        Err(error) => Finding::fail(
            "database rights",
            error.to_string(),
            "GRANT SELECT, INSERT, UPDATE, DELETE on the database to the user of DATABASE_URL; is the server read-only \
             (read_only), its disk full, or binlog_format not ROW?",
        ),
    }
}

fn keys(stock: &Stock, config: &Config) -> Finding {
    let keys = &config.seal_keys;
    let payments = stock.payments.iter().filter_map(|row| {
        let sealed = row.sealed_card.as_ref()?;
        let owner = Owner::Payment(row.payment.id, row.payment.attempt);
        Some(keys.open(sealed, owner).map(drop))
    });
    let tokens = stock.tokens.iter().filter_map(|token| {
        let owner = Owner::Token(&token.id.0, &token.client);
        Some(keys.open(token.sealed_card.as_ref()?, owner).map(drop))
    });
    let opened: Vec<Result<(), SealError>> = payments.chain(tokens).collect();
    let closed: Vec<&SealError> = opened.iter().filter_map(|it| it.as_ref().err()).collect();
    match closed.first() {
        None => Finding::ok(
            "seal keys",
            format!("open every stored card that was tested ({})", opened.len()),
        ),
        Some(error) => Finding::fail(
            "seal keys",
            format!(
                "{} of {} stored cards cannot be opened: {error}",
                closed.len(),
                opened.len()
            ),
            "add the key that sealed them to SEAL_KEYS, after the current one; their payments fail without it",
        ),
    }
}

fn quarantine(rows: QuarantinedRows) -> Finding {
    let QuarantinedRows { payments, outbox } = rows;
    if payments == 0 && outbox == 0 {
        return Finding::ok("quarantine", "no row is quarantined");
    }
    Finding::warn(
        "quarantine",
        format!("payments that are processing: {payments}, outbox rows: {outbox}"),
        "`check --payments` names them; repair and release them: docs/runbook.md, Quarantine",
    )
}

fn ids(stock: &Stock, config: &Config) -> Finding {
    let next = stock.next_id.unwrap_or(config.ids.first);
    let last = config.ids.last;
    let words = format!(
        "{} left, up to PAYMENT_ID_MAX {last}",
        (last - next + 1).max(0)
    );
    let remedy = "raise PAYMENT_ID_MAX, once every client keeps payment ids in more than 32 bits";
    if next > last {
        return Finding::fail("payment ids", words, remedy);
    }
    if config.ids.is_nearly_used(next) {
        return Finding::warn("payment ids", words, remedy);
    }
    Finding::ok("payment ids", words)
}
