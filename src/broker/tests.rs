//! Work that panics.

use super::*;

#[derive(Debug)]
struct Noted {
    name: &'static str,
    verdicts: mpsc::UnboundedSender<(&'static str, &'static str)>,
}

impl Noted {
    fn note(&self, verdict: &'static str) {
        let _ = self.verdicts.send((self.name, verdict));
    }
}

#[async_trait]
impl Settle for Noted {
    async fn acknowledge(self: Box<Self>) {
        self.note("acknowledged");
    }

    async fn reject(self: Box<Self>) {
        self.note("rejected");
    }

    async fn give_back(self: Box<Self>) {
        self.note("given back");
    }
}

#[tokio::test]
async fn a_delivery_whose_handler_panics_is_rejected_and_its_permit_released() {
    let (verdicts, mut noted) = mpsc::unbounded_channel();
    let (sender, deliveries) = mpsc::channel(8);
    let (_registered, registered) = watch::channel(true);
    let mut consumer = Consumer {
        deliveries,
        registered,
    };
    for name in ["panics", "works", "panics late", "works"] {
        let verdicts = verdicts.clone();
        let delivery = Delivery {
            routing_key: name.to_owned(),
            properties: Properties::default(),
            body: Vec::new(),
            redelivered: false,
            settle: Box::new(Noted { name, verdicts }),
        };
        sender.send(delivery).await.expect("room");
    }
    drop(sender);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let work = async |delivery: Delivery| {
        assert_ne!(delivery.routing_key, "panics");
        let late = delivery.routing_key == "panics late";
        delivery.settle.acknowledge().await;
        assert!(!late, "as the test wants it");
    };
    consumer.hand_out(1, &tasks, &stop, work).await;
    tasks.close();
    tasks.wait().await;
    let mut seen = Vec::new();
    while let Ok(verdict) = noted.try_recv() {
        seen.push(verdict);
    }
    let expected = [
        ("panics", "rejected"),
        ("works", "acknowledged"),
        // A settled delivery is not changed.
        ("panics late", "acknowledged"),
        ("works", "acknowledged"),
    ];
    assert_eq!(seen, expected);
}
