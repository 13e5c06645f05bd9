//! How each fault is caused and ended. A strike returns when the cause is gone; its effects may last longer.

mod broker;
mod callbacks;
mod client;
mod cluster;
mod database;
mod database_server;
mod input;
mod issuer;
mod network;
mod platforms;
mod processes;
mod releases;
mod replies;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::cards;
use super::fixture::Fixture;
use super::fleet::Fleet;
use super::kind::Kind;
use super::load::Client;
use super::notes::Way;
use super::platforms::Platforms;
use super::random::Random;
use crate::support::servers::Minority;

pub use releases::previous as previous_release;

/// The environment of a fault.
pub struct Ground {
    pub fixture: Fixture,
    pub fleet: Arc<Fleet>,
    pub client: Client,
    pub platforms: Arc<Platforms>,
    /// Payments of the load per second.
    pub rate: u32,
}

impl Ground {
    /// Sends a payment each way and waits for both outcomes; how long that took, unless it was longer.
    pub async fn until_flowing(&self, longest: Duration) -> Option<Duration> {
        let sent = [Way::Rest, Way::Message];
        let sent = sent.map(|way| self.client.pay(way, cards::by_token("tok_visa")));
        self.until_heard(&sent, longest).await
    }

    /// A payment as an operator and its platform see it.
    pub async fn show(&self, payment: i64) -> String {
        let shown = self.fleet.show(&self.fixture, payment).await;
        let stripe = self.platforms.stripe.intents(payment);
        let paypal = self.platforms.paypal.orders(payment);
        let shown = shown.unwrap_or_else(|error| error);
        format!("{shown}\n{stripe:?}\n{paypal:?}")
    }

    /// Waits for the outcomes of orders; how long that took, unless it was longer.
    pub async fn until_heard(&self, orders: &[i64], longest: Duration) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < longest {
            if orders
                .iter()
                .all(|order| self.client.notes.is_heard(*order))
            {
                return Some(began.elapsed());
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

/// Causes a fault and ends it after a moment. An error says what could not be caused or ended.
pub async fn strike(kind: Kind, ground: &Ground, random: &mut Random) -> Result<(), String> {
    use Kind as K;
    match kind {
        K::ApiKilled => processes::kill(ground, "api", random).await,
        K::WorkerKilled => processes::kill(ground, "worker", random).await,
        K::AllKilled => processes::kill_all(ground).await,
        K::ApiStopped => processes::stop(ground, "api", random).await,
        K::WorkerStopped => processes::stop(ground, "worker", random).await,
        K::RollingRestart => processes::restart_all(ground).await,
        K::WorkerHeldUp => processes::hold_up(ground, random).await,
        K::WorkerAhead => processes::set_clock(ground, "+1d", random).await,
        K::WorkerBehind => processes::set_clock(ground, "-1h", random).await,
        K::WorkerPanics => processes::panic(ground, random).await,
        K::ApiFrozen => processes::freeze(ground, "api", random).await,
        K::WorkerFrozen => processes::freeze(ground, "worker", random).await,
        K::BrokerStopped => broker::stop_and_start(ground, random).await,
        K::BrokerKilled => broker::kill_and_start(ground, random).await,
        K::BrokerClosesConnections => broker::close_connections(ground).await,
        K::BrokerAlarm => broker::alarm(ground, random).await,
        K::DiskAlarm => broker::disk_alarm(ground, random).await,
        K::QueuesDeleted => broker::delete_queues(ground).await,
        K::WorkQueueFull => broker::fill_work_queue(ground, random).await,
        K::SubscriberStuck => broker::stick_subscriber(ground).await,
        K::DatabaseStopped => database::stop_and_start(ground, random).await,
        K::DatabaseKilled => database::kill_and_start(ground, random).await,
        K::DatabaseKillsConnections => database::kill_connections(ground).await,
        K::Deadlocks => database::deadlocks(ground).await,
        K::ReadOnly => database::read_only(ground, random).await,
        K::TooManyConnections => database::too_many_connections(ground, random).await,
        K::RowsLocked => database::lock_rows(ground, random).await,
        K::TableLocked => database::lock_table(ground, random).await,
        K::AccountLocked => database::lock_account(ground, random).await,
        K::DatabaseClockBack => database_server::set_clock_back(ground).await,
        K::DatabaseDiskFull => database_server::fill_disk(ground, random).await,
        K::FailOver => database_server::fail_over_and_back(ground).await,
        K::DatabaseCut
        | K::BrokerCut
        | K::DatabaseSilent
        | K::BrokerSilent
        | K::DatabaseDelayed
        | K::BrokerDelayed
        | K::DatabaseByteByByte
        | K::BrokerByteByByte => network::impair(ground, kind, random).await,
        K::CommitNotDelivered | K::CommitNotAnswered | K::ConfirmNotDelivered => {
            network::cut_in_the_middle(ground, kind).await
        }
        K::PlatformsRefuse
        | K::PlatformsHang
        | K::PlatformsFailBefore
        | K::PlatformsFailAfter
        | K::PlatformsBusy
        | K::PlatformsCutAnswers
        | K::PlatformsAnswerHtml
        | K::WebhooksNever
        | K::WebhooksTwice
        | K::WebhooksLate => platforms::trouble(ground, kind, random).await,
        K::ClientFloods => client::flood(ground).await,
        K::BrokenRows => input::break_rows(ground, random).await,
        K::BadMessages => input::send_bad_messages(ground).await,
        K::ForeignReplies => input::ask_for_foreign_replies(ground).await,
        K::HalfRequests => input::send_half_requests(ground).await,
        K::UnknownOrders => callbacks::refuse_orders(ground).await,
        K::SetupKilled => input::kill_setup(ground, random).await,
        K::LeaderKilled => cluster::kill_leader(ground).await,
        K::WriterKilled => cluster::kill_writer(ground).await,
        K::Conflicts => cluster::conflict(ground).await,
        K::NodesRestarted => cluster::restart_nodes(ground).await,
        K::DatabaseNodeReplaced => cluster::replace_database(ground).await,
        K::DatabaseInMinority => cluster::cut_database(ground).await,
        K::BrokerInMinorityPauses => cluster::cut_broker(ground, Minority::Pauses).await,
        K::BrokerInMinorityServes => cluster::cut_broker(ground, Minority::Serves).await,
        K::ReplyQueuesLost => replies::kill_their_node(ground).await,
        K::NewSchema | K::OldApiNewWorker | K::NewApiOldWorker | K::OldReleaseReplaced => {
            releases::roll(ground, kind).await
        }
        K::IssuerSlow | K::IssuerDown | K::AnswerLost | K::IssuerNeverReachable => {
            issuer::burst(ground, kind);
            Ok(())
        }
    }
}
