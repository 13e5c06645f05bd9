//! Applies the migrations, one statement at a time, and continues where an earlier run was interrupted.
//!
//! MySQL and MariaDB commit every change of a table immediately, so a killed `setup` leaves a migration whose row in
//! `_sqlx_migrations` has `success = false`, as with sqlx's own migrator. That migrator then always refuses to run. This
//! one runs the statements of such a migration again. If a statement has already taken effect, the server refuses it with
//! one of the codes of [`says_done`]: each statement takes effect completely or not at all.

use sqlx::migrate::{Migrate, MigrateError, Migration, Migrator};
use sqlx::mysql::{MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, Executor, query, query_as};

use crate::store::migrations::statements;

const TABLE: &str = "_sqlx_migrations";

/// `execution_time` of a migration that has started but not finished.
const UNDER_WAY: i64 = -1;

/// This minus the number of statements before it is the `execution_time` after the server has refused a statement. That
/// statement has not taken effect, so a later "already exists" error would be about something else.
const REFUSED: i64 = -2;

/// (version, description, checksum)
const BEGIN: &str = "
INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (?, ?, FALSE, ?, -1)";

/// (success, execution time, version)
const NOTE: &str = "UPDATE _sqlx_migrations SET success = ?, execution_time = ? WHERE version = ?";

/// (version)
const FORGET: &str = "DELETE FROM _sqlx_migrations WHERE version = ?";

/// () → version, checksum, success, execution time
const APPLIED: &str = "
SELECT version, checksum, success, execution_time FROM _sqlx_migrations ORDER BY version";

/// Which statements of a migration may already have taken effect.
#[derive(Debug, Clone, Copy)]
struct Before(usize);

impl Before {
    const NONE: Self = Self(0);

    fn of_row(execution_time: i64) -> Self {
        match usize::try_from(REFUSED - execution_time) {
            Ok(refused) => Self(refused),
            Err(_) => Self(usize::MAX),
        }
    }
}

/// Applies missing migrations. Unknown migrations belong to a later release, and stay unchanged.
pub(super) async fn run(
    connection: &mut MySqlConnection,
    migrations: &Migrator,
) -> Result<(), MigrateError> {
    connection.ensure_migrations_table(TABLE).await?;
    let applied: Vec<(i64, Vec<u8>, bool, i64)> =
        query_as(APPLIED).fetch_all(&mut *connection).await?;
    for migration in migrations.iter() {
        let known = applied
            .iter()
            .find(|(version, ..)| *version == migration.version);
        match known {
            Some((_, checksum, ..)) if checksum.as_slice() != &*migration.checksum => {
                return Err(MigrateError::VersionMismatch(migration.version));
            }
            Some((.., true, _)) => {}
            Some((.., false, execution_time)) => {
                tracing::warn!(
                    migration = migration.version,
                    "a migration was interrupted: completing it now"
                );
                note(connection, migration, false, UNDER_WAY).await?;
                apply(connection, migration, Before::of_row(*execution_time)).await?;
            }
            None => {
                query(BEGIN)
                    .bind(migration.version)
                    .bind(&*migration.description)
                    .bind(&*migration.checksum)
                    .execute(&mut *connection)
                    .await?;
                apply(connection, migration, Before::NONE).await?;
            }
        }
    }
    Ok(())
}

async fn apply(
    connection: &mut MySqlConnection,
    migration: &Migration,
    before: Before,
) -> Result<(), MigrateError> {
    let began = std::time::Instant::now();
    for (index, statement) in statements(migration.sql.as_str()).into_iter().enumerate() {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        match connection.execute(statement).await {
            Ok(_) => {}
            Err(error) if index < before.0 && says_done(&error) => {}
            Err(error) => {
                if matches!(error, sqlx::Error::Database(_)) {
                    refused(connection, migration, index).await?;
                }
                return Err(MigrateError::ExecuteMigration(error, migration.version));
            }
        }
    }
    let took = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
    note(connection, migration, true, took).await
}

/// Records a refused statement, or deletes the row if no statement has taken effect.
async fn refused(
    connection: &mut MySqlConnection,
    migration: &Migration,
    index: usize,
) -> Result<(), MigrateError> {
    if index == 0 {
        let forget = query(FORGET).bind(migration.version);
        forget.execute(&mut *connection).await?;
        return Ok(());
    }
    let index = i64::try_from(index).unwrap_or_default();
    note(connection, migration, false, REFUSED - index).await
}

async fn note(
    connection: &mut MySqlConnection,
    migration: &Migration,
    success: bool,
    execution_time: i64,
) -> Result<(), MigrateError> {
    query(NOTE)
        .bind(success)
        .bind(execution_time)
        .bind(migration.version)
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// Whether the server reports that a change of a table was already made. The codes mean the same on both servers:
/// ER_TABLE_EXISTS_ERROR, ER_BAD_TABLE_ERROR (a table that is to be dropped), ER_BAD_FIELD_ERROR (a column that is to be
/// renamed), ER_DUP_FIELDNAME, ER_DUP_KEYNAME, ER_MULTIPLE_PRI_KEY, ER_CANT_DROP_FIELD_OR_KEY, ER_FK_DUP_NAME,
/// ER_CHECK_CONSTRAINT_DUP_NAME.
fn says_done(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref())
        .map_or(0, MySqlDatabaseError::number);
    matches!(
        code,
        1050 | 1051 | 1054 | 1060 | 1061 | 1068 | 1091 | 1826 | 3822
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_migration_is_uncertain_and_a_refused_one_is_not() {
        assert_eq!(Before::of_row(UNDER_WAY).0, usize::MAX);
        assert_eq!(Before::of_row(REFUSED).0, 0);
        assert_eq!(Before::of_row(REFUSED - 3).0, 3);
    }
}
