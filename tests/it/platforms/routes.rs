//! Routes: which processor a payment gets that names none, and which one stands in for it.

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::stand_in::{Fault, SECRET_KEY, StandIn};
use super::{order, setup_with};
use crate::app::{Api, backends, becomes, eventually};

fn write(file: &NamedTempFile, content: &Value) {
    std::fs::write(file.path(), content.to_string()).unwrap();
}

fn simulated(name: &str, down: bool) -> Value {
    json!({"name": name, "type": "simulated", "down": down})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_processor_of_a_route_stands_in_for_one_that_is_down() {
    for backend in backends() {
        let file = NamedTempFile::new().unwrap();
        let listed = |first_is_down, second_is_down| {
            json!({
                "processors": [simulated("first", first_is_down), simulated("second", second_is_down)],
                "routes": [
                    {"method": "card", "currency": "EUR", "processors": ["second"]},
                    {"method": "card", "processors": ["first", "second"]},
                ],
            })
        };
        write(&file, &listed(false, false));
        let app = setup_with(&file).start(backend).await;
        let paid_at = |payment: &Value| payment["payment_method"]["processor"].clone();

        let id = app.api.pay(1, "tok_visa").await;
        let payment = app.api.outcome(id).await;
        assert_eq!(
            (payment["attempt"].clone(), paid_at(&payment)),
            (json!(1), json!("first"))
        );
        let mut euro = order_by_card("tok_visa");
        euro["currency"] = json!("EUR");
        let id = app.api.post("/payments", euro).await.is(202).id();
        assert_eq!(paid_at(&app.api.outcome(id).await), "second");

        write(&file, &listed(true, false));
        eventually("the file is read again", || async {
            let id = app.api.pay(2, "tok_visa").await;
            let payment = app.api.outcome(id).await;
            assert_eq!(payment["status"], "succeeded", "{payment}");
            assert_eq!(app.standing_charges(id).await, 1);
            let events = app.api.events(id).await;
            let started: Vec<&Value> = events
                .iter()
                .filter(|it| it["type"] == "attempt_started")
                .collect();
            let attempts = started.len();
            if attempts == 2 {
                assert_eq!(started[1]["reason"], "issuer_unavailable");
                assert_eq!(
                    (payment["attempt"].clone(), paid_at(&payment)),
                    (json!(2), json!("second"))
                );
            }
            attempts == 2
        })
        .await;
        // A decline is final, wherever it was made.
        let id = app.api.pay(3, "tok_insufficient_funds").await;
        let declined = app.api.outcome(id).await;
        assert_eq!(
            (declined["status"].clone(), declined["attempt"].clone()),
            (json!("declined"), json!(2))
        );

        write(&file, &listed(true, true));
        eventually("both are down", || async {
            let id = app.api.pay(4, "tok_visa").await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            app.api.get(&format!("/payments/{id}")).await.body["status"] == "processing"
        })
        .await;
        let waits = app.api.pay(5, "tok_visa").await;
        write(&file, &listed(false, true));
        assert_eq!(becomes(&app.api, waits, "succeeded").await["attempt"], 1);
        app.finish().await;
    }
}

fn order_by_card(token: &str) -> Value {
    json!({"order_id": 1, "user_id": 1, "total_amount": 20, "card_token": token})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_that_payments_need_cannot_be_removed() {
    for backend in backends() {
        let stripe = StandIn::start().await;
        let api = format!("http://{}", stripe.address);
        let account =
            json!({"name": "stripe", "type": "stripe", "secret_key": SECRET_KEY, "api": api});
        let file = NamedTempFile::new().unwrap();
        write(
            &file,
            &json!({"processors": [account, simulated("other", false)]}),
        );
        let app = setup_with(&file).start(backend).await;
        let mut held = order("pm_card_visa");
        held["capture_method"] = json!("manual");
        let held = app.api.post("/payments", held).await.is(202).id();
        becomes(&app.api, held, "requires_capture").await;

        // Its payments would be lost at a processor of another type.
        write(&file, &json!({"processors": [simulated("stripe", false)]}));
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert!(knows_stripe(&app.api).await);
        let without = json!({"processors": [simulated("another", false)]});
        write(&file, &without);
        // It is not used, although nothing needs the other one.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let paid = app
            .api
            .post("/payments", order("pm_card_visa"))
            .await
            .is(202)
            .id();
        becomes(&app.api, paid, "succeeded").await;
        app.api
            .post(&format!("/payments/{held}/capture"), json!({}))
            .await
            .is(202);
        becomes(&app.api, held, "succeeded").await;
        eventually("nothing needs it any more", || async {
            !knows_stripe(&app.api).await
        })
        .await;
        write(
            &file,
            &json!({"processors": [{"name": "stripe", "type": "strip"}]}),
        );
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(
            app.api
                .post("/payments", order("pm_card_visa"))
                .await
                .status,
            422
        );
        app.finish().await;
    }
}

/// Whether the service knows Stripe, asked without paying.
async fn knows_stripe(api: &Api) -> bool {
    let mut impossible = order("pm_card_visa");
    impossible["currency"] = json!("KWD");
    impossible["total_amount"] = json!("1.234");
    let refused = api.post("/payments", impossible).await.is(422);
    !refused.body.to_string().contains("is not configured")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stands_in_for_a_platform_s_token_or_after_an_unknown_answer() {
    for backend in backends() {
        let stripe = StandIn::start().await;
        let api = format!("http://{}", stripe.address);
        let account =
            json!({"name": "stripe", "type": "stripe", "secret_key": SECRET_KEY, "api": api});
        let file = NamedTempFile::new().unwrap();
        write(
            &file,
            &json!({
                "processors": [account, simulated("second", false)],
                "routes": [{"processors": ["simulated", "second"]}, {"processors": ["stripe", "second"]}],
            }),
        );
        let app = setup_with(&file).start(backend).await;
        stripe.fail("/payment_intents", Fault::Busy);
        let by_token = app
            .api
            .post("/payments", order("pm_card_visa"))
            .await
            .is(202)
            .id();
        let ended = becomes(&app.api, by_token, "succeeded").await;
        assert_eq!(
            (ended["attempt"].clone(), stripe.moved(by_token)),
            (json!(1), (2000, 0))
        );
        // The simulated issuer charges and does not answer: a second processor would charge once more.
        let unknown = app.api.pay(2, "tok_answer_lost_once").await;
        let ended = app.api.outcome(unknown).await;
        assert_eq!(
            (ended["status"].clone(), ended["attempt"].clone()),
            (json!("succeeded"), json!(1))
        );
        assert_eq!(app.standing_charges(unknown).await, 1);
        // It says that it is down, and provably charged nothing.
        let down = app.api.pay(3, "tok_issuer_down_1").await;
        let ended = app.api.outcome(down).await;
        assert_eq!(
            (ended["status"].clone(), ended["attempt"].clone()),
            (json!("succeeded"), json!(2))
        );
        assert_eq!(ended["payment_method"]["processor"], "second");
        assert_eq!(app.standing_charges(down).await, 1);
        app.finish().await;
    }
}
