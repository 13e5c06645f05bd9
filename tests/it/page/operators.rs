//! The operators' page in a headless Chromium.

use payment_service::store::MinuteCounts;
use serde_json::{Value, json};

use super::browser::{Browser, PHONE, Wish};
use super::operators_data::{TOKEN, admin_file};
use crate::app::{Backend, Order, Setup, TestApp, eventually};

const DESKTOP: (u32, u32) = (1440, 900);

fn address(app: &TestApp, path: &str) -> String {
    format!("http://{}{path}", app.admin.address())
}

/// The browser has found nothing wrong, the page is not wider than the window, and keeps nobody out.
async fn is_clean(browser: &Browser, size: (u32, u32)) {
    assert_eq!(browser.console_errors().await, [Value::Null; 0]);
    let width = browser.scroll_width().await;
    assert!(
        width <= size.0,
        "{width} > {}: {}",
        size.0,
        browser.address().await
    );
    let findings = browser.accessibility_findings().await;
    assert_eq!(findings, [""; 0], "{}", browser.address().await);
}

#[tokio::test]
async fn the_check_of_accessibility_finds_a_picture_without_a_text() {
    let browser = Browser::start(Wish::default()).await;
    let page = "data:text/html,<html lang='en'><title>a</title><img src='x.png'>";
    browser.open(page).await;
    let findings = browser.accessibility_findings().await;
    assert_eq!(findings, ["image-alt: img"]);
    browser.close().await;
}

#[tokio::test]
async fn an_operator_tries_cards_and_sees_each_outcome_and_a_refund_live() {
    // A slow card must not time out.
    let setup = Setup::new().with("PROCESSOR_TIMEOUT", "5s");
    let app = setup.start(Backend::Embedded).await;
    let browser = Browser::start(Wish::default()).await;
    browser.open(&address(&app, "/")).await;
    browser.until("#ready", "Ready").await;
    is_clean(&browser, PHONE).await;
    browser.click("nav a[href='/try']").await;
    is_clean(&browser, PHONE).await;
    browser.click("button[data-card='tok_issuer_slow']").await;
    browser.until("#state", "Processing").await;
    // Without a reload.
    browser.until("#state", "Succeeded").await;
    let paid = app.api.get("/payments?limit=1").await.is(200)["data"][0]["payment_id"].clone();
    assert_eq!(
        browser.address().await,
        address(&app, &format!("/payments/{paid}"))
    );
    is_clean(&browser, PHONE).await;

    let path = format!("/payments/{paid}/refunds");
    let key = [("Idempotency-Key", "refund-1")];
    let refund = json!({ "amount": 4, "reason": "damaged" });
    app.api.post_with(&path, &key, refund).await.is(202);
    browser.until("#operations .status", "succeeded").await;
    browser
        .until(".timeline li:last-child strong", "Refunded")
        .await;
    browser.picture("operators-payment.png").await;

    browser.open(&address(&app, "/try")).await;
    browser
        .click("button[data-card='tok_insufficient_funds']")
        .await;
    browser.until("#state", "Declined").await;
    browser
        .until(
            ".timeline .bad .detail",
            "attempt 1 · try 1 · insufficient_funds",
        )
        .await;
    browser.click("#raw summary").await;
    browser.until_there("#raw[open]", true).await;
    is_clean(&browser, PHONE).await;
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn results_are_counted_on_the_overview_as_they_pass() {
    let app = Setup::new().start(Backend::Embedded).await;
    let wish = Wish {
        size: DESKTOP,
        ..Wish::default()
    };
    let browser = Browser::start(wish).await;
    browser.open(&address(&app, "/")).await;
    eventually("a payment is counted", || async {
        let id = app.api.pay(1, "tok_visa").await;
        app.api.outcome(id).await;
        browser.find("#counts").await.is_some()
    })
    .await;
    browser.until("#counts dt", "payment.succeeded").await;
    browser.picture("operators-overview.png").await;
    is_clean(&browser, DESKTOP).await;
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn charts_show_what_the_processes_have_counted() {
    let app = Setup::new().start(Backend::Embedded).await;
    let wish = Wish {
        size: DESKTOP,
        ..Wish::default()
    };
    let browser = Browser::start(wish).await;
    browser.open(&address(&app, "/charts")).await;
    browser.until_there("#nothing", true).await;
    let counts = |status: &str, code: &[&str], seconds: &str| MinuteCounts {
        outcomes: [(status.to_owned(), 3)].into(),
        codes: code.iter().map(|code| ((*code).to_owned(), 3)).collect(),
        seconds: [(seconds.to_owned(), 3)].into(),
    };
    // Two processes.
    for counts in [
        counts("succeeded", &[], "0.1"),
        counts("declined", &["lost_card"], "0.5"),
    ] {
        app.database.write_minute(&counts).await.unwrap();
    }
    browser.open(&address(&app, "/charts?minutes=15")).await;
    // Drawn by the script.
    browser.until_there("#outcomes canvas", true).await;
    browser.until_there("#seconds canvas", true).await;
    browser.until("#totals dt", "declined").await;
    browser.until("#codes dt", "lost_card").await;
    is_clean(&browser, DESKTOP).await;
    let data = app.admin.get("/api/charts?minutes=15").await.is(200);
    assert_eq!(data["minutes"].as_array().map(Vec::len), Some(15));
    let succeeded = &data["charts"][0]["lines"][0];
    let values = succeeded["values"].as_array().unwrap();
    let sum: f64 = values.iter().filter_map(Value::as_f64).sum();
    assert_eq!((succeeded["title"].as_str(), sum), (Some("succeeded"), 3.0));
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn an_operator_searches_payments_and_reads_a_dead_letter() {
    let app = Setup::new().start(Backend::Embedded).await;
    let (paid, declined) = (
        app.api.pay(71, "tok_visa").await,
        app.api.pay(72, "tok_lost_card").await,
    );
    for id in [paid, declined] {
        app.api.outcome(id).await;
    }
    let browser = Browser::start(Wish::default()).await;
    browser.open(&address(&app, "/payments")).await;
    browser.write("#order", "72").await;
    browser.click("#search").await;
    browser
        .until_there(&format!("#payment-{declined}"), true)
        .await;
    browser
        .until_there(&format!("#payment-{paid}"), false)
        .await;
    browser.clear("#order").await;
    browser.write("#order", "73").await;
    browser.click("#search").await;
    browser.until("#none", "No payment matches.").await;
    browser.clear("#order").await;
    browser.write("#order", "seventy").await;
    browser.click("#search").await;
    browser.until_there("#faults", true).await;
    browser.clear("#order").await;
    browser.write("#payment", &paid.to_string()).await;
    browser.click("#search").await;
    browser.until("#state", "Succeeded").await;

    browser.open(&address(&app, "/dead-letters")).await;
    browser.until("#none", "There are none.").await;
    let bad = json!({ "order_id": 1, "total_amount": 5 });
    app.publish(Order::new("bad-1", &bad)).await;
    eventually("the dead letter is shown", || async {
        browser.reload().await;
        browser.find(".letter .reason").await.is_some()
    })
    .await;
    assert_eq!(browser.text(".letter .reason").await, "invalid");
    browser.open(&address(&app, "/clients")).await;
    assert!(browser.text("#clients").await.contains("default"));
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn every_page_is_in_french_dark_and_as_wide_as_a_phone_or_a_desktop() {
    let app = Setup::new().start(Backend::Embedded).await;
    let id = app.api.pay(71, "tok_visa").await;
    app.api.outcome(id).await;
    for size in [PHONE, DESKTOP] {
        let wish = Wish {
            languages: "fr-CA,fr",
            size,
            ..Wish::default()
        };
        let browser = Browser::start(wish).await;
        browser.open(&address(&app, "/")).await;
        assert_eq!(
            browser.css("body", "background-color").await,
            "rgba(243, 244, 246, 1)"
        );
        browser.prefer_dark().await;
        for (path, title) in [
            ("/".to_owned(), "Vue d’ensemble"),
            ("/charts".to_owned(), "Graphiques"),
            ("/payments".to_owned(), "Paiements"),
            (format!("/payments/{id}"), "Paiement"),
            ("/refunds".to_owned(), "Les derniers remboursements"),
            ("/dead-letters".to_owned(), "Messages rejetés"),
            ("/clients".to_owned(), "Clients"),
            ("/try".to_owned(), "Essayer"),
        ] {
            browser.open(&address(&app, &path)).await;
            assert!(browser.text("h1").await.starts_with(title), "{path}");
            assert_eq!(browser.attribute("html", "lang").await, "fr");
            assert_eq!(
                browser.css("body", "background-color").await,
                "rgba(17, 24, 39, 1)"
            );
            is_clean(&browser, size).await;
        }
        browser.close().await;
    }
    app.finish().await;
}

#[tokio::test]
async fn an_operator_logs_in_with_a_token_and_out_again() {
    let file = admin_file();
    let setup = Setup::new().with("ADMIN_FILE", file.path().to_str().unwrap());
    let app = setup.start(Backend::Embedded).await;
    let browser = Browser::start(Wish::default()).await;
    browser.open(&address(&app, "/payments")).await;
    browser.write("#token", "wrong").await;
    browser.click("#login button").await;
    browser.until("#notice", "This token is not known.").await;
    browser.clear("#token").await;
    browser.write("#token", TOKEN).await;
    browser.click("#login button").await;
    browser.until("h1", "Payments").await;
    browser.until("header .soft", "maria").await;
    browser.click("#logout").await;
    browser.until("h1", "Log in").await;
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn the_page_of_links_leads_to_the_operators_page_where_no_token_is_needed() {
    let app = Setup::new().start(Backend::Embedded).await;
    let browser = Browser::start(Wish::default()).await;
    browser
        .open(&format!("http://{}/", app.api.address()))
        .await;
    browser.click("#operators").await;
    browser.until("#ready", "Ready").await;
    browser.close().await;
    app.finish().await;
}
