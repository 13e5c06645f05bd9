//! Payments with test cards: one button for each card of the simulated issuer. They are accepted as any client's are.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Admin;
use super::clients::names;
use super::shell::{self, Shell, Visitor};
use crate::domain::{
    CaptureMethod, ClientName, Metadata, MethodForm, Money, OrderId, Origin, PaymentMethod,
    PaymentRequest, UserId,
};
use crate::http::body::JsonBody;
use crate::http::page::{card_line, grouped};
use crate::http::problem::{Kind, Problem};
use crate::payments::{Acceptor, Submission, WayIn};
use crate::processors::simulated::cards::by_token;
use crate::processors::simulated::{Behaviour, TEST_CARDS};

/// The amount of such a payment, in minor units.
const AMOUNT: i64 = 1000;

#[derive(Template)]
#[template(path = "admin/try_it.html")]
struct TryPage {
    shell: Shell,
    clients: Vec<ClientName>,
    groups: Vec<(&'static str, Vec<Button>)>,
}

/// The button of a card.
struct Button {
    token: &'static str,
    number: String,
    line: &'static str,
}

/// The page.
pub async fn page(State(admin): State<Arc<Admin>>, visitor: Visitor, uri: Uri) -> Response {
    if admin.acceptor.is_none() {
        return Problem::unknown_address(&uri).into_response();
    }
    let l = visitor.language;
    let group = |title, is_in: fn(&Behaviour) -> bool| {
        let cards = TEST_CARDS.iter().filter(|card| is_in(&card.behaviour));
        let button = cards.map(|card| Button {
            token: card.token,
            number: grouped(card.number),
            line: card_line(card, l),
        });
        (title, button.collect())
    };
    let page = TryPage {
        shell: Shell::new(&admin, &visitor, "/try"),
        clients: names(&admin),
        groups: vec![
            group(l.pick("Approved", "Acceptées"), |it| {
                matches!(it, Behaviour::Approve)
            }),
            group(l.pick("Declined", "Refusées"), |it| {
                matches!(it, Behaviour::Decline(_))
            }),
            group(
                l.pick("The shopper has to approve", "Le client doit approuver"),
                |it| matches!(it, Behaviour::NeedsShopper(_)),
            ),
            group(l.pick("The issuer fails", "L’émetteur défaille"), fails),
            group(
                l.pick("Something fails later", "Quelque chose échoue plus tard"),
                |it| matches!(it, Behaviour::ApproveThen(_)),
            ),
        ],
    };
    shell::html(StatusCode::OK, &page)
}

fn fails(behaviour: &Behaviour) -> bool {
    use Behaviour as B;
    !matches!(
        behaviour,
        B::Approve | B::Decline(_) | B::ApproveThen(_) | B::NeedsShopper(_)
    )
}

/// `{"card": "tok_visa", "client": "…"}`: 201 and `{"payment_id": 1}`. Without a client it is the first one.
pub async fn create(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let acceptor = admin.acceptor.as_ref();
    let acceptor = acceptor.ok_or_else(|| Problem::unknown_address(&uri))?;
    let card = body["card"].as_str().and_then(by_token);
    let card = card.ok_or_else(|| {
        Problem::new(
            Kind::InvalidFields,
            "card must be the token of a test card.",
        )
    })?;
    let named = body["client"].as_str();
    let client = names(&admin)
        .into_iter()
        .find(|name| named.is_none_or(|named| name.as_str() == named));
    let client = client
        .ok_or_else(|| Problem::new(Kind::InvalidFields, "client must be one of the clients."))?;
    let created = accept(acceptor, &admin, client, card.token).await?;
    Ok((StatusCode::CREATED, Json(json!({ "payment_id": created }))).into_response())
}

async fn accept(
    acceptor: &Acceptor,
    admin: &Admin,
    client: ClientName,
    token: &str,
) -> Result<i64, Problem> {
    let amount = Money::from_minor(AMOUNT, admin.currency).map_err(|_| Problem::internal())?;
    let request = PaymentRequest {
        order_id: OrderId(1),
        user_id: UserId(1),
        amount,
        method: Some(PaymentMethod::Token(token.to_owned())),
        method_form: MethodForm::InPayment,
        capture_method: CaptureMethod::Automatic,
        metadata: Metadata::default(),
        return_url: None,
    };
    let submission = Submission {
        client,
        request,
        idempotency_key: None,
        origin: Origin::default(),
        way_in: WayIn::Rest,
    };
    let accepted = acceptor.accept(submission).await?;
    Ok(accepted.payment.id.0)
}
