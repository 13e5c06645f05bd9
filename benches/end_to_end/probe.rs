//! Asks the servers themselves: single-row rate, commits, depths.

use std::time::{Duration, Instant};

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use sqlx::{Connection as _, Executor, MySqlConnection, MySqlPool, Row};

use crate::support::servers::Database;

/// An observer of the database.
pub struct Probe {
    pool: MySqlPool,
}

impl Probe {
    pub async fn new(database: &Database) -> Self {
        // Without TLS, so that no baseline waits for delayed acknowledgments.
        let url = format!("{}?ssl-mode=DISABLED", database.admin_url());
        let pool = MySqlPool::connect(&url).await.expect("the database");
        pool.execute("CREATE DATABASE probe")
            .await
            .expect("a database");
        for table in ["payment", "outbox"] {
            let create = format!(
                "CREATE TABLE probe.{table} (id BIGINT PRIMARY KEY, text VARCHAR(200) NOT NULL) ENGINE = InnoDB"
            );
            pool.execute(sqlx::AssertSqlSafe(create))
                .await
                .expect("a table");
        }
        Self { pool }
    }

    pub async fn version(&self) -> String {
        let row = sqlx::query("SELECT VERSION(), @@sync_binlog, @@innodb_flush_log_at_trx_commit")
            .fetch_one(&self.pool)
            .await
            .expect("a version");
        let (version, binlog, flush): (String, i64, i64) = (
            row.get(0),
            row.get::<u64, _>(1) as i64,
            row.get::<u64, _>(2) as i64,
        );
        format!("{version}, sync_binlog={binlog}, innodb_flush_log_at_trx_commit={flush}")
    }

    /// An empty database for the service.
    pub async fn make_database(&self) {
        for statement in ["DROP DATABASE IF EXISTS bench", "CREATE DATABASE bench"] {
            self.pool.execute(statement).await.expect("a database");
        }
    }

    /// What accepting a payment costs without group commit: its row and its outbox row in one transaction, one
    /// payment after the other on one connection, for so long. Transactions per second.
    pub async fn one_payment_rate(&self, longest: Duration) -> f64 {
        let mut connection = self.pool.acquire().await.expect("a connection");
        let first = highest(&mut connection).await;
        let (began, mut rows) = (Instant::now(), 0);
        while began.elapsed() < longest {
            rows += 1;
            let mut transaction = connection.begin().await.expect("a transaction");
            insert(&mut transaction, "payment", first + rows).await;
            insert(&mut transaction, "outbox", first + rows).await;
            transaction.commit().await.expect("a commit");
        }
        rows as f64 / began.elapsed().as_secs_f64()
    }

    /// The same with a single row, committed by its statement: the fastest durable transaction there is.
    pub async fn one_row_rate(&self, longest: Duration) -> f64 {
        let mut connection = self.pool.acquire().await.expect("a connection");
        let first = highest(&mut connection).await;
        let (began, mut rows) = (Instant::now(), 0);
        while began.elapsed() < longest {
            rows += 1;
            insert(&mut connection, "payment", first + rows).await;
        }
        rows as f64 / began.elapsed().as_secs_f64()
    }

    /// Transactions committed by a statement so far.
    pub async fn commits(&self) -> i64 {
        let row = sqlx::query("SHOW GLOBAL STATUS LIKE 'Com_commit'")
            .fetch_one(&self.pool)
            .await
            .expect("a status");
        row.get::<String, _>(1).parse().expect("a number")
    }

    /// Commits since `before`, once the relay has forgotten everything.
    pub async fn commits_after_outbox_is_empty(&self, before: i64) -> i64 {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.outbox_depth().await > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.commits().await - before
    }

    pub async fn outbox_depth(&self) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM bench.outbox")
            .fetch_one(&self.pool)
            .await
            .expect("a count")
    }
}

async fn highest(connection: &mut MySqlConnection) -> i64 {
    sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM probe.payment")
        .fetch_one(connection)
        .await
        .expect("a number")
}

async fn insert(connection: &mut MySqlConnection, table: &'static str, id: i64) {
    let insert = match table {
        "payment" => "INSERT INTO probe.payment (id, text) VALUES (?, ?)",
        _ => "INSERT INTO probe.outbox (id, text) VALUES (?, ?)",
    };
    sqlx::query(insert)
        .bind(id)
        .bind("a row of about as many bytes as a payment has, without its indexes and without its history")
        .execute(connection)
        .await
        .expect("a row");
}

/// Messages that wait in the work queue.
pub async fn queue_depth(amqp_url: &str) -> u32 {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default())
        .await
        .expect("a broker");
    let channel = connection.create_channel().await.expect("a channel");
    let options = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let queue = channel
        .queue_declare("payments.work".into(), options, FieldTable::default())
        .await
        .expect("the queue");
    queue.message_count()
}

/// Resident memory of a process.
pub fn memory_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    kib / 1024
}

/// Linux counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// Processor time that a process has used.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // User and system time are the 14th and 15th field; the second, the name, may have spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    ticks(fields.split_whitespace().skip(11).take(2))
}

/// Processor time that everything on this machine has used: user, nice, system, interrupts.
pub fn machine_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    // In order: user, nice, system, idle, iowait, irq, softirq.
    let fields = first.split_whitespace().skip(1).take(7).enumerate();
    ticks(fields.filter_map(|(place, field)| (!(3..=4).contains(&place)).then_some(field)))
}

fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> f64 {
    fields
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS
}
