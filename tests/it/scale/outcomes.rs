//! A subscriber of the result topic, which records when each payment ended, and by how many different events.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;

/// The last of them comes this much later at most than the one before: far beyond any lease that a test sets.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Noted {
    /// Ids of the events by payment. An event that is published twice has one id.
    events: HashMap<i64, HashSet<String>>,
    /// When each payment was first heard of.
    moments: Vec<Instant>,
}

pub struct Outcomes {
    noted: Arc<Mutex<Noted>>,
    _connection: Connection,
}

impl Outcomes {
    pub async fn subscribe(amqp_url: &str) -> Self {
        let connection = Connection::connect(amqp_url, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare("".into(), exclusive, FieldTable::default())
            .await
            .unwrap();
        let name = queue.name().clone();
        channel
            .queue_bind(
                name.clone(),
                "payments.results".into(),
                "payment.#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let mut deliveries = channel
            .basic_consume(name, "".into(), no_ack, FieldTable::default())
            .await
            .unwrap();
        let noted = Arc::<Mutex<Noted>>::default();
        let notes = Arc::clone(&noted);
        tokio::spawn(async move {
            let _channel = channel;
            while let Some(Ok(delivery)) = deliveries.next().await {
                let event: Value = serde_json::from_slice(&delivery.data).unwrap();
                let payment = event["data"]["payment_id"].as_i64().unwrap();
                let id = event["id"].as_str().unwrap().to_owned();
                let mut notes = notes.lock().unwrap();
                if !notes.events.contains_key(&payment) {
                    notes.moments.push(Instant::now());
                }
                notes.events.entry(payment).or_default().insert(id);
            }
        });
        Self {
            noted,
            _connection: connection,
        }
    }

    pub fn ended(&self) -> usize {
        self.noted.lock().unwrap().moments.len()
    }

    /// Waits until so many payments have ended.
    pub async fn until(&self, number: usize) {
        let (mut seen, mut since) = (self.ended(), Instant::now());
        while seen < number {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = self.ended();
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
            assert!(
                since.elapsed() < LONGEST_SILENCE,
                "{seen} of {number} payments have ended, and no more come"
            );
        }
    }

    /// Payments that ended by more than one event.
    pub fn told_twice(&self) -> usize {
        let noted = self.noted.lock().unwrap();
        noted.events.values().filter(|ids| ids.len() > 1).count()
    }

    /// Payments per second between two of them, counted in the order in which they ended.
    pub fn rate(&self, first: usize, last: usize) -> f64 {
        let noted = self.noted.lock().unwrap();
        let took = noted.moments[last] - noted.moments[first];
        f64::from(u32::try_from(last - first).unwrap()) / took.as_secs_f64()
    }
}
