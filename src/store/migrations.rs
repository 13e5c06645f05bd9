//! The files of `migrations/`, embedded in the program.
//!
//! Listed manually, because `sqlx::migrate!` builds both database drivers, including SQLite's C code, a second time for
//! its macro. A file contains one statement: MySQL cannot roll back a change of a table, so a file with several could be
//! interrupted between them. (The first files contain more; their checksums are in databases, so they stay.)

use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::StoreError;

/// For [`super::mysql`].
pub static MYSQL: LazyLock<Migrator> = LazyLock::new(|| {
    embed(&[
        (
            1,
            "initial",
            include_str!("../../migrations/mysql/0001_initial.sql"),
        ),
        (
            2,
            "outbox lanes",
            include_str!("../../migrations/mysql/0002_outbox_lanes.sql"),
        ),
        (
            3,
            "fewer indexes",
            include_str!("../../migrations/mysql/0003_fewer_indexes.sql"),
        ),
        (
            4,
            "pending code",
            include_str!("../../migrations/mysql/0004_pending_code.sql"),
        ),
        (
            5,
            "quarantined outbox",
            include_str!("../../migrations/mysql/0005_quarantined_outbox.sql"),
        ),
        (
            6,
            "quarantined payments",
            include_str!("../../migrations/mysql/0006_quarantined_payments.sql"),
        ),
        (
            9,
            "return url",
            include_str!("../../migrations/mysql/0009_return_url.sql"),
        ),
        (
            11,
            "ledger currency",
            include_str!("../../migrations/mysql/0011_ledger_currency.sql"),
        ),
        (
            12,
            "issuer calls",
            include_str!("../../migrations/mysql/0012_issuer_calls.sql"),
        ),
        (
            17,
            "payment funds",
            include_str!("../../migrations/mysql/0017_payment_funds.sql"),
        ),
        (
            18,
            "operations",
            include_str!("../../migrations/mysql/0018_operations.sql"),
        ),
        (
            19,
            "capture schedule",
            include_str!("../../migrations/mysql/0019_capture_schedule.sql"),
        ),
        (
            20,
            "issuer ledger holds",
            include_str!("../../migrations/mysql/0020_issuer_ledger_holds.sql"),
        ),
        (
            21,
            "issuer operations",
            include_str!("../../migrations/mysql/0021_issuer_operations.sql"),
        ),
        (
            15,
            "method",
            include_str!("../../migrations/mysql/0015_method.sql"),
        ),
        (
            22,
            "metric minutes",
            include_str!("../../migrations/mysql/0022_metric_minutes.sql"),
        ),
        (
            23,
            "payment action",
            include_str!("../../migrations/mysql/0023_payment_action.sql"),
        ),
        (
            24,
            "issuer actions",
            include_str!("../../migrations/mysql/0024_issuer_actions.sql"),
        ),
        (
            25,
            "installation",
            include_str!("../../migrations/mysql/0025_installation.sql"),
        ),
        (
            26,
            "processor references",
            include_str!("../../migrations/mysql/0026_processor_references.sql"),
        ),
        (
            27,
            "payments by status",
            include_str!("../../migrations/mysql/0027_payments_by_status.sql"),
        ),
        (
            28,
            "platform events",
            include_str!("../../migrations/mysql/0028_platform_events.sql"),
        ),
        (
            29,
            "operation source",
            include_str!("../../migrations/mysql/0029_operation_source.sql"),
        ),
        (
            30,
            "payment disputes",
            include_str!("../../migrations/mysql/0030_payment_disputes.sql"),
        ),
        (
            31,
            "processor types",
            include_str!("../../migrations/mysql/0031_processor_types.sql"),
        ),
        (
            32,
            "platform event difference",
            include_str!("../../migrations/mysql/0032_platform_event_difference.sql"),
        ),
    ])
});

/// For [`super::sqlite`].
pub static SQLITE: LazyLock<Migrator> = LazyLock::new(|| {
    embed(&[
        (
            1,
            "initial",
            include_str!("../../migrations/sqlite/0001_initial.sql"),
        ),
        (
            2,
            "dead letters",
            include_str!("../../migrations/sqlite/0002_dead_letters.sql"),
        ),
        (
            3,
            "outbox lanes",
            include_str!("../../migrations/sqlite/0003_outbox_lanes.sql"),
        ),
        (
            4,
            "fewer indexes",
            include_str!("../../migrations/sqlite/0004_fewer_indexes.sql"),
        ),
        (
            5,
            "pending code",
            include_str!("../../migrations/sqlite/0005_pending_code.sql"),
        ),
        (
            6,
            "quarantined outbox",
            include_str!("../../migrations/sqlite/0006_quarantined_outbox.sql"),
        ),
        (
            7,
            "quarantined payments",
            include_str!("../../migrations/sqlite/0007_quarantined_payments.sql"),
        ),
        (
            10,
            "return url",
            include_str!("../../migrations/sqlite/0010_return_url.sql"),
        ),
        (
            12,
            "ledger currency",
            include_str!("../../migrations/sqlite/0012_ledger_currency.sql"),
        ),
        (
            13,
            "issuer calls",
            include_str!("../../migrations/sqlite/0013_issuer_calls.sql"),
        ),
        (
            18,
            "capture method",
            include_str!("../../migrations/sqlite/0018_capture_method.sql"),
        ),
        (
            19,
            "stage",
            include_str!("../../migrations/sqlite/0019_stage.sql"),
        ),
        (
            20,
            "operation",
            include_str!("../../migrations/sqlite/0020_operation.sql"),
        ),
        (
            21,
            "captured minor",
            include_str!("../../migrations/sqlite/0021_captured_minor.sql"),
        ),
        (
            22,
            "refunded minor",
            include_str!("../../migrations/sqlite/0022_refunded_minor.sql"),
        ),
        (
            23,
            "reserved minor",
            include_str!("../../migrations/sqlite/0023_reserved_minor.sql"),
        ),
        (
            24,
            "capture before",
            include_str!("../../migrations/sqlite/0024_capture_before.sql"),
        ),
        (
            25,
            "cancellation reason",
            include_str!("../../migrations/sqlite/0025_cancellation_reason.sql"),
        ),
        (
            26,
            "operations",
            include_str!("../../migrations/sqlite/0026_operations.sql"),
        ),
        (
            27,
            "operations by key",
            include_str!("../../migrations/sqlite/0027_operations_by_key.sql"),
        ),
        (
            28,
            "operations by payment",
            include_str!("../../migrations/sqlite/0028_operations_by_payment.sql"),
        ),
        (
            29,
            "operations to check",
            include_str!("../../migrations/sqlite/0029_operations_to_check.sql"),
        ),
        (
            30,
            "capture schedule",
            include_str!("../../migrations/sqlite/0030_capture_schedule.sql"),
        ),
        (
            31,
            "capture schedule check",
            include_str!("../../migrations/sqlite/0031_capture_schedule_check.sql"),
        ),
        (
            32,
            "capture schedule expiry",
            include_str!("../../migrations/sqlite/0032_capture_schedule_expiry.sql"),
        ),
        (
            33,
            "ledger held",
            include_str!("../../migrations/sqlite/0033_ledger_held.sql"),
        ),
        (
            34,
            "ledger test card",
            include_str!("../../migrations/sqlite/0034_ledger_test_card.sql"),
        ),
        (
            35,
            "issuer operations",
            include_str!("../../migrations/sqlite/0035_issuer_operations.sql"),
        ),
        (
            36,
            "issuer operations by authorization",
            include_str!("../../migrations/sqlite/0036_issuer_operations_by_authorization.sql"),
        ),
        (
            37,
            "issuer operations by payment",
            include_str!("../../migrations/sqlite/0037_issuer_operations_by_payment.sql"),
        ),
        (
            38,
            "metric minutes",
            include_str!("../../migrations/sqlite/0038_metric_minutes.sql"),
        ),
        (
            39,
            "payment action",
            include_str!("../../migrations/sqlite/0039_payment_action.sql"),
        ),
        (
            40,
            "issuer actions",
            include_str!("../../migrations/sqlite/0040_issuer_actions.sql"),
        ),
        (
            41,
            "installation",
            include_str!("../../migrations/sqlite/0041_installation.sql"),
        ),
        (
            42,
            "processor references",
            include_str!("../../migrations/sqlite/0042_processor_references.sql"),
        ),
        (
            43,
            "payments by status",
            include_str!("../../migrations/sqlite/0043_payments_by_status.sql"),
        ),
        (
            44,
            "platform events",
            include_str!("../../migrations/sqlite/0044_platform_events.sql"),
        ),
        (
            45,
            "operation source",
            include_str!("../../migrations/sqlite/0045_operation_source.sql"),
        ),
        (
            46,
            "payment disputes",
            include_str!("../../migrations/sqlite/0046_payment_disputes.sql"),
        ),
        (
            47,
            "processor types",
            include_str!("../../migrations/sqlite/0047_processor_types.sql"),
        ),
        (
            48,
            "platform event difference",
            include_str!("../../migrations/sqlite/0048_platform_event_difference.sql"),
        ),
        (
            16,
            "method",
            include_str!("../../migrations/sqlite/0016_method.sql"),
        ),
    ])
});

/// Builds a migrator from (version, description, text): the first two from a file's name, the last from its content.
fn embed(files: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = files.iter().map(|&(version, description, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(
            version,
            description.into(),
            kind,
            sql.into_sql_str(),
            sql.starts_with("-- no-transaction"),
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // A later release may have added some: old and new processes run at the same time while a release is rolled out.
    migrator.set_ignore_missing(true);
    migrator
}

/// The statements of a file, each with the comments around it.
pub(super) fn statements(sql: &str) -> Vec<&str> {
    let mut ends = Vec::new();
    let mut quote = None;
    let mut in_comment = false;
    let mut before = ' ';
    for (at, letter) in sql.char_indices() {
        match (quote, letter) {
            _ if in_comment => in_comment = letter != '\n',
            (None, '-') if before == '-' => in_comment = true,
            (None, '\'' | '"' | '`') => quote = Some(letter),
            (None, ';') => ends.push(at),
            // A doubled quote ends one text and begins the next.
            (Some(opened), _) if opened == letter => quote = None,
            _ => {}
        }
        before = letter;
    }
    let mut from = 0;
    let mut found = Vec::with_capacity(ends.len() + 1);
    for end in ends.into_iter().chain([sql.len()]) {
        let statement = sql.get(from..end).unwrap_or_default().trim();
        let is_comment = |line: &str| line.is_empty() || line.starts_with("--");
        if !statement.lines().all(|line| is_comment(line.trim())) {
            found.push(statement);
        }
        from = end + 1;
    }
    found
}

/// A migration that failed because the database could not be used says nothing about the schema.
pub fn migration_error(error: MigrateError, classify: fn(sqlx::Error) -> StoreError) -> StoreError {
    match error {
        MigrateError::Execute(cause) => classify(cause),
        MigrateError::ExecuteMigration(cause, version) => match classify(cause) {
            StoreError::Rejected(cause)
            | StoreError::Conflict(cause)
            | StoreError::Locked(cause) => {
                let words = format!("migration {version}: {cause}");
                StoreError::Migration(MigrateError::Source(words.into()).into())
            }
            error => error,
        },
        error => StoreError::Migration(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::path::Path;

    use sqlx::{Connection, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn every_migration_file_is_built_into_the_program() {
        for (folder, embedded) in [("mysql", &*MYSQL), ("sqlite", &*SQLITE)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("migrations")
                .join(folder);
            let files = Migrator::new(folder.as_path()).await.unwrap();
            assert_eq!(
                files.iter().map(what_counts).collect::<Vec<_>>(),
                embedded.iter().map(what_counts).collect::<Vec<_>>()
            );
        }
    }

    #[tokio::test]
    async fn histories_survive_the_change_of_their_table() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let before = SQLITE.iter().filter(|file| file.version < 4).cloned();
        let before = Migrator::with_migrations(before.collect());
        before.run(&mut database).await.unwrap();
        let insert = "INSERT INTO payment_events
            SELECT unhex(hex(randomblob(16))), 1 + value / 3, 1 + value % 3, 'try_failed',
                '2026-11-23 05:00:00.000000', 1, 1, 'issuer_unavailable' FROM json_each('[0, 1, 2, 3, 4]')";
        sqlx::query(insert).execute(&mut database).await.unwrap();
        let all = "SELECT id, payment_id, sequence, reason FROM payment_events ORDER BY payment_id, sequence";
        type Rows = Vec<(Vec<u8>, i64, i64, String)>;
        let kept: Rows = sqlx::query_as(all).fetch_all(&mut database).await.unwrap();
        SQLITE.run(&mut database).await.unwrap();
        let found: Rows = sqlx::query_as(all).fetch_all(&mut database).await.unwrap();
        assert_eq!(found.len(), 5);
        assert_eq!(found, kept);
    }

    #[test]
    fn a_file_is_split_into_its_statements() {
        let file = "-- first; not yet\nCREATE TABLE a (b TEXT DEFAULT 'x;''y'); -- done;\n\nDROP TABLE `c;d`;\n-- end\n";
        assert_eq!(
            statements(file),
            [
                "-- first; not yet\nCREATE TABLE a (b TEXT DEFAULT 'x;''y')",
                "-- done;\n\nDROP TABLE `c;d`"
            ]
        );
    }

    #[test]
    fn a_new_migration_has_one_statement() {
        let first_ones = |folder: &str| if folder == "mysql" { 3 } else { 4 };
        for (folder, embedded) in [("mysql", &*MYSQL), ("sqlite", &*SQLITE)] {
            for file in embedded.iter().filter(|it| it.version > first_ones(folder)) {
                let number = statements(file.sql.as_str()).len();
                assert_eq!(number, 1, "{folder}, {}", file.version);
            }
        }
    }

    fn what_counts(migration: &Migration) -> impl PartialEq + Debug + use<> {
        (
            migration.version,
            migration.description.to_string(),
            migration.migration_type,
            migration.checksum.to_vec(),
            migration.no_tx,
        )
    }
}
