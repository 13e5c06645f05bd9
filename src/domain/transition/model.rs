//! For tests: a payment and a simulated issuer that knows the real charges.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use PaymentStatus::{
    Canceled, Declined, Failed, Processing, RequiresAction, RequiresCapture,
    RequiresPaymentMethod as Waiting, Succeeded,
};

/// One thing that can happen, even if it makes no sense in the current state.
#[derive(Debug, Clone)]
pub enum Step {
    PresentCard {
        good: bool,
        /// The issuer asks the shopper to approve.
        asks: bool,
    },
    Cancel,
    Ask(Way),
    /// The worker dies during its call; another one finds the try still due.
    WorkerDies(Way),
    /// A call that timed out reaches the issuer after all.
    LateCall,
    Reverse(Way),
    /// The shopper of any attempt approves, in whichever tab is still open.
    Approve(prop::sample::Index),
    AskAboutAction {
        way: Way,
        expired: bool,
    },
    CloseAttempt(Way),
    /// The processor cannot be called.
    NotCalled,
    /// The processor cannot be called, and there is another one.
    FallBack,
    /// The client captures or voids an authorized amount.
    StartOperation(OperationKind),
    EndOperation(OperationEnd),
    /// An answer that was delivered before is delivered again.
    Repeat(prop::sample::Index),
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    Answered,
    AnswerLost,
    /// Lost for now: it may reach the issuer later.
    Delayed,
    /// The issuer reports that it is down.
    Down,
}

/// What the issuer really did for one attempt.
#[derive(Debug, Default)]
pub struct Account {
    good: bool,
    asks: bool,
    /// The issuer has asked the shopper.
    asked: bool,
    charged: bool,
    reversed: bool,
    calls_on_their_way: u32,
}

impl Account {
    fn authorize(&mut self) -> Answer {
        if self.reversed || !self.good {
            return Answer::Declined {
                code: DeclineCode::from_static("generic_decline"),
            };
        }
        if self.asks && !self.charged {
            self.asked = true;
            return Answer::ActionRequired {
                url: "https://issuer.example/".to_owned(),
                expires_at: time::macros::datetime!(2026-11-26 12:00 UTC),
            };
        }
        self.charged = true;
        Answer::Approved {
            authorization_code: code(),
        }
    }

    fn approve(&mut self) {
        self.charged |= self.asked && !self.reversed;
    }

    fn ask(&self) -> ActionAnswer {
        match self.charged {
            true => ActionAnswer::Approved {
                authorization_code: code(),
            },
            false => ActionAnswer::Waiting,
        }
    }

    fn close(&mut self) -> AttemptCloseAnswer {
        if self.charged {
            return AttemptCloseAnswer::Charged {
                authorization_code: code(),
            };
        }
        self.reversed = true;
        AttemptCloseAnswer::Closed
    }

    fn holds_money(&self) -> bool {
        self.charged && !self.reversed
    }
}

fn code() -> String {
    "A1B2C3".to_owned()
}

pub struct World {
    pub now: Progress,
    max_tries: u32,
    accounts: BTreeMap<u32, Account>,
    delivered: Vec<Trigger>,
}

impl World {
    pub fn new(max_tries: u32, capture_method: CaptureMethod) -> Self {
        Self {
            now: Progress {
                capture_method,
                ..Progress::NEW
            },
            max_tries,
            accounts: BTreeMap::new(),
            delivered: Vec::new(),
        }
    }

    fn account(&mut self) -> &mut Account {
        self.accounts.entry(self.now.attempt).or_default()
    }

    fn asked(&self) -> (u32, u32) {
        (self.now.attempt, self.now.try_number)
    }

    fn call(&mut self, way: Way) -> Answer {
        match way {
            Way::Answered => self.account().authorize(),
            Way::AnswerLost => {
                self.account().authorize();
                Answer::Unknown
            }
            Way::Delayed => {
                self.account().calls_on_their_way += 1;
                Answer::Unknown
            }
            Way::Down => Answer::NotCharged {
                reason: DeclineCode::ISSUER_UNAVAILABLE,
            },
        }
    }

    fn reverse(&mut self, way: Way) -> ReversalAnswer {
        if matches!(way, Way::Answered | Way::AnswerLost) {
            self.account().reversed = true;
        }
        match way {
            Way::Answered => ReversalAnswer::Confirmed,
            Way::AnswerLost | Way::Delayed | Way::Down => ReversalAnswer::Unknown,
        }
    }

    pub fn all_late_calls_arrive(&mut self) {
        for account in self.accounts.values_mut() {
            if std::mem::take(&mut account.calls_on_their_way) > 0 {
                account.authorize();
            }
        }
    }

    pub fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let trying = self.now.status.has_a_try() && self.now.operation.is_none();
        let asking = trying && self.now.phase == Phase::Ask;
        let closing = trying && self.now.phase == Phase::Close;
        let authorizing = trying && self.now.phase == Phase::Authorize;
        let reversing = trying && self.now.phase == Phase::Reverse;
        let asked = self.asked();
        match step {
            Step::PresentCard { good, asks } => {
                let before = self.now.attempt;
                self.deliver(Trigger::PresentCard)?;
                let replaces = self.now.pending == Some(PendingOutcome::Replaced);
                if self.now.attempt > before || replaces {
                    let attempt = self.now.attempt + u32::from(replaces);
                    let account = self.accounts.entry(attempt).or_default();
                    (account.good, account.asks) = (*good, *asks);
                }
                Ok(())
            }
            Step::Cancel => self.deliver(Trigger::Cancel),
            Step::Ask(way) => {
                let answer = if authorizing {
                    self.call(*way)
                } else {
                    Answer::Unknown
                };
                let max_tries = self.max_tries;
                self.deliver(Trigger::Answered {
                    asked,
                    answer,
                    max_tries,
                })
            }
            Step::WorkerDies(way) if authorizing => {
                self.call(*way);
                self.now = self.now.clone().unanswered();
                Ok(())
            }
            Step::WorkerDies(way) if reversing => {
                self.reverse(*way);
                self.now = self.now.clone().unanswered();
                Ok(())
            }
            Step::WorkerDies(_) => Ok(()),
            Step::LateCall => {
                self.all_late_calls_arrive();
                Ok(())
            }
            Step::Reverse(way) => {
                let answer = if reversing {
                    self.reverse(*way)
                } else {
                    ReversalAnswer::Confirmed
                };
                self.deliver(Trigger::Reversal { asked, answer })
            }
            Step::Approve(_) if self.accounts.is_empty() => Ok(()),
            Step::Approve(index) => {
                let attempts: Vec<u32> = self.accounts.keys().copied().collect();
                let account = self.accounts.get_mut(index.get(&attempts));
                account.into_iter().for_each(Account::approve);
                Ok(())
            }
            Step::AskAboutAction { way, expired } => {
                let answer = match way {
                    Way::Answered if asking => self.account().ask(),
                    _ => ActionAnswer::Unknown,
                };
                let expired = *expired;
                self.deliver(Trigger::ActionAnswered {
                    asked,
                    answer,
                    expired,
                })
            }
            Step::CloseAttempt(way) => {
                let answer = match way {
                    Way::Answered if closing => self.account().close(),
                    Way::AnswerLost if closing => {
                        self.account().close();
                        AttemptCloseAnswer::Unknown
                    }
                    _ => AttemptCloseAnswer::Unknown,
                };
                self.deliver(Trigger::AttemptClosed { asked, answer })
            }
            Step::NotCalled => self.deliver(Trigger::NotCalled { asked }),
            Step::FallBack => {
                let (before, account) = (self.now.attempt, self.account());
                let method = (account.good, account.asks);
                let reason = DeclineCode::ISSUER_UNAVAILABLE;
                self.deliver(Trigger::FallBack { asked, reason })?;
                if self.now.attempt > before {
                    let account = self.account();
                    (account.good, account.asks) = method;
                }
                Ok(())
            }
            Step::StartOperation(kind) => self.deliver(Trigger::OperationStarted(*kind)),
            Step::EndOperation(end) => {
                if *end == OperationEnd::Released && self.now.operation.is_some() {
                    self.account().reversed = true;
                }
                self.deliver(Trigger::OperationEnded(*end))
            }
            Step::Repeat(_) if self.delivered.is_empty() => Ok(()),
            Step::Repeat(index) => {
                let old = index.get(&self.delivered).clone();
                prop_assert_eq!(next(self.now.clone(), &old), Err(Refusal::Stale));
                Ok(())
            }
        }
    }

    /// Moves the payment and checks that the step is legal.
    fn deliver(&mut self, trigger: Trigger) -> Result<(), TestCaseError> {
        let before = self.now.clone();
        let moved = next(before.clone(), &trigger);
        let asks_processor = matches!(
            trigger,
            Trigger::Answered { .. }
                | Trigger::Reversal { .. }
                | Trigger::ActionAnswered { .. }
                | Trigger::AttemptClosed { .. }
        ) || matches!(&moved, Ok(Next::FellBack { .. }));
        let Ok(moved) = moved else {
            // Only triggers that do not fit the current state are refused.
            prop_assert!(!asks_processor || moved == Err(Refusal::Stale));
            return Ok(());
        };
        let after = match &moved {
            Next::Attempt(progress)
            | Next::FellBack { progress, .. }
            | Next::ActionRequired { progress, .. }
            | Next::AskAgain(progress)
            | Next::Closing(progress)
            | Next::Replaced(progress)
            | Next::TryAgain { progress, .. }
            | Next::Ended(progress, _)
            | Next::Canceled(progress)
            | Next::Operating(progress)
            | Next::Captured(progress)
            | Next::StillAuthorized(progress) => progress.clone(),
        };
        let edge = (before.status, after.status);
        let legal = match trigger {
            Trigger::PresentCard => {
                matches!(
                    edge,
                    (Waiting | RequiresAction | Declined | Failed, Processing)
                )
            }
            Trigger::Cancel => matches!(
                edge,
                (Waiting | Declined | Failed, Canceled) | (RequiresAction, Processing)
            ),
            Trigger::Answered { .. } => matches!(
                edge,
                (
                    Processing,
                    Processing | RequiresAction | RequiresCapture | Succeeded | Declined | Failed
                )
            ),
            Trigger::ActionAnswered { .. } => matches!(
                edge,
                (
                    RequiresAction,
                    Processing | RequiresAction | RequiresCapture | Succeeded | Declined
                )
            ),
            Trigger::AttemptClosed { .. } => matches!(
                edge,
                (
                    Processing,
                    Processing | RequiresCapture | Succeeded | Failed | Canceled
                )
            ),
            Trigger::NotCalled { .. } => before == after,
            Trigger::FallBack { .. } => edge == (Processing, Processing),
            Trigger::OperationStarted(_) => edge == (RequiresCapture, Processing),
            Trigger::OperationEnded(end) => {
                let expected = match end {
                    OperationEnd::Captured => Succeeded,
                    OperationEnd::Released => Canceled,
                    OperationEnd::StillAuthorized => RequiresCapture,
                };
                edge == (Processing, expected)
            }
            Trigger::Reversal { .. } => {
                matches!(edge, (Processing, Processing | Declined | Failed))
            }
        };
        prop_assert!(legal, "{:?} led from {:?} to {:?}", trigger, before, after);
        let new = matches!(
            moved,
            Next::Attempt(_) | Next::Replaced(_) | Next::FellBack { .. }
        );
        prop_assert_eq!(after.attempt, before.attempt + u32::from(new));
        // There is a pending outcome exactly while a reversal or a closing is under way.
        let pends =
            after.status == Processing && matches!(after.phase, Phase::Reverse | Phase::Close);
        prop_assert_eq!(after.pending.is_some(), pends && after.operation.is_none());
        if matches!(moved, Next::TryAgain { .. }) {
            prop_assert_eq!(after.try_number, before.try_number + 1);
            let endless = matches!(after.phase, Phase::Reverse | Phase::Close);
            prop_assert!(endless || after.try_number <= self.max_tries);
            prop_assert!(before.phase == Phase::Authorize || endless);
        }
        // While a capture or void runs, no try is awaited.
        let operating = matches!(trigger, Trigger::OperationStarted(_));
        prop_assert_eq!(after.operation.is_some(), operating);
        if asks_processor {
            self.delivered.push(trigger);
        }
        self.now = after;
        Ok(())
    }

    /// Compares the payment's state with what the issuer did.
    pub fn check_money(&self) -> Result<(), TestCaseError> {
        let holding: Vec<u32> = self
            .accounts
            .iter()
            .filter(|(_, account)| account.holds_money())
            .map(|(attempt, _)| *attempt)
            .collect();
        match self.now.status {
            Succeeded | RequiresCapture => prop_assert_eq!(holding, vec![self.now.attempt]),
            Processing if self.now.operation.is_some() => {
                prop_assert_eq!(holding, vec![self.now.attempt]);
            }
            Waiting | Declined | Failed | Canceled => prop_assert_eq!(holding, Vec::<u32>::new()),
            Processing | RequiresAction => {
                prop_assert!(holding.iter().all(|attempt| *attempt == self.now.attempt));
            }
        }
        Ok(())
    }
}
