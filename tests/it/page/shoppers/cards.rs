//! Every test card that needs its shopper ends as its description promises.

use payment_service::processors::simulated::{Behaviour, TEST_CARDS, TestCard};

use super::Checkout;
use super::walk::{ENGLISH, Method, Walk};
use crate::app::{Setup, eventually};
use crate::page::browser::PHONE;

const NO_MONEY: &str =
    "There is not enough money on the card. Nothing has been charged: you can use another one.";
const NO_REASON: &str =
    "The bank has declined the card. Nothing has been charged: you can use another one.";
const CLOSE_IT: &str = "You have approved. You can close this page; the shop will find out.";

/// What the payment page says after the approval, and how many charges stand.
type End = (&'static str, &'static str, usize);

const PAID: End = (ENGLISH.paid, ENGLISH.thanks, 1);

const ENDS: [(&str, End); 7] = [
    ("tok_3ds", PAID),
    ("tok_3ds_always", PAID),
    ("tok_3ds_insufficient_funds", ("Declined", NO_MONEY, 0)),
    ("tok_3ds_declined", ("Declined", NO_REASON, 0)),
    (TAB_CLOSED, PAID),
    ("tok_3ds_told_twice", PAID),
    (TOO_LATE, (ENGLISH.failed, ENGLISH.too_late, 0)),
];

const TAB_CLOSED: &str = "tok_3ds_tab_closed";
/// Has a test of its own.
const TOO_LATE: &str = "tok_3ds_too_late";

fn card(token: &str) -> &'static TestCard {
    let card = TEST_CARDS.iter().find(|card| card.token == token);
    card.expect("a test card")
}

#[test]
fn the_end_of_every_card_that_needs_its_shopper_is_known() {
    let needs = |card: &&TestCard| matches!(card.behaviour, Behaviour::NeedsShopper(_));
    let cards = TEST_CARDS.iter().filter(needs).map(|card| card.token);
    let known = ENDS.map(|(token, _)| token);
    assert_eq!(cards.collect::<Vec<_>>(), known);
}

#[tokio::test]
async fn each_card_that_needs_its_shopper_ends_as_promised() {
    let checkout = Checkout::start().await;
    let walk = Walk::start(&checkout, &ENGLISH, PHONE).await;
    for (token, (state, explanation, charges)) in ENDS {
        if token == TOO_LATE {
            continue;
        }
        let id = checkout.api.create(7).await;
        walk.to_the_issuer(id, Method::Card(card(token).number))
            .await;
        walk.choose("approve").await;
        if token == TAB_CLOSED {
            closes_the_tab(&walk, id).await;
        }
        let payable = walk.comes_back(id, state, explanation).await;
        assert_eq!(payable, charges == 0, "{token}");
        assert_eq!(checkout.app.standing_charges(id).await, charges, "{token}");
    }
    walk.browser.close().await;
    checkout.finish().await;
}

/// The issuer's page leads nowhere. The shopper closes it and opens the payment's page later.
async fn closes_the_tab(walk: &Walk<'_>, id: i64) {
    let browser = &walk.browser;
    browser.until("#state", CLOSE_IT).await;
    assert!(browser.find("a, button").await.is_none());
    let tab = browser.open_tab().await;
    let new = browser.open_tab().await;
    browser.go_to_tab(&tab).await;
    browser.close_tab(&new).await;
    walk.checkout.becomes(id, "succeeded").await;
    browser.open(&walk.checkout.front.link(id)).await;
}

#[tokio::test]
async fn an_approval_that_arrives_too_late_charges_nothing() {
    let setup = Setup::new().with("ISSUER_ACTION_LIFE", "8s");
    let checkout = Checkout::start_with(setup).await;
    let walk = Walk::start(&checkout, &ENGLISH, PHONE).await;
    let id = checkout.api.create(7).await;
    walk.to_the_issuer(id, Method::Card(card(TOO_LATE).number))
        .await;
    walk.choose("approve").await;
    // The approval is under way.
    let browser = &walk.browser;
    browser.until_there("#update, .failed", true).await;
    eventually("the time is over", || async {
        let state = browser.text("#state").await;
        // In between the attempt is being closed, and the page renews itself.
        if state == "To be approved" {
            browser.click("#update").await;
        }
        state == ENGLISH.failed
    })
    .await;
    assert!(walk.comes_back(id, ENGLISH.failed, ENGLISH.too_late).await);
    eventually("the late approval is noted", || async {
        let history = checkout.api.history(id).await;
        history.last().is_some_and(|kind| kind == "late_approval")
    })
    .await;
    assert_eq!(checkout.app.standing_charges(id).await, 0);
    walk.browser.reload().await;
    assert!(walk.comes_back(id, ENGLISH.failed, ENGLISH.too_late).await);
    walk.browser.close().await;
    checkout.finish().await;
}
