//! The files of `migrations/`, as part of the program.
//!
//! Written by hand, because `sqlx::migrate!` builds both database drivers, SQLite's C code included, a second time for
//! its macro.

use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

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
    ])
});

/// From (version, description, text): what the files' names say, and the files.
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
    Migrator::with_migrations(migrations.collect())
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn every_file_is_part_of_the_program_as_it_stands() {
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
