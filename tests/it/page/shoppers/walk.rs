//! One shopper's way from the payment page to the issuer's page and back, in the shopper's language.

use super::{Checkout, button, is_plain, type_card};
use crate::page::browser::{Browser, Wish};

/// What the pages say.
pub struct Words {
    /// Of the browser.
    pub languages: &'static str,
    pub tag: &'static str,
    pub amount: &'static str,
    pub to_be_paid: &'static str,
    pub paid: &'static str,
    pub declined: &'static str,
    pub failed: &'static str,
    pub thanks: &'static str,
    pub not_approved: &'static str,
    pub too_late: &'static str,
    pub bank: &'static str,
    pub wallet: &'static str,
    pub nothing_yet: &'static str,
    /// The label of each button on the issuer's page, by its value.
    pub choices: [(&'static str, &'static str); 4],
}

pub const ENGLISH: Words = Words {
    languages: "en",
    tag: "en",
    amount: "CAD 99.53",
    to_be_paid: "To be paid",
    paid: "Paid",
    declined: "Declined",
    failed: "Failed",
    thanks: "Thank you: the payment has been made.",
    not_approved: "The payment was not approved. Nothing has been charged: you can pay in another way.",
    too_late: "The payment was not approved in time. Nothing has been charged: you can try again.",
    bank: "Your bank asks you to approve",
    wallet: "Test wallet",
    nothing_yet: "Nothing is charged before you approve.",
    choices: [
        ("approve", "Approve"),
        ("decline", "Decline"),
        ("another", "Pay in another way"),
        ("expire", "Let the time run out"),
    ],
};

pub const FRENCH: Words = Words {
    languages: "fr-CA,fr",
    tag: "fr",
    amount: "99,53 CAD",
    to_be_paid: "À payer",
    paid: "Payé",
    declined: "Refusé",
    failed: "Échoué",
    thanks: "Merci : le paiement est effectué.",
    not_approved: "Le paiement n’a pas été approuvé. Rien n’a été débité : vous pouvez payer autrement.",
    too_late: "Le paiement n’a pas été approuvé à temps. Rien n’a été débité : vous pouvez réessayer.",
    bank: "Votre banque demande votre accord",
    wallet: "Portefeuille de test",
    nothing_yet: "Rien n’est débité avant votre accord.",
    choices: [
        ("approve", "Approuver"),
        ("decline", "Refuser"),
        ("another", "Payer autrement"),
        ("expire", "Laisser le temps s’écouler"),
    ],
};

/// The state on a page that the browser does not leave by itself.
const SETTLED_STATE: &str = "head:not(:has(meta[http-equiv=refresh])) + body #state";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// This card number.
    Card(&'static str),
    Wallet,
}

/// A shopper with a browser of this size.
pub struct Walk<'a> {
    pub checkout: &'a Checkout,
    pub browser: Browser,
    pub words: &'static Words,
    size: (u32, u32),
}

impl<'a> Walk<'a> {
    pub async fn start(checkout: &'a Checkout, words: &'static Words, size: (u32, u32)) -> Self {
        let wish = Wish {
            languages: words.languages,
            size,
            ..Wish::default()
        };
        Self {
            checkout,
            browser: Browser::start(wish).await,
            words,
            size,
        }
    }

    /// Opens a payment's page, pays there with this method, and is led to the issuer's page.
    pub async fn to_the_issuer(&self, id: i64, method: Method) {
        let (browser, words) = (&self.browser, self.words);
        browser.open(&self.checkout.front.link(id)).await;
        assert_eq!(browser.text("#state").await, words.to_be_paid);
        assert_eq!(browser.text(".total dd").await, words.amount);
        self.is_plain().await;
        self.pay(method).await;
        self.is_asked(method).await;
    }

    /// Uses the form of the payment page.
    pub async fn pay(&self, method: Method) {
        match method {
            Method::Card(number) => {
                type_card(&self.browser, number).await;
                self.browser.click("#pay").await;
            }
            Method::Wallet => self.browser.click("#wallet").await,
        }
    }

    /// The issuer's page comes up, with its question and its buttons.
    pub async fn is_asked(&self, method: Method) {
        let (browser, words) = (&self.browser, self.words);
        let is_wallet = method == Method::Wallet;
        let headline = if is_wallet { words.wallet } else { words.bank };
        browser.until("h1", headline).await;
        let address = browser.address().await;
        assert!(address.starts_with(&self.checkout.actions()), "{address}");
        assert_eq!(browser.text("#state").await, words.nothing_yet);
        assert_eq!(browser.text(".total dd").await, words.amount);
        for (value, label) in words.choices {
            let button = button(value);
            if value == "another" && !is_wallet {
                assert!(browser.find(&button).await.is_none());
                continue;
            }
            assert_eq!(browser.text(&button).await, label);
            assert!(browser.height(&button).await >= 44.0, "{label}");
        }
        self.is_plain().await;
    }

    pub async fn choose(&self, choice: &str) {
        self.browser.click(&button(choice)).await;
    }

    /// Comes to the payment page by itself, which then says this. Returns whether it can be paid again.
    pub async fn comes_back(&self, id: i64, state: &str, explanation: &str) -> bool {
        let browser = &self.browser;
        browser.until(SETTLED_STATE, state).await;
        assert_eq!(browser.address().await, self.checkout.front.link(id));
        assert_eq!(browser.text("[role=status]").await, explanation);
        self.is_plain().await;
        browser.find("#number").await.is_some()
    }

    async fn is_plain(&self) {
        is_plain(&self.browser, self.size).await;
        assert_eq!(self.browser.attribute("html", "lang").await, self.words.tag);
    }
}
