//! Receivers that are down, slow, wrong or at a forbidden address.

use serde_json::json;
use tokio::sync::watch;

use super::receiver::{Receiver, ready, redirect};
use super::{callback, given_up, given_up_soon, quick, told_to_the_store, with_receiver};
use crate::app::{KIOSK, STORE, Setup, eventually};

#[tokio::test]
async fn a_receiver_that_fails_is_called_again_with_the_same_id() {
    with_receiver(told_to_the_store, |app, receiver| async move {
        receiver.answers(|number, _| match number {
            0 => ready(500, ""),
            1 => ready(404, "<html>Not here</html>"),
            2 => ready(429, ""),
            _ => ready(200, "<html>Thanks</html>"),
        });
        app.api.with_key(STORE.1).pay(1, "tok_visa").await;
        let calls = receiver.called(4).await;
        for call in &calls {
            assert_eq!(call.header("webhook-id"), calls[0].header("webhook-id"));
            assert_eq!(call.text, calls[0].text);
        }
    })
    .await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_event_is_finally_abandoned() {
    with_receiver(given_up_soon, |app, receiver| async move {
        let mut letters = app.dead_letters();
        let elsewhere = Receiver::start().await;
        let target = elsewhere.url("/");
        receiver.answers(move |_, _| redirect(&target));
        let id = app.api.with_key(STORE.1).pay(1, "tok_visa").await;
        let (letter, reason) = given_up(&app, &mut letters).await;
        assert_eq!(reason, "redirect");
        assert_eq!(letter["body"]["data"]["payment_id"], id);
        assert_eq!(letter["client"], STORE.0);
        assert!(receiver.calls().len() > 1);
        assert_eq!(elsewhere.calls().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_answers_410_is_called_once() {
    with_receiver(told_to_the_store, |app, receiver| async move {
        let mut letters = app.dead_letters();
        receiver.answers_with(410, "");
        app.api.with_key(STORE.1).pay(1, "tok_visa").await;
        let (_, reason) = given_up(&app, &mut letters).await;
        assert_eq!(reason, "gone");
        receiver.called(1).await;
    })
    .await;
}

/// By a host name that resolves to this machine; its address itself would be refused by the configuration.
fn without_permission(receiver: &Receiver) -> Setup {
    let url = format!("https://localhost:{}/", receiver.address.port());
    let callback = json!({ "url": url, "secrets": [super::SECRET] });
    quick()
        .with("CALLBACK_GIVE_UP_AFTER", "200ms")
        .with_callback(STORE, callback)
}

#[tokio::test]
async fn no_connection_is_made_to_a_host_name_with_a_private_address() {
    with_receiver(without_permission, |app, receiver| async move {
        let mut letters = app.dead_letters();
        app.api.with_key(STORE.1).pay(1, "tok_visa").await;
        let (letter, reason) = given_up(&app, &mut letters).await;
        assert_eq!(reason, "address_refused", "{letter}");
        assert!(
            letter["error"]
                .as_str()
                .unwrap()
                .contains("allow_private_addresses")
        );
        assert_eq!(receiver.connections(), 0);
    })
    .await;
}

/// One of the two accepts calls and does not answer for as long as the test runs.
fn both_are_told(receiver: &Receiver) -> Setup {
    let mut silent = callback(receiver);
    silent["url"] = receiver.url("/silent").into();
    told_to_the_store(receiver)
        .with_callback(KIOSK, silent)
        .with("CALLBACK_TIMEOUT", "60s")
        .with("CALLBACK_CONCURRENCY", "2")
        .with("BACKLOG_LIMIT", "10")
}

#[tokio::test]
async fn a_silent_receiver_delays_neither_payments_nor_the_other_client() {
    with_receiver(both_are_told, |app, receiver| async move {
        let voice = watch::Sender::new(false);
        let heard = voice.subscribe();
        receiver.answers(move |_, call| {
            let mut heard = heard.clone();
            Box::pin(async move {
                if call.line == "POST /silent" {
                    let _ = heard.wait_for(|speaks| *speaks).await;
                }
                ready(204, "").await
            })
        });
        let (store, kiosk) = (app.api.with_key(STORE.1), app.api.with_key(KIOSK.1));
        // More than BACKLOG_LIMIT: callbacks that wait do not count.
        for order_id in 1..=40 {
            let id = kiosk.pay(order_id, "tok_visa").await;
            assert_eq!(kiosk.outcome(id).await["status"], "succeeded");
        }
        // Two seconds each: by then the relay has measured the outbox.
        for order_id in 41..=42 {
            let id = kiosk.pay(order_id, "tok_issuer_slow").await;
            assert_eq!(kiosk.outcome(id).await["status"], "succeeded");
        }
        let id = store.pay(1, "tok_visa").await;
        assert_eq!(store.outcome(id).await["status"], "succeeded");
        let calls_to = |line: &str| receiver.calls().iter().filter(|it| it.line == line).count();
        eventually("the other client is told", || async {
            calls_to("POST /hook") == 1
        })
        .await;
        // As many as CALLBACK_CONCURRENCY.
        eventually("the silent one has its calls", || async {
            calls_to("POST /silent") == 2
        })
        .await;
        voice.send_replace(true);
        told_of_everything(&receiver, "POST /silent", 42).await;
    })
    .await;
}

async fn told_of_everything(receiver: &Receiver, line: &str, payments: usize) {
    eventually("everything is told", || async {
        let calls = receiver.calls();
        let ids: std::collections::BTreeSet<_> = calls
            .iter()
            .filter(|call| call.line == line)
            .map(|call| call.header("webhook-id"))
            .collect();
        ids.len() == payments
    })
    .await;
}

#[tokio::test]
async fn a_failing_receiver_is_called_rarely_and_gets_every_event_when_it_works_again() {
    let patient = |receiver: &Receiver| {
        told_to_the_store(receiver)
            .with("CALLBACK_RETRY_INITIAL", "400ms")
            .with("CALLBACK_RETRY_MAX_INTERVAL", "1s")
            .with("CALLBACK_CONCURRENCY", "2")
    };
    with_receiver(patient, |app, receiver| async move {
        receiver.answers_with(503, "");
        let store = app.api.with_key(STORE.1);
        for order_id in 1..=40 {
            store.pay(order_id, "tok_visa").await;
        }
        eventually("everything waits in the outbox", || async {
            let outbox = app.database.outbox_depth().await.unwrap();
            (outbox.total, outbox.of_payments) == (40, 0)
        })
        .await;
        // Five in a row and those in progress at that time; a few more are probes.
        let calls = receiver.calls().len();
        assert!(calls <= 12, "{calls} calls");
        receiver.answers_with(204, "");
        told_of_everything(&receiver, "POST /hook", 40).await;
    })
    .await;
}

fn nobody_there(receiver: &Receiver) -> Setup {
    let mut callback = callback(receiver);
    callback["url"] = "http://127.0.0.1:1/".into();
    quick()
        .with("CALLBACK_GIVE_UP_AFTER", "300ms")
        .with_callback(STORE, callback)
}

#[tokio::test]
async fn without_a_listener_the_dead_letter_has_the_reason() {
    with_receiver(nobody_there, |app, _| async move {
        let mut letters = app.dead_letters();
        app.api.with_key(STORE.1).pay(1, "tok_visa").await;
        let (letter, reason) = given_up(&app, &mut letters).await;
        assert_eq!(reason, "not_reached", "{letter}");
        assert!(
            letter["error"].as_str().unwrap().contains("refused"),
            "{letter}"
        );
    })
    .await;
}
