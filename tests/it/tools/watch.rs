//! `payments watch`: every new payment and every change is shown exactly once.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use payment_service::domain::{Event, EventKind, PaymentStatus, Timestamp};
use payment_service::store::Store;
use payment_service::store::rows::StoredPayment;
use serde_json::{Value, json};

use super::fixture::{Fixture, run_with};
use crate::app::{Api, eventually, field};
use crate::store::samples::{event, payment, processing};
use crate::support::process::{Process, Settings};

/// A running `payments watch`.
struct Watch {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    fn start(arguments: &[&str], variables: &[(&'static str, String)]) -> Self {
        let mut child = spawn(arguments, variables);
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::default();
        let watch = Self {
            child,
            lines: Arc::clone(&lines),
        };
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        watch
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    async fn shows(&self, what: &str, is_shown: impl Fn(&[String]) -> bool) {
        eventually(what, || async { is_shown(&self.lines()) }).await;
    }

    /// The JSON objects, one per line.
    fn objects(&self) -> Vec<Value> {
        let lines = self.lines();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    async fn ended(&mut self) -> ExitStatus {
        let child = Mutex::new(&mut self.child);
        let status = Mutex::new(None);
        eventually("the command ends", || async {
            *status.lock().unwrap() = child.lock().unwrap().try_wait().unwrap();
            status.lock().unwrap().is_some()
        })
        .await;
        status.into_inner().unwrap().unwrap()
    }

    /// Ctrl-C.
    async fn interrupt(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.ended().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[&str], variables: &[(&'static str, String)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_payment-service"))
        .args([&["payments", "watch"], arguments].concat())
        .env_clear()
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Writes a payment that is now in this status, with this history.
async fn insert(database: &Store, id: i64, status: PaymentStatus, kinds: &[EventKind]) {
    let mut tx = database.begin().await.unwrap();
    let now = tx.now();
    let mut row = payment(id);
    row.payment.created_at = now;
    moved(&mut row, status, kinds.len(), now);
    tx.insert_payments(&[row]).await.unwrap();
    tx.insert_events(&events(id, 1, kinds, now)).await.unwrap();
    tx.commit().await.unwrap();
}

/// Continues the history of a payment that is now in this status.
async fn advance(database: &Store, id: i64, status: PaymentStatus, kinds: &[EventKind]) {
    let mut tx = database.begin().await.unwrap();
    let now = tx.now();
    let found = tx.lock_payments(&[payment(id).payment.id]).await.unwrap();
    let mut row = found.into_iter().next().unwrap();
    let first = row.payment.sequence + 1;
    let last = row.payment.sequence as usize + kinds.len();
    moved(&mut row, status, last, now);
    tx.update_payments(&[row]).await.unwrap();
    tx.insert_events(&events(id, first, kinds, now))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

fn moved(row: &mut StoredPayment, status: PaymentStatus, last: usize, now: Timestamp) {
    row.payment.status = status;
    row.payment.updated_at = now;
    row.payment.sequence = u32::try_from(last).unwrap();
}

fn events(id: i64, first: u32, kinds: &[EventKind], at: Timestamp) -> Vec<Event> {
    let numbered = (first..).zip(kinds);
    numbered
        .map(|(sequence, kind)| Event {
            kind: *kind,
            reason: (*kind == EventKind::Declined).then(|| "insufficient_funds".to_owned()),
            at,
            ..event(id, sequence)
        })
        .collect()
}

/// None of those that begin a watch.
const ORDER: i64 = 1_000_000;

/// Id and status of each line below the heading, in order.
fn shown(lines: &[String]) -> Vec<(i64, String)> {
    let shown = lines.iter().skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[1].parse().unwrap(), words[4].to_owned())
    });
    shown.collect()
}

#[tokio::test]
async fn new_payments_and_changed_ones_are_shown_once_even_if_they_change_twice_between_two_polls()
{
    use EventKind::{Accepted, AttemptStarted, Declined, Succeeded, TryFailed};
    for fixture in Fixture::both().await {
        let database = fixture.database();
        insert(
            &database,
            1,
            PaymentStatus::RequiresPaymentMethod,
            &[Accepted],
        )
        .await;
        let mut watch = Watch::start(&[], &fixture.variables());
        watch.shows("the heading", |lines| lines.len() == 1).await;

        insert(
            &database,
            2,
            PaymentStatus::Succeeded,
            &[Accepted, AttemptStarted, TryFailed, Succeeded],
        )
        .await;
        watch.shows("a new payment", |lines| lines.len() == 3).await;
        advance(
            &database,
            1,
            PaymentStatus::Declined,
            &[AttemptStarted, Declined],
        )
        .await;
        watch
            .shows("an old payment", |lines| lines.len() == 5)
            .await;
        advance(
            &database,
            1,
            PaymentStatus::Succeeded,
            &[AttemptStarted, Succeeded],
        )
        .await;
        watch.shows("another card", |lines| lines.len() == 7).await;
        // Several polls have passed since the first lines.
        insert(
            &database,
            3,
            PaymentStatus::RequiresPaymentMethod,
            &[Accepted],
        )
        .await;
        watch.shows("the last one", |lines| lines.len() == 8).await;
        let line = |id: i64, status: &str| (id, status.to_owned());
        assert_eq!(
            shown(&watch.lines()),
            [
                line(2, "processing"),
                line(2, "succeeded"),
                line(1, "processing"),
                line(1, "declined"),
                line(1, "processing"),
                line(1, "succeeded"),
                line(3, "requires_payment_method"),
            ]
        );
        let declined = &watch.lines()[4];
        for part in ["store-manager", "insufficient_funds", " 7 "] {
            assert!(declined.contains(part), "{declined}");
        }
        assert!(!declined.contains('\u{1b}'), "colours are for terminals");
        assert_eq!(watch.interrupt().await.code(), Some(0));
        database.close().await;
    }
}

/// An attempt that begins after the start on a payment that is not among the newest.
#[tokio::test]
async fn an_old_payment_is_found_while_it_is_in_progress() {
    use EventKind::{Accepted, AttemptStarted, Declined};
    for fixture in Fixture::both().await {
        let database = fixture.database();
        // More of the newest than are followed from the start.
        let mut tx = database.begin().await.unwrap();
        let mut rows: Vec<StoredPayment> = (1..=1001).map(payment).collect();
        rows[0].payment.created_at -= time::Duration::days(1);
        tx.insert_payments(&rows).await.unwrap();
        let first = events(1, 1, &[Accepted], rows[0].payment.created_at);
        tx.insert_events(&first).await.unwrap();
        tx.commit().await.unwrap();
        let watch = Watch::start(&[], &fixture.variables());
        watch.shows("the heading", |lines| lines.len() == 1).await;

        let mut tx = database.begin().await.unwrap();
        let now = tx.now();
        let mut row = processing(1, now + time::Duration::minutes(1));
        row.payment.sequence = 2;
        tx.update_payments(&[row]).await.unwrap();
        tx.insert_events(&events(1, 2, &[AttemptStarted], now))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        watch.shows("the attempt", |lines| lines.len() == 2).await;
        advance(&database, 1, PaymentStatus::Declined, &[Declined]).await;
        watch.shows("the outcome", |lines| lines.len() == 3).await;
        let line = |status: &str| (1, status.to_owned());
        assert_eq!(
            shown(&watch.lines()),
            [line("processing"), line("declined")]
        );
        database.close().await;
    }
}

#[tokio::test]
async fn a_watch_beside_the_running_service_shows_what_the_histories_show() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_payment-service");
    let service = Process::start(program, "", &Settings::embedded(folder.path())).await;
    let variables = [("DATA_DIR", folder.path().display().to_string())];
    let mut watch = Watch::start(&["--json"], &variables);
    let api = Api::new(service.api);
    let order = Mutex::new(0);
    eventually("the watch has begun", || async {
        *order.lock().unwrap() += 1;
        let number = *order.lock().unwrap();
        api.create(number).await;
        !watch.lines().is_empty()
    })
    .await;
    let mut ids = Vec::new();
    for token in ["tok_visa", "tok_insufficient_funds", "tok_issuer_down_2"] {
        for _ in 0..5 {
            ids.push(api.pay(ORDER, token).await);
        }
    }
    let card = crate::app::card("4242424242424242");
    let later = api.create(ORDER).await;
    api.post(&format!("/payments/{later}/process"), card)
        .await
        .is(200);
    ids.push(later);
    let mut expected = Vec::new();
    for id in &ids {
        api.outcome(*id).await;
        let history = api.history(*id).await;
        let mut statuses: Vec<&str> = history
            .iter()
            .filter_map(|kind| EventKind::parse(kind)?.status().map(PaymentStatus::as_str))
            .collect();
        if *id != later {
            statuses.remove(0);
        }
        expected.extend(statuses.into_iter().map(|status| (*id, status.to_owned())));
    }
    let found = || {
        let objects = watch.objects();
        let objects = objects.iter().filter(|line| line["order_id"] == ORDER);
        let mut found: Vec<(i64, String)> = objects
            .map(|line| {
                (
                    line["payment_id"].as_i64().unwrap(),
                    field(line, "status").to_owned(),
                )
            })
            .collect();
        // Lines of different payments may be interleaved; those of one payment are in order.
        found.sort_by_key(|(id, _)| *id);
        found
    };
    expected.sort_by_key(|(id, _)| *id);
    eventually("all changes", || async { found().len() >= expected.len() }).await;
    assert_eq!(found(), expected);
    let line = &watch.objects()[0];
    assert_eq!(
        (&line["client"], &line["total_amount"], &line["currency"]),
        (&json!("default"), &json!("99.53"), &json!("CAD"))
    );
    assert_eq!(watch.interrupt().await.code(), Some(0));
}

#[tokio::test]
async fn the_history_of_one_payment_is_followed_to_its_outcome_and_to_that_of_its_refund() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_payment-service");
    let service = Process::start(program, "", &Settings::embedded(folder.path())).await;
    let variables = [("DATA_DIR", folder.path().display().to_string())];
    let api = Api::new(service.api);
    // Its refunds are pending for two seconds.
    let id = api.create(1).await;
    let mut watch = Watch::start(&[&id.to_string(), "--json"], &variables);
    watch
        .shows("the first event", |lines| lines.len() == 1)
        .await;
    let path = format!("/payments/{id}/process");
    api.post(&path, crate::app::card("4000000000007726"))
        .await
        .is(200);
    assert_eq!(watch.ended().await.code(), Some(0));

    let key = [("Idempotency-Key", "once")];
    api.post_with(&format!("/payments/{id}/refunds"), &key, json!({}))
        .await
        .is(202);
    let mut watch = Watch::start(&[&id.to_string(), "--json"], &variables);
    assert_eq!(watch.ended().await.code(), Some(0));
    watch.shows("the refund", |lines| lines.len() == 5).await;
    let kinds: Vec<Value> = watch
        .objects()
        .iter()
        .map(|it| it["kind"].clone())
        .collect();
    assert_eq!(
        kinds,
        [
            "accepted",
            "attempt_started",
            "succeeded",
            "refund_started",
            "refund_succeeded"
        ]
    );
    let missing = run_with(&["payments", "watch", "999"], &variables)
        .await
        .with(1);
    assert!(
        missing.err.contains("there is no payment 999"),
        "{}",
        missing.err
    );
}

#[tokio::test]
async fn a_reader_that_closes_the_pipe_ends_a_watch_quietly_even_if_nothing_happens() {
    let fixture = Fixture::embedded().await;
    let mut watch = Watch {
        child: spawn(&[], &fixture.variables()),
        lines: Arc::default(),
    };
    let mut out: BufReader<ChildStdout> = BufReader::new(watch.child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    assert_eq!(watch.ended().await.code(), Some(0));
    let mut said = String::new();
    let mut err = watch.child.stderr.take().unwrap();
    std::io::Read::read_to_string(&mut err, &mut said).unwrap();
    assert_eq!(said, "");
}
