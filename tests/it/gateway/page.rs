//! The payment page through the real gateway: what makes it a page, and safe, has to arrive.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::fixture::{Answer, Fixture, order};
use crate::app::eventually;
use crate::page::browser::{Browser, Wish};
use crate::page::{declined_then_paid, pays_in_french};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn created(fixture: &Fixture) -> String {
    let body = order(1);
    let created = fixture
        .gateway
        .post("/payments-api/payments", &body)
        .await
        .is(202);
    format!("/payments-api/payments/process/{}", created.payment_id())
}

fn opened(fixture: &Fixture, method: Method, link: &str) -> RequestBuilder {
    fixture
        .gateway
        .request(method, link)
        .header("Accept", BROWSER)
}

#[tokio::test]
async fn the_link_is_a_page_for_a_browser_with_all_its_headers() {
    let fixture = Fixture::start().await;
    let link = created(&fixture).await;
    let page = Answer::to(opened(&fixture, Method::GET, &link))
        .await
        .is(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("vary"), "Accept, Accept-Language");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'nonce-"),
        "{policy}"
    );
    assert!(
        policy.ends_with("frame-ancestors 'none'; base-uri 'none'"),
        "{policy}"
    );

    let unknown = opened(
        &fixture,
        Method::GET,
        "/payments-api/payments/process/2000000000",
    );
    let unknown = Answer::to(unknown).await.is(404);
    assert_eq!(unknown.header("content-type"), "text/html; charset=utf-8");
}

#[tokio::test]
async fn a_form_from_another_site_is_refused_behind_the_gateway_too() {
    let fixture = Fixture::start().await;
    let link = created(&fixture).await;
    let form = "cardNumber=4242424242424242&cardCode=123&expirationDate=01%2F30";
    let form_type = "application/x-www-form-urlencoded";
    for (name, value) in [
        ("Origin", "https://elsewhere.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let posted = opened(&fixture, Method::POST, &link)
            .header("Content-Type", form_type)
            .body(form);
        Answer::to(posted.header(name, value)).await.is(403);
    }
    assert_eq!(fixture.gateway.get(&link).await.is(200).body["attempt"], 0);
}

#[tokio::test]
async fn a_shopper_approves_on_the_issuers_page_behind_the_gateway() {
    let fixture = Fixture::start().await;
    let link = created(&fixture).await;
    let wallet = json!({"payment_method": {"type": "wallet"}});
    let asked = fixture.gateway.post(&link, &wallet).await.is(200);
    assert_eq!(asked.body["status"], "requires_action");
    let url = asked.body["next_action"]["url"].as_str().unwrap();
    let (base, page) = url.split_once("/payments-api/").expect("the prefix");
    assert_eq!(base, fixture.gateway.url(""));
    let page = format!("/payments-api/{page}");
    let shown = Answer::to(opened(&fixture, Method::GET, &page)).await;
    let shown = shown.is(200);
    assert_eq!(shown.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(shown.header("cache-control"), "no-store");
    let choose = |origin: String| {
        let form = opened(&fixture, Method::POST, &page)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", origin);
        Answer::to(form.body("choice=approve"))
    };
    choose("https://elsewhere.example".to_owned()).await.is(403);
    assert_eq!(
        fixture.gateway.get(&link).await.is(200).body["status"],
        "requires_action"
    );
    choose(base.to_owned()).await.is(200);
    eventually("it is paid", || async {
        fixture.gateway.get(&link).await.is(200).body["is_paid"] == true
    })
    .await;
}

#[tokio::test]
async fn a_shopper_pays_in_a_browser() {
    let fixture = Fixture::start().await;
    let (english, french) = (created(&fixture).await, created(&fixture).await);
    let browser = Browser::start(Wish::default()).await;
    declined_then_paid(&browser, &fixture.gateway.url(&english)).await;
    browser.close().await;
    let wish = Wish {
        languages: "fr-CA,fr",
        javascript: false,
        ..Wish::default()
    };
    let browser = Browser::start(wish).await;
    pays_in_french(&browser, &fixture.gateway.url(&french)).await;
    browser.close().await;
    for (link, attempts) in [(english, 2), (french, 1)] {
        let paid = fixture.gateway.get(&link).await.is(200);
        assert_eq!(paid.body["is_paid"], true);
        assert_eq!(paid.body["attempt"], attempts);
    }
}
