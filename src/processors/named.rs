//! The processors of this service, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{AttemptKey, Authorization, OperationCall, Processor, Unsupported};
use crate::domain::{Answer, CloseAnswer, MethodSummary, Money, OperationAnswer, ReversalAnswer};

/// The processors: the one that takes cards and wallets, and the platforms of `PROCESSORS_FILE`, which take their own
/// tokens, or have pages where a shopper pays.
#[derive(Clone)]
pub struct Processors {
    cards: Arc<dyn Processor>,
    platforms: BTreeMap<String, Arc<dyn Processor>>,
}

impl Processors {
    /// Only the one that takes cards.
    pub fn new(cards: Arc<dyn Processor>) -> Self {
        Self {
            cards,
            platforms: BTreeMap::new(),
        }
    }

    /// The same with a platform.
    #[must_use]
    pub fn with(mut self, name: &str, platform: Arc<dyn Processor>) -> Self {
        self.platforms.insert(name.to_owned(), platform);
        self
    }

    /// The names of the platforms.
    pub fn platforms(&self) -> impl Iterator<Item = &str> {
        self.platforms.keys().map(String::as_str)
    }

    /// The platform with this name.
    pub fn platform(&self, name: &str) -> Option<&Arc<dyn Processor>> {
        self.platforms.get(name)
    }

    /// Whether a platform takes this amount by this payment method; an error says what is wrong.
    pub fn check(&self, platform: &str, method: &str, amount: Money) -> Result<(), Unsupported> {
        match self.platforms.get(platform) {
            Some(processor) => processor.check(method, amount),
            None => Err(Unsupported::Processor {
                known: self.platforms().map(str::to_owned).collect(),
            }),
        }
    }

    /// The processor of an attempt that pays with this method. A payment method names its platform as long as the payment
    /// lives, so every call of an attempt goes to the same one.
    pub fn of(&self, method: Option<&MethodSummary>) -> Arc<dyn Processor> {
        match method.and_then(MethodSummary::processor) {
            None => Arc::clone(&self.cards),
            Some(name) => match self.platforms.get(name) {
                Some(platform) => Arc::clone(platform),
                None => Arc::new(Missing(name.to_owned())),
            },
        }
    }
}

impl fmt::Debug for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.platforms()).finish()
    }
}

/// A platform that payments use and that is no longer configured: nobody can say what became of them, so they wait.
struct Missing(String);

impl Missing {
    fn log(&self) {
        tracing::error!(
            processor = self.0,
            "payments wait for a processor that PROCESSORS_FILE does not list: add it again"
        );
    }
}

#[async_trait]
impl Processor for Missing {
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
