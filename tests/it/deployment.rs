//! The parts of a deployment that can be tested without containers.

use std::path::Path;
use std::process::Command;

use lapin::{Connection, ConnectionProperties};

use crate::support::servers::{Broker, BrokerOptions};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test]
async fn both_users_can_log_in_whenever_definitions_with_passwords_are_loaded() {
    let broker = Broker::start(&BrokerOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // As at a broker's first start, at the next one, and at one with another password.
    for password in ["first", "first", "the-2nd.one_~"] {
        let file = folder.path().join("definitions.json");
        std::fs::write(&file, with_passwords(password)).unwrap();
        broker.import_definitions(&file).unwrap();
        for user in ["payment-service", "store-manager"] {
            let url = format!("amqp://{user}:{password}@127.0.0.1:{}/%2f", broker.port());
            let connection = Connection::connect(&url, ConnectionProperties::default()).await;
            let connection = connection.unwrap_or_else(|error| panic!("{user}: {error}"));
            connection.close(200, "done".into()).await.unwrap();
        }
    }
    let old = format!("amqp://store-manager:first@127.0.0.1:{}/%2f", broker.port());
    let refused = Connection::connect(&old, ConnectionProperties::default()).await;
    assert!(refused.is_err(), "the old password still opens");
}

/// The definitions that `rabbitmq/start` gives to a broker in a container.
fn with_passwords(password: &str) -> Vec<u8> {
    let rabbitmq = Path::new(ROOT).join("rabbitmq");
    let made = Command::new(rabbitmq.join("with-passwords"))
        .arg(rabbitmq.join("definitions.json"))
        .env("RABBITMQ_PASSWORD_PAYMENT_SERVICE", password)
        .env("RABBITMQ_PASSWORD_STORE_MANAGER", password)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}
