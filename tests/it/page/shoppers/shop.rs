//! The way back to the shop's own address.

use serde_json::json;

use super::{Checkout, button, type_card};
use crate::app::{STORE, Setup};
use crate::gateway::StandIn;
use crate::page::browser::{Browser, Wish};

#[tokio::test]
async fn the_browser_ends_at_the_shop_with_the_payments_id_and_without_a_status() {
    let shop = StandIn::start().await;
    let shop_url = format!("http://{}", shop.address);
    let setup = Setup::new().with_client_setting(STORE, "return_origins", json!([shop_url]));
    let checkout = Checkout::start_with(setup).await;
    let browser = Browser::start(Wish::default()).await;
    let mut lines = Vec::new();
    // Whatever was chosen, the address is the same: a status in it could be forged.
    for (given, separator, choice, status) in [
        ("/orders/7", '?', "approve", "succeeded"),
        ("/orders/7", '?', "decline", "declined"),
        ("/orders/7?lang=fr&from=cart", '&', "approve", "succeeded"),
        ("/orders/7?lang=fr&from=cart", '&', "expire", "failed"),
    ] {
        let return_url = format!("{shop_url}{given}");
        let id = checkout.order(json!({ "return_url": return_url })).await;
        browser.open(&checkout.front.link(id)).await;
        // Before paying, the link is the shop's address as it is.
        assert_eq!(browser.attribute("#back", "href").await, return_url);
        type_card(&browser, "4000002500003155").await;
        browser.click("#pay").await;
        browser.until_there(&button(choice), true).await;
        let page = browser.address().await;
        browser.click(&button(choice)).await;
        let end = format!("{return_url}{separator}payment_id={id}");
        browser.until_at(&end).await;
        lines.push(format!("GET {given}{separator}payment_id={id}"));
        checkout.becomes(id, status).await;

        // The issuer's page, opened again, leads to the same address.
        browser.open(&page).await;
        assert_eq!(browser.attribute("#back", "href").await, end);
        browser.click("#back").await;
        browser.until_at(&end).await;
        lines.push(lines[lines.len() - 1].clone());
    }
    // Browsers also ask for the icon of the shop's own page.
    let mut seen = shop.seen();
    seen.retain(|seen| seen.line != "GET /favicon.ico");
    let came: Vec<_> = seen.iter().map(|seen| seen.line.clone()).collect();
    assert_eq!(came, lines);
    // The address of the issuer's page is a secret.
    for seen in seen {
        assert_eq!(seen.header("referer"), None, "{}", seen.line);
    }
    browser.close().await;
    checkout.finish().await;
}
