//! The meaning of MySQL's and MariaDB's error codes for this service.

use sqlx::Error;
use sqlx::migrate::MigrateError;
use sqlx::mysql::MySqlDatabaseError;

use crate::store::StoreError;

/// ER_MAX_PREPARED_STMT_COUNT_REACHED
const NO_ROOM_FOR_STATEMENTS: u16 = 1461;

/// Classifies an error of a statement or of connecting.
pub fn classify(error: Error) -> StoreError {
    match &error {
        Error::ColumnDecode { .. } | Error::ColumnNotFound(_) | Error::Decode(_) => {
            StoreError::Corrupt(error.to_string())
        }
        Error::Database(database) => {
            let code = database
                .try_downcast_ref()
                .map_or(0, MySqlDatabaseError::number);
            let state = database.code();
            match meaning(code, state.as_deref().unwrap_or("")) {
                Meaning::Conflict => StoreError::Conflict(error.into()),
                Meaning::Locked => StoreError::Locked(error.into()),
                Meaning::Unavailable => StoreError::Unavailable(error.into()),
                Meaning::Rejected => StoreError::Rejected(error.into()),
                Meaning::Schema => StoreError::Migration(MigrateError::Execute(error).into()),
            }
        }
        // No connection, or a broken one: I/O, TLS, the protocol, the pool.
        _ => StoreError::Unavailable(with_hint(error).into()),
    }
}

/// Adds the related settings to an error of TLS, which does not mention them.
fn with_hint(error: Error) -> Error {
    let is_tls = match &error {
        Error::Tls(_) => true,
        Error::Io(io) => io
            .get_ref()
            .is_some_and(|cause| cause.is::<rustls::Error>()),
        _ => false,
    };
    if !is_tls {
        return error;
    }
    Error::Tls(format!("{error} (check ssl-mode, ssl-ca and the host name in DATABASE_URL)").into())
}

/// Classifies an error of a commit: unless the server reports a rollback, the result is unknown.
pub fn classify_commit(error: Error) -> StoreError {
    match classify(error) {
        error @ (StoreError::Conflict(_) | StoreError::Locked(_)) => error,
        StoreError::Unavailable(error) | StoreError::Rejected(error) => {
            StoreError::CommitUnknown(error)
        }
        other => other,
    }
}

/// Whether the server accepts no changes now, or not from this session: after a fail-over another server may have the
/// same address, and a session keeps the settings that it started with.
pub fn refuses_changes(error: &StoreError) -> bool {
    is_refusal_of_changes(code_of(error))
}

/// Whether all connections to the server together have as many prepared statements as it allows.
pub fn has_no_room_for_statements(error: &StoreError) -> bool {
    code_of(error) == NO_ROOM_FOR_STATEMENTS
}

/// The server's code of an error that does not concern the data; 0 if there is none.
fn code_of(error: &StoreError) -> u16 {
    let (StoreError::Unavailable(cause) | StoreError::CommitUnknown(cause)) = error else {
        return 0;
    };
    cause
        .as_database_error()
        .and_then(|error| error.try_downcast_ref())
        .map_or(0, MySqlDatabaseError::number)
}

/// ER_OPEN_AS_READONLY, ER_UNKNOWN_COM_ERROR (a Galera node that is not ready), ER_OPTION_PREVENTS_STATEMENT (read_only,
/// super_read_only), ER_BINLOG_LOGGING_IMPOSSIBLE, ER_BINLOG_ROW_ENGINE_AND_STMT_ENGINE to
/// ER_BINLOG_STMT_MODE_AND_NO_REPL_TABLES (1661 to 1666; 1665 is binlog_format=STATEMENT with READ COMMITTED),
/// ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE, ER_INNODB_READ_ONLY, ER_RUN_HOOK_ERROR (MySQL group
/// replication), ER_SERVER_OFFLINE_MODE.
fn is_refusal_of_changes(code: u16) -> bool {
    matches!(
        code,
        1036 | 1047 | 1290 | 1598 | 1661..=1666 | 1792 | 1836 | 1874 | 3100 | 3032
    )
}

/// Whether the connection or its host is the problem: it is gone, or does not accept writes.
pub fn is_of_the_connection(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Unavailable(_) | StoreError::CommitUnknown(_)
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Conflict,
    Locked,
    Unavailable,
    Rejected,
    Schema,
}

/// Codes below 1900 mean the same on both servers; above, each has its own.
fn meaning(code: u16, state: &str) -> Meaning {
    match code {
        // ER_LOCK_WAIT_TIMEOUT
        1205 => Meaning::Locked,
        // ER_LOCK_TABLE_FULL, ER_LOCK_DEADLOCK (also used by Galera's certification),
        // ER_ERROR_DURING_COMMIT (Galera, when it fails at the commit itself), ER_CHECKREAD (MariaDB: the row has
        // changed since it was read), ER_LOCK_ABORTED (a table is being altered),
        // ER_TRANSACTION_ROLLBACK_DURING_COMMIT (MySQL group replication)
        1206 | 1213 | 1180 | 1020 | 1689 | 3101 => Meaning::Conflict,
        // ER_BAD_FIELD_ERROR, ER_NO_SUCH_TABLE
        1054 | 1146 => Meaning::Schema,
        // ER_CON_COUNT_ERROR, ER_OUT_OF_RESOURCES, ER_BAD_HOST_ERROR, ER_HANDSHAKE_ERROR, ER_DBACCESS_DENIED,
        // ER_ACCESS_DENIED, ER_NO_DB, ER_UNKNOWN_COM (1047: a Galera node that is not ready), ER_BAD_DB,
        // ER_SERVER_SHUTDOWN, ER_NORMAL_SHUTDOWN, ER_DISK_FULL, ER_RECORD_FILE_FULL, ER_HOST_IS_BLOCKED,
        // ER_TABLEACCESS_DENIED, ER_NET_READ_ERROR and its like
        1040..=1047 | 1049 | 1053 | 1077 | 1021 | 1114 | 1129 | 1130 | 1142 | 1158..=1161 => {
            Meaning::Unavailable
        }
        // ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED, ER_OPTION_PREVENTS_STATEMENT (1290: read-only),
        // ER_QUERY_INTERRUPTED, ER_TOO_MANY_CONCURRENT_TRXS, ER_READ_ONLY_MODE, ER_MUST_CHANGE_PASSWORD,
        // ER_CONNECTION_KILLED (MariaDB), ER_STATEMENT_TIMEOUT (MariaDB), ER_QUERY_TIMEOUT (MySQL),
        // ER_SERVER_ISNT_AVAILABLE, ER_SERVER_OFFLINE_MODE, ER_CLIENT_INTERACTION_TIMEOUT (MySQL)
        1203 | 1226 | 1290 | 1317 | 1637 | 1836 | 1820 | 1927 | 1969 | 3024 | 3168 | 3032
        | 4031 => Meaning::Unavailable,
        // What the server or the account allows, although the state is that of a wrong statement: ER_TOO_BIG_SELECT,
        // ER_COLUMNACCESS_DENIED, ER_SPECIFIC_ACCESS_DENIED, ER_PROCACCESS_DENIED
        1104 | 1143 | 1227 | 1370 | NO_ROOM_FOR_STATEMENTS => Meaning::Unavailable,
        // The server accepts no changes, or not from this session; see `is_refusal_of_changes`.
        code if is_refusal_of_changes(code) => Meaning::Unavailable,
        // Client errors about a lost connection
        2000..=2055 => Meaning::Unavailable,
        // ER_NET_PACKET_TOO_LARGE, ER_WARN_ALLOWED_PACKET_OVERFLOWED: half of the rows may succeed.
        // ER_CHECK_CONSTRAINT_VIOLATED (MySQL)
        1153 | 1301 | 3819 => Meaning::Rejected,
        // ER_WRONG_VALUE_FOR_FUNCTION and other errors about a value with state HY000: ER_TRUNCATED_WRONG_VALUE,
        // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD, ER_WRONG_VALUE_FOR_TYPE, invalid JSON (MySQL, MariaDB)
        1292 | 1366 | 1411 | 3140..=3160 | 4036..=4044 | 4174..=4180 => Meaning::Rejected,
        _ => by_state(state),
    }
}

/// Classifies codes that are not listed by the class of the SQLSTATE. Unknown errors are retried.
fn by_state(state: &str) -> Meaning {
    match state.get(..2).unwrap_or("") {
        // Cardinality, data and integrity; a statement that the server does not understand.
        "21" | "22" | "23" | "42" => Meaning::Rejected,
        "40" => Meaning::Conflict,
        _ => Meaning::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_classified_for_both_servers() {
        let table = [
            (1213, "40001", Meaning::Conflict),
            (1205, "HY000", Meaning::Locked),
            (1180, "HY000", Meaning::Conflict),
            (1020, "HY000", Meaning::Conflict),
            (3101, "40000", Meaning::Conflict),
            (1040, "08004", Meaning::Unavailable),
            (1203, "42000", Meaning::Unavailable),
            (1045, "28000", Meaning::Unavailable),
            (1047, "08S01", Meaning::Unavailable),
            (1053, "08S01", Meaning::Unavailable),
            (1104, "42000", Meaning::Unavailable),
            (1143, "42000", Meaning::Unavailable),
            (1227, "42000", Meaning::Unavailable),
            (1461, "42000", Meaning::Unavailable),
            (1129, "HY000", Meaning::Unavailable),
            (1290, "HY000", Meaning::Unavailable),
            (1317, "70100", Meaning::Unavailable),
            (1836, "HY000", Meaning::Unavailable),
            (1927, "70100", Meaning::Unavailable),
            (2006, "HY000", Meaning::Unavailable),
            (2013, "HY000", Meaning::Unavailable),
            (4031, "HY000", Meaning::Unavailable),
            (9999, "HY000", Meaning::Unavailable),
            (1036, "HY000", Meaning::Unavailable),
            (1598, "HY000", Meaning::Unavailable),
            (1665, "HY000", Meaning::Unavailable),
            (1792, "25006", Meaning::Unavailable),
            (1874, "HY000", Meaning::Unavailable),
            (3100, "HY000", Meaning::Unavailable),
            (1048, "23000", Meaning::Rejected),
            (1062, "23000", Meaning::Rejected),
            (1153, "08S01", Meaning::Rejected),
            (1301, "HY000", Meaning::Rejected),
            (3819, "HY000", Meaning::Rejected),
            (1264, "22003", Meaning::Rejected),
            (1292, "22007", Meaning::Rejected),
            (1366, "HY000", Meaning::Rejected),
            (1406, "22001", Meaning::Rejected),
            (1411, "HY000", Meaning::Rejected),
            (3141, "22032", Meaning::Rejected),
            (3156, "22018", Meaning::Rejected),
            (4038, "HY000", Meaning::Rejected),
            (1064, "42000", Meaning::Rejected),
            (1146, "42S02", Meaning::Schema),
            (1054, "42S22", Meaning::Schema),
        ];
        for (code, state, expected) in table {
            assert_eq!(meaning(code, state), expected, "code {code}, state {state}");
        }
    }

    #[test]
    fn a_broken_connection_makes_only_a_commit_uncertain() {
        let broken = || Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(classify(broken()), StoreError::Unavailable(_)));
        assert!(matches!(
            classify_commit(broken()),
            StoreError::CommitUnknown(_)
        ));
    }
}
