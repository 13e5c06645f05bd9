//! The guide "add a method" of CONTRIBUTING, followed: a voucher with a code, added from here through the library's public
//! interface.

use std::collections::BTreeMap;
use std::sync::Arc;

use payment_service::config::Role;
use payment_service::domain::{OtherMethod, PaymentId, PaymentMethod};
use payment_service::vault::{Owner, SealKeys};
use payment_service::wire::fields::{Faults, Object};
use payment_service::wire::methods::{CardsAllowed, Method, Reading};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::app::{Api, Backend, KIOSK, Order, STORE, Setup, TestApp, card, field, on_both, run_on};
use crate::support::process::SEAL_KEYS;

struct Voucher;

impl Method for Voucher {
    fn name(&self) -> &'static str {
        "voucher"
    }

    fn fields(&self, secrets: CardsAllowed) -> Option<&'static [&'static str]> {
        (secrets == CardsAllowed::Yes).then_some(&["code"])
    }

    fn read(&self, fields: &Object<'_>, _: Reading, faults: &mut Faults) -> Option<PaymentMethod> {
        let code = fields.text("code", "the code of the voucher", faults)?;
        if !code.starts_with("GIFT-") || code.len() < 9 {
            let message = "is not the code of a voucher: they begin with GIFT-";
            faults.add(fields.path("code"), "invalid_code", message);
            return None;
        }
        let shown = BTreeMap::from([("code_ends".to_owned(), code[code.len() - 2..].to_owned())]);
        let secret = Zeroizing::new(code.as_bytes().to_vec());
        let voucher = OtherMethod::new(self.name(), secret, shown);
        voucher
            .map_err(|invalid| faults.add(fields.path("code"), "invalid_code", invalid.to_string()))
            .map(PaymentMethod::Other)
            .ok()
    }
}

fn setup() -> Setup {
    Setup::new().with_method(Arc::new(Voucher))
}

fn order(method: Value) -> Value {
    json!({"order_id": 1, "user_id": 1, "total_amount": 25, "payment_method": method})
}

fn voucher() -> Value {
    json!({"type": "voucher", "code": "GIFT-2027-AB"})
}

#[tokio::test]
async fn an_added_method_is_sealed_stored_and_shown() {
    run_on(
        setup().without_worker(),
        Backend::Servers,
        |app| async move {
            let api = app.api.beyond_the_description();
            let created = api.post("/payments", order(voucher())).await.is(202);
            let shown = json!({"type": "voucher", "code_ends": "AB"});
            assert_eq!(created["payment_method"], shown);
            let again = api.create(2).await;
            let process = format!("/payments/{again}/process");
            let body = json!({"payment_method": voucher()});
            let processed = api
                .post_with(&process, &[("Prefer", "respond-async")], body)
                .await;
            assert_eq!(processed.is(202)["payment_method"], shown);
            for id in [created.id(), again] {
                let read = api.get(&format!("/payments/{id}")).await.is(200);
                assert_eq!(read["payment_method"], shown);
                let stored = app.database.payment(PaymentId(id)).await.unwrap().unwrap();
                let sealed = stored.sealed_card.unwrap();
                assert!(!sealed.0.windows(5).any(|bytes| bytes == b"GIFT-"));
                let keys = SealKeys::parse(SEAL_KEYS).unwrap();
                let secret = keys.open_other(&sealed, "voucher", Owner::Payment(PaymentId(id), 1));
                assert_eq!(&**secret.unwrap(), b"GIFT-2027-AB");
            }
            app.another(Role::Worker).await;
            for id in [created.id(), again] {
                charges_nothing(&app, &api, id).await;
            }
        },
    )
    .await;
}

#[tokio::test]
async fn an_added_method_is_validated_with_the_others() {
    on_both(setup(), |app| async move {
        let api = app.api.beyond_the_description();
        for (method, field, code) in [
            (json!({"type": "voucher"}), "payment_method.code", "missing"),
            (
                json!({"type": "voucher", "code": "X"}),
                "payment_method.code",
                "invalid_code",
            ),
            (
                json!({"type": "vouchr"}),
                "payment_method.type",
                "unknown_method",
            ),
            (
                json!({"type": "voucher", "code": "GIFT-1234", "cardCode": "1"}),
                "payment_method.cardCode",
                "unknown_field",
            ),
        ] {
            let refused = api.post("/payments", order(method)).await.is(422);
            assert_eq!(refused.faults(), [(field, code)]);
        }
        let misspelt = api
            .post("/payments", order(json!({"type": "vouchr"})))
            .await;
        assert!(field(&misspelt.body, "error").ends_with("did you mean voucher?"));
        let unheard_of = api.post("/payments", order(json!({"type": "iou"}))).await;
        assert!(
            field(&unheard_of.body, "error")
                .ends_with("send card, wallet, token, redirect or voucher.")
        );
        // Its code must not be written to a broker's disk.
        let fault = refused_by_message(&app, order(voucher())).await;
        assert_eq!(
            (field(&fault, "field"), field(&fault, "code")),
            ("payment_method.type", "method_in_clear")
        );
        let key = [("Idempotency-Key", "one")];
        let first = api
            .post_with("/payments", &key, order(voucher()))
            .await
            .id();
        let again = api
            .post_with("/payments", &key, order(voucher()))
            .await
            .id();
        assert_eq!(again, first);
        let other = order(json!({"type": "voucher", "code": "GIFT-2027-CD"}));
        api.post_with("/payments", &key, other).await.is(422);
    })
    .await;
}

#[tokio::test]
async fn a_client_may_use_only_the_methods_that_its_entry_lists() {
    let setup = setup()
        .with_client_setting(STORE, "payment_methods", json!(["voucher"]))
        .with_client_setting(KIOSK, "payment_methods", json!(["card"]));
    on_both(setup, |app| async move {
        let api = app.api.beyond_the_description();
        let (store, kiosk) = (api.with_key(STORE.1), api.with_key(KIOSK.1));
        let by_voucher = store.post("/payments", order(voucher())).await.is(202);
        charges_nothing(&app, &store, by_voucher.id()).await;
        let refused = kiosk.post("/payments", order(voucher())).await.is(422);
        assert_eq!(
            refused.faults(),
            [("payment_method.type", "method_not_allowed")]
        );
        let mut old = json!({"order_id": 1, "user_id": 1, "total_amount": 25});
        old["card_token"] = json!("tok_visa");
        let by_card = kiosk.post("/payments", old.clone()).await.is(202);
        assert_eq!(kiosk.outcome(by_card.id()).await["is_paid"], true);
        let id = store.create(2).await;
        let process = format!("/payments/{id}/process");
        for (path, body, field) in [
            ("/payments", old, "card_token"),
            (process.as_str(), card("4242424242424242"), "cardNumber"),
            ("/card-tokens", card("4242424242424242"), "cardNumber"),
        ] {
            let refused = store.post(path, body).await.is(422);
            assert_eq!(refused.faults(), [(field, "method_not_allowed")]);
        }
    })
    .await;
}

/// The simulated issuer takes cards only.
async fn charges_nothing(app: &TestApp, api: &Api, id: i64) {
    let ended = api.outcome(id).await;
    assert_eq!(ended["payment_method"]["code_ends"], "AB");
    assert_eq!(app.standing_charges(id).await, 0);
}

/// The first invalid field of a message that is refused.
async fn refused_by_message(app: &TestApp, body: Value) -> Value {
    let mut results = app.results("payment.request_rejected.#").await;
    app.publish(Order::new("m-1", &body)).await;
    let rejected = results.next(|_| true).await;
    rejected.body["data"]["errors"][0].clone()
}
