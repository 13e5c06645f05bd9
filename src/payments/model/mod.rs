//! For tests: payments with workers that stop at any point, and a processor that delays calls past each other and gives
//! any answer. The code that claims tries and records answers is the service's own.

mod processor;
mod tests;

use std::time::Duration;

use proptest::prelude::*;
use time::macros::datetime;

use super::advance::{Moving, Writes};
use super::claim::{self, claim};
use crate::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer,
    PaymentStatus::{
        Canceled, Declined, Failed, Processing, RequiresAction, RequiresCapture,
        RequiresPaymentMethod, Succeeded,
    },
    Phase, Progress, ReversalAnswer, Timestamp, Trigger,
};
use crate::payments::advance::Advanced;
use crate::payments::apply::Advance;
use crate::payments::claim::Claim;
use crate::payments::leases::Leases;
use crate::payments::row_ids::RowIds;
use crate::store::rows::StoredPayment;
use crate::wire::work::WorkMessage;
use processor::{Processor, Verdict};

const LEASES: Leases = Leases {
    outbox: Duration::from_secs(1),
    claim: Duration::from_secs(10),
    check: Duration::from_secs(10),
};

/// One thing that can happen.
#[derive(Debug, Clone)]
pub enum Step {
    /// A delivery reaches a worker: the payment's current try, or any message that was ever published.
    Deliver(Option<prop::sample::Index>),
    /// The processor executes a call that is on its way, maybe long after its worker stopped waiting.
    Execute(prop::sample::Index, Verdict),
    /// A worker receives the result of its call and records it; if the call was not executed, it records a time-out.
    Answer(prop::sample::Index),
    /// The worker of a call dies: nobody will receive its answer. The call continues.
    Die(prop::sample::Index),
    /// More than a lease passes: every claim ends.
    ClaimsEnd,
    PresentCard,
    Cancel,
    /// The shopper of the current attempt, or of one before it, approves.
    Approve {
        attempts_ago: u32,
    },
    /// The shopper is back: the processor is asked at once.
    ShopperReturns,
}

/// A call to the processor.
#[derive(Debug, Clone)]
struct Call {
    asked: (u32, u32),
    phase: Phase,
    /// The result, once the processor has executed it.
    came_to: Option<Outcome>,
    /// Its worker waits for the answer.
    heard: bool,
}

impl Call {
    fn is_open(&self) -> bool {
        self.came_to.is_none()
    }

    fn is_waiting(&self) -> bool {
        !self.heard
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Authorized(Answer),
    Reversed(ReversalAnswer),
    Asked(ActionAnswer),
    Closed(AttemptCloseAnswer),
}

/// A payment, the messages about it, its workers' calls, and the processor.
pub struct World {
    row: StoredPayment,
    now: Timestamp,
    workers: usize,
    max_tries: u32,
    messages: Vec<WorkMessage>,
    calls: Vec<Call>,
    processor: Processor,
}

impl World {
    pub fn new(workers: usize, max_tries: u32) -> Self {
        let mut world = Self {
            row: tests::payment(),
            now: datetime!(2026-11-26 12:00 UTC),
            workers,
            max_tries,
            messages: Vec::new(),
            calls: Vec::new(),
            processor: Processor::default(),
        };
        world.step(&Step::PresentCard);
        world
    }

    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Deliver(index) => self.deliver(index.as_ref()),
            Step::Execute(index, verdict) => {
                let open = self.one_of(*index, Call::is_open);
                open.into_iter()
                    .for_each(|number| self.execute(number, *verdict));
            }
            Step::Answer(index) => {
                let waiting = self.one_of(*index, Call::is_waiting);
                waiting.into_iter().for_each(|number| self.answer(number));
            }
            Step::Die(index) => {
                let waiting = self.one_of(*index, Call::is_waiting);
                waiting
                    .into_iter()
                    .for_each(|number| self.calls[number].heard = true);
            }
            Step::ClaimsEnd => self.now += LEASES.claim * 2,
            Step::PresentCard => drop(self.record(Trigger::PresentCard)),
            Step::Cancel => drop(self.record(Trigger::Cancel)),
            Step::Approve { attempts_ago } => {
                let attempt = self.row.payment.attempt.saturating_sub(*attempts_ago);
                self.processor.approve(attempt);
            }
            Step::ShopperReturns => {
                if self.row.payment.status == RequiresAction {
                    self.row.try_number += 1;
                    self.row.claimed_until = None;
                    self.messages.push(self.current());
                }
            }
        }
    }

    fn current(&self) -> WorkMessage {
        WorkMessage {
            payment_id: self.row.payment.id,
            attempt: self.row.payment.attempt,
            try_number: self.row.try_number,
        }
    }

    /// One of the calls for which this holds.
    fn one_of(&self, index: prop::sample::Index, holds: impl Fn(&Call) -> bool) -> Option<usize> {
        let numbers: Vec<usize> = (0..self.calls.len())
            .filter(|number| holds(&self.calls[*number]))
            .collect();
        (!numbers.is_empty()).then(|| *index.get(&numbers))
    }

    fn deliver(&mut self, index: Option<&prop::sample::Index>) {
        let busy = self.calls.iter().filter(|call| !call.heard).count();
        if busy >= self.workers {
            return;
        }
        let message = match index {
            Some(index) if !self.messages.is_empty() => *index.get(&self.messages),
            _ => self.current(),
        };
        let until = self.now + LEASES.claim;
        let mut writes = claim::Writes::default();
        let claimed = claim(&mut self.row, message, self.now, until, &mut writes);
        if let Claim::Taken(stored) = claimed {
            self.calls.push(Call {
                asked: (stored.payment.attempt, stored.try_number),
                phase: stored.phase,
                came_to: None,
                heard: false,
            });
        }
    }

    fn execute(&mut self, number: usize, verdict: Verdict) {
        let call = &mut self.calls[number];
        let attempt = call.asked.0;
        call.came_to = Some(match call.phase {
            Phase::Authorize => Outcome::Authorized(self.processor.authorize(attempt, verdict)),
            Phase::Reverse => Outcome::Reversed(self.processor.reverse(attempt, verdict)),
            Phase::Ask => Outcome::Asked(self.processor.ask(attempt, verdict)),
            Phase::Close => Outcome::Closed(self.processor.close(attempt, verdict)),
        });
    }

    fn answer(&mut self, number: usize) {
        let call = &mut self.calls[number];
        call.heard = true;
        let trigger = match (call.phase, call.came_to.clone()) {
            (Phase::Authorize, Some(Outcome::Authorized(answer))) => self.answered(number, answer),
            (Phase::Reverse, Some(Outcome::Reversed(answer))) => Trigger::Reversal {
                asked: call.asked,
                answer,
            },
            (Phase::Ask, came_to) => Trigger::ActionAnswered {
                asked: call.asked,
                answer: match came_to {
                    Some(Outcome::Asked(answer)) => answer,
                    _ => ActionAnswer::Unknown,
                },
                expired: false,
            },
            (Phase::Close, came_to) => Trigger::AttemptClosed {
                asked: call.asked,
                answer: match came_to {
                    Some(Outcome::Closed(answer)) => answer,
                    _ => AttemptCloseAnswer::Unknown,
                },
            },
            (Phase::Authorize, _) => self.answered(number, Answer::Unknown),
            (Phase::Reverse, _) => Trigger::Reversal {
                asked: call.asked,
                answer: ReversalAnswer::Unknown,
            },
        };
        drop(self.record(trigger));
    }

    fn answered(&self, call: usize, answer: Answer) -> Trigger {
        Trigger::Answered {
            asked: self.calls[call].asked,
            answer,
            max_tries: self.max_tries,
        }
    }

    fn record(&mut self, trigger: Trigger) -> Advanced {
        let card = (trigger == Trigger::PresentCard).then(|| {
            let attempt = self.row.payment.attempt + 1;
            (tests::card(), attempt)
        });
        let item = Advance {
            payment: self.row.payment.id,
            client: None,
            trigger,
            card,
            token: None,
            delay: Duration::ZERO,
            capture_within: Duration::ZERO,
            ids: RowIds::draw(),
        };
        let mut moving = Moving {
            tokens: &[],
            now: self.now,
            leases: LEASES,
            writes: Writes::default(),
        };
        let advanced = moving.advance(&mut self.row, &item);
        if self.row.payment.status.has_a_try() {
            self.messages.push(self.current());
        }
        advanced
    }

    /// Executes and answers everything. Returns how many steps it takes until the payment no longer changes, including
    /// calls whose caller is gone.
    pub fn come_to_rest(&mut self, verdict: Verdict) -> usize {
        for steps in 0..200 {
            if let Some(open) = self.calls.iter().position(Call::is_open) {
                self.execute(open, verdict);
            } else if let Some(waiting) = self.calls.iter().position(Call::is_waiting) {
                self.answer(waiting);
            } else if self.row.payment.status.has_a_try() {
                self.now += LEASES.claim * 2;
                self.deliver(None);
            } else {
                return steps;
            }
        }
        200
    }

    /// Compares the payment's state with what the processor did.
    pub fn check_money(&self) -> Result<(), TestCaseError> {
        let standing = self.processor.standing();
        let attempt = self.row.payment.attempt;
        let expected = match self.row.payment.status {
            Succeeded | RequiresCapture => vec![attempt],
            RequiresPaymentMethod | Declined | Failed | Canceled => Vec::new(),
            Processing | RequiresAction => {
                prop_assert!(standing.iter().all(|charged| *charged == attempt));
                return Ok(());
            }
        };
        prop_assert_eq!(standing, expected, "{:?}", self.progress());
        Ok(())
    }

    pub fn progress(&self) -> Progress {
        self.row.progress()
    }
}
