//! The operators' page without a browser: who gets in, and the JSON, on both databases.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::app::{Answer, Backend, Order, Setup, TestApp, eventually, field, on_both, run_on};
use crate::tools::fixture::run_with;

pub const TOKEN: &str = "token-of-maria";

/// An `ADMIN_FILE` with the operator `maria`.
pub fn admin_file() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let digest = hex::encode(Sha256::digest(TOKEN.as_bytes()));
    let operators = json!({ "operators": [{ "name": "maria", "token_sha256": [digest] }] });
    std::fs::write(file.path(), operators.to_string()).unwrap();
    file
}

fn with_login(file: &NamedTempFile) -> Setup {
    Setup::new().with("ADMIN_FILE", file.path().to_str().unwrap())
}

/// An operator who is logged in.
struct Operator<'a> {
    app: &'a TestApp,
    cookie: String,
}

impl<'a> Operator<'a> {
    async fn log_in(app: &'a TestApp) -> Self {
        let answer = post(app, "/login", json!({ "token": TOKEN })).await.is(204);
        let cookie = answer
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        Self { app, cookie }
    }

    async fn get(&self, path: &str) -> Answer {
        let request = self.app.admin.request(Method::GET, path);
        self.app
            .admin
            .send(request.header("Cookie", &self.cookie))
            .await
    }

    /// The stream of events; its body is still to be read.
    async fn events(&self) -> reqwest::Response {
        let url = format!("http://{}/api/events", self.app.admin.address());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(url).header("Cookie", &self.cookie);
        request.send().await.unwrap().error_for_status().unwrap()
    }

    /// The ids that a search finds.
    async fn found(&self, query: &str) -> Vec<i64> {
        let answer = self.get(&format!("/api/payments?{query}")).await.is(200);
        let payments = answer["payments"].as_array().unwrap();
        payments
            .iter()
            .map(|it| it["payment_id"].as_i64().unwrap())
            .collect()
    }
}

/// What `payments show --json` prints.
async fn shown_by_the_command(app: &TestApp, id: i64) -> Value {
    let settings = app.settings();
    let variables = settings.variables().clone().into_iter();
    let variables = variables.map(|(name, value)| (&*name.leak(), value));
    let variables: Vec<(&'static str, String)> = variables.collect();
    let id = id.to_string();
    run_with(&["payments", "show", &id, "--json"], &variables)
        .await
        .json()
}

/// As the page's script sends it.
async fn post(app: &TestApp, path: &str, body: Value) -> Answer {
    let origin = format!("http://{}", app.admin.address());
    app.admin
        .post_with(path, &[("Origin", &origin)], body)
        .await
}

#[tokio::test]
async fn operators_search_every_clients_payments_and_read_one_on_both_databases() {
    let file = admin_file();
    on_both(with_login(&file), |app| async move {
        let refused = app.admin.get("/api/payments").await;
        assert_eq!(refused.status, 401);
        let operator = Operator::log_in(&app).await;
        assert_eq!(operator.found("").await, [0_i64; 0]);

        let (paid, declined) = (
            app.api.pay(71, "tok_visa").await,
            app.api.pay(72, "tok_lost_card").await,
        );
        let unpaid = app.api.create(72).await;
        for id in [paid, declined] {
            app.api.outcome(id).await;
        }
        assert_eq!(operator.found("").await, [unpaid, declined, paid]);
        assert_eq!(
            operator.found("client=default").await,
            [unpaid, declined, paid]
        );
        assert_eq!(operator.found("order=72").await, [unpaid, declined]);
        assert_eq!(
            operator
                .found("order=72&client=default&status=declined")
                .await,
            [declined]
        );
        assert_eq!(
            operator
                .found("user=1&client=default&status=succeeded")
                .await,
            [paid]
        );
        assert_eq!(
            operator.found("status=requires_payment_method").await,
            [unpaid]
        );
        assert_eq!(
            operator.found(&format!("payment={declined}")).await,
            [declined]
        );
        for nothing in [
            "order=73",
            "client=kiosk",
            "user=2",
            "status=failed",
            "payment=999999",
        ] {
            assert_eq!(operator.found(nothing).await, [0_i64; 0], "{nothing}");
        }
        operator.get("/api/payments?order=x").await.is(400);
        let long = "9".repeat(65);
        operator
            .get(&format!("/api/payments?user={long}"))
            .await
            .is(400);

        // Published rows are deleted a moment later.
        app.until_settled().await;
        let story = operator
            .get(&format!("/api/payments/{declined}"))
            .await
            .is(200);
        assert_eq!(field(&story.body, "decline_code"), "lost_card");
        let kinds: Vec<&str> = story["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| field(it, "kind"))
            .collect();
        assert_eq!(kinds, ["accepted", "attempt_started", "declined"]);
        assert_eq!(story["charges"], json!([]));
        let charged = operator.get(&format!("/api/payments/{paid}")).await.is(200);
        assert_eq!(field(&charged["charges"][0], "key"), format!("{paid}-1"));
        assert_eq!(charged.body, shown_by_the_command(&app, paid).await);
        operator.get("/api/payments/999999").await.is(404);
        operator.get("/api/payments/x").await.is(400);
        for path in [
            "/",
            "/charts",
            "/payments",
            "/refunds",
            "/dead-letters",
            "/clients",
            "/try",
        ] {
            operator.get(path).await.is(200);
        }

        let set_aside = format!("UPDATE payments SET quarantined = 'torn' WHERE id = {unpaid}");
        assert_eq!(app.execute(&set_aside).await, 1);
        let listed = operator.get("/api/payments?order=72").await.is(200);
        assert_eq!(field(&listed["set_aside"][0], "reason"), "torn");
        let read = operator
            .get(&format!("/api/payments/{unpaid}"))
            .await
            .is(200);
        assert_eq!(field(&read["set_aside"], "reason"), "torn");
        let rows = operator.get("/api/dead-letters").await.is(200);
        let expected = json!([{
            "table": "payments", "id": unpaid.to_string(), "payment_id": unpaid, "reason": "torn",
        }]);
        assert_eq!(rows["set_aside"], expected);
        app.execute(&format!(
            "UPDATE payments SET quarantined = NULL WHERE id = {unpaid}"
        ))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_list_is_read_page_by_page_without_gaps() {
    let file = admin_file();
    on_both(with_login(&file), |app| async move {
        let operator = Operator::log_in(&app).await;
        let mut created = Vec::new();
        for _ in 0..52 {
            created.push(app.api.create(5).await);
        }
        created.reverse();
        for query in ["", "client=default", "order=5&client=default", "user=1"] {
            let mut seen = operator.found(query).await;
            assert_eq!(seen.len(), 50, "{query}");
            let answer = operator
                .get(&format!("/api/payments?{query}"))
                .await
                .is(200);
            let next = field(&answer.body, "next").to_owned();
            let answer = operator.get(&format!("/api{next}")).await.is(200);
            let rest = answer["payments"].as_array().unwrap();
            seen.extend(rest.iter().map(|it| it["payment_id"].as_i64().unwrap()));
            assert_eq!(seen, created, "{query}");
            assert_eq!(
                (&answer["next"], &answer["searched_all"]),
                (&Value::Null, &json!(true))
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_can_begin_at_an_earlier_time() {
    let file = admin_file();
    on_both(with_login(&file), |app| async move {
        let operator = Operator::log_in(&app).await;
        assert_eq!(operator.found("until=2026-01-01T10:00").await, [0_i64; 0]);
        let mut ids = Vec::new();
        for hour in 10..13 {
            let id = app.api.create(5).await;
            let earlier = format!(
                "UPDATE payments SET created_at = '2026-01-01 {hour}:00:00.000000' WHERE id = {id}"
            );
            assert_eq!(app.execute(&earlier).await, 1);
            ids.push(id);
        }
        // Its process had the id long before.
        let late = format!(
            "UPDATE payments SET created_at = '2026-02-01 10:00:00.000000' WHERE id = {}",
            ids[0]
        );
        for (until, found) in [
            ("2026-01-01T13:00", &[ids[2], ids[1], ids[0]][..]),
            ("2026-01-01T12:00", &[ids[1], ids[0]]),
            ("2026-01-01T10:01", &[ids[0]]),
            ("2026-01-01T10:00", &[]),
        ] {
            for filter in ["", "&client=default", "&client=default&order=5", "&order=5"] {
                let query = format!("until={until}{filter}");
                assert_eq!(operator.found(&query).await, found, "{query}");
            }
        }
        assert_eq!(app.execute(&late).await, 1);
        let found = operator.found("until=2026-01-01T12:30").await;
        assert_eq!(found, [ids[2], ids[1]]);
        operator.get("/api/payments?until=noon").await.is(400);
        let page = operator.get("/payments?until=2026-01-01T11:00").await;
        page.is(200);
        let overview = operator.get("/api/overview").await.is(200);
        assert!(overview["stages"]["accept"]["per_second"].is_number());
    })
    .await;
}

/// Copies a payment 5,000 times, with higher ids.
async fn copied_five_thousand_times(app: &TestApp, id: i64) {
    let columns = "client, order_id, user_id, amount_minor, currency, status, attempt, metadata, sequence, created_at, \
                   updated_at, try_number, phase, uncertain, origin";
    let digit = |name: &str| {
        let digits: Vec<String> = (1..10)
            .map(|digit| format!("UNION ALL SELECT {digit}"))
            .collect();
        format!("(SELECT 0 AS {name} {})", digits.join(" "))
    };
    let (a, b, c, d) = (digit("a"), digit("b"), digit("c"), digit("d"));
    let copy = format!(
        "INSERT INTO payments (id, {columns}) SELECT 1000000 + a + 10 * b + 100 * c + 1000 * d, {columns} \
         FROM payments CROSS JOIN {a} AS ones CROSS JOIN {b} AS tens CROSS JOIN {c} AS hundreds \
         CROSS JOIN {d} AS thousands WHERE payments.id = {id} AND d < 5"
    );
    assert_eq!(app.execute(&copy).await, 5_000);
}

#[tokio::test]
async fn a_search_that_has_read_five_thousand_rows_says_so_and_continues() {
    let file = admin_file();
    on_both(with_login(&file), |app| async move {
        let operator = Operator::log_in(&app).await;
        let (wanted, other) = (app.api.create(999).await, app.api.create(5).await);
        copied_five_thousand_times(&app, other).await;
        for query in ["order=999", "client=default&user=1&status=succeeded"] {
            let answer = operator
                .get(&format!("/api/payments?{query}"))
                .await
                .is(200);
            assert_eq!(answer["payments"], json!([]), "{query}");
            assert_eq!(answer["searched_all"], false, "{query}");
            let page = operator.get(&format!("/payments?{query}")).await.is(200);
            assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        }
        let answer = operator.get("/api/payments?order=999").await.is(200);
        let next = field(&answer.body, "next").to_owned();
        let answer = operator.get(&format!("/api{next}")).await.is(200);
        assert_eq!(answer["payments"][0]["payment_id"], wanted);
        assert_eq!(answer["searched_all"], true);
        // An index leads to it at once.
        assert_eq!(operator.found("client=default&order=999").await, [wanted]);
        let query = "/api/payments?client=default&status=succeeded";
        let answer = operator.get(query).await.is(200);
        assert_eq!(answer["payments"], json!([]));
        assert_eq!(answer["searched_all"], true);
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_read_masked_and_stay() {
    let file = admin_file();
    on_both(with_login(&file), |app| async move {
        let operator = Operator::log_in(&app).await;
        let answer = operator.get("/api/dead-letters").await.is(200);
        assert_eq!(answer["dead_letters"], json!([]));
        let bad = json!({ "order_id": 1, "note": "4242424242424242", "total_amount": 5 });
        app.publish(Order::new("bad-1", &bad)).await;
        eventually("the dead letter is there", || async {
            let answer = operator.get("/api/dead-letters").await.is(200);
            answer["dead_letters"].as_array().unwrap().len() == 1
        })
        .await;
        let answer = operator.get("/api/dead-letters").await.is(200);
        let letter = &answer["dead_letters"][0];
        assert_eq!(field(letter, "message_id"), "bad-1");
        assert!(!letter.to_string().contains("4242424242424242"), "{letter}");
        // It is still stored; with a header that counts how often it was read.
        let mut stored = app.dead_letters();
        let letter = stored.deliveries.recv().await.unwrap();
        letter.settle.acknowledge().await;
    })
    .await;
}

#[tokio::test]
async fn on_servers_without_an_admin_file_the_page_is_off_and_probes_still_work() {
    run_on(Setup::new(), Backend::Servers, |app| async move {
        app.admin.get("/").await.is(404);
        app.admin.get("/api/payments").await.is(404);
        for path in ["/health/ready", "/health/live", "/metrics"] {
            let request = app.admin.request(Method::GET, path);
            app.admin
                .send(request.header("Host", "prober:1"))
                .await
                .is(200);
        }
        let request = app.admin.request(Method::GET, "/");
        app.admin
            .send(request.header("Host", "prober:1"))
            .await
            .is(403);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_reported_within_two_seconds() {
    use sqlx::{Connection, Executor};
    let file = admin_file();
    run_on(with_login(&file), Backend::Servers, |app| async move {
        let operator = Operator::log_in(&app).await;
        let id = app.api.create(1).await;
        let settings = app.settings();
        let url = &settings.variables()["DATABASE_URL"];
        let mut holder = sqlx::MySqlConnection::connect(url).await.unwrap();
        holder.execute("LOCK TABLES payments WRITE").await.unwrap();
        for path in [
            "/payments".to_owned(),
            format!("/payments/{id}"),
            format!("/api/payments/{id}"),
        ] {
            let begun = Instant::now();
            operator.get(&path).await.is(503);
            assert!(
                begun.elapsed() < Duration::from_secs(2),
                "{:?}",
                begun.elapsed()
            );
        }
        // An open page is told, and goes on when the database answers again.
        let begun = Instant::now();
        let mut events = operator.events().await;
        until_page(&mut events, "these results are old").await;
        assert!(begun.elapsed() < Duration::from_secs(2));
        holder.execute("UNLOCK TABLES").await.unwrap();
        operator.get("/payments").await.is(200);
        let paid = app.api.pay(2, "tok_visa").await;
        until_page(&mut events, &format!("/payments/{paid}\"")).await;
    })
    .await;
}

/// Reads events until one has this text.
async fn until_page(events: &mut reqwest::Response, text: &str) {
    let reading = async {
        loop {
            let chunk = events.chunk().await.unwrap().expect("the stream goes on");
            if String::from_utf8_lossy(&chunk).contains(text) {
                return;
            }
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(60), reading).await;
    assert!(read.is_ok(), "no event has {text}");
}

/// The results of the last minute: all of them while few pass, also those of payments that were created before, and refunds.
#[tokio::test]
async fn the_results_of_the_last_minute_are_shown_whether_or_not_a_page_is_open() {
    let file = admin_file();
    on_both(with_login(&file), |app| async move {
        let operator = Operator::log_in(&app).await;
        let waiting = app.api.create(80).await;
        let paid = app.api.pay(81, "tok_visa").await;
        let declined = app.api.pay(82, "tok_lost_card").await;
        for id in [paid, declined] {
            app.api.outcome(id).await;
        }
        let passed = async || operator.get("/api/overview").await.is(200)["passed"].clone();
        let first = passed().await;
        assert_eq!(
            first["counts"],
            json!({ "payment.succeeded": 1, "payment.declined": 1 })
        );
        assert_eq!(first["is_sample"], false);
        assert_eq!(first["is_old"], false);
        let key = [("Idempotency-Key", "refund-80")];
        let path = format!("/payments/{paid}/refunds");
        app.api.post_with(&path, &key, json!({})).await.is(202);
        let card = json!({ "card_token": "tok_visa" });
        let process = format!("/payments/{waiting}/process");
        app.api.post(&process, card).await.is(200);
        eventually("both are shown", async || {
            let counts = passed().await["counts"].clone();
            counts["refund.succeeded"] == 1 && counts["payment.succeeded"] == 2
        })
        .await;
        let last = passed().await["last"].clone();
        assert_eq!(last.as_array().map(Vec::len), Some(4), "{last}");
        assert_eq!(last[0]["client"], "default");
        let refunds = operator.get("/api/refunds").await.is(200)["refunds"].clone();
        assert_eq!(refunds.as_array().map(Vec::len), Some(1), "{refunds}");
        assert_eq!(refunds[0]["payment_id"], paid);
    })
    .await;
}

#[tokio::test]
async fn a_changed_admin_file_ends_sessions_and_an_invalid_one_changes_nothing() {
    let file = admin_file();
    run_on(with_login(&file), Backend::Embedded, |app| {
        let path = file.path().to_owned();
        async move {
            let operator = Operator::log_in(&app).await;
            let good = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, "{\"operators\": []}").unwrap();
            // Longer than the file is looked at.
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(3) {
                operator.get("/api/overview").await.is(200);
            }
            let digest = hex::encode(Sha256::digest("token-of-paul"));
            let paul = json!({ "operators": [{ "name": "paul", "token_sha256": [digest] }] });
            std::fs::write(&path, paul.to_string()).unwrap();
            eventually("the session ends", async || {
                operator.get("/api/overview").await.status == 401
            })
            .await;
            post(&app, "/login", json!({ "token": TOKEN }))
                .await
                .is(401);
            post(&app, "/login", json!({ "token": "token-of-paul" }))
                .await
                .is(204);
            std::fs::write(&path, good).unwrap();
            eventually("the operator is back", async || {
                operator.get("/api/overview").await.status == 200
            })
            .await;
        }
    })
    .await;
}
