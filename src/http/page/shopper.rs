//! The simulated issuer's pages for shoppers, `/simulator/actions/{secret}`: 3-D Secure's question, and the wallet.
//!
//! A real processor has such pages of its own. Whoever knows the secret in the address can choose; a choice that comes too
//! late, twice or from another tab changes nothing.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::texts::Words;
use super::{amount, date, form, negotiation, origin, varied, view};
use crate::domain::Payment;
use crate::http::body;
use crate::http::problem::{Kind, Problem};
use crate::http::{Api, wait};
use crate::processors::simulated::{Choice, PageState, ShopperPage, Shoppers, Told};
use crate::store::StoreError;

/// The longest secret that is looked up.
const LONGEST_SECRET: usize = 64;

/// A page of the simulated issuer.
#[derive(Template)]
#[template(path = "shopper.html")]
struct ShopperView {
    words: &'static Words,
    nonce: String,
    refresh: Option<String>,
    headline: &'static str,
    id: i64,
    amount: String,
    until_label: &'static str,
    until: Option<String>,
    state: &'static str,
    sentence: &'static str,
    choices: Vec<ChoiceView>,
    back: Option<String>,
    back_label: &'static str,
    simulation: &'static str,
}

/// A button.
struct ChoiceView {
    value: &'static str,
    text: &'static str,
}

/// Shows a page.
pub async fn show(
    State(api): State<Arc<Api>>,
    secret: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let words = negotiation::language(&headers).words();
    let shown = async {
        let Path(secret) = secret.map_err(|_| unknown())?;
        let shoppers = shoppers(&api, &secret)?;
        let _turn = shoppers.turn().await.ok_or_else(too_many)?;
        let page = shoppers.page(&secret).await.map_err(unavailable)?;
        let page = page.ok_or_else(unknown)?;
        Ok(ShopperView::new(&page, words).into_response())
    };
    varied(
        shown
            .await
            .unwrap_or_else(|problem| view::problem(problem, words)),
    )
}

/// Takes a shopper's choice, and sends the shopper back.
pub async fn choose(
    State(api): State<Arc<Api>>,
    secret: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let words = negotiation::language(&headers).words();
    let chosen = async {
        if origin::is_foreign(&headers) {
            let sentence = "The form was posted from another site.";
            return Err(Problem::new(Kind::CrossSite, sentence));
        }
        let Path(secret) = secret.map_err(|_| unknown())?;
        let body = body::read(request, &()).await?;
        let shoppers = shoppers(&api, &secret)?;
        if !form::is_form(&headers) {
            let sentence = "The choice must be sent as application/x-www-form-urlencoded.";
            return Err(Problem::new(Kind::UnsupportedMediaType, sentence));
        }
        let mut fields = form_urlencoded::parse(&body);
        let choice = fields.find(|(name, _)| name == "choice");
        let choice = choice.and_then(|(_, value)| Choice::parse(&value));
        let Some(choice) = choice else {
            let sentence = "choice must be approve, decline, another or expire.";
            return Err(Problem::new(Kind::BadRequest, sentence));
        };
        let turn = shoppers.turn().await.ok_or_else(too_many)?;
        let done = shoppers.choose(&secret, choice).await;
        let (page, told) = done.map_err(unavailable)?.ok_or_else(unknown)?;
        tell(&api, &page, told).await;
        drop(turn);
        if let Told::Times(_) = told {
            settle(&api, shoppers, &page).await;
        }
        Ok(ShopperView::new(&page, words).after_post().into_response())
    };
    varied(
        chosen
            .await
            .unwrap_or_else(|problem| view::problem(problem, words)),
    )
}

/// Tells the service that the shopper is back, as a real processor does by its own message. If that fails, the service finds
/// out by asking.
async fn tell(api: &Arc<Api>, page: &ShopperPage, told: Told) {
    let Some(attempt) = page.attempt() else {
        return;
    };
    let of = (page.action.payment, attempt);
    let (times, late) = match told {
        Told::Nothing => (0, false),
        Told::Times(times) => (times, false),
        Told::TooLate => (1, true),
        Told::TooLateAt(at) => {
            let (api, now) = (Arc::clone(api), (api.now)());
            tokio::spawn(async move {
                let wait = std::time::Duration::try_from(at - now).unwrap_or_default();
                tokio::time::sleep(wait).await;
                let _ = api.acceptor.commands.shopper_returned(of, true).await;
            });
            (0, false)
        }
    };
    for _ in 0..times {
        if let Err(error) = api.acceptor.commands.shopper_returned(of, late).await {
            tracing::warn!(payment.id = of.0.0, %error, "a shopper is back, and the processor will be asked later");
        }
    }
}

/// Waits for what the choice led to, so that the payment page, to which the browser goes next, shows it.
async fn settle(api: &Api, shoppers: &Shoppers, page: &ShopperPage) {
    let id = page.action.payment;
    let read = async || {
        let stored = shoppers.database.payment(id).await?;
        Ok::<_, StoreError>(stored.map(|stored| stored.payment))
    };
    let Ok(Some(payment)) = read().await else {
        return;
    };
    let is_over =
        |payment: &Payment| Some(payment.attempt) != page.attempt() || !payment.status.has_a_try();
    wait::until(&api.waiters, payment, (api.process_wait, is_over), read).await;
}

fn shoppers<'a>(api: &'a Api, secret: &str) -> Result<&'a Shoppers, Problem> {
    let plausible =
        secret.len() <= LONGEST_SECRET && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let shoppers = api.shoppers.as_ref().filter(|_| plausible);
    shoppers.ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::new(Kind::NotFound, "There is no such page.")
}

fn too_many() -> Problem {
    let sentence = "Too many of these pages are requested at the same time; try again in a moment.";
    Problem::new(Kind::Overloaded, sentence)
}

fn unavailable(error: StoreError) -> Problem {
    crate::payments::AcceptError::from(error).into()
}

impl ShopperView {
    fn new(page: &ShopperPage, words: &'static Words) -> Self {
        let pick = |english, french| words.language.pick(english, french);
        let open = page.state == PageState::Open;
        let (state, sentence) = sentence(page, words);
        let action = &page.action;
        Self {
            words,
            nonce: view::nonce(),
            refresh: None,
            headline: match page.is_wallet() {
                true => pick("Test wallet", "Portefeuille de test"),
                false => pick(
                    "Your bank asks you to approve",
                    "Votre banque demande votre accord",
                ),
            },
            id: action.payment.0,
            amount: amount::written(action.amount, words.language),
            until_label: pick("Approve before", "À approuver avant"),
            until: open.then(|| date::written(action.expires_at, words.language)),
            state,
            sentence,
            choices: if open {
                choices(page, words)
            } else {
                Vec::new()
            },
            back: page.leads_back().then(|| action.return_to.clone()),
            back_label: words.back_to_shop,
            simulation: words.simulation,
        }
    }

    /// After a choice the browser leaves the page by itself.
    fn after_post(mut self) -> Self {
        if self.choices.is_empty() {
            self.refresh = self.back.as_ref().map(|url| format!("0; url={url}"));
        }
        self
    }

    fn into_response(self) -> Response {
        view::respond(StatusCode::OK, &self, &self.nonce)
    }
}

fn sentence(page: &ShopperPage, words: &'static Words) -> (&'static str, &'static str) {
    let (state, english, french) = match page.state {
        PageState::Open => (
            "open",
            "Nothing is charged before you approve.",
            "Rien n’est débité avant votre accord.",
        ),
        PageState::Approved if !page.leads_back() => (
            "approved",
            "You have approved. You can close this page; the shop will find out.",
            "Vous avez donné votre accord. Vous pouvez fermer cette page ; la boutique en sera informée.",
        ),
        PageState::Approved => (
            "approved",
            "You have approved. Go back to the shop.",
            "Vous avez donné votre accord. Retournez à la boutique.",
        ),
        PageState::Undecided => (
            "undecided",
            "You have approved. The bank is still checking; do not pay again.",
            "Vous avez donné votre accord. La banque vérifie encore ; ne payez pas une seconde fois.",
        ),
        PageState::Declined => (
            "declined",
            "The payment was not approved. Nothing has been charged.",
            "Le paiement n’a pas été approuvé. Rien n’a été débité.",
        ),
        PageState::Over => (
            "over",
            "This page can no longer be used. Nothing has been charged by it.",
            "Cette page ne peut plus être utilisée. Elle n’a rien débité.",
        ),
    };
    (state, words.language.pick(english, french))
}

fn choices(page: &ShopperPage, words: &'static Words) -> Vec<ChoiceView> {
    let pick = |english, french| words.language.pick(english, french);
    let mut choices = vec![
        ChoiceView {
            value: "approve",
            text: pick("Approve", "Approuver"),
        },
        ChoiceView {
            value: "decline",
            text: pick("Decline", "Refuser"),
        },
    ];
    if page.is_wallet() {
        choices.push(ChoiceView {
            value: "another",
            text: pick("Pay in another way", "Payer autrement"),
        });
    }
    choices.push(ChoiceView {
        value: "expire",
        text: pick("Let the time run out", "Laisser le temps s’écouler"),
    });
    choices
}
