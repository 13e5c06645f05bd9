//! One drill: a continuous load, and faults one after the other at random moments from the seed. After each one
//! payments must complete again; after the last, every accepted payment must have an outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::fixture::{Fixture, Needs};
use super::fleet::Fleet;
use super::held::undecidable_operations;
use super::kind::Kind;
use super::load::Client;
use super::notes::Notes;
use super::orders::Orders;
use super::platforms::Platforms;
use super::random::Random;
use super::results;
use super::strike::{Ground, strike};
use super::watch::Watch;

/// After a fault is healed: until a new payment has come through, and until no payment is held up any more.
pub const AFTERMATH: Duration = Duration::from_secs(30);

/// Until servers and processes that have just been started let the first payment through, on a busy machine.
const STARTED: Duration = Duration::from_secs(120);

/// What a confirmed message that waits in its queue may take until it counts as lost, after everything else has ended.
const LOST: Duration = Duration::from_secs(120);

/// One fault, from its start to the first payment that completed after it.
#[derive(Debug, Clone)]
pub struct Episode {
    pub kind: Kind,
    pub began: Instant,
    pub healed: Instant,
    /// From the healing until payments sent after it had their outcomes; none: not in time.
    pub flowing: Option<Duration>,
}

/// What a drill does.
pub struct Plan {
    pub name: &'static str,
    pub seed: u64,
    pub needs: Needs,
    /// Payments per second.
    pub rate: u32,
    /// The program of the release that everything is begun with, if it is not this one.
    pub previous: Option<String>,
}

/// A running drill.
pub struct Drill {
    pub ground: Ground,
    pub episodes: Vec<Episode>,
    /// The health reports of the processes.
    pub watch: Watch,
    /// Problems found so far.
    pub faults: Vec<String>,
    /// When the load ended.
    pub load_ended: Option<Instant>,
    /// Whether the release under fault knows platforms.
    pub has_platforms: bool,
    random: Random,
    loading: CancellationToken,
    stop: CancellationToken,
}

impl Drill {
    /// Starts servers, processes and load.
    pub async fn start(plan: &Plan) -> Self {
        let fixture = Fixture::start(plan.needs).await;
        let platforms = Arc::new(Platforms::start(plan.seed).await);
        let fleet = Fleet::start(plan.name, &fixture, &platforms, plan.previous.clone()).await;
        let (stop, loading) = (CancellationToken::new(), CancellationToken::new());
        let notes = Arc::new(Notes::default());
        results::subscribe(
            &fixture.amqp_url,
            fixture.clusters.is_some(),
            Arc::clone(&notes),
            stop.clone(),
        )
        .await;
        let orders = Orders::start(&fixture.amqp_url, stop.clone());
        platforms.send_webhooks(&fleet.apis, &stop);
        let shop = Arc::clone(&platforms);
        let mut client = Client::new(notes, Arc::clone(&fleet.apis), orders, shop);
        // What an earlier release did to two requests under one key is not to be counted here.
        client.twice = plan.previous.is_none();
        client.beside_previous = plan.previous.is_some();
        client.steady(
            plan.rate,
            Random::named(plan.seed, plan.name),
            loading.clone(),
        );
        let watch = Watch::start(&fleet, stop.clone());
        let mut drill = Self {
            watch,
            ground: Ground {
                fixture,
                fleet,
                client,
                platforms,
                rate: plan.rate,
            },
            episodes: Vec::new(),
            faults: Vec::new(),
            load_ended: None,
            has_platforms: plan.previous.is_none(),
            random: Random::named(plan.seed, &format!("{} faults", plan.name)),
            loading,
            stop,
        };
        if drill.ground.until_flowing(STARTED).await.is_none() {
            drill
                .faults
                .push("nothing flows before any fault".to_owned());
        }
        drill
    }

    /// Causes one fault, and waits until payments complete again.
    pub async fn strike(&mut self, kind: Kind) {
        sleep(self.random.millis(100, 1_000)).await;
        let began = Instant::now();
        if let Err(what) = strike(kind, &self.ground, &mut self.random).await {
            println!("NOT WELL: {}: {what}", kind.name());
            self.faults.push(format!("{}: {what}", kind.name()));
        }
        let healed = Instant::now();
        let flowing = self.ground.until_flowing(AFTERMATH).await;
        let episode = Episode {
            kind,
            began,
            healed,
            flowing,
        };
        if flowing.is_none() {
            let what = format!("{}: no work flows {AFTERMATH:?} after it", kind.name());
            self.faults.push(what);
        }
        self.episodes.push(episode);
    }

    /// Ends the load, and waits until nothing is on its way, as long as it may take.
    pub async fn settle(&mut self) {
        self.loading.cancel();
        self.load_ended = Some(Instant::now());
        let began = Instant::now();
        let longest = self.ground.client.notes.longest_patience();
        // The last requests wait for the outcomes of their payments.
        let limit = longest.max(AFTERMATH);
        let sent = tokio::time::timeout(limit, self.ground.client.all_sent());
        if sent.await.is_err() {
            self.faults
                .push("some payments or operations cannot be sent".to_owned());
        }
        let mut noted = 0;
        while self.ground.client.notes.in_flight() > 0 && began.elapsed() < longest {
            self.note_what_needs_a_person(&mut noted).await;
            sleep(Duration::from_millis(20)).await;
        }
        self.note_what_needs_a_person(&mut noted).await;
        self.until_known().await;
        self.faults.extend(self.ground.fleet.odd());
        self.faults.extend(self.ground.platforms.courier.odd());
    }

    /// A refund that Stripe has not executed, and whose key repeats a 500 for ever, stays pending. So many are noted already.
    async fn note_what_needs_a_person(&self, noted: &mut usize) {
        let undecidable = self.ground.platforms.stripe.undecidable();
        if undecidable.len() == *noted {
            return;
        }
        // While the database is away they are looked up again.
        let found = undecidable_operations(&self.ground.fixture, &undecidable).await;
        if let Ok(found) = found {
            *noted = undecidable.len();
            for (order, number) in found {
                self.ground.client.notes.needs_person(order, number);
            }
        }
    }

    /// A message that the broker has confirmed may still wait in the requests' queue, where nothing is lost: it is late,
    /// and counts as stuck. Only what never becomes a payment or operation is lost.
    async fn until_known(&self) {
        let began = Instant::now();
        let notes = &self.ground.client.notes;
        let waiting =
            || !notes.unknown_messages().is_empty() || !notes.unanswered_operations().is_empty();
        while waiting() && began.elapsed() < LOST {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the client.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
