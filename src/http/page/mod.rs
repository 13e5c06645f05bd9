//! The payment page: what a browser shows at the address that shoppers get, `/payments/process/{payment_id}`.
//!
//! Plain HTML: a form, no script, no external assets. Other callers get and send JSON there, as at `process`. It uses the
//! same code as `process` and adds the texts, the form's token and the check where a form comes from.

mod amount;
mod date;
mod form;
mod form_token;
mod negotiation;
mod origin;
pub(super) mod shopper;
mod test_cards;
mod texts;
mod view;

pub(super) use amount::written as amount;
pub(super) use negotiation::{for_the_page as wants_html, language};
pub(super) use test_cards::{grouped, line as card_line};
pub(super) use texts::Language;

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::header::VARY;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use self::form::{Form, Pressed};
use self::texts::Words;
use self::view::{FormView, PaymentView};
use super::auth::Caller;
use super::body::JsonBody;
use super::headers::PathId;
use super::problem::{Kind, Problem};
use super::{Api, payments, process};
use crate::domain::{
    ClientName, Payment, PaymentId, PaymentMethod, PaymentStatus, REDIRECT, Refusal, WALLET,
};
use crate::payments::{AcceptError, Presented};
use crate::wire::request::{parse_card, parse_method};

/// The page for callers that prefer HTML; for others the payment, as `GET /payments/{payment_id}` answers it.
pub async fn show(
    State(api): State<Arc<Api>>,
    caller: Result<Caller, Problem>,
    id: Result<PathId, Problem>,
    headers: HeaderMap,
) -> Response {
    let response = if negotiation::for_the_page(&headers) {
        let page = Page::new(&api, &headers);
        page.shown(caller, id)
            .await
            .unwrap_or_else(|problem| view::problem(problem, page.words))
    } else {
        let shown = async { payments::show(State(Arc::clone(&api)), caller?, id?, headers).await };
        shown.await.into_response()
    };
    varied(response)
}

/// Takes a card from the page's form; from other callers the same body as `POST /payments/{payment_id}/process`.
pub async fn present(
    State(api): State<Arc<Api>>,
    caller: Result<Caller, Problem>,
    id: Result<PathId, Problem>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let response = if form::is_form(&headers) && negotiation::for_the_page(&headers) {
        let page = Page::new(&api, &headers);
        let posted = page.posted(caller, id, &headers, request).await;
        posted.unwrap_or_else(|problem| view::problem(problem, page.words))
    } else {
        let processed = async {
            let (caller, id) = (caller?, id?);
            let body = JsonBody::from_request(request, &()).await?;
            process::present(State(Arc::clone(&api)), caller, id, headers, body).await
        };
        processed.await.into_response()
    };
    varied(response)
}

/// One address has several answers: caches must know which headers they depend on.
fn varied(mut response: Response) -> Response {
    let by = HeaderValue::from_static("Accept, Accept-Language");
    response.headers_mut().insert(VARY, by);
    response
}

/// One request for the page.
struct Page<'a> {
    api: &'a Api,
    words: &'static Words,
}

impl<'a> Page<'a> {
    fn new(api: &'a Api, headers: &HeaderMap) -> Self {
        let words = negotiation::language(headers).words();
        Self { api, words }
    }

    async fn shown(
        &self,
        caller: Result<Caller, Problem>,
        id: Result<PathId, Problem>,
    ) -> Result<Response, Problem> {
        let (Caller(client, _turn), PathId(id)) = (caller?, id?);
        let payment = self.payment(&client, id).await?;
        let form = takes_card(&payment).then(|| self.form(&payment));
        Ok(self.view(&payment, form).into_response(StatusCode::OK))
    }

    async fn posted(
        &self,
        caller: Result<Caller, Problem>,
        id: Result<PathId, Problem>,
        headers: &HeaderMap,
        request: Request,
    ) -> Result<Response, Problem> {
        let (Caller(client, turn), PathId(id)) = (caller?, id?);
        if origin::is_foreign(headers) {
            let sentence = "The form was posted from another site.";
            return Err(Problem::new(Kind::CrossSite, sentence));
        }
        let form = Form::from_request(request, &()).await?;
        let payment = self.payment(&client, id).await?;
        if !takes_card(&payment) {
            return Ok(self.as_it_stands(&payment));
        }
        let (keys, now) = (&self.api.acceptor.seal, (self.api.now)());
        let Ok(attempt) = form_token::verify(keys, (&client, id), &form.token, now) else {
            let again = FormView {
                notice: Some(self.words.form_expired),
                ..self.form(&payment).with_typed(&form)
            };
            let view = self.view(&payment, Some(again));
            return Ok(view.into_response(StatusCode::FORBIDDEN));
        };
        let rules = self.api.clients.rules(&client);
        let rules = self.api.rules(&rules);
        let read = match &form.method {
            Pressed::Card => parse_card(&form.card, &rules).map(PaymentMethod::Card),
            Pressed::Wallet => parse_method(&wallet(), &rules),
            Pressed::Redirect(platform) => parse_method(&redirect(platform), &rules),
        };
        match read {
            Ok(method) => {
                let acceptor = &self.api.acceptor;
                let presented = acceptor.present_card_after(attempt, &client, id, method);
                match presented.await {
                    Err(AcceptError::NotAllowed { what, .. }) => {
                        let again = self.form(&payment).with_typed(&form);
                        let again = again.with_refused_card(&what, self.words);
                        let view = self.view(&payment, Some(again));
                        Ok(view.into_response(StatusCode::UNPROCESSABLE_ENTITY))
                    }
                    presented => self.outcome(Caller(client, turn), id, presented).await,
                }
            }
            Err(faults) => {
                let again = self.form(&payment).with_typed(&form);
                let again = again.with_faults(&faults, self.words);
                let view = self.view(&payment, Some(again));
                Ok(view.into_response(StatusCode::UNPROCESSABLE_ENTITY))
            }
        }
    }

    /// Waits for the outcome of a card that was presented if the payment had not changed since the form was shown.
    async fn outcome(
        &self,
        Caller(client, turn): Caller,
        id: PaymentId,
        presented: Result<Presented, AcceptError>,
    ) -> Result<Response, Problem> {
        let api = self.api;
        let payment = match presented {
            Ok(Presented::Started(payment) | Presented::AsItStands(payment)) => payment,
            Err(AcceptError::Refused(Refusal::Canceled)) => self.payment(&client, id).await?,
            Err(error) => return Err(error.into()),
        };
        let payment = payments::outcome(api, (client, turn), payment, api.process_wait).await;
        Ok(self.as_it_stands(&payment))
    }

    fn as_it_stands(&self, payment: &Payment) -> Response {
        let status = match payment.status {
            PaymentStatus::Canceled => StatusCode::CONFLICT,
            _ => StatusCode::OK,
        };
        let view = self.view(payment, None);
        view.after_post().into_response(status)
    }

    fn view(&self, payment: &Payment, form: Option<FormView>) -> PaymentView {
        let shop = self.api.clients.display_name(&payment.client);
        PaymentView::new(payment, shop, self.words, form)
    }

    async fn payment(&self, client: &ClientName, id: PaymentId) -> Result<Payment, Problem> {
        let payment = self.api.queries.payment(client, id).await?;
        payment.ok_or_else(|| Problem::no_payment(id))
    }

    fn takes_wallets(&self, client: &ClientName) -> bool {
        let rules = self.api.clients.rules(client);
        self.api.acceptor.reaches_shoppers && rules.check_method(WALLET).is_ok()
    }

    /// The platforms on whose pages this payment can be paid: the value and the text of each one's button.
    fn platforms(&self, payment: &Payment) -> Vec<(String, String)> {
        let acceptor = &self.api.acceptor;
        let rules = self.api.clients.rules(&payment.client);
        if !acceptor.has_public_url || rules.check_method(REDIRECT).is_err() {
            return Vec::new();
        }
        let processors = &acceptor.processors;
        let takes = |name: &String| processors.check(name, REDIRECT, payment.amount).is_ok();
        let platforms = processors.names().into_iter().filter(takes);
        platforms
            .map(|name| (Pressed::of_platform(&name), name))
            .collect()
    }

    fn form(&self, payment: &Payment) -> FormView {
        let rules = self.api.clients.rules(&payment.client);
        let card = rules.check_method(CARD).is_ok();
        let cards = if card { self.api.test_cards } else { &[] };
        FormView {
            token: form_token::sign(&self.api.acceptor.seal, payment, (self.api.now)()),
            notice: None,
            typed_number: String::new(),
            typed_expiry: String::new(),
            number: None,
            expiry: None,
            code: None,
            test_cards: test_cards::rows(cards, self.words.language),
            card,
            wallet: self.takes_wallets(&payment.client),
            platforms: self.platforms(payment),
        }
    }
}

/// As `process` takes it.
fn wallet() -> Value {
    json!({"payment_method": {"type": WALLET}})
}

fn redirect(processor: &str) -> Value {
    json!({"payment_method": {"type": REDIRECT, "processor": processor}})
}

/// The name of cards among the payment methods.
const CARD: &str = "card";

fn takes_card(payment: &Payment) -> bool {
    use PaymentStatus as S;
    matches!(
        payment.status,
        S::RequiresPaymentMethod | S::RequiresAction | S::Declined | S::Failed
    )
}
