//! For tests of commands: a separate database, and the program as a separate process.

use std::process::{Command, Output, Stdio};

use payment_service::store::Store;
use payment_service::store::dead_letters::DeadLetterTable;
use payment_service::store::mysql::parse_url;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

use crate::support::process::SEAL_KEYS;
use crate::support::servers::{AmqpUrl, DatabaseUrl, fresh_database, fresh_servers};

/// Data, and the configuration of the program.
pub struct Fixture {
    data: Data,
    more: Vec<(&'static str, String)>,
}

enum Data {
    File(TempDir),
    Server(DatabaseUrl, Option<AmqpUrl>),
}

impl Fixture {
    /// Both kinds of database, with the schema.
    pub async fn both() -> [Self; 2] {
        let places = [
            Self::of(Data::File(TempDir::new().unwrap())),
            Self::of(Data::Server(fresh_database().await.unwrap(), None)),
        ];
        for fixture in &places {
            fixture.migrate().await;
        }
        places
    }

    /// A file with the schema.
    pub async fn embedded() -> Self {
        let fixture = Self::of(Data::File(TempDir::new().unwrap()));
        fixture.migrate().await;
        fixture
    }

    /// Database and broker as they come: empty.
    pub async fn servers() -> Self {
        let (database, amqp) = fresh_servers().await.unwrap();
        Self::of(Data::Server(database, Some(amqp)))
    }

    /// A folder without data.
    pub fn nothing() -> Self {
        Self::of(Data::File(TempDir::new().unwrap()))
    }

    fn of(data: Data) -> Self {
        let more = Vec::new();
        Self { data, more }
    }

    /// Another variable for the program.
    pub fn also(&mut self, name: &'static str, value: String) {
        self.more.push((name, value));
    }

    async fn migrate(&self) {
        let database = self.database();
        database.migrate().await.unwrap();
        database.close().await;
    }

    pub fn database(&self) -> Store {
        match &self.data {
            Data::File(_) => self.file().0,
            Data::Server(url, _) => Store::mysql(parse_url(url).unwrap(), 4),
        }
    }

    pub fn file(&self) -> (Store, DeadLetterTable) {
        match &self.data {
            Data::File(folder) => Store::embedded(&folder.path().join("payments.db")),
            Data::Server(..) => panic!("no file"),
        }
    }

    pub fn is_embedded(&self) -> bool {
        matches!(self.data, Data::File(_))
    }

    pub fn amqp_url(&self) -> &str {
        match &self.data {
            Data::Server(_, Some(url)) => url,
            _ => panic!("no broker"),
        }
    }

    /// The number that a query returns.
    pub async fn number(&self, sql: &'static str) -> i64 {
        match &self.data {
            Data::File(folder) => {
                let url = format!("sqlite://{}", folder.path().join("payments.db").display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                let found = sqlx::query_scalar(sql).fetch_one(&mut connection);
                found.await.unwrap()
            }
            Data::Server(url, _) => {
                let mut connection = sqlx::MySqlConnection::connect(url).await.unwrap();
                let found = sqlx::query_scalar(sql).fetch_one(&mut connection);
                found.await.unwrap()
            }
        }
    }

    /// Runs a statement directly on the database.
    pub async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.data {
            Data::File(folder) => {
                let url = format!("sqlite://{}", folder.path().join("payments.db").display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
            Data::Server(url, _) => {
                let mut connection = sqlx::MySqlConnection::connect(url).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// The environment variables of the program.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = match &self.data {
            Data::File(folder) => vec![
                ("DATA_DIR", folder.path().display().to_string()),
                ("SEAL_KEYS", SEAL_KEYS.to_owned()),
            ],
            Data::Server(database, amqp) => vec![
                ("DATABASE_URL", database.to_string()),
                (
                    "AMQP_URL",
                    amqp.as_ref()
                        .map_or("amqp://127.0.0.1:1", |url| url)
                        .to_owned(),
                ),
                ("SEAL_KEYS", SEAL_KEYS.to_owned()),
            ],
        };
        variables.extend(self.more.iter().cloned());
        variables
    }

    /// Runs the program to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        run_with(arguments, &self.variables()).await
    }
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns it, or fails if it ended with another exit code.
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }
}

/// Runs the program to its end, with these variables and no others.
pub async fn run_with(arguments: &[&str], variables: &[(&'static str, String)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payment-service"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().cloned())
        .stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = ran.await.unwrap().unwrap();
    Ended {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}
