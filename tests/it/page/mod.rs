//! The payment page in a headless Chromium, as a shopper sees it: through a gateway with its path prefix.

pub mod browser;
mod docs;
mod front;
mod operators;
mod operators_data;
mod shopper;
mod shoppers;
mod streams;

pub use front::Front;
pub use shopper::{declined_then_paid, pays_in_french};

use crate::app::{Backend, STORE, Setup};
use browser::{Browser, PHONE, Wish};
use serde_json::json;

#[tokio::test]
async fn a_shopper_corrects_a_card_is_declined_then_pays_and_reloads_without_posting_again() {
    let app = Setup::new().with_clients().start(Backend::Embedded).await;
    let api = app.api.with_key(STORE.1);
    let front = Front::start(&api).await;
    let browser = Browser::start(Wish::default()).await;
    let id = api.create(41).await;
    declined_then_paid(&browser, &front.link(id)).await;
    // A short number, a declined card and a good one: each form was posted once, the reload posted none.
    assert_eq!(front.posts(), 3);
    assert_eq!(app.standing_charges(id).await, 1);
    assert_eq!(api.outcome(id).await["attempt"], 2);
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn a_shopper_who_has_paid_gets_a_receipt_and_a_link_back_to_the_shop() {
    let setup = Setup::new()
        .with_client_setting(STORE, "display_name", json!("The Store"))
        .with_client_setting(STORE, "return_origins", json!(["https://shop.example"]));
    let app = setup.start(Backend::Embedded).await;
    let api = app.api.with_key(STORE.1);
    let front = Front::start(&api).await;
    let browser = Browser::start(Wish::default()).await;
    let order = json!({
        "order_id": 44, "user_id": 1, "total_amount": 99.53, "return_url": "https://shop.example/orders/44",
    });
    let id = api.post("/payments", order.clone()).await.is(202).id();
    browser.open(&front.link(id)).await;
    for (field, text) in [
        ("#number", "4242\u{a0}4242\u{a0}4242\u{a0}4242"),
        ("#expiry", " 1/30 "),
        ("#code", "123"),
    ] {
        browser.write(field, text).await;
    }
    browser.click("#pay").await;
    browser.until("#state", "Paid").await;
    assert_eq!(browser.text("#back").await, "Back to The Store");
    assert_eq!(
        browser.attribute("#back", "href").await,
        "https://shop.example/orders/44"
    );
    let paid = api.outcome(id).await;
    assert_eq!(
        browser.text("#reference").await,
        paid["authorization_code"].as_str().unwrap()
    );
    assert!(browser.text("#paid-at").await.ends_with(" UTC"));
    assert!(browser.scroll_width().await <= PHONE.0);
    let mut foreign = order;
    foreign["return_url"] = json!("https://elsewhere.example/");
    let refused = api.post("/payments", foreign).await.is(422);
    assert_eq!(refused.faults(), [("return_url", "foreign_origin")]);
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn a_double_click_without_javascript_in_french_pays_once() {
    let app = Setup::new().with_clients().start(Backend::Embedded).await;
    let api = app.api.with_key(STORE.1);
    let front = Front::start(&api).await;
    let wish = Wish {
        languages: "fr-CA,fr",
        javascript: false,
        ..Wish::default()
    };
    let browser = Browser::start(wish).await;
    let id = api.create(42).await;
    pays_in_french(&browser, &front.link(id)).await;
    assert_eq!(app.standing_charges(id).await, 1);
    assert_eq!(api.outcome(id).await["attempt"], 1);
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn bypassing_the_gateway_or_a_wrong_number_gives_a_page_that_says_so() {
    let app = Setup::new().with_clients().start(Backend::Embedded).await;
    let api = app.api.with_key(STORE.1);
    let front = Front::start(&api).await;
    let browser = Browser::start(Wish::default()).await;
    browser.open(&front.link(1)).await;
    assert_eq!(browser.text("h1").await, "There is no such payment");
    let id = api.create(43).await;
    let path = format!("/payments/process/{id}");
    let direct = app
        .api
        .request(reqwest::Method::GET, &path)
        .build()
        .unwrap();
    browser.open(direct.url().as_str()).await;
    assert_eq!(
        browser.text("h1").await,
        "This page opens through the shop only"
    );
    api.post(&format!("/payments/{id}/cancel"), serde_json::Value::Null)
        .await
        .is(200);
    browser.open(&front.link(id)).await;
    assert_eq!(browser.text("#state").await, "Canceled");
    assert!(browser.find("form").await.is_none());
    browser.close().await;
    app.finish().await;
}
