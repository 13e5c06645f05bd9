//! Creates the processors: the simulated issuer, and the platforms of `PROCESSORS_FILE`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::AppError;
use crate::config::{Config, IssuerSettings};
use crate::processors::Processor;
use crate::processors::named::{Listed, Processors};
use crate::processors::simulated::shopper::TURNS;
use crate::processors::simulated::{Latency, Ledger, Options, Shoppers, SimulatedIssuer};
use crate::processors::stripe::Stripe;
use crate::store::Store;
use crate::store::batch::Limits;
use crate::watchdog::vital::Vital;

/// The issuer, its shoppers' side, and the tasks that write its ledger, if it has one.
pub(super) fn simulated_issuer(
    settings: IssuerSettings,
    public_url: Option<String>,
    database: &Store,
) -> (Arc<dyn Processor>, Option<Shoppers>, Vec<Vital>) {
    let options = options(settings);
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

fn options(settings: IssuerSettings) -> Options {
    Options {
        latency: Latency {
            mean: settings.latency,
            seed: settings.seed,
        },
        now: time::OffsetDateTime::now_utc,
    }
}

/// All processors, for a command that calls none of them.
pub(super) fn to_check_with(config: &Config, database: &Store) -> Result<Processors, AppError> {
    let issuer = SimulatedIssuer::new(options(config.issuer), None);
    platforms(config, database, Arc::new(issuer))
}

/// The simulated issuer, and the platforms of `PROCESSORS_FILE`.
pub(super) fn platforms(
    config: &Config,
    database: &Store,
    cards: Arc<dyn Processor>,
) -> Result<Processors, AppError> {
    let mut listed = Listed::default();
    for account in &config.platforms {
        let stripe = Stripe::new(account, database.clone()).map_err(AppError::Tls)?;
        let name = account.name.clone();
        listed.processors.insert(name, Arc::new(stripe));
    }
    let processors = Processors::new(cards);
    processors.list(listed);
    Ok(processors)
}
