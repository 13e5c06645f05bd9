//! The answers of the page to invalid requests.

use super::*;

#[tokio::test]
async fn invalid_fields_have_their_error_and_all_but_the_card_code_is_kept() {
    let served = with_payment().await;
    let (_, text) = page(&served, opened(LINK)).await;
    for (fields, number, expiry, code) in [
        (
            "cardNumber=4242&expirationDate=01%2F30&cardCode=123",
            true,
            false,
            false,
        ),
        (
            "cardNumber=4242424242424242&expirationDate=13%2F30&cardCode=123",
            false,
            true,
            false,
        ),
        (
            "cardNumber=4242424242424242&expirationDate=01%2F99&cardCode=123",
            false,
            true,
            false,
        ),
        (
            "cardNumber=4242424242424242&expirationDate=01%2F30&cardCode=12",
            false,
            false,
            true,
        ),
        (
            "cardNumber=4242-x&expirationDate=&cardCode=98765",
            true,
            true,
            true,
        ),
        ("", true, true, true),
    ] {
        let (response, again) = page(&served, posted(LINK, filled(&text, fields))).await;
        assert_eq!(response.status(), 422, "{fields}");
        for (fault, id) in [(number, "number"), (expiry, "expiry"), (code, "code")] {
            let shown = again.contains(&format!("id=\"{id}-fault\""));
            assert_eq!(shown, fault, "{id} of {fields}: {again}");
        }
        assert_eq!(
            again.matches("aria-invalid=\"true\"").count(),
            again.matches("class=\"fault\"").count()
        );
        let body = between(&again, "<form", "</form>");
        let sent = |name: &str| {
            let field = form_urlencoded::parse(fields.as_bytes()).find(|(it, _)| it == name);
            field
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        for (id, name) in [("number", "cardNumber"), ("expiry", "expirationDate")] {
            assert_eq!(value_of(body, id), sent(name), "{body}");
        }
        assert!(
            !body.contains("98765") && !body.contains("value=\"12"),
            "{body}"
        );
        // It can be sent again.
        filled(&again, GOOD);
    }
    let request = with(posted(LINK, filled(&text, "")), "accept-language", "fr");
    let (_, french) = page(&served, request).await;
    assert!(french.contains("Veuillez corriger"), "{french}");
    assert_eq!(attempt(&served).await, 0);
}

#[tokio::test]
async fn a_card_that_the_shop_may_not_use_is_refused_beside_its_number() {
    let (key, digest) = new_api_key();
    let file = json!({"clients": [{
        "name": "shop", "api_key_sha256": [digest], "card_funding": ["debit", "prepaid"],
    }]});
    let clients = Clients::parse(file.to_string().as_bytes()).expect("a good file");
    let served = Served::with(clients, now).await;
    let authorized = |request| with(request, "authorization", &format!("Bearer {key}"));
    served.answer(authorized(post("/payments", PAYMENT))).await;
    let (_, text) = page(&served, authorized(opened(LINK))).await;
    let credit = "cardNumber=4242424242424242&expirationDate=01%2F30&cardCode=123";
    for (language, sentence) in [
        ("en", "It accepts: debit cards, prepaid cards."),
        (
            "fr",
            "Elle accepte\u{a0}: cartes de d\u{e9}bit, cartes pr\u{e9}pay\u{e9}es.",
        ),
    ] {
        let request = authorized(posted(LINK, filled(&text, credit)));
        let request = with(request, "accept-language", language);
        let (response, again) = page(&served, request).await;
        assert_eq!(response.status(), 422);
        let fault = between(&again, "id=\"number-fault\">", "</span>");
        assert!(
            fault
                .replace('\u{a0}', " ")
                .contains(&sentence.replace('\u{a0}', " ")),
            "{fault}"
        );
        assert!(again.contains("4242424242424242") && !again.contains("value=\"123\""));
    }
    let debit = credit.replace("4242424242424242", "4000056655665556");
    let request = authorized(posted(LINK, filled(&text, &debit)));
    let (response, _) = page(&served, request).await;
    assert_eq!(response.status(), 200);
    let (_, payment) = served.answer(authorized(get("/payments/1"))).await;
    assert_eq!(payment["payment_method"]["funding"], "debit");
}

/// The value of a field of the form.
fn value_of<'f>(form: &'f str, id: &str) -> &'f str {
    let input = between(form, &format!("<input id=\"{id}\""), ">");
    between(input, "value=\"", "\"")
}

#[tokio::test]
async fn typed_text_is_escaped_in_its_field() {
    let served = with_payment().await;
    let (_, text) = page(&served, opened(LINK)).await;
    let fields = "cardNumber=%22%3E%3Cscript%3E1%3C%2Fscript%3E&expirationDate=%27%22%3E%3Cb%3E&cardCode=%22%3E";
    let (response, again) = page(&served, posted(LINK, filled(&text, fields))).await;
    assert_eq!(response.status(), 422);
    assert!(
        !again.contains("<script") && !again.contains("<b>"),
        "{again}"
    );
    assert_eq!(again.matches("<input").count(), 4);
}

#[tokio::test]
async fn dates_and_numbers_are_accepted_as_people_and_browsers_write_them() {
    let dates = [
        "1/30",
        "0130",
        "01-30",
        "1/2030",
        "203001",
        "01/30",
        "2030-01",
        "+01+%2F+30+",
        "01.2030",
        "01+30",
        "012030",
        "01%C2%A0%2F%C2%A030",
    ];
    let numbers = [
        "4242%C2%A04242%C2%A04242%C2%A04242",
        "4242%E2%80%AF4242%E2%80%AF4242%E2%80%AF4242",
        "4242-4242-4242-4242",
        "%C2%A04242424242424242+",
    ];
    let forms = dates
        .map(|date| format!("cardNumber=4242424242424242&expirationDate={date}&cardCode=123"))
        .into_iter()
        .chain(
            numbers
                .map(|number| format!("cardNumber={number}&expirationDate=01%2F30&cardCode=123")),
        );
    for fields in forms {
        let served = with_payment().await;
        let (_, text) = page(&served, opened(LINK)).await;
        let (response, _) = page(&served, posted(LINK, filled(&text, &fields))).await;
        assert_eq!(response.status(), 200, "{fields}");
        let (_, payment) = served.answer(get("/payments/1")).await;
        assert_eq!(
            payment["payment_method"]["expiration"], "2030-01",
            "{fields}"
        );
        assert_eq!(payment["payment_method"]["last4"], "4242", "{fields}");
    }
}

#[tokio::test]
async fn a_form_from_another_site_presents_no_card() {
    let served = with_payment().await;
    let form = form(&served).await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://elsewhere.example"),
        ("origin", "null"),
    ] {
        let request = with(posted(LINK, form.clone()), name, value);
        let (response, text) = page(&served, request).await;
        assert_eq!(response.status(), 403, "{name}: {value}");
        assert!(text.contains("another site") && !text.contains("<form"));
    }
    for wrong in [
        "",
        "form=",
        "form=0.99999999999.00&",
        &form.replace("form=0", "form=1"),
    ] {
        let request = posted(LINK, format!("{wrong}&{GOOD}"));
        let (response, text) = page(&served, request).await;
        assert_eq!(response.status(), 403, "{wrong}");
        assert!(
            text.contains("open for too long") && text.contains("<form"),
            "{text}"
        );
    }
    assert_eq!(attempt(&served).await, 0);
    let request = with(posted(LINK, form), "origin", "https://shop.example");
    assert_eq!(page(&served, request).await.0.status(), 200);
    assert_eq!(attempt(&served).await, 1);
}

#[tokio::test]
async fn unknown_payments_and_wrong_addresses_give_error_pages() {
    let served = with_payment().await;
    for path in [
        "/payments/process/2",
        "/payments/process/x",
        "/payments/process/-1",
    ] {
        for request in [opened(path), posted(path, GOOD.to_owned())] {
            let (response, text) = page(&served, request).await;
            assert_eq!(response.status(), 404, "{path}");
            assert!(text.contains("There is no such payment"), "{text}");
        }
        let request = with(opened(path), "accept-language", "fr");
        assert!(
            page(&served, request)
                .await
                .1
                .contains("Ce paiement n’existe pas")
        );
        assert_eq!(served.status(get(path)).await, 404);
    }
}

#[tokio::test]
async fn a_browser_without_a_key_gets_a_page_that_names_the_right_address() {
    let (key, digest) = new_api_key();
    let file = format!(r#"{{"clients": [{{"name": "shop", "api_key_sha256": ["{digest}"]}}]}}"#);
    let clients = Clients::parse(file.as_bytes()).expect("a good file");
    let served = Served::with(clients, now).await;
    for request in [opened(LINK), posted(LINK, GOOD.to_owned())] {
        let (response, text) = page(&served, request).await;
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key("www-authenticate"));
        assert!(
            text.contains("Please use the link that the shop gave you."),
            "{text}"
        );
    }
    assert_eq!(served.status(get(LINK)).await, 401);
    let authorization = format!("Bearer {key}");
    let known = |request| with(request, "authorization", &authorization);
    served.answer(known(post("/payments", PAYMENT))).await;
    assert_eq!(page(&served, known(opened(LINK))).await.0.status(), 200);
}

#[tokio::test]
async fn a_body_that_is_not_a_form_gets_the_usual_answer() {
    let served = with_payment().await;
    // A form without `Accept: text/html` comes from a caller that forgot the content type JSON.
    let form_type = "application/x-www-form-urlencoded";
    assert_eq!(
        served
            .status(with(post(LINK, CARD), "content-type", form_type))
            .await,
        415
    );
    let browser = |request| with(request, "accept", BROWSER);
    assert_eq!(
        served
            .status(with(
                browser(post(LINK, CARD)),
                "content-type",
                "text/plain"
            ))
            .await,
        415
    );
    let (response, payment) = served.answer(browser(post(LINK, CARD))).await;
    assert_eq!(
        (response.status().as_u16(), &payment["attempt"]),
        (202, &1.into())
    );
    let long = format!("{GOOD}&x={}", "y".repeat(body::LIMIT));
    assert_eq!(
        page(&served, posted(LINK, long.clone())).await.0.status(),
        413
    );
    // The pages of the simulated issuer, too, answer with a page.
    let action = "/simulator/actions/abc";
    let (response, html) = page(&served, posted(action, "choice=approve".to_owned())).await;
    assert_eq!(response.status(), 404, "{html}");
    for (path, status) in [(action, 413), ("/simulator/actions/%ff", 404)] {
        let (response, html) = page(&served, posted(path, long.clone())).await;
        assert_eq!(response.status(), status, "{html}");
        assert!(html.contains("<html"), "{html}");
    }
}
