//! PayPal's own SDK pays at the stand-in: software that nobody here wrote judges it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::stand_in::{CLIENT_ID, CLIENT_SECRET, Pays, StandIn};
use crate::examples::fixture::tool;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/paypal_sdk.py");

/// The script is waited for on the thread of the test; the stand-in runs on others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paypal_s_own_sdk_pays_at_the_stand_in() {
    let paypal = StandIn::start().await;
    let address = format!("http://{}", paypal.address);
    let python = tool(
        "TEST_PYTHON",
        "python/bin/python",
        "a Python with tests/requirements.txt",
    );
    let mut sdk = Command::new(python)
        .args([SCRIPT, &address, CLIENT_ID, CLIENT_SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = sdk.stdin.take().unwrap();
    let mut lines = BufReader::new(sdk.stdout.take().unwrap()).lines();
    for payment in 9601..=9603 {
        let order = lines.next().expect("an order, see above").unwrap();
        assert_eq!(paypal.orders(payment)[0]["id"], order.as_str());
        assert!(paypal.shopper(payment, Pays::Well));
        input.write_all(b"approved\n").unwrap();
    }
    assert!(sdk.wait().unwrap().success());
    assert_eq!(paypal.moved(9601), (2000, 500));
    assert_eq!(paypal.moved(9602), (1250, 0));
    assert_eq!(paypal.moved(9603), (0, 0));
    assert_eq!(paypal.tokens_made(), 1);
}
