//! Creates the processors: the simulated issuer, and those of `PROCESSORS_FILE`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::AppError;
use crate::config::{Config, IssuerSettings, ListedProcessor, ProcessorsFile};
use crate::processors::Processor;
use crate::processors::availability::{Availability, Why};
use crate::processors::named::{Listed, Processors};
use crate::processors::paypal::PayPal;
use crate::processors::simulated::shopper::TURNS;
use crate::processors::simulated::{Latency, Ledger, Options, Shoppers, SimulatedIssuer};
use crate::processors::stripe::Stripe;
use crate::store::Store;
use crate::store::batch::Limits;
use crate::watchdog::vital::Vital;

/// What every processor is made of.
#[derive(Clone)]
pub(super) struct Makers {
    options: Options,
    ledger: Option<Ledger>,
    /// The shoppers' side of the simulated issuer.
    pub shoppers: Option<Shoppers>,
    database: Store,
}

impl Makers {
    /// Also returns the tasks that write the simulated issuer's ledger, if it has one.
    pub(super) fn new(
        settings: IssuerSettings,
        public_url: Option<String>,
        database: &Store,
    ) -> (Self, Vec<Vital>) {
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
        let makers = Self {
            options,
            ledger,
            shoppers,
            database: database.clone(),
        };
        (makers, vitals)
    }

    /// All processors.
    pub(super) fn processors(&self, file: &ProcessorsFile) -> Result<Processors, AppError> {
        let processors = Processors::new(Arc::new(self.simulated()));
        processors.list(self.listed(file, |_| None)?);
        Ok(processors)
    }

    /// Those that the file lists. What is known of a processor, such as a pause that it has asked for, is kept with it.
    pub(super) fn listed(
        &self,
        file: &ProcessorsFile,
        kept: impl Fn(&ListedProcessor) -> Option<Arc<dyn Processor>>,
    ) -> Result<Listed, AppError> {
        let one = |listed: &ListedProcessor| {
            let made = match kept(listed) {
                Some(kept) => kept,
                None => self.one(listed).map_err(AppError::Tls)?,
            };
            Ok((listed.name().to_owned(), made))
        };
        let processors = file.processors.iter().map(one);
        Ok(Listed {
            processors: processors.collect::<Result<_, AppError>>()?,
            routes: file.routes.clone(),
        })
    }

    fn one(&self, listed: &ListedProcessor) -> Result<Arc<dyn Processor>, rustls::Error> {
        let database = self.database.clone();
        Ok(match listed {
            ListedProcessor::Stripe(account) => Arc::new(Stripe::new(account, database)?),
            ListedProcessor::PayPal(account) => Arc::new(PayPal::new(account, database)?),
            ListedProcessor::Simulated { name, down } => {
                let availability = match down {
                    true => Availability::never(name, Why::Off),
                    false => Availability::new(name),
                };
                Arc::new(self.simulated().with_availability(availability))
            }
        })
    }

    fn simulated(&self) -> SimulatedIssuer {
        let issuer = SimulatedIssuer::new(self.options, self.ledger.clone());
        match self.shoppers.clone() {
            Some(shoppers) => issuer.with_shoppers(shoppers),
            None => issuer,
        }
    }
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
    let makers = Makers {
        options: options(config.issuer),
        ledger: None,
        shoppers: None,
        database: database.clone(),
    };
    makers.processors(&config.processors.file)
}
