//! Every choice that a shopper has, in both languages, on a phone and on a wide screen.

use super::Checkout;
use super::walk::{ENGLISH, FRENCH, Method, Walk, Words};
use crate::page::browser::PHONE;

const WIDE: (u32, u32) = (1440, 900);
const THREE_DS: Method = Method::Card("4000002500003155");
const VISA: Method = Method::Card("4242424242424242");

#[tokio::test]
async fn an_english_shopper_walks_every_way_on_a_phone_and_on_a_wide_screen() {
    every_way(&ENGLISH).await;
}

#[tokio::test]
async fn a_french_shopper_walks_every_way_on_a_phone_and_on_a_wide_screen() {
    every_way(&FRENCH).await;
}

async fn every_way(words: &'static Words) {
    let checkout = Checkout::start().await;
    for size in [PHONE, WIDE] {
        let walk = Walk::start(&checkout, words, size).await;
        for method in [THREE_DS, Method::Wallet] {
            one_way(&walk, method, "approve", ("succeeded", words.paid)).await;
            one_way(&walk, method, "decline", ("declined", words.declined)).await;
            one_way(&walk, method, "expire", ("failed", words.failed)).await;
        }
        another_way(&walk).await;
        walk.browser.close().await;
    }
    checkout.finish().await;
}

async fn one_way(walk: &Walk<'_>, method: Method, choice: &str, ended: (&str, &str)) {
    let (checkout, words) = (walk.checkout, walk.words);
    let id = checkout.api.create(7).await;
    walk.to_the_issuer(id, method).await;
    assert_eq!(checkout.app.standing_charges(id).await, 0);
    walk.choose(choice).await;
    let explanation = match choice {
        "approve" => words.thanks,
        "expire" => words.too_late,
        _ => words.not_approved,
    };
    let payable = walk.comes_back(id, ended.1, explanation).await;
    // Before paying and after the choice: the shopper never sees that nothing seems to have happened.
    assert_eq!(checkout.front.views(id), 2, "{method:?} {choice}");
    let paid = choice == "approve";
    assert_eq!(payable, !paid, "{method:?} {choice}");
    assert_eq!(checkout.api.outcome(id).await["status"], ended.0);
    let charges = usize::from(paid);
    assert_eq!(checkout.app.standing_charges(id).await, charges);
}

/// A shopper opens the wallet, but then pays with a card.
async fn another_way(walk: &Walk<'_>) {
    let (checkout, words) = (walk.checkout, walk.words);
    let id = checkout.api.create(7).await;
    walk.to_the_issuer(id, Method::Wallet).await;
    walk.choose("another").await;
    let payable = walk
        .comes_back(id, words.declined, words.not_approved)
        .await;
    assert!(payable);
    walk.pay(VISA).await;
    assert!(!walk.comes_back(id, words.paid, words.thanks).await);
    let paid = checkout.api.outcome(id).await;
    assert_eq!(paid["payment_method"]["last4"], "4242");
    assert_eq!(
        (&paid["is_paid"], &paid["attempt"]),
        (&true.into(), &2.into())
    );
    assert_eq!(checkout.app.standing_charges(id).await, 1);
}
