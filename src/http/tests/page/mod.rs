//! The payment page as a browser gets it.

mod refusals;

use super::*;
use crate::clients::new_api_key;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const GOOD: &str = "cardNumber=4242+4242+4242+4242&expirationDate=01%2F30&cardCode=123";
const LINK: &str = "/payments/process/1";

fn opened(path: &str) -> Request<Body> {
    with(get(path), "accept", BROWSER)
}

fn posted(path: &str, form: String) -> Request<Body> {
    let request = with(post(path, form), "accept", BROWSER);
    let request = with(request, "host", "shop.example");
    with(request, "content-type", "application/x-www-form-urlencoded")
}

/// A page: status, headers, text. Checks what holds for every page.
async fn page(served: &Served, request: Request<Body>) -> (Response<Body>, String) {
    let response = served
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("an answer");
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    assert_eq!(parts.headers["cache-control"], "no-store");
    assert_eq!(parts.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(parts.headers["vary"], "Accept, Accept-Language");
    assert_eq!(parts.headers["x-content-type-options"], "nosniff");
    assert_eq!(parts.headers["referrer-policy"], "same-origin");
    let policy = parts.headers["content-security-policy"]
        .to_str()
        .expect("text");
    let nonce = between(policy, "'nonce-", "'");
    assert_eq!(between(&text, "<style nonce=\"", "\""), nonce);
    let rest = "form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    assert_eq!(
        policy,
        format!("default-src 'none'; style-src 'nonce-{nonce}'; {rest}")
    );
    // Except for the link back to the shop, which a shopper has to choose.
    let without_way_back = match text.split_once("<a id=\"back\" href=\"") {
        Some((before, after)) => format!("{before}{}", after.split_once('"').expect("an end").1),
        None => text.clone(),
    };
    assert!(
        !text.contains("<script") && !without_way_back.contains("//"),
        "nothing from elsewhere"
    );
    (Response::from_parts(parts, Body::empty()), text)
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).expect("an end").0
}

/// The form of a page, filled in.
fn filled(page: &str, fields: &str) -> String {
    let token = between(page, "name=\"form\" value=\"", "\"");
    format!("form={token}&{fields}")
}

async fn with_payment() -> Served {
    let served = Served::start().await;
    served.answer(post("/payments", PAYMENT)).await;
    served
}

async fn form(served: &Served) -> String {
    filled(&page(served, opened(LINK)).await.1, GOOD)
}

async fn attempt(served: &Served) -> i64 {
    let (_, payment) = served.answer(get("/payments/1")).await;
    payment["attempt"].as_i64().expect("a number")
}

#[tokio::test]
async fn a_browser_gets_a_page_in_its_language_and_other_callers_get_json() {
    let served = with_payment().await;
    let (response, english) = page(&served, opened(LINK)).await;
    assert_eq!(response.status(), 200);
    for shown in [
        "lang=\"en\"",
        "Payment 1",
        "CAD\u{a0}99.53",
        "To be paid",
        "4000 0000 0000 9995",
    ] {
        assert!(english.contains(shown), "{shown}: {english}");
    }
    let request = with(opened(LINK), "accept-language", "fr-CA,fr;q=0.9,en;q=0.8");
    let (_, french) = page(&served, request).await;
    for shown in [
        "lang=\"fr\"",
        "Paiement 1",
        "99,53\u{a0}CAD",
        "À payer",
        "Refusée : solde insuffisant.",
    ] {
        assert!(french.contains(shown), "{shown}: {french}");
    }
    let (_, expected) = served.answer(get("/payments/1")).await;
    for accept in [
        "*/*",
        "application/json",
        "application/json, text/plain, */*",
    ] {
        let (response, payment) = served.answer(with(get(LINK), "accept", accept)).await;
        assert_eq!((response.status().as_u16(), &payment), (200, &expected));
        assert!(response.headers().contains_key("etag"));
    }
}

#[tokio::test]
async fn after_paying_a_reload_does_not_post_again() {
    let served = with_payment().await;
    let request = posted(LINK, form(&served).await);
    let pay = async { page(&served, request).await };
    let outcome = async {
        while served.waiters.number() == 0 {
            tokio::task::yield_now().await;
        }
        served.approve(1, 1).await;
    };
    let ((response, paid), ()) = tokio::join!(pay, outcome);
    assert_eq!(response.status(), 200);
    // Relative to the last slash, so with any prefix.
    assert!(
        paid.contains("<meta http-equiv=\"refresh\" content=\"0; url=1\">"),
        "{paid}"
    );
    assert!(!response.headers().contains_key("location"));
    for page_text in [paid, page(&served, opened(LINK)).await.1] {
        assert!(
            page_text.contains("class=\"succeeded\">Paid<"),
            "{page_text}"
        );
        assert!(page_text.contains("visa ending in 4242"));
        assert!(!page_text.contains("<form"));
    }
}

#[tokio::test]
async fn a_paid_page_is_a_receipt_with_a_link_back_to_the_shop() {
    let (key, digest) = new_api_key();
    let file = json!({"clients": [{
        "name": "shop", "api_key_sha256": [digest], "display_name": "Caf\u{e9} & Sons",
        "return_origins": ["https://shop.example"],
    }]});
    let clients = Clients::parse(file.to_string().as_bytes()).expect("a good file");
    let served = Served::with(clients, now).await;
    let authorized = |request| with(request, "authorization", &format!("Bearer {key}"));
    let body = json!({
        "order_id": 1, "user_id": 1, "total_amount": 99.53, "return_url": "https://shop.example/orders?id=1&x=%22",
        "card": {"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "01/30"},
    });
    let (_, created) = served
        .answer(authorized(post("/payments", body.to_string())))
        .await;
    assert_eq!(created["return_url"], body["return_url"]);
    served.approve(1, 1).await;
    let (_, payment) = served.answer(authorized(get("/payments/1"))).await;
    assert_eq!(payment["return_url"], body["return_url"]);
    let (year, rest) = payment["updated_at"].as_str().expect("text").split_at(4);
    let link = "<a id=\"back\" href=\"https://shop.example/orders?id=1&#38;x=%22\">";
    for (language, back, shop) in [
        ("en", "Back to", "Shop"),
        ("fr", "Retour \u{e0}", "Boutique"),
    ] {
        let request = with(authorized(opened(LINK)), "accept-language", language);
        let (_, text) = page(&served, request).await;
        let name = "Caf\u{e9} &#38; Sons";
        assert!(text.contains(&format!("{link}{back} {name}</a>")), "{text}");
        assert!(
            text.contains(&format!("<dt>{shop}</dt><dd>{name}</dd>")),
            "{text}"
        );
        assert_eq!(between(&text, "id=\"reference\">", "<"), "A1");
        let date = between(&text, "id=\"paid-at\">", "<");
        assert!(date.contains(year) && date.ends_with(" UTC"), "{date}");
        assert!(date.contains(rest[4..6].trim_start_matches('0')), "{date}");
    }
}

#[tokio::test]
async fn a_double_click_or_an_old_form_presents_no_second_card() {
    let served = with_payment().await;
    let form = form(&served).await;
    let both = (
        page(&served, posted(LINK, form.clone())),
        page(&served, posted(LINK, form.clone())),
    );
    let ((one, _), (two, _)) = tokio::join!(both.0, both.1);
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200));
    assert_eq!(attempt(&served).await, 1);
    served.decline(1, 1, "insufficient_funds").await;
    // The same form once more, after the outcome: it was shown before it.
    let (response, text) = page(&served, posted(LINK, form)).await;
    assert_eq!(response.status(), 200);
    assert!(
        text.contains("Declined") && text.contains("content=\"0; url=1\""),
        "{text}"
    );
    assert_eq!(attempt(&served).await, 1);
    // A new form accepts another card.
    let (_, again) = page(&served, opened(LINK)).await;
    assert!(
        again.contains("There is not enough money on the card."),
        "{again}"
    );
    page(&served, posted(LINK, filled(&again, GOOD))).await;
    assert_eq!(attempt(&served).await, 2);
}

#[tokio::test]
async fn while_a_card_is_checked_the_page_refreshes_and_has_no_form() {
    let served = with_payment().await;
    page(&served, posted(LINK, form(&served).await)).await;
    let (_, text) = page(&served, opened(LINK)).await;
    assert!(
        text.contains("<meta http-equiv=\"refresh\" content=\"2\">"),
        "{text}"
    );
    assert!(text.contains("Being processed") && !text.contains("<form"));
}

#[tokio::test]
async fn a_paid_or_canceled_payment_shows_its_state_and_takes_no_card() {
    let served = with_payment().await;
    served.answer(post("/payments", WITH_CARD)).await;
    let form = form(&served).await;
    let (_, other) = page(&served, opened(LINK)).await;
    served.answer(post("/payments/1/cancel", "")).await;
    served.approve(2, 1).await;
    let (response, text) = page(&served, opened(LINK)).await;
    assert_eq!(response.status(), 200);
    assert!(
        text.contains("class=\"canceled\">Canceled<") && !text.contains("<form"),
        "{text}"
    );
    let (response, text) = page(&served, posted(LINK, form)).await;
    assert_eq!(response.status(), 409);
    assert!(text.contains("can no longer be made"), "{text}");
    let paid = "/payments/process/2";
    for request in [opened(paid), posted(paid, filled(&other, GOOD))] {
        let (response, text) = page(&served, request).await;
        assert_eq!(response.status(), 200);
        assert!(
            text.contains("the payment has been made") && !text.contains("<form"),
            "{text}"
        );
    }
}
