//! The transition function against a pretend issuer that knows the truth about charges.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use PaymentStatus::{
    Canceled, Declined, Failed, Processing, RequiresPaymentMethod as Waiting, Succeeded,
};

/// One thing that can happen, whether it makes sense at that moment or not.
#[derive(Debug, Clone)]
enum Step {
    PresentCard {
        good: bool,
    },
    Cancel,
    Ask(Way),
    /// The worker dies over its call; another finds the try still due.
    WorkerDies(Way),
    /// A call that timed out reaches the issuer after all.
    LateCall,
    Reverse(Way),
    /// An answer that was delivered before is delivered again.
    Repeat(prop::sample::Index),
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Answered,
    AnswerLost,
    /// Lost for now: it may reach the issuer later.
    Delayed,
    /// The issuer says that it cannot work now.
    Down,
}

/// The issuer's truth about one attempt.
#[derive(Debug, Default)]
struct Account {
    good: bool,
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
        self.charged = true;
        Answer::Approved {
            authorization_code: "A1B2C3".to_owned(),
        }
    }

    fn holds_money(&self) -> bool {
        self.charged && !self.reversed
    }
}

struct World {
    now: Progress,
    max_tries: u32,
    accounts: BTreeMap<u32, Account>,
    delivered: Vec<Trigger>,
}

impl World {
    fn new(max_tries: u32) -> Self {
        Self {
            now: Progress::NEW,
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

    fn all_late_calls_arrive(&mut self) {
        for account in self.accounts.values_mut() {
            if std::mem::take(&mut account.calls_on_their_way) > 0 {
                account.authorize();
            }
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let authorizing = self.now.status == Processing && self.now.phase == Phase::Authorize;
        let reversing = self.now.status == Processing && self.now.phase == Phase::Reverse;
        let asked = self.asked();
        match step {
            Step::PresentCard { good } => {
                let before = self.now.attempt;
                self.deliver(Trigger::PresentCard)?;
                if self.now.attempt > before {
                    self.account().good = *good;
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
                self.now = self.now.asked_again();
                Ok(())
            }
            Step::WorkerDies(way) if reversing => {
                self.reverse(*way);
                self.now = self.now.asked_again();
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
            Step::Repeat(_) if self.delivered.is_empty() => Ok(()),
            Step::Repeat(index) => {
                let old = index.get(&self.delivered).clone();
                prop_assert_eq!(next(self.now, &old), Err(Refusal::Stale));
                Ok(())
            }
        }
    }

    /// Moves the payment and checks that the step itself is a legal one.
    fn deliver(&mut self, trigger: Trigger) -> Result<(), TestCaseError> {
        let before = self.now;
        let moved = next(before, &trigger);
        let asks_processor = matches!(trigger, Trigger::Answered { .. } | Trigger::Reversal { .. });
        let Ok(moved) = moved else {
            // Only what does not fit the moment is refused.
            prop_assert!(!asks_processor || moved == Err(Refusal::Stale));
            return Ok(());
        };
        let after = match &moved {
            Next::Attempt(progress)
            | Next::TryAgain { progress, .. }
            | Next::Ended(progress, _)
            | Next::Canceled(progress) => *progress,
        };
        let edge = (before.status, after.status);
        let legal = match trigger {
            Trigger::PresentCard => matches!(edge, (Waiting | Declined | Failed, Processing)),
            Trigger::Cancel => matches!(edge, (Waiting | Declined | Failed, Canceled)),
            Trigger::Answered { .. } => matches!(
                edge,
                (Processing, Processing | Succeeded | Declined | Failed)
            ),
            Trigger::Reversal { .. } => matches!(edge, (Processing, Processing | Failed)),
        };
        prop_assert!(legal, "{:?} led from {:?} to {:?}", trigger, before, after);
        let new_card = u32::from(trigger == Trigger::PresentCard);
        prop_assert_eq!(after.attempt, before.attempt + new_card);
        if matches!(moved, Next::TryAgain { .. }) {
            prop_assert_eq!(after.try_number, before.try_number + 1);
            prop_assert!(after.phase == Phase::Reverse || after.try_number <= self.max_tries);
            prop_assert!(before.phase == Phase::Authorize || after.phase == Phase::Reverse);
        }
        if asks_processor {
            self.delivered.push(trigger);
        }
        self.now = after;
        Ok(())
    }

    /// What the payment says against what the issuer did.
    fn check_money(&self) -> Result<(), TestCaseError> {
        let holding: Vec<u32> = self
            .accounts
            .iter()
            .filter(|(_, account)| account.holds_money())
            .map(|(attempt, _)| *attempt)
            .collect();
        match self.now.status {
            Succeeded => prop_assert_eq!(holding, vec![self.now.attempt]),
            Waiting | Declined | Failed | Canceled => prop_assert_eq!(holding, Vec::<u32>::new()),
            Processing => prop_assert!(holding.iter().all(|attempt| *attempt == self.now.attempt)),
        }
        Ok(())
    }
}

fn any_way() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![
        Way::Answered,
        Way::AnswerLost,
        Way::Delayed,
        Way::Down,
        Way::Down,
    ])
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<bool>().prop_map(|good| Step::PresentCard { good }),
        1 => Just(Step::Cancel),
        8 => any_way().prop_map(Step::Ask),
        2 => any_way().prop_map(Step::WorkerDies),
        1 => Just(Step::LateCall),
        3 => any_way().prop_map(Step::Reverse),
        2 => any::<prop::sample::Index>().prop_map(Step::Repeat),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_the_status_tells_the_truth_about_the_money(
        max_tries in 1_u32..5, steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let mut world = World::new(max_tries);
        world.step(&Step::PresentCard { good: true })?;
        for step in &steps {
            world.step(step)?;
            world.check_money()?;
        }
        world.all_late_calls_arrive();
        world.check_money()?;
    }

    #[test]
    fn an_issuer_that_comes_back_ends_every_attempt(
        good: bool, max_tries in 1_u32..5, troubles in prop::collection::vec(any_way(), 0..20),
    ) {
        let mut world = World::new(max_tries);
        world.step(&Step::PresentCard { good })?;
        for way in troubles.into_iter().chain([Way::Answered]) {
            let step = match world.now.phase {
                Phase::Authorize => Step::Ask(way),
                Phase::Reverse => Step::Reverse(way),
            };
            world.step(&step)?;
        }
        prop_assert_ne!(world.now.status, Processing);
        world.all_late_calls_arrive();
        world.check_money()?;
    }
}

fn processing(try_number: u32) -> Progress {
    Progress {
        status: Processing,
        attempt: 1,
        try_number,
        ..Progress::NEW
    }
}

fn answered(asked: (u32, u32), answer: Answer) -> Trigger {
    Trigger::Answered {
        asked,
        answer,
        max_tries: 3,
    }
}

fn down() -> Answer {
    Answer::NotCharged {
        reason: DeclineCode::ISSUER_UNAVAILABLE,
    }
}

#[test]
fn what_has_ended_for_good_refuses_everything() {
    for (status, refusal) in [
        (Succeeded, Refusal::Succeeded),
        (Canceled, Refusal::Canceled),
    ] {
        let now = Progress {
            status,
            ..processing(1)
        };
        assert_eq!(next(now, &Trigger::PresentCard), Err(refusal));
        assert_eq!(next(now, &Trigger::Cancel), Err(refusal));
        assert_eq!(
            next(now, &answered((1, 1), Answer::Unknown)),
            Err(Refusal::Stale)
        );
    }
    assert_eq!(
        next(processing(1), &Trigger::PresentCard),
        Err(Refusal::Processing)
    );
    assert_eq!(
        next(processing(1), &Trigger::Cancel),
        Err(Refusal::Processing)
    );
}

#[test]
fn only_the_answer_to_the_current_try_counts() {
    for asked in [(1, 1), (1, 3), (2, 2), (0, 2)] {
        assert_eq!(
            next(processing(2), &answered(asked, Answer::Unknown)),
            Err(Refusal::Stale),
            "{asked:?}"
        );
    }
    let reversal = Trigger::Reversal {
        asked: (1, 2),
        answer: ReversalAnswer::Confirmed,
    };
    assert_eq!(next(processing(2), &reversal), Err(Refusal::Stale));
    let reversing = Progress {
        phase: Phase::Reverse,
        ..processing(2)
    };
    assert_eq!(
        next(reversing, &answered((1, 2), down())),
        Err(Refusal::Stale)
    );
}

#[test]
fn the_last_try_fails_the_payment_only_if_nothing_can_have_been_charged() {
    let certain = next(processing(3), &answered((1, 3), down()));
    assert!(
        matches!(certain, Ok(Next::Ended(_, Outcome::Failed { .. }))),
        "{certain:?}"
    );
    let earlier_silence = Progress {
        uncertain: true,
        ..processing(3)
    };
    for (now, answer) in [
        (earlier_silence, down()),
        (processing(3), Answer::Unknown),
        (processing(3).asked_again(), down()),
    ] {
        let moved = next(now, &answered((1, 3), answer));
        let Ok(Next::TryAgain { progress, .. }) = moved else {
            panic!("{moved:?}");
        };
        assert_eq!((progress.phase, progress.try_number), (Phase::Reverse, 4));
    }
}
