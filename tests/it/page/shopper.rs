//! What shoppers do on the page, and what they must see.

use super::browser::{Browser, PHONE};

/// A number that is too short, a declined card, a good one, and a reload.
pub async fn declined_then_paid(browser: &Browser, link: &str) {
    browser.open(link).await;
    assert_eq!(browser.text("#state").await, "To be paid");
    assert_eq!(browser.text(".total dd").await, "CAD 99.53");
    is_usable_on_a_phone(browser).await;
    for (field, label, autocomplete) in [
        ("#number", "Card number", "cc-number"),
        ("#expiry", "Expiry date", "cc-exp"),
        ("#code", "Security code", "cc-csc"),
    ] {
        assert_eq!(browser.label(field).await, label);
        assert_eq!(browser.attribute(field, "autocomplete").await, autocomplete);
    }
    browser.picture("payment-page-en.png").await;

    fill(browser, "4242 4242", "01/30", "123").await;
    browser.click("#pay").await;
    browser
        .until("#number-fault", "The card number has 12 to 19 digits.")
        .await;
    assert_eq!(
        browser.attribute("#number", "aria-describedby").await,
        "number-fault"
    );
    is_usable_on_a_phone(browser).await;

    // The typed fields are filled in again, except the code.
    for (field, kept) in [
        ("#number", "4242 4242"),
        ("#expiry", "01/30"),
        ("#code", ""),
    ] {
        assert_eq!(browser.value(field).await, kept, "{field}");
        browser.clear(field).await;
    }
    fill(browser, "4000 0000 0000 9995", "01 / 30", "123").await;
    browser.click("#pay").await;
    browser.until("#state", "Declined").await;
    browser.until("[role=status]", "There is not enough money on the card. Nothing has been charged: you can use another one.").await;

    // The answer to the form goes on to the payment's page, which has a form again.
    browser.until_there("#number", true).await;
    fill(browser, "4242 4242 4242 4242", "01/2030", "123").await;
    browser.click("#pay").await;
    browser.until("#state", "Paid").await;
    browser.until_there("a", false).await;
    assert!(browser.find("form").await.is_none());
    browser.reload().await;
    assert_eq!(browser.text("#state").await, "Paid");
    assert_eq!(browser.address().await, link);
    is_usable_on_a_phone(browser).await;
}

/// A double click on the button, in French.
pub async fn pays_in_french(browser: &Browser, link: &str) {
    browser.open(link).await;
    assert_eq!(browser.text("h1").await.split(' ').next(), Some("Paiement"));
    assert_eq!(browser.text(".total dd").await, "99,53 CAD");
    browser.click("summary").await;
    browser.picture("payment-page-fr.png").await;
    fill(browser, "5555 5555 5555 4444", "01/30", "123").await;
    browser.double_click("#pay").await;
    browser.until("#state", "Payé").await;
    browser
        .until("[role=status]", "Merci : le paiement est effectué.")
        .await;
}

async fn fill(browser: &Browser, number: &str, expiry: &str, code: &str) {
    for (field, value) in [("#number", number), ("#expiry", expiry), ("#code", code)] {
        assert_eq!(browser.value(field).await, "", "{field} is not empty");
        browser.write(field, value).await;
    }
}

/// The policy allows the style, nothing overflows at the side, buttons are large enough, and nobody is kept out.
async fn is_usable_on_a_phone(browser: &Browser) {
    assert_eq!(browser.css("main", "max-width").await, "448px");
    assert!(browser.scroll_width().await <= PHONE.0);
    if browser.find("form").await.is_some() {
        assert!(browser.height("#pay").await >= 44.0);
    }
    assert_eq!(browser.accessibility_findings().await, [""; 0]);
}
