//! A platform that cannot be used: its payments wait, and use up no tries.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use tokio::net::TcpSocket;

use super::{Platform, list_of_processors, on_each, pay, setup_with};
use crate::app::{Setup, backends, becomes, eventually};
use crate::platforms::stand_in::{Fault, StandIn};

/// So few tries would soon be used up.
fn two_tries(setup: Setup) -> Setup {
    setup.with("MAX_TRIES", "2").with("RETRY_INITIAL", "50ms")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_wait_while_the_key_is_refused() {
    on_each(two_tries, |app, stripe| async move {
        let began = Instant::now();
        stripe.refuse_key(true);
        let paid = join_all((0..8).map(|_| pay(&app.api, "pm_card_visa"))).await;
        eventually("the worker says what is wrong", || async {
            let ready = app.admin.get("/health/ready").await;
            ready.body["reason"]
                == "payments wait for a processor: stripe refuses the account's key"
        })
        .await;
        assert_eq!(app.admin.get("/health/ready").await.status, 200);
        // Those that are not for this processor go on.
        let by_card = app.api.pay(2, "tok_visa").await;
        assert_eq!(app.api.outcome(by_card).await["status"], "succeeded");
        for id in &paid {
            let payment = app.api.get(&format!("/payments/{id}")).await;
            assert_eq!(payment.body["status"], "processing");
        }
        // Each payment was tried once at most, since the key was refused at once; later one call in five seconds tests it.
        let tests = 1 + usize::try_from(began.elapsed().as_secs() / 5).unwrap();
        let calls = stripe.requests("/payment_intents");
        assert!(calls <= paid.len() + tests, "it is called in vain: {calls}");
        stripe.refuse_key(false);
        for id in paid {
            becomes(&app.api, id, "succeeded").await;
            assert_eq!(stripe.moved(id), (2000, 0));
        }
        eventually("all is well", || async {
            app.admin.get("/health/ready").await.body["status"] == "ready"
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_the_platform_asks_for_is_kept() {
    on_each(two_tries, |app, stripe| async move {
        stripe.fail("/payment_intents", Fault::BusyFor(3));
        let asked = Instant::now();
        let first = pay(&app.api, "pm_card_visa").await;
        eventually("the pause is known", || async {
            let ready = app.admin.get("/health/ready").await;
            ready.body["reason"] == "payments wait for a processor: stripe has asked for a pause"
        })
        .await;
        let second = pay(&app.api, "pm_card_visa").await;
        for id in [first, second] {
            becomes(&app.api, id, "succeeded").await;
            assert!(asked.elapsed() >= Duration::from_secs(3), "too early");
            assert_eq!(stripe.moved(id), (2000, 0));
        }
        assert_eq!(stripe.requests("/payment_intents"), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_makes_nobody_forget_a_pause() {
    for backend in backends() {
        let platform = Platform::start().await;
        let app = two_tries(platform.setup()).start(backend).await;
        let stripe = &platform.stripe;
        stripe.fail("/payment_intents", Fault::BusyFor(6));
        let asked = Instant::now();
        let first = pay(&app.api, "pm_card_visa").await;
        eventually("it is called", || async {
            stripe.requests("/payment_intents") == 1
        })
        .await;

        let file = std::fs::read_to_string(platform.file.path()).unwrap();
        let mut listed: Value = serde_json::from_str(&file).unwrap();
        let second = json!({"name": "second", "type": "simulated"});
        listed["processors"].as_array_mut().unwrap().push(second);
        listed["routes"] = json!([{"method": "card", "processors": ["second"]}]);
        std::fs::write(platform.file.path(), listed.to_string()).unwrap();
        eventually("the file is in use", || async {
            let by_card = app.api.pay(2, "tok_visa").await;
            let outcome = app.api.outcome(by_card).await;
            outcome["payment_method"]["processor"] == "second"
        })
        .await;

        let second = pay(&app.api, "pm_card_visa").await;
        for id in [first, second] {
            becomes(&app.api, id, "succeeded").await;
            assert!(asked.elapsed() >= Duration::from_secs(6), "too early");
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_wait_while_the_platform_is_away() {
    for backend in backends() {
        // Nobody listens there yet.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let file = list_of_processors(socket.local_addr().unwrap());
        let app = two_tries(setup_with(&file)).start(backend).await;
        let paid = join_all((0..8).map(|_| pay(&app.api, "pm_card_visa"))).await;
        eventually("the worker says what is wrong", || async {
            let ready = app.admin.get("/health/ready").await;
            ready.body["reason"] == "payments wait for a processor: stripe does not answer"
        })
        .await;
        let stripe = StandIn::start_on(socket.listen(1024).unwrap());
        for id in paid {
            let ended = app.api.outcome(id).await;
            // Those that used up their tries before it counted as down have failed, uncharged.
            let charged = i64::from(ended["status"] == "succeeded") * 2000;
            assert_eq!(stripe.moved(id), (charged, 0), "{ended}");
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changed_at_stripe_is_not_believed() {
    on_each(two_tries, |app, stripe| async move {
        for (field, value, asked) in [
            ("amount", json!(9900), json!(2000)),
            ("currency", json!("usd"), json!("cad")),
        ] {
            let id = pay(&app.api, "pm_card_authenticationRequired").await;
            becomes(&app.api, id, "requires_action").await;
            stripe.change(id, |intent| intent[field] = value);
            stripe.shopper(id, true);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let payment = app.api.get(&format!("/payments/{id}")).await;
            assert_eq!(payment.body["is_paid"], false, "{field}");
            stripe.change(id, |intent| {
                intent[field] = asked;
                intent["amount_received"] = json!(2000);
            });
            becomes(&app.api, id, "succeeded").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_was_made_in_spite_of_its_refusal_is_found() {
    on_each(two_tries, |app, stripe| async move {
        let id = pay(&app.api, "pm_card_visa").await;
        becomes(&app.api, id, "succeeded").await;
        stripe.fail("/refunds", Fault::RefusedAfter("strange"));
        super::refund(&app.api, id, 5).await;
        super::refunded(&app.api, id, 5.0).await;
        assert_eq!(stripe.moved(id), (2000, 500));
    })
    .await;
}
