//! Creates the simulated issuer from its settings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::IssuerSettings;
use crate::processors::Processor;
use crate::processors::simulated::shopper::TURNS;
use crate::processors::simulated::{Latency, Ledger, Options, Shoppers, SimulatedIssuer};
use crate::store::Store;
use crate::store::batch::Limits;
use crate::watchdog::vital::Vital;

/// The issuer, its shoppers' side, and the tasks that write its ledger, if it has one.
pub(super) fn simulated_issuer(
    settings: IssuerSettings,
    public_url: Option<String>,
    database: &Store,
) -> (Arc<dyn Processor>, Option<Shoppers>, Vec<Vital>) {
    let options = Options {
        latency: Latency {
            mean: settings.latency,
            seed: settings.seed,
        },
        now: time::OffsetDateTime::now_utc,
    };
    // The ledger's rows are written in groups: otherwise they would be a third of all transactions under load.
    let limits = Limits {
        linger: Duration::from_millis(5),
        lanes: database.lanes(),
        ..Limits::default()
    };
    let ledger = settings
        .ledger
        .then(|| Ledger::spawn(database.clone(), limits));
    let vitals = ledger.iter().flat_map(Ledger::vitals).collect();
    // What a shopper approves has to be noted somewhere.
    let shoppers = ledger.clone().map(|ledger| Shoppers {
        database: database.clone(),
        ledger,
        public_url,
        life: settings.action_life,
        now: options.now,
        turns: Arc::new(Semaphore::new(TURNS)),
    });
    let issuer = SimulatedIssuer::new(options, ledger);
    let issuer = match shoppers.clone() {
        Some(shoppers) => issuer.with_shoppers(shoppers),
        None => issuer,
    };
    (Arc::new(issuer), shoppers, vitals)
}
