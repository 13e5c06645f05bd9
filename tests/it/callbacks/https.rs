//! Receivers over HTTPS, with certificates of an extra CA. Only embedded: a call is the same with servers.

use super::receiver::Receiver;
use super::{SECRET, given_up, quick};
use crate::app::{Backend, STORE, Setup, run_on};
use crate::support::certificates::Certificates;

fn told_by_https(receiver: &Receiver, host: &str) -> Setup {
    let url = format!("https://{host}:{}/hook", receiver.address.port());
    let callback = serde_json::json!({
        "url": url, "secrets": [SECRET], "allow_private_addresses": true,
    });
    quick().with_callback(STORE, callback)
}

#[tokio::test]
async fn a_receiver_is_trusted_by_its_ca_and_host_name() {
    let certificates = Certificates::make();
    let receiver = Receiver::start_with(&certificates.server).await;
    let setup =
        told_by_https(&receiver, "localhost").with("CALLBACK_CA_FILE", &certificates.file("right"));
    run_on(setup, Backend::Embedded, async |app| {
        app.api.with_key(STORE.1).pay(1, "tok_visa").await;
        let call = receiver.called(1).await.remove(0);
        assert_eq!(call.kind(), "payment.succeeded");
    })
    .await;
}

#[tokio::test]
async fn an_untrusted_receiver_gets_nothing_and_the_dead_letter_has_the_reason() {
    let certificates = Certificates::make();
    let receiver = Receiver::start_with(&certificates.server).await;
    for (host, authority) in [
        ("localhost", None),
        ("localhost", Some("wrong")),
        ("127.0.0.1", Some("right")),
    ] {
        let setup = told_by_https(&receiver, host).with("CALLBACK_GIVE_UP_AFTER", "1s");
        let setup = match authority {
            Some(authority) => setup.with("CALLBACK_CA_FILE", &certificates.file(authority)),
            None => setup,
        };
        run_on(setup, Backend::Embedded, async |app| {
            let mut letters = app.dead_letters();
            app.api.with_key(STORE.1).pay(1, "tok_visa").await;
            let (letter, reason) = given_up(&app, &mut letters).await;
            assert_eq!(reason, "not_trusted", "{letter}");
            let error = letter["error"].as_str().unwrap();
            assert!(error.contains("certificate is not trusted"), "{error}");
            assert!(!error.contains("Calls: 1."), "never tried again: {error}");
        })
        .await;
    }
    assert_eq!(receiver.calls().len(), 0);
}
