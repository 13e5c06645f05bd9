//! Shoppers who approve their payments on the simulated issuer's pages: in a real browser, and through a gateway whose address
//! the service knows as `PUBLIC_URL`.

mod access;
mod cards;
mod shop;
mod tabs;
mod walk;
mod ways;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::browser::Browser;
use super::front::{Front, public_url};
use crate::app::{Api, Backend, STORE, Setup, TestApp, eventually};

/// The service with its gateway.
struct Checkout {
    app: TestApp,
    /// As the shop calls it.
    api: Api,
    front: Front,
}

impl Checkout {
    async fn start() -> Self {
        Self::start_with(Setup::new()).await
    }

    async fn start_with(setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let setup = setup
            .with("PUBLIC_URL", &public_url(&listener))
            // A busy machine must not take a try.
            .with("PROCESSOR_TIMEOUT", "5s")
            .with_clients();
        let app = setup.start(Backend::Embedded).await;
        let api = app.api.with_key(STORE.1);
        let front = Front::start_on(listener, &api);
        Self { app, api, front }
    }

    /// A new payment of 99.53 with these fields.
    async fn order(&self, fields: Value) -> i64 {
        let mut order = json!({ "order_id": 7, "user_id": 1, "total_amount": 99.53 });
        for (name, value) in fields.as_object().unwrap() {
            order[name] = value.clone();
        }
        self.api.post("/payments", order).await.is(202).id()
    }

    /// A new payment that waits for its shopper, and the issuer's page.
    async fn asked(&self, fields: Value) -> (i64, String) {
        let id = self.order(fields).await;
        let payment = self.api.outcome(id).await;
        assert_eq!(payment["status"], "requires_action", "{payment}");
        let url = payment["next_action"]["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(&self.actions()), "{url}");
        (id, url)
    }

    /// So that nobody is asked about it any more.
    async fn cancel(&self, id: i64) {
        let path = format!("/payments/{id}/cancel");
        self.api.post(&path, Value::Null).await.is(202);
        self.becomes(id, "canceled").await;
    }

    async fn becomes(&self, id: i64, status: &str) {
        let path = format!("/payments/{id}");
        eventually(&format!("it is {status}"), || async {
            self.api.get(&path).await.is(200)["status"] == status
        })
        .await;
    }

    /// What the addresses of the issuer's pages begin with.
    fn actions(&self) -> String {
        self.front.url("/payments-api/simulator/actions/")
    }

    async fn finish(self) {
        self.app.finish().await;
    }
}

/// Neither the page nor the browser found an error, nothing is wider than the window, and nothing on the page is a script.
async fn is_plain(browser: &Browser, size: (u32, u32)) {
    let address = browser.address().await;
    assert_eq!(
        browser.console_errors().await,
        [Value::Null; 0],
        "{address}"
    );
    let width = browser.scroll_width().await;
    assert!(width <= size.0, "{width} > {}: {address}", size.0);
    let script = "script, [onclick], [onsubmit], [onload], [href^='javascript:']";
    assert!(browser.find(script).await.is_none(), "{address}");
}

async fn type_card(browser: &Browser, number: &str) {
    for (field, text) in [("#number", number), ("#expiry", "01/30"), ("#code", "123")] {
        assert_eq!(browser.value(field).await, "", "{field} is not empty");
        browser.write(field, text).await;
    }
}

/// The button with this value on the issuer's page.
fn button(choice: &str) -> String {
    format!("button[value={choice}]")
}
