//! `/docs` in a browser: the first thing that a newcomer tries succeeds every time, on a phone and on a wide screen.

use reqwest::Method;

use super::browser::{Browser, PHONE, Wish};
use crate::app::{Backend, Setup};

const EXECUTE: &str = ".opblock.is-open .execute";
const STATUS: &str = ".live-responses-table tbody .response-col_status";

#[tokio::test]
async fn the_first_try_succeeds_twice_on_a_phone_and_on_a_wide_screen() {
    let app = Setup::new().start(Backend::Embedded).await;
    let address = app.api.request(Method::GET, "/docs").build().unwrap();
    for size in [PHONE, (1440, 900)] {
        let wish = Wish {
            size,
            ..Wish::default()
        };
        let browser = Browser::start(wish).await;
        browser.open(address.url().as_str()).await;
        browser.until_there(".opblock-summary-control", true).await;
        assert_eq!(browser.text(".opblock-summary-method").await, "POST");
        assert!(browser.scroll_width().await <= size.0, "{size:?}");
        browser.click(".opblock-summary-control").await;
        browser.until_there(EXECUTE, true).await;
        for _ in 0..2 {
            let before = listed(&app).await;
            browser.click(EXECUTE).await;
            browser.until(STATUS, "200").await;
            // Not the answer to the previous try: each creates a payment.
            crate::app::eventually("another payment", || async { listed(&app).await > before })
                .await;
            browser.until(STATUS, "200").await;
        }
        assert!(browser.scroll_width().await <= size.0, "{size:?}");
        browser.close().await;
    }
    assert_eq!(listed(&app).await, 4);
    app.finish().await;
}

async fn listed(app: &crate::app::TestApp) -> usize {
    let payments = app.api.get("/payments").await.is(200);
    payments["data"].as_array().unwrap().len()
}
