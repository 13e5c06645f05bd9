//! A service whose clock differs from its database's: the database's decides what has expired.

use payment_service::broker::Queue;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};

use crate::app::{Backend, Order, Setup, TestApp, field, run_on};
use crate::support::servers::{Database, DatabaseOptions};

/// For all users except administrators: for `late_…` it is half an hour earlier than it is, for `early_…` half an
/// hour later.
const OTHER_TIME: &str = "--init-connect=SET timestamp = \
    UNIX_TIMESTAMP() + IF(USER() LIKE 'early@%', 1800, -1800)";

/// A database server with two databases and a user for each, who sees a different time.
struct Clocks {
    server: Database,
}

impl Clocks {
    async fn start() -> Self {
        let options = DatabaseOptions {
            arguments: vec![OTHER_TIME.to_owned()],
            ..DatabaseOptions::default()
        };
        let server = tokio::task::spawn_blocking(move || Database::start(&options));
        let clocks = Self {
            server: server.await.unwrap().unwrap(),
        };
        for user in ["early", "late"] {
            let made = format!(
                "CREATE DATABASE {user}; CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{user}'; \
                 GRANT ALL ON {user}.* TO {user}@'127.0.0.1'"
            );
            clocks.execute("mysql", &made).await;
        }
        clocks
    }

    async fn execute(&self, database: &str, sql: &str) {
        let url = self.server.url(database);
        let mut administrator = MySqlConnection::connect(&url).await.unwrap();
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        administrator.execute(sql).await.unwrap();
    }

    /// Runs the service with this user's clock.
    async fn run(&self, user: &str, test: impl AsyncFn(&TestApp)) {
        let url = self.server.url(user);
        let url = url.replace("root@", &format!("{user}:{user}@"));
        let setup = Setup::new().with("DATABASE_URL", &url);
        run_on(setup, Backend::Servers, async |app| test(&app).await).await;
    }

    /// A card token that expires after this many minutes by the clock of this machine.
    async fn token(&self, user: &str, app: &TestApp, minutes: i8) -> String {
        let token = app.api.card_token("4242424242424242").await;
        let moved = format!(
            "UPDATE card_tokens SET expires_at = UTC_TIMESTAMP() + INTERVAL {minutes} MINUTE \
             WHERE id = '{token}'"
        );
        self.execute(user, &moved).await;
        token
    }
}

#[tokio::test]
async fn card_tokens_expire_by_the_databases_clock() {
    let clocks = Clocks::start().await;
    clocks
        .run("early", async |app| {
            let mut results = app.results("payment.#").await;
            let token = clocks.token("early", app, 10).await;
            app.publish(Order::paid_with("m-1", 1, &token)).await;
            let heard = results.next(|_| true).await;
            assert_eq!(heard.body["type"], "payment.requires_payment_method");
            assert_eq!(app.broker.depth(Queue::DeadLetters).await.unwrap(), 0);

            let order = json!({
                "order_id": 2, "user_id": 1, "total_amount": 99.53, "card_token": token,
            });
            let refused = app.api.post("/payments", order).await.is(422);
            assert_eq!(refused.faults(), [("card_token", "token_expired")]);
            let id = heard.body["data"]["payment_id"].as_i64().unwrap();
            let process = format!("/payments/{id}/process");
            let body = json!({ "card_token": token });
            let refused = app.api.post(&process, body).await.is(422);
            assert_eq!(refused.faults(), [("card_token", "token_expired")]);
        })
        .await;
    clocks
        .run("late", async |app| {
            let token = clocks.token("late", app, -10).await;
            let id = app.api.pay(1, &token).await;
            let paid = app.api.outcome(id).await;
            assert_eq!(field(&paid, "status"), "succeeded");
        })
        .await;
}
