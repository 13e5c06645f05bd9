//! One client that sends as much as it can.

use std::time::Duration;

use super::*;

/// Counts the answers of one status.
type Counted = Arc<std::sync::Mutex<std::collections::BTreeMap<String, usize>>>;

#[tokio::test]
async fn a_flood_of_one_client_leaves_the_others_their_share() {
    let victim = Victim::on_servers(&[("CLIENT_REQUESTS", "64")]).await;
    let answers = Counted::default();
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..400 {
        flood.spawn(again_and_again(victim.address(), Arc::clone(&answers)));
    }
    let refused = || answers.lock().unwrap().get("429").copied().unwrap_or(0);
    crate::app::eventually("the flood is refused", async || refused() > 100).await;
    let neighbor = victim.neighbor();
    let meanwhile = "400 connections of one client send without a pause";
    neighbor
        .was_served_within(Duration::from_secs(3), meanwhile)
        .await;
    flood.abort_all();
    let answers = answers.lock().unwrap().clone();
    let _ = writeln!(std::io::stderr(), "the flood was answered {answers:?}");
    assert!(
        answers["202"] > 64,
        "the flood was served as well: {answers:?}"
    );
    let others: Vec<_> = answers
        .keys()
        .filter(|it| !["202", "429"].contains(&it.as_str()))
        .collect();
    assert!(others.is_empty(), "{answers:?}");
}

#[tokio::test]
async fn a_refused_request_has_retry_after_and_waiting_requests_do_not_count() {
    let victim = Victim::on_servers(&[("CLIENT_REQUESTS", "2")]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let order = json!({ "order_id": 1, "user_id": 1, "total_amount": 1, "card_token": "tok_visa" });
    let post = || http.post(victim.api.url("/payments")).bearer_auth(STORE.1);
    // Without a worker these wait for the longest time, more than two of them.
    let mut waiting = tokio::task::JoinSet::new();
    for number in 1..=5 {
        waiting.spawn(post().header("Prefer", "wait=3").json(&order).send());
        let accepted = async || {
            let list = http.get(victim.api.url("/payments")).bearer_auth(STORE.1);
            let list: serde_json::Value = list.send().await.unwrap().json().await.unwrap();
            list["data"].as_array().is_some_and(|it| it.len() == number)
        };
        crate::app::eventually("it is accepted and waits", accepted).await;
    }
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 202, "it waited");
    }
    // Two requests that do not send their bodies are in progress.
    let mut held = [open(victim.address()).await, open(victim.address()).await];
    for stream in &mut held {
        begin_body(stream, STORE.1).await;
    }
    let refused = post().json(&order).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["Retry-After"], "1");
    let problem: serde_json::Value = refused.json().await.unwrap();
    let kind = "urn:problem-type:payment-service:too-many-requests";
    assert_eq!(problem["type"], kind);
    drop(held);
    let served = async || post().json(&order).send().await.unwrap().status() == 202;
    crate::app::eventually("it is served again", served).await;
}

async fn again_and_again(address: SocketAddr, answers: Counted) {
    let body = r#"{"order_id": 1, "user_id": 1, "total_amount": 1}"#;
    let request = head(body.len()) + body;
    let mut stream = open(address).await;
    let mut buffer = [0; 4096];
    loop {
        send(&mut stream, &request).await;
        let read = stream.read(&mut buffer).await.unwrap();
        let status = String::from_utf8_lossy(&buffer[..read])
            .chars()
            .skip(9)
            .take(3)
            .collect();
        *answers.lock().unwrap().entry(status).or_insert(0) += 1;
    }
}

/// A platform that nobody asks.
fn processors_file(folder: &Path) -> String {
    let file = folder.join("processors.json");
    let processor = json!({
        "name": "stripe", "type": "stripe", "secret_key": "sk_test_1", "api": "http://127.0.0.1:9",
        "webhook_secret": "whsec_known_to_stripe",
    });
    let content = json!({ "processors": [processor] });
    std::fs::write(&file, content.to_string()).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn a_flood_of_forged_webhooks_is_refused_and_counted_and_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = processors_file(folder.path());
    let victim = Victim::on_servers(&[("PROCESSORS_FILE", &file)]).await;
    let answers = Counted::default();
    let mut flood = tokio::task::JoinSet::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = now.unwrap().as_secs();
    let zeros = "0".repeat(64);
    let body = "x".repeat(200 * 1024);
    let request = format!(
        "POST /webhooks/stripe HTTP/1.1\r\nHost: localhost\r\nStripe-Signature: t={seconds},v1={zeros}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..50 {
        let request = request.clone();
        let answers = Arc::clone(&answers);
        let address = victim.address();
        flood.spawn(async move {
            let mut stream = open(address).await;
            loop {
                send(&mut stream, &request).await;
                let answer = early::Answer::read(&mut stream).await;
                let status = answer.status.to_string();
                *answers.lock().unwrap().entry(status).or_insert(0) += 1;
            }
        });
    }
    let refused = || answers.lock().unwrap().get("401").copied().unwrap_or(0);
    crate::app::eventually("the flood is refused", async || refused() > 100).await;
    let neighbor = victim.neighbor();
    let meanwhile = "50 connections send forged webhooks of 200 KiB without a pause";
    neighbor
        .was_served_within(Duration::from_secs(3), meanwhile)
        .await;
    flood.abort_all();
    let answers = answers.lock().unwrap().clone();
    let _ = writeln!(std::io::stderr(), "the flood was answered {answers:?}");
    assert_eq!(answers.len(), 1, "{answers:?}");
    let counter = r#"payment_service_platform_events_total{result="not_genuine"}"#;
    assert!(victim.api.counter(counter).await >= 100.0);
    let stored = r#"payment_service_platform_events_total{result="stored"}"#;
    assert_eq!(victim.api.counter(stored).await.to_string(), "0");
}
