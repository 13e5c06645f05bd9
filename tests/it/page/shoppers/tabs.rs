//! Shoppers who go back, reload, or have two tabs open.

use serde_json::json;

use super::walk::{ENGLISH, Method, Walk};
use super::{Checkout, button};
use crate::page::browser::{Browser, PHONE, Wish};

const APPROVED: &str = "You have approved. Go back to the shop.";
const NOT_APPROVED: &str = "The payment was not approved. Nothing has been charged.";

#[tokio::test]
async fn going_back_and_reloading_after_an_approval_charges_nothing_more() {
    let checkout = Checkout::start().await;
    let walk = Walk::start(&checkout, &ENGLISH, PHONE).await;
    let browser = &walk.browser;
    let id = checkout.api.create(7).await;
    walk.to_the_issuer(id, Method::Card("4000002500003155"))
        .await;
    let page = browser.address().await;
    walk.choose("approve").await;
    walk.comes_back(id, ENGLISH.paid, ENGLISH.thanks).await;
    let posts = checkout.front.posts();
    assert_eq!(posts, 2, "the card and the choice");
    browser.reload().await;
    assert_eq!(browser.text("#state").await, "Paid");

    browser.back().await;
    browser.until_at(&page).await;
    browser.until("#state", APPROVED).await;
    browser.reload().await;
    browser.until("#state", APPROVED).await;
    assert!(browser.find("button").await.is_none());
    assert_eq!(checkout.front.posts(), posts);
    browser.click("#back").await;
    walk.comes_back(id, ENGLISH.paid, ENGLISH.thanks).await;

    assert_eq!(checkout.app.standing_charges(id).await, 1);
    assert_eq!(checkout.api.outcome(id).await["attempt"], 1);
    walk.browser.close().await;
    checkout.finish().await;
}

#[tokio::test]
async fn of_two_tabs_the_first_choice_counts_and_both_say_so() {
    let checkout = Checkout::start().await;
    let browser = Browser::start(Wish::default()).await;
    for (first, second, status, state, page_state) in [
        ("approve", "decline", "succeeded", "Paid", APPROVED),
        ("decline", "approve", "declined", "Declined", NOT_APPROVED),
    ] {
        let (id, page) = checkout.asked(json!({ "card_token": "tok_3ds" })).await;
        browser.open(&page).await;
        let tab = browser.open_tab().await;
        browser.open(&page).await;
        browser.click(&button(first)).await;
        browser.until("#state", state).await;
        browser.close_tab(&tab).await;

        // This tab still shows the question.
        browser.click(&button(second)).await;
        browser.until("#state", state).await;
        assert_eq!(browser.address().await, checkout.front.link(id));
        assert_eq!(checkout.api.outcome(id).await["status"], status);
        let charges = usize::from(status == "succeeded");
        assert_eq!(checkout.app.standing_charges(id).await, charges);
        browser.open(&page).await;
        assert_eq!(browser.text("#state").await, page_state);
        assert!(browser.find("button").await.is_none());
    }
    browser.close().await;
    checkout.finish().await;
}

#[tokio::test]
async fn a_card_in_one_tab_closes_the_question_in_the_other() {
    let checkout = Checkout::start().await;
    let walk = Walk::start(&checkout, &ENGLISH, PHONE).await;
    let browser = &walk.browser;
    let id = checkout.api.create(7).await;
    walk.to_the_issuer(id, Method::Wallet).await;
    let tab = browser.open_tab().await;
    browser.open(&checkout.front.link(id)).await;
    assert_eq!(browser.text("#state").await, "To be approved");
    walk.pay(Method::Card("4242424242424242")).await;
    walk.comes_back(id, ENGLISH.paid, ENGLISH.thanks).await;
    browser.close_tab(&tab).await;

    let page = browser.address().await;
    walk.choose("approve").await;
    walk.comes_back(id, ENGLISH.paid, ENGLISH.thanks).await;
    browser.open(&page).await;
    let over = "This page can no longer be used. Nothing has been charged by it.";
    assert_eq!(browser.text("#state").await, over);
    let paid = checkout.api.outcome(id).await;
    assert_eq!(paid["payment_method"]["last4"], "4242");
    assert_eq!(checkout.app.standing_charges(id).await, 1);
    walk.browser.close().await;
    checkout.finish().await;
}
