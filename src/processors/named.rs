//! The processors of this service, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::availability::{Availability, Why};
use super::routes::{Routed, Routes};
use super::simulated::SimulatedIssuer;
use super::{AttemptKey, Authorization, OperationCall, Processor, Unsupported};
use crate::domain::{
    Answer, ClientName, CloseAnswer, MethodSummary, Money, OperationAnswer, ReversalAnswer,
};

/// The processors: the simulated issuer, and those of `PROCESSORS_FILE`: platforms, which take their own tokens or have pages
/// where a shopper pays, and further simulated ones. Clones share them.
#[derive(Clone)]
pub struct Processors {
    /// Takes cards and wallets if no route says otherwise.
    simulated: Arc<dyn Processor>,
    listed: Arc<ArcSwap<Listed>>,
    /// Names that payments have, and that the file did not list when they were looked for.
    missing: Arc<Mutex<BTreeSet<String>>>,
    /// Why the file is not in use as it is now, if so.
    refused_file: Arc<Mutex<Option<String>>>,
    /// No listed processor is called.
    held: Arc<AtomicBool>,
}

/// What `PROCESSORS_FILE` lists.
#[derive(Clone, Default)]
pub struct Listed {
    /// By name.
    pub processors: BTreeMap<String, Arc<dyn Processor>>,
    /// Which payments that name no processor use which.
    pub routes: Routes,
}

/// A route's processor does not take a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The processor.
    pub processor: String,
    /// Why.
    pub why: Unsupported,
}

impl Processors {
    /// Only the simulated issuer.
    pub fn new(simulated: Arc<dyn Processor>) -> Self {
        Self {
            simulated,
            listed: Arc::default(),
            missing: Arc::default(),
            refused_file: Arc::default(),
            held: Arc::default(),
        }
    }

    /// From now on no listed processor is called for a payment, or each can be again.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    /// Notes why the file is not in use as it is now; none if it is.
    pub fn note_file(&self, refused: Option<String>) {
        *lock(&self.refused_file) = refused;
    }

    /// Why the file is not in use as it is now, if so.
    pub fn refused_file(&self) -> Option<String> {
        lock(&self.refused_file).clone()
    }

    /// Replaces what the file lists, for all clones; returns what it listed before.
    pub fn list(&self, listed: Listed) -> Arc<Listed> {
        self.listed.swap(Arc::new(listed))
    }

    /// Takes a replacement back.
    pub fn list_again(&self, before: Arc<Listed>) {
        self.listed.store(before);
    }

    /// The names that the file lists.
    pub fn names(&self) -> Vec<String> {
        self.listed.load().processors.keys().cloned().collect()
    }

    /// The listed processor with this name.
    pub fn listed(&self, name: &str) -> Option<Arc<dyn Processor>> {
        self.listed.load().processors.get(name).cloned()
    }

    /// What is wrong with each listed processor, as this process sees it.
    pub fn faults(&self) -> Vec<(String, Option<Why>)> {
        let listed = self.listed.load();
        let fault = |(name, processor): (&String, &Arc<dyn Processor>)| {
            let fault = processor.availability().and_then(Availability::fault);
            (name.clone(), fault)
        };
        let missing = lock(&self.missing);
        let missing = missing
            .iter()
            .filter(|name| !listed.processors.contains_key(*name));
        let missing = missing.map(|name| (name.clone(), Some(Why::NotListed)));
        listed.processors.iter().map(fault).chain(missing).collect()
    }

    /// Whether a processor takes this amount by this payment method; an error says what is wrong.
    pub fn check(&self, processor: &str, method: &str, amount: Money) -> Result<(), Unsupported> {
        match self.named(processor) {
            Some(processor) => processor.check(method, amount),
            None => Err(Unsupported::Processor {
                known: self.names(),
            }),
        }
    }

    /// The processor that the routes choose for a new attempt: the first that takes it. None if there is no route for it.
    pub fn route(
        &self,
        client: &ClientName,
        method: &str,
        amount: Money,
    ) -> Result<Option<String>, Refused> {
        let currency = amount.currency();
        let payment = Routed {
            client,
            method,
            currency,
        };
        let listed = self.listed.load();
        let mut refused = None;
        for name in listed.routes.of(payment).flat_map(|it| &it.processors) {
            match self.check(name, method, amount) {
                Ok(()) => return Ok(Some(name.clone())),
                // The route is for other methods, too.
                Err(Unsupported::Method { .. }) => {}
                Err(why) => {
                    let processor = name.clone();
                    refused.get_or_insert(Refused { processor, why });
                }
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// The processor that stands in for the one of this attempt: the next of its route that takes the payment and can be
    /// called now.
    pub fn stand_in(
        &self,
        client: &ClientName,
        method: &MethodSummary,
        amount: Money,
    ) -> Option<String> {
        let current = method.processor().unwrap_or(SimulatedIssuer::NAME);
        let payment = Routed {
            client,
            method: method.name(),
            currency: amount.currency(),
        };
        let listed = self.listed.load();
        let names = |processors: &[String]| processors.iter().position(|name| name == current);
        let mut routes = listed.routes.of(payment);
        let after = routes.find_map(|route| {
            let place = names(&route.processors)?;
            route.processors.get(place + 1..)
        });
        let can_take = |name: &&String| {
            let Some(processor) = self.named(name) else {
                return false;
            };
            let is_away = processor.availability().and_then(Availability::pause);
            is_away.is_none() && processor.check(method.name(), amount).is_ok()
        };
        after?.iter().find(can_take).cloned()
    }

    pub fn named(&self, name: &str) -> Option<Arc<dyn Processor>> {
        if name == SimulatedIssuer::NAME {
            return Some(Arc::clone(&self.simulated));
        }
        self.listed.load().processors.get(name).cloned()
    }

    /// The processor of an attempt that pays with this method. A payment method names its processor as long as the attempt
    /// lives, so every call of an attempt goes to the same one.
    pub fn of(&self, method: Option<&MethodSummary>) -> Arc<dyn Processor> {
        match method.and_then(MethodSummary::processor) {
            None => Arc::clone(&self.simulated),
            Some(name) if name != SimulatedIssuer::NAME && self.held.load(Ordering::Acquire) => {
                Arc::new(Missing::new(name, Why::NotChecked))
            }
            Some(name) => self.named(name).unwrap_or_else(|| {
                lock(&self.missing).insert(name.to_owned());
                Arc::new(Missing::new(name, Why::NotListed))
            }),
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// A processor that payments use and that cannot be called, or that is no longer listed: nobody can say what became of them, so
/// they wait.
struct Missing {
    name: String,
    why: Why,
    availability: Availability,
}

impl Missing {
    fn new(name: &str, why: Why) -> Self {
        Self {
            name: name.to_owned(),
            why,
            availability: Availability::never(name, why),
        }
    }

    fn log(&self) {
        let processor = &*self.name;
        if self.why == Why::NotListed {
            tracing::error!(
                processor,
                "payments wait for a processor that PROCESSORS_FILE does not list: add it again"
            );
        } else {
            tracing::warn!(processor, why = %self.why, "payments wait for a processor");
        }
    }
}

#[async_trait]
impl Processor for Missing {
    fn availability(&self) -> Option<&Availability> {
        self.log();
        Some(&self.availability)
    }

    async fn authorize(&self, _: &Authorization<'_>) -> Answer {
        self.log();
        Answer::Unknown
    }

    async fn reverse(&self, _: AttemptKey, _: Money) -> ReversalAnswer {
        self.log();
        ReversalAnswer::Unknown
    }

    async fn capture(&self, _: &OperationCall) -> OperationAnswer {
        self.log();
        OperationAnswer::Unknown
    }

    async fn void(&self, _: &OperationCall) -> OperationAnswer {
        self.log();
        OperationAnswer::Unknown
    }

    async fn refund(&self, _: &OperationCall) -> OperationAnswer {
        self.log();
        OperationAnswer::Unknown
    }

    async fn query(&self, _: &OperationCall) -> OperationAnswer {
        self.log();
        OperationAnswer::Unknown
    }

    async fn close(&self, _: &OperationCall) -> CloseAnswer {
        self.log();
        CloseAnswer::Unknown
    }
}
