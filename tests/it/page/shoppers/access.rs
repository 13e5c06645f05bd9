//! Nobody is kept out of the pages: axe-core has no serious findings in any of their states, and a keyboard is enough.

use serde_json::{Value, json};

use super::{Checkout, button, is_plain, type_card};
use crate::page::browser::{Browser, PHONE, Wish};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

async fn is_open_to_all(browser: &Browser, what: &str) {
    is_plain(browser, PHONE).await;
    assert_eq!(browser.accessibility_findings().await, [""; 0], "{what}");
    assert!(!browser.text("h1").await.is_empty(), "{what}");
}

/// The issuer's page after this choice.
async fn page_after(checkout: &Checkout, browser: &Browser, method: Value, choice: &str) -> String {
    let (id, page) = checkout.asked(method).await;
    browser.open(&page).await;
    is_open_to_all(browser, "open").await;
    browser.click(&button(choice)).await;
    // Afterwards the browser leaves the page by itself.
    browser.until_there("#paid-at, #number", true).await;
    browser.open(&page).await;
    is_open_to_all(browser, choice).await;
    let state = browser.attribute("#state", "class").await;
    if state == "undecided" {
        checkout.cancel(id).await;
    }
    state
}

#[tokio::test]
async fn the_issuers_page_is_accessible_in_each_of_its_states() {
    let checkout = Checkout::start().await;
    let browser = Browser::start(Wish::default()).await;
    let card = || json!({ "card_token": "tok_3ds" });
    let wallet = || json!({ "payment_method": { "type": "wallet" } });
    for (method, choice, state) in [
        (card(), "approve", "approved"),
        (card(), "decline", "declined"),
        (card(), "expire", "over"),
        (wallet(), "another", "declined"),
        (
            json!({ "card_token": "tok_3ds_too_late" }),
            "approve",
            "undecided",
        ),
    ] {
        let after = page_after(&checkout, &browser, method, choice).await;
        assert_eq!(after, state, "{choice}");
    }
    // Without a way back.
    let (_, page) = checkout
        .asked(json!({ "card_token": "tok_3ds_tab_closed" }))
        .await;
    browser.open(&page).await;
    browser.click(&button("approve")).await;
    browser.until_there("#state.approved", true).await;
    is_open_to_all(&browser, "the tab may be closed").await;
    // A link that is not known.
    browser.open(&format!("{page}x")).await;
    assert_eq!(browser.console_errors().await.len(), 1, "the status 404");
    is_open_to_all(&browser, "unknown").await;
    browser.close().await;
    checkout.finish().await;
}

#[tokio::test]
async fn the_payment_page_is_accessible_while_it_is_to_be_approved_or_captured_and_after_refunds() {
    let checkout = Checkout::start().await;
    let browser = Browser::start(Wish::default()).await;
    let (id, page) = checkout.asked(json!({ "card_token": "tok_3ds" })).await;
    browser.open(&checkout.front.link(id)).await;
    assert_eq!(browser.text("#state").await, "To be approved");
    assert_eq!(browser.attribute("#approve", "href").await, page);
    assert_eq!(browser.text("#approve").await, "Approve the payment");
    assert!(browser.height("#approve").await >= 44.0);
    is_open_to_all(&browser, "to be approved").await;
    checkout.cancel(id).await;

    let order = json!({ "card_token": "tok_visa", "capture_method": "manual" });
    let id = checkout.order(order).await;
    checkout.becomes(id, "requires_capture").await;
    browser.open(&checkout.front.link(id)).await;
    assert_eq!(browser.text("#state").await, "Authorized, not yet charged");
    let reserved = "Thank you: the amount is reserved. It is charged when your order is completed.";
    assert_eq!(browser.text("[role=status]").await, reserved);
    assert!(browser.find("form, #paid-at, #refunded").await.is_none());
    is_open_to_all(&browser, "authorized").await;

    let capture = format!("/payments/{id}/capture");
    checkout.api.post(&capture, json!({})).await.is(202);
    checkout.becomes(id, "succeeded").await;
    browser.reload().await;
    assert_eq!(browser.text("#state").await, "Paid");
    assert!(browser.find("#refunded").await.is_none());
    for (key, amount, refunded) in [("one", 4.0, "CAD 4.00"), ("two", 5.53, "CAD 9.53")] {
        let refunds = format!("/payments/{id}/refunds");
        let body = json!({ "amount": amount });
        let key = [("Idempotency-Key", key)];
        let refund = checkout.api.post_with(&refunds, &key, body);
        refund.await.is(202);
        crate::app::eventually("the refund is shown", || async {
            browser.reload().await;
            let shown = browser.find("#refunded").await;
            shown.is_some() && browser.text("#refunded").await == refunded
        })
        .await;
    }
    is_open_to_all(&browser, "refunded").await;
    browser.close().await;
    checkout.finish().await;
}

#[tokio::test]
async fn a_keyboard_is_enough_and_shows_where_it_is() {
    let checkout = Checkout::start().await;
    let browser = Browser::start(Wish::default()).await;
    let id = checkout.api.create(7).await;
    browser.open(&checkout.front.link(id)).await;
    type_card(&browser, "4000002500003155").await;
    // The first button of the page is another form's: the key sends the form of its field.
    browser.write("#code", ENTER).await;
    browser.until("h1", "Your bank asks you to approve").await;
    // Nothing is decided yet: the payment's page leads there again.
    browser.open(&checkout.front.link(id)).await;
    browser.press(TAB).await;
    has_the_outline(&browser, "#approve").await;
    browser.press(ENTER).await;
    browser.until_there(&button("approve"), true).await;
    browser.press(TAB).await;
    has_the_outline(&browser, &button("approve")).await;
    browser.press(ENTER).await;
    browser.until("#state", "Paid").await;
    assert_eq!(checkout.app.standing_charges(id).await, 1);
    browser.close().await;
    checkout.finish().await;
}

async fn has_the_outline(browser: &Browser, selector: &str) {
    let focused = format!("{selector}:focus-visible");
    assert_eq!(browser.css(&focused, "outline-width").await, "3px");
}
