//! Calls to the processor within the time limit, counted and timed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Histogram};
use tokio::time::Instant;

use crate::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, CloseAnswer, OperationAnswer, ReversalAnswer,
};
use crate::metric;
use crate::processors::simulated::SimulatedIssuer;
use crate::watchdog::vital::{caught, count_panics};

/// What a call requests.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    Authorize,
    Reverse,
    Capture,
    Void,
    Refund,
    Query,
    Close,
    Ask,
    CloseAttempt,
}

/// How a call ended, for metrics.
#[derive(Debug, Clone, Copy)]
pub(super) enum CallResult {
    /// Approved, carried out, or closed.
    Done,
    /// Accepted without a result.
    Accepted,
    /// Declined or refused.
    Refused,
    /// Provably not executed.
    NotExecuted,
    /// No usable answer.
    Unknown,
    /// No answer within the time limit.
    Timeout,
    /// A bug in the program.
    Panicked,
}

/// The answer to a call.
pub(super) trait CallAnswer: Send {
    fn result(&self) -> CallResult;
}

/// The metrics of all calls, looked up once.
pub struct ProcessorCalls {
    /// Of the processor of cards.
    cards: Arc<CallsOf>,
    platforms: Mutex<BTreeMap<String, Arc<CallsOf>>>,
}

/// The metrics of the calls of one processor.
struct CallsOf(Vec<CallMetrics>);

struct CallMetrics {
    results: Vec<Counter>,
    seconds: Histogram,
}

const CALLS: [(Call, &str); 9] = [
    (Call::Authorize, "authorize"),
    (Call::Reverse, "reverse"),
    (Call::Capture, "capture"),
    (Call::Void, "void"),
    (Call::Refund, "refund"),
    (Call::Query, "query"),
    (Call::Close, "close"),
    (Call::Ask, "ask"),
    (Call::CloseAttempt, "close_attempt"),
];

const RESULTS: [(CallResult, &str); 7] = [
    (CallResult::Done, "done"),
    (CallResult::Accepted, "accepted"),
    (CallResult::Refused, "refused"),
    (CallResult::NotExecuted, "not_executed"),
    (CallResult::Unknown, "unknown"),
    (CallResult::Timeout, "timeout"),
    (CallResult::Panicked, "panicked"),
];

impl ProcessorCalls {
    /// From now on `/metrics` shows every operation of the processor of cards.
    pub fn new() -> Self {
        for (_, operation) in CALLS {
            count_panics(operation, 0);
        }
        Self {
            cards: Arc::new(CallsOf::new(SimulatedIssuer::NAME)),
            platforms: Mutex::default(),
        }
    }

    /// Makes a call of a platform, or of the processor of cards. There is no answer if the time limit was reached, or if it
    /// panicked: in both cases it may have reached the processor.
    pub(super) async fn make<A: CallAnswer>(
        &self,
        (platform, call): (Option<&str>, Call),
        limit: Duration,
        calling: impl Future<Output = A> + Send,
    ) -> Option<A> {
        let began = Instant::now();
        let (_, operation) = CALLS[call as usize];
        let ended = caught(operation, tokio::time::timeout(limit, calling)).await;
        let (result, answer) = match ended {
            Some(Ok(answer)) => (answer.result(), Some(answer)),
            Some(Err(_)) => (CallResult::Timeout, None),
            None => (CallResult::Panicked, None),
        };
        self.of(platform).count(call, result, began.elapsed());
        answer
    }

    fn of(&self, platform: Option<&str>) -> Arc<CallsOf> {
        let Some(name) = platform else {
            return Arc::clone(&self.cards);
        };
        let platforms = self.platforms.lock();
        let mut platforms = platforms.unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = platforms.get(name) {
            return Arc::clone(calls);
        }
        let calls = Arc::new(CallsOf::new(name));
        platforms.insert(name.to_owned(), Arc::clone(&calls));
        calls
    }
}

impl CallsOf {
    fn new(processor: &str) -> Self {
        let of_call = |(_, operation): (Call, &'static str)| {
            let result = |(_, result): (CallResult, &'static str)| {
                metrics::counter!(
                    metric::PROCESSOR_CALLS,
                    "processor" => processor.to_owned(), "operation" => operation, "result" => result
                )
            };
            CallMetrics {
                results: RESULTS.into_iter().map(result).collect(),
                seconds: metrics::histogram!(
                    metric::PROCESSOR_CALL_SECONDS,
                    "processor" => processor.to_owned(), "operation" => operation
                ),
            }
        };
        Self(CALLS.into_iter().map(of_call).collect())
    }

    fn count(&self, call: Call, result: CallResult, took: Duration) {
        if let Some(metrics) = self.0.get(call as usize) {
            metrics.seconds.record(took.as_secs_f64());
            if let Some(counter) = metrics.results.get(result as usize) {
                counter.increment(1);
            }
        }
    }
}

impl Default for ProcessorCalls {
    fn default() -> Self {
        Self::new()
    }
}

impl CallAnswer for Answer {
    fn result(&self) -> CallResult {
        match self {
            Self::Approved { .. } => CallResult::Done,
            Self::ActionRequired { .. } => CallResult::Accepted,
            Self::Declined { .. } => CallResult::Refused,
            Self::NotCharged { .. } => CallResult::NotExecuted,
            Self::Unknown => CallResult::Unknown,
        }
    }
}

impl CallAnswer for ActionAnswer {
    fn result(&self) -> CallResult {
        match self {
            Self::Approved { .. } => CallResult::Done,
            Self::Waiting => CallResult::Accepted,
            Self::Declined { .. } | Self::Expired => CallResult::Refused,
            Self::Unknown => CallResult::Unknown,
        }
    }
}

impl CallAnswer for AttemptCloseAnswer {
    fn result(&self) -> CallResult {
        match self {
            // Both are definite, and that is what closing is for.
            Self::Charged { .. } | Self::Closed => CallResult::Done,
            Self::Unknown => CallResult::Unknown,
        }
    }
}

impl CallAnswer for ReversalAnswer {
    fn result(&self) -> CallResult {
        match self {
            Self::Confirmed => CallResult::Done,
            Self::Unknown => CallResult::Unknown,
        }
    }
}

impl CallAnswer for OperationAnswer {
    fn result(&self) -> CallResult {
        match self {
            Self::Done { .. } => CallResult::Done,
            Self::Accepted { .. } => CallResult::Accepted,
            Self::Refused { .. } => CallResult::Refused,
            Self::NotExecuted { .. } => CallResult::NotExecuted,
            Self::Unknown => CallResult::Unknown,
        }
    }
}

impl CallAnswer for CloseAnswer {
    fn result(&self) -> CallResult {
        match self {
            // Both are definite, and that is what closing is for.
            Self::Executed | Self::NotExecuted => CallResult::Done,
            Self::Unknown => CallResult::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_the_order_of_their_enums() {
        for (place, (call, _)) in CALLS.into_iter().enumerate() {
            assert_eq!(call as usize, place);
        }
        for (place, (result, _)) in RESULTS.into_iter().enumerate() {
            assert_eq!(result as usize, place);
        }
    }
}
