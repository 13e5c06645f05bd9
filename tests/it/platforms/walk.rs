//! docs/platforms.md: runs the commands of its two walks, each in one shell, in order, against a stand-in. The output must be
//! the one that is shown. A shopper who pays on the platform's page is played by the test.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::stand_in::{SECRET_KEY, StandIn};
use crate::app::eventually_within;
use crate::end_to_end::processes::PROGRAM;
use crate::examples::guide::{Block, MARK, blocks};
use crate::platforms::paypal;

/// How long a walk may take.
const LIMIT: Duration = Duration::from_secs(120);

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/platforms.md");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_with_stripe_s_test_keys_works_line_by_line() {
    let stripe = StandIn::start().await;
    let api = format!("http://{}", stripe.address);
    let variables = [("STRIPE_KEY", SECRET_KEY), ("STRIPE_API", &api)];
    let shopper = tokio::spawn(async move {
        eventually_within(LIMIT, "the third payment has a page", || async {
            !stripe.sessions(3).is_empty()
        })
        .await;
        stripe.pay_on_page(3, "pm_card_visa");
    });
    walk("## Try Stripe with test keys", 9, &variables).await;
    shopper.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_with_paypal_s_sandbox_works_line_by_line() {
    let paypal = paypal::stand_in::StandIn::start().await;
    let api = format!("http://{}", paypal.address);
    let variables = [
        ("PAYPAL_ID", paypal::stand_in::CLIENT_ID),
        ("PAYPAL_SECRET", paypal::stand_in::CLIENT_SECRET),
        ("PAYPAL_API", &api),
    ];
    let shopper = tokio::spawn(async move {
        eventually_within(LIMIT, "there is an order", || async {
            !paypal.orders(1).is_empty()
        })
        .await;
        assert!(paypal.shopper(1, paypal::stand_in::Pays::Well));
    });
    walk("## PayPal", 6, &variables).await;
    shopper.await.unwrap();
}

/// Runs the commands of a section, at least so many.
async fn walk(section: &str, least: usize, variables: &[(&str, &str)]) {
    let blocks = blocks_of(section);
    assert!(blocks.len() >= least, "{section} has lost its commands");
    let mut script = "set -eu\n".to_owned();
    for block in &blocks {
        script.push_str(&format!("echo '{MARK}'\n{}\n", block.commands));
    }
    let said = in_a_shell(script, variables).await;
    let outputs: Vec<&str> = said.split(&format!("{MARK}\n")).skip(1).collect();
    assert_eq!(outputs.len(), blocks.len(), "{said}");
    for (block, output) in blocks.iter().zip(outputs) {
        block.check(output);
    }
}

/// The commands of a section, with their outputs. In the document they belong to numbered steps, three characters to the right.
fn blocks_of(section: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let start = text.find(&format!("\n{section}\n")).unwrap() + 1;
    let rest = &text[start + section.len()..];
    let text = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
    blocks(&text.replace("\n   ", "\n"))
}

/// What the commands print, in an empty folder, with the program of the tests as `payment-service`. They leave no process behind.
async fn in_a_shell(script: String, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("payment-service")).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let (listen, admin) = (free_address(), free_address());
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", "120", "bash", "-c"])
        // The service ends even if a command before fails.
        .arg(format!("trap 'kill $! 2>/dev/null || true' EXIT\n{script}"))
        .env_clear()
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("HOME", folder.path())
        .env("NO_PROXY", "127.0.0.1")
        .env("LISTEN_ADDR", &listen)
        .env("ADMIN_ADDR", admin)
        .env("PAYMENTS", format!("http://{listen}"))
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .stdin(Stdio::null());
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = running.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    let log = std::fs::read_to_string(folder.path().join("service.log")).unwrap_or_default();
    assert!(output.status.success(), "{said}\n{complaints}\n{log}");
    said
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
