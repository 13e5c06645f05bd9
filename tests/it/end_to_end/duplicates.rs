//! The same request several times at nearly the same time, with a one-time card token: all get the payment of the
//! first, by REST and by message.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use payment_service::broker::Queue;
use payment_service::config::Role;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{
    Answer, Api, Backend, Order, Setup, TestApp, card, eventually, field, on_both, run_on,
};

/// Payments of each run; `DUPLICATES=5000` for a long one.
fn payments() -> i64 {
    let asked = std::env::var("DUPLICATES").ok();
    asked.and_then(|number| number.parse().ok()).unwrap_or(300)
}

/// Requests that are sent at the same time.
const CONCURRENT: usize = 16;

/// A time-out that does not make tries fail on a busy machine.
fn setup() -> Setup {
    Setup::new()
        .with("PROCESSOR_TIMEOUT", "2s")
        .with("OUTBOX_LEASE", "5s")
        .with("DATABASE_CONNECTIONS", "12")
}

/// Sends a request again while the answer is 503, as a careful client does.
async fn post(api: &Api, path: &str, key: Option<&str>, body: &Value) -> Answer {
    let headers: Vec<(&str, &str)> = key.iter().map(|key| ("Idempotency-Key", *key)).collect();
    loop {
        let answer = api.post_with(path, &headers, body.clone()).await;
        if answer.status != 503 {
            return answer;
        }
    }
}

async fn token(api: &Api, number: &str) -> String {
    let made = post(api, "/card-tokens", None, &card(number)).await;
    field(&made.is(201).body, "card_token").to_owned()
}

async fn another(app: &TestApp) -> Api {
    match app.backend() {
        Backend::Embedded => app.api.clone(),
        Backend::Servers => app.another(Role::Api).await,
    }
}

#[tokio::test]
async fn duplicates_with_a_one_time_token_get_the_first_payment_by_rest_and_by_message() {
    on_both(setup(), |app| async move {
        let second = another(&app).await;
        let tripled = (1..=payments()).map(|order| tripled(&app, &second, order));
        let mut tripled = stream::iter(tripled).buffer_unordered(CONCURRENT);
        while tripled.next().await.is_some() {}
        app.until_settled().await;
        assert_eq!(app.broker.depth(Queue::DeadLetters).await.unwrap(), 0);
    })
    .await;
}

/// Twice by REST and once by message, with one key and one token.
async fn tripled(app: &TestApp, second: &Api, order: i64) {
    let token = token(&app.api, "4242424242424242").await;
    let body = json!({
        "order_id": order, "user_id": 1, "total_amount": 99.53, "card_token": token,
    });
    let key = format!("once-{order}");
    let (one, other, ()) = tokio::join!(
        post(&app.api, "/payments", Some(&key), &body),
        post(second, "/payments", Some(&key), &body),
        app.publish(Order::new(&key, &body)),
    );
    for answer in [&one, &other] {
        assert!(
            matches!(answer.status, 200 | 202),
            "{}: {}",
            answer.status,
            answer.body
        );
    }
    assert_eq!(one.id(), other.id());
    let listed = app.api.get(&format!("/payments?order_id={order}")).await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn presenting_a_token_twice_for_one_payment_starts_one_attempt() {
    on_both(setup(), |app| async move {
        let second = another(&app).await;
        let twice = (1..=payments() / 3).map(|order| twice(&app, &second, order));
        let mut twice = stream::iter(twice).buffer_unordered(CONCURRENT);
        while twice.next().await.is_some() {}
    })
    .await;
}

async fn twice(app: &TestApp, second: &Api, order: i64) {
    let new = json!({ "order_id": order, "user_id": 1, "total_amount": 99.53 });
    let id = post(&app.api, "/payments", None, &new).await.is(202).id();
    let process = format!("/payments/{id}/process");
    let body = json!({ "card_token": token(&app.api, "4000000000009995").await });
    let (one, other) = tokio::join!(
        post(&app.api, &process, None, &body),
        post(second, &process, None, &body),
    );
    let outcome = app.api.outcome(id).await;
    assert_eq!(outcome["attempt"], 1);
    // Also if it comes late: the token was used, but by this payment.
    let late = post(second, &process, None, &body).await;
    for answer in [one, other, late] {
        assert!(
            matches!(answer.status, 200 | 202),
            "{}: {}",
            answer.status,
            answer.body
        );
        assert_eq!((answer.id(), &answer["attempt"]), (id, &json!(1)));
    }
}

/// Another card under the same key is not a duplicate, and its token can still be used.
#[tokio::test]
async fn another_request_under_a_used_key_does_not_use_its_token() {
    on_both(setup(), |app| async move {
        let [first, second] = [
            token(&app.api, "4242424242424242").await,
            token(&app.api, "5555555555554444").await,
        ];
        let order = |token: &str| -> Value {
            json!({"order_id": 1, "user_id": 1, "total_amount": 99.53, "card_token": token})
        };
        let (one, two) = (order(&first), order(&second));
        let answers = tokio::join!(
            post(&app.api, "/payments", Some("once"), &one),
            post(&app.api, "/payments", Some("once"), &two),
        );
        let answers: [Answer; 2] = answers.into();
        let mut statuses = answers.each_ref().map(|answer| answer.status);
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 422]);
        let unused = if answers[0].status == 422 {
            &first
        } else {
            &second
        };
        app.api.pay(2, unused).await;
    })
    .await;
}

/// Whenever a client disconnects, the commit dispatches its payment. The sweep does not run here.
#[tokio::test]
async fn payments_of_clients_that_disconnect_are_dispatched_at_once() {
    let never = setup()
        .with("PROCESSOR_TIMEOUT", "20s")
        .with("SWEEP_EVERY", "1h")
        .with("OUTBOX_LEASE", "1h")
        .with("CHECK_AFTER", "1h");
    for backend in [Backend::Embedded, Backend::Servers] {
        run_on(never.clone(), backend, |app| async move {
            disconnecting(&app).await;
        })
        .await;
    }
}

async fn disconnecting(app: &Arc<TestApp>) {
    const CLIENTS: i64 = 400;
    let clients = (0..CLIENTS).map(|order| async move {
        let body = json!({
            "order_id": order + 1, "user_id": 1, "total_amount": 99.53, "card_token": "tok_visa",
        })
        .to_string();
        let address = app.api.address();
        let request = format!(
            "POST /payments HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // Some before the commit, some during it, some after; every tenth with its answer.
        if order % 10 == 0 {
            let mut status = [0_u8; 12];
            stream.read_exact(&mut status).await.unwrap();
        } else {
            let moment = Duration::from_millis(u64::try_from(order % 40).unwrap());
            tokio::time::sleep(moment).await;
        }
        drop(stream);
    });
    let mut clients = stream::iter(clients).buffer_unordered(40);
    while clients.next().await.is_some() {}
    eventually("all that was committed is dispatched", || async {
        let outbox = app.database.outbox_depth().await.unwrap().total;
        let processing = app.api.get("/payments?status=processing").await;
        outbox == 0 && processing["data"].as_array().is_some_and(Vec::is_empty)
    })
    .await;
    let taken = app.api.get("/payments").await;
    assert!(!taken["data"].as_array().unwrap().is_empty());
}
