//! Payments that need the shopper: 3-D Secure and wallets. The shopper acts on the pages of the simulated issuer.

use futures::future::join_all;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use serde_json::{Value, json};

use crate::app::{
    Api, Backend, Order, STORE, Setup, TestApp, becomes, eventually, field, on_both, run_on,
};

fn setup() -> Setup {
    // A busy machine must not take a try.
    Setup::new().with("PROCESSOR_TIMEOUT", "5s")
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The shopper's browser.
struct Shopper(reqwest::Client);

/// What the browser got.
struct Page {
    status: u16,
    text: String,
}

impl Shopper {
    fn new() -> Self {
        let http = reqwest::Client::builder().no_proxy();
        Self(http.build().unwrap())
    }

    async fn open(&self, url: &str) -> Page {
        Page::of(self.0.get(url).send().await.unwrap()).await
    }

    async fn choose(&self, url: &str, choice: &str) -> Page {
        let form = self.0.post(url).header(CONTENT_TYPE, FORM);
        let form = form.body(format!("choice={choice}"));
        Page::of(form.send().await.unwrap()).await
    }
}

impl Page {
    async fn of(response: reqwest::Response) -> Self {
        assert!(response.headers().get(LOCATION).is_none());
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        Self { status, text }
    }

    /// The class of the element with the page's state.
    fn state(&self) -> &str {
        let (_, rest) = self
            .text
            .split_once("id=\"state\" class=\"")
            .expect("a state");
        rest.split('"').next().unwrap()
    }

    /// Where the browser goes by itself.
    fn leads_to(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once("content=\"0; url=")?;
        rest.split('"').next()
    }
}

fn body(method: Value) -> Value {
    let mut body = json!({"order_id": 1, "user_id": 1, "total_amount": 20});
    for (name, value) in method.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// A payment that waits for its shopper, and the page.
async fn asked(api: &Api, method: Value) -> (i64, String) {
    let id = api.post("/payments", body(method)).await.is(202).id();
    let payment = api.outcome(id).await;
    (id, url(&payment))
}

fn url(payment: &Value) -> String {
    assert_eq!(payment["status"], "requires_action", "{payment}");
    assert_eq!(payment["is_paid"], false);
    assert_eq!(payment["next_action"]["type"], "redirect");
    assert!(!field(&payment["next_action"], "expires_at").is_empty());
    field(&payment["next_action"], "url").to_owned()
}

fn card(token: &str) -> Value {
    json!({ "card_token": token })
}

fn wallet() -> Value {
    json!({"payment_method": {"type": "wallet"}})
}

async fn process(api: &Api, id: i64, method: Value) -> crate::app::Answer {
    api.post(&format!("/payments/{id}/process"), method).await
}

/// So that nobody is asked about it any more.
async fn cancel(api: &Api, id: i64) {
    let canceled = api.post(&format!("/payments/{id}/cancel"), json!({})).await;
    canceled.is(202);
    becomes(api, id, "canceled").await;
}

/// A payment method, what the shopper chooses, and how the payment ends: status and code.
type Case = (Value, &'static str, &'static str, Option<&'static str>);

/// All of them at the same time.
async fn each_ends_as_promised(app: &TestApp, cases: Vec<Case>) {
    let (api, shopper) = (&app.api, &Shopper::new());
    let checked = cases
        .into_iter()
        .map(|(method, choice, status, code)| async move {
            let (id, url) = asked(api, method.clone()).await;
            // The card is erased, although nothing is decided.
            let sealed = format!(
                "UPDATE payments SET sealed_card = NULL WHERE id = {id} AND sealed_card IS NOT NULL"
            );
            assert_eq!(app.execute(&sealed).await, 0, "the card is still there");
            if choice != "nothing" {
                assert_eq!(shopper.open(&url).await.state(), "open");
                assert_eq!(shopper.choose(&url, choice).await.status, 200);
            }
            let ended = becomes(api, id, status).await;
            assert_eq!(ended["decline_code"], json!(code), "{method} {choice}");
            assert_eq!(ended["next_action"], Value::Null);
            let charges = usize::from(status == "succeeded");
            assert_eq!(app.standing_charges(id).await, charges, "{method} {choice}");
            // Opened next week, the link changes nothing.
            let state = shopper.open(&url).await.state().to_owned();
            assert_eq!(
                state == "approved",
                charges == 1,
                "{method} {choice}: {state}"
            );
            assert_ne!(state, "open");
        });
    join_all(checked).await;
}

#[tokio::test]
async fn each_card_and_choice_ends_as_its_description_says() {
    on_both(setup(), |app| async move {
        let cases: Vec<Case> = vec![
            (card("tok_3ds"), "approve", "succeeded", None),
            (card("tok_3ds_always"), "approve", "succeeded", None),
            (card("tok_3ds_told_twice"), "approve", "succeeded", None),
            (card("tok_3ds_tab_closed"), "approve", "succeeded", None),
            (
                card("tok_3ds_insufficient_funds"),
                "approve",
                "declined",
                Some("insufficient_funds"),
            ),
            (
                card("tok_3ds_declined"),
                "approve",
                "declined",
                Some("generic_decline"),
            ),
            (
                card("tok_3ds"),
                "decline",
                "declined",
                Some("authentication_failed"),
            ),
            (card("tok_3ds"), "expire", "failed", Some("action_expired")),
            (wallet(), "approve", "succeeded", None),
            (
                wallet(),
                "decline",
                "declined",
                Some("authentication_failed"),
            ),
            (
                wallet(),
                "another",
                "declined",
                Some("abandoned_by_shopper"),
            ),
            (wallet(), "expire", "failed", Some("action_expired")),
        ];
        each_ends_as_promised(&app, cases).await;
    })
    .await;
}

#[tokio::test]
async fn a_shopper_who_does_not_come_or_comes_too_late_pays_nothing() {
    on_both(setup().with("ISSUER_ACTION_LIFE", "4s"), |app| async move {
        let expired =
            |method, choice| -> Case { (method, choice, "failed", Some("action_expired")) };
        let cases = vec![
            expired(card("tok_3ds"), "nothing"),
            expired(wallet(), "nothing"),
        ];
        each_ends_as_promised(&app, cases).await;
        let (id, url) = asked(&app.api, card("tok_3ds_too_late")).await;
        Shopper::new().choose(&url, "approve").await;
        becomes(&app.api, id, "failed").await;
        assert_eq!(app.standing_charges(id).await, 0);
        eventually("the late approval is noted", || async {
            app.api
                .history(id)
                .await
                .last()
                .is_some_and(|last| last == "late_approval")
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_new_card_first_closes_the_attempt_that_can_still_be_approved() {
    on_both(setup(), |app| async move {
        let (api, shopper) = (&app.api, Shopper::new());
        let (id, url) = asked(api, card("tok_3ds")).await;
        let processed = process(api, id, card("tok_visa")).await;
        let paid = api.outcome(id).await;
        assert!([200, 202].contains(&processed.status), "{}", processed.body);
        assert_eq!(
            (&paid["status"], &paid["attempt"]),
            (&json!("succeeded"), &json!(2))
        );
        assert_eq!(paid["payment_method"]["last4"], "4242");
        // The other tab approves now, again and again: it is too late.
        for _ in 0..3 {
            let late = shopper.choose(&url, "approve").await;
            assert_eq!(late.state(), "over");
        }
        assert_eq!(app.standing_charges(id).await, 1);
        let expected = [
            "accepted",
            "attempt_started",
            "requires_action",
            "close_started",
            "attempt_started",
            "succeeded",
            "late_approval",
        ];
        assert_eq!(api.history(id).await, expected);
        assert_eq!(
            api.get(&format!("/payments/{id}")).await["status"],
            "succeeded"
        );
    })
    .await;
}

#[tokio::test]
async fn if_the_first_attempt_turns_out_to_be_paid_the_new_card_is_never_sent() {
    on_both(setup(), |app| async move {
        let (api, shopper) = (&app.api, Shopper::new());
        // Nobody tells the service that the shopper has approved.
        let (id, url) = asked(api, card("tok_3ds_tab_closed")).await;
        shopper.choose(&url, "approve").await;
        // It may have asked meanwhile; then there is nothing to present any more.
        process(api, id, card("tok_insufficient_funds"))
            .await
            .is(200);
        let paid = api.outcome(id).await;
        assert_eq!(
            (&paid["status"], &paid["attempt"]),
            (&json!("succeeded"), &json!(1))
        );
        assert_eq!(paid["payment_method"]["last4"], "1103");
        assert_eq!(app.standing_charges(id).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_cancellation_closes_the_attempt_and_a_payment_that_was_paid_stays_so() {
    on_both(setup(), |app| async move {
        let (api, shopper) = (&app.api, Shopper::new());
        let (id, url) = asked(api, wallet()).await;
        cancel(api, id).await;
        let ended = api.get(&format!("/payments/{id}")).await.body;
        assert_eq!(ended["cancellation_reason"], "requested_by_client");
        assert_eq!(shopper.choose(&url, "approve").await.state(), "over");
        assert_eq!(app.standing_charges(id).await, 0);

        let (id, url) = asked(api, card("tok_3ds_tab_closed")).await;
        shopper.choose(&url, "approve").await;
        api.post(&format!("/payments/{id}/cancel"), json!({})).await;
        becomes(api, id, "succeeded").await;
        assert_eq!(app.standing_charges(id).await, 1);
    })
    .await;
}

#[tokio::test]
async fn of_many_tabs_one_choice_counts() {
    on_both(setup(), |app| async move {
        let (api, shopper) = (&app.api, &Shopper::new());
        for _ in 0..5 {
            let (id, url) = asked(api, card("tok_3ds")).await;
            let choices = [
                "approve", "decline", "approve", "expire", "approve", "decline",
            ];
            let tabs = choices.iter().cycle().take(24);
            let tabs = tabs.map(|choice| shopper.choose(&url, choice));
            let cancel = async {
                api.post(&format!("/payments/{id}/cancel"), json!({})).await;
            };
            let pages = tokio::join!(join_all(tabs), cancel).0;
            assert!(pages.iter().all(|page| page.status == 200));
            let path = format!("/payments/{id}");
            eventually("it ends", || async {
                let status = api.get(&path).await["status"].clone();
                status != "processing" && status != "requires_action"
            })
            .await;
            let paid = api.get(&path).await["is_paid"] == true;
            let state = shopper.open(&url).await.state().to_owned();
            assert_eq!(app.standing_charges(id).await, usize::from(paid));
            assert_eq!(state == "approved", paid, "{state}");
        }
    })
    .await;
}

/// Table and column that cannot be written, and what the shopper chooses meanwhile.
const UNWRITABLE: [(&str, &str, &str); 2] = [
    ("issuer_actions", "answer", "decline"),
    ("issuer_ledger", "reversed_at", "another"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_is_half_written_is_none_or_is_completed() {
    run_on(setup(), Backend::Servers, |app| async move {
        let (api, shopper) = (&app.api, Shopper::new());
        for (table, column, choice) in UNWRITABLE {
            let (id, url) = asked(api, wallet()).await;
            let full = format!(
                "ALTER TABLE {table} ADD CONSTRAINT full_disk CHECK ({column} IS NULL OR payment_id <> {id})"
            );
            app.execute(&full).await;
            assert!(shopper.choose(&url, choice).await.status >= 500, "{table}");
            app.execute(&format!("ALTER TABLE {table} DROP CONSTRAINT full_disk"))
                .await;
            // Who tried in vain tries again, or does not need to.
            shopper.choose(&url, choice).await;
            let refused = becomes(api, id, "declined").await;
            let code = ["authentication_failed", "abandoned_by_shopper"];
            let code = code[usize::from(choice == "another")];
            assert_eq!(refused["decline_code"], code, "{table}");
            shopper.choose(&url, "approve").await;
            assert_eq!(app.standing_charges(id).await, 0, "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_approved_payment_can_be_captured_later() {
    on_both(setup(), |app| async move {
        let (api, shopper) = (&app.api, Shopper::new());
        let mut order = card("tok_3ds");
        order["capture_method"] = "manual".into();
        let (id, url) = asked(api, order).await;
        // Nothing is authorized yet.
        let capture = format!("/payments/{id}/capture");
        api.post(&capture, json!({})).await.is(409);
        let refund = [("Idempotency-Key", "r1")];
        api.post_with(&format!("/payments/{id}/refunds"), &refund, json!({}))
            .await
            .is(409);
        shopper.choose(&url, "approve").await;
        becomes(api, id, "requires_capture").await;
        api.post(&capture, json!({"amount": 5})).await.is(202);
        assert_eq!(api.outcome(id).await["amount_captured"], 5.0);
    })
    .await;
}

#[tokio::test]
async fn callers_stop_waiting_when_the_shopper_has_to_act() {
    on_both(setup(), |app| async move {
        let api = &app.api;
        let id = api.create(1).await;
        let began = std::time::Instant::now();
        let answer = process(api, id, card("tok_3ds")).await.is(200);
        assert!(began.elapsed().as_secs() < 4);
        url(&answer.body);
        let wait = [("Prefer", "wait=20")];
        let created = api
            .post_with("/payments", &wait, body(wallet()))
            .await
            .is(200);
        url(&created.body);
        assert!(began.elapsed().as_secs() < 10);
        cancel(api, id).await;
        cancel(api, created.id()).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_gets_a_reply_at_the_action_and_one_at_the_outcome() {
    // Only RabbitMQ has direct replies.
    run_on(setup().with_clients(), Backend::Servers, |app| async move {
        let mut topic = app.results("payment.requires_action.*").await;
        let order = json!({
            "order_id": 7, "user_id": 1, "total_amount": "20.00", "payment_method": {"type": "wallet"},
        });
        let mut replies = app.ask(Order::new("m-1", &order)).await;
        let first = replies.next(|_| true).await;
        assert_eq!(first.body["data"]["status"], "requires_action");
        let page = url(&first.body["data"]);
        let heard = topic.next(|_| true).await;
        assert_eq!(heard.routing_key, "payment.requires_action.store-manager");
        assert_eq!(heard.body["data"], first.body["data"]);
        Shopper::new().choose(&page, "approve").await;
        let second = replies.next(|_| true).await;
        assert_eq!(second.body["data"]["status"], "succeeded");
        let id = first.body["data"]["payment_id"].as_i64().unwrap();
        assert_eq!(app.standing_charges(id).await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_shopper_comes_back_to_the_shop_with_the_payments_id_and_no_status() {
    let origins = json!(["https://shop.example"]);
    let setup = setup().with_client_setting(STORE, "return_origins", origins);
    on_both(setup, |app| async move {
        let (api, shopper) = (&app.api.with_key(STORE.1), Shopper::new());
        for (given, separator) in [
            ("https://shop.example/done", '?'),
            ("https://shop.example/done?lang=fr", '&'),
            ("https://shop.example/done?payment_id=7&payment_id=8", '?'),
        ] {
            let mut order = card("tok_3ds");
            order["return_url"] = given.into();
            let (id, url) = asked(api, order).await;
            let page = shopper.choose(&url, "approve").await;
            // Askama escapes the ampersand.
            let leads_to = page.leads_to().unwrap().replace("&#38;", "&");
            let kept = given.split("?payment_id").next().unwrap();
            assert_eq!(leads_to, format!("{kept}{separator}payment_id={id}"));
        }
        let (id, url) = asked(api, wallet()).await;
        let page = shopper.choose(&url, "approve").await;
        let leads_to = page.leads_to().unwrap();
        assert!(
            leads_to.ends_with(&format!("/payments/process/{id}")),
            "{leads_to}"
        );
        let too_long = format!("https://shop.example/{}", "x".repeat(3_000));
        for bad in [
            "https://user:pw@shop.example/",
            "https://shop.example/#x",
            "javascript:alert(1)",
            "https://evil.example/",
            &too_long,
        ] {
            let mut order = wallet();
            order["return_url"] = bad.into();
            let refused = api.post("/payments", body(order)).await.is(422);
            assert_eq!(refused.faults()[0].0, "return_url", "{bad}");
        }
    })
    .await;
}

#[tokio::test]
async fn forged_links_and_foreign_forms_are_refused() {
    on_both(setup(), |app| async move {
        let (api, shopper) = (&app.api, Shopper::new());
        let (id, url) = asked(api, card("tok_3ds")).await;
        let (base, secret) = url.rsplit_once('/').unwrap();
        let other = format!("{base}/{}", secret.to_lowercase());
        let long = format!("{base}/{}", "a".repeat(5_000));
        for forged in [
            format!("{base}/x"),
            format!("{url}x"),
            format!("{base}/%00"),
            format!("{base}/..%2f"),
            format!("{base}/{id}"),
            other,
            long,
        ] {
            assert_eq!(shopper.open(&forged).await.status, 404, "{forged}");
            assert_eq!(
                shopper.choose(&forged, "approve").await.status,
                404,
                "{forged}"
            );
        }
        assert_eq!(shopper.choose(&url, "refund").await.status, 400);
        let typed = shopper.0.post(&url).header(CONTENT_TYPE, "text/plain");
        let typed = typed.body("choice=approve").send().await.unwrap();
        assert_eq!(typed.status().as_u16(), 415);
        for header in [
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ] {
            let form = shopper.0.post(&url).header(CONTENT_TYPE, FORM);
            let form = form.body("choice=approve");
            let answer = form.header(header.0, header.1).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 403, "{header:?}");
        }
        assert_eq!(shopper.open(&url).await.state(), "open");
        assert_eq!(app.standing_charges(id).await, 0);
        cancel(api, id).await;
    })
    .await;
}

#[tokio::test]
async fn without_an_address_for_shoppers_nothing_is_accepted_that_needs_one() {
    let client = STORE;
    let setup = setup()
        .with("LISTEN_ADDR", "0.0.0.0:0")
        .with_client_setting(
            client,
            "payment_methods",
            json!(["card", "wallet", "redirect"]),
        );
    on_both(setup, |app| async move {
        let api = &app.api.with_key(STORE.1);
        let redirect = json!({"payment_method": {"type": "redirect", "processor": "paypal"}});
        for method in [wallet(), redirect] {
            let refused = api.post("/payments", body(method)).await.is(422);
            let expected = [("payment_method.type", "method_not_available")];
            assert_eq!(refused.faults(), expected);
        }
        let id = api
            .post("/payments", body(card("tok_3ds")))
            .await
            .is(202)
            .id();
        let declined = api.outcome(id).await;
        assert_eq!(declined["decline_code"], "authentication_required");
        assert_eq!(app.standing_charges(id).await, 0);
    })
    .await;
}
