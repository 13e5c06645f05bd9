//! The transition function: whatever happens, the status agrees with the money.

use proptest::prelude::*;

use super::model::{Step, Way, World};
use super::*;
use PaymentStatus::{Canceled, Processing, Succeeded};

fn capture_method(manual: bool) -> CaptureMethod {
    match manual {
        true => CaptureMethod::Manual,
        false => CaptureMethod::Automatic,
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
        2 => any::<(bool, bool)>().prop_map(|(good, asks)| Step::PresentCard { good, asks }),
        2 => any::<prop::sample::Index>().prop_map(Step::Approve),
        3 => (any_way(), any::<bool>()).prop_map(|(way, expired)| Step::AskAboutAction { way, expired }),
        3 => any_way().prop_map(Step::CloseAttempt),
        1 => Just(Step::Cancel),
        1 => Just(Step::NotCalled),
        2 => Just(Step::FallBack),
        8 => any_way().prop_map(Step::Ask),
        2 => any_way().prop_map(Step::WorkerDies),
        1 => Just(Step::LateCall),
        3 => any_way().prop_map(Step::Reverse),
        2 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        1 => prop::sample::select(vec![OperationKind::Capture, OperationKind::Void])
            .prop_map(Step::StartOperation),
        2 => prop::sample::select(vec![
            OperationEnd::Captured, OperationEnd::Released, OperationEnd::StillAuthorized,
        ])
        .prop_map(Step::EndOperation),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_status_always_agrees_with_the_charges(
        max_tries in 1_u32..5, manual: bool, asks: bool, steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let mut world = World::new(max_tries, capture_method(manual));
        world.step(&Step::PresentCard { good: true, asks })?;
        for step in &steps {
            world.step(step)?;
            world.check_money()?;
        }
        world.all_late_calls_arrive();
        world.check_money()?;
    }

    #[test]
    fn every_attempt_ends_when_the_issuer_is_back(
        good: bool, asks: bool, manual: bool, max_tries in 1_u32..5, troubles in prop::collection::vec(any_way(), 0..20),
    ) {
        let mut world = World::new(max_tries, capture_method(manual));
        world.step(&Step::PresentCard { good, asks })?;
        for way in troubles.into_iter().chain([Way::Answered; 3]) {
            let step = match world.now.phase {
                Phase::Authorize => Step::Ask(way),
                Phase::Reverse => Step::Reverse(way),
                // A shopper who never comes back: the time is over at once.
                Phase::Ask => Step::AskAboutAction { way, expired: true },
                Phase::Close => Step::CloseAttempt(way),
            };
            world.step(&step)?;
            if !world.now.status.has_a_try() {
                break;
            }
        }
        prop_assert!(!world.now.status.has_a_try());
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
fn a_final_state_refuses_every_trigger() {
    for (status, refusal) in [
        (Succeeded, Refusal::Succeeded),
        (Canceled, Refusal::Canceled),
    ] {
        let now = Progress {
            status,
            ..processing(1)
        };
        assert_eq!(next(now.clone(), &Trigger::PresentCard), Err(refusal));
        assert_eq!(next(now.clone(), &Trigger::Cancel), Err(refusal));
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

fn declined() -> Answer {
    Answer::Declined {
        code: DeclineCode::from_static("insufficient_funds"),
    }
}

#[test]
fn a_decline_or_failure_ends_an_attempt_if_every_call_was_answered() {
    for (answer, status) in [
        (declined(), PaymentStatus::Declined),
        (down(), PaymentStatus::Failed),
    ] {
        let ended = next(processing(3), &answered((1, 3), answer));
        let Ok(Next::Ended(progress, _)) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(progress.status, status);
    }
}

#[test]
fn the_code_of_an_uncertain_attempt_is_shown_after_the_confirmed_reversal() {
    let no_answer = || DeclineCode::ISSUER_NO_ANSWER;
    let unavailable = || DeclineCode::ISSUER_UNAVAILABLE;
    let funds = || DeclineCode::from_static("insufficient_funds");
    let uncertain = |try_number| processing(try_number).unanswered();
    for (now, answer, outcome) in [
        // A decline at once, whatever tries are left; another try could not make it certain.
        (
            uncertain(1),
            declined(),
            Outcome::Declined { code: funds() },
        ),
        (
            uncertain(3),
            declined(),
            Outcome::Declined { code: funds() },
        ),
        (
            uncertain(3),
            down(),
            Outcome::Failed {
                reason: unavailable(),
            },
        ),
        (
            processing(3),
            Answer::Unknown,
            Outcome::Failed {
                reason: no_answer(),
            },
        ),
    ] {
        let try_number = now.try_number;
        let moved = next(now, &answered((1, try_number), answer));
        let Ok(Next::TryAgain { progress, .. }) = moved else {
            panic!("{moved:?}");
        };
        assert_eq!(
            (progress.phase, progress.try_number),
            (Phase::Reverse, try_number + 1)
        );
        let reversal = |asked, answer| Trigger::Reversal { asked, answer };
        let unconfirmed = reversal((1, try_number + 1), ReversalAnswer::Unknown);
        let Ok(Next::TryAgain { progress, .. }) = next(progress, &unconfirmed) else {
            panic!("asked again until it is confirmed");
        };
        let confirmed = reversal((1, try_number + 2), ReversalAnswer::Confirmed);
        let Ok(Next::Ended(ended, its_outcome)) = next(progress, &confirmed) else {
            panic!("a confirmed reversal ends the attempt");
        };
        assert_eq!((its_outcome, ended.pending), (outcome, None));
    }
}

#[test]
fn an_approval_also_ends_an_uncertain_attempt_because_its_key_is_charged_once() {
    let approved = Answer::Approved {
        authorization_code: "A1B2C3".to_owned(),
    };
    let moved = next(processing(2).unanswered(), &answered((1, 2), approved));
    assert!(
        matches!(moved, Ok(Next::Ended(_, Outcome::Succeeded { .. }))),
        "{moved:?}"
    );
}

#[test]
fn a_reversal_started_by_an_earlier_release_ends_as_in_that_release() {
    let reversing = Progress {
        phase: Phase::Reverse,
        ..processing(4).unanswered()
    };
    let confirmed = Trigger::Reversal {
        asked: (1, 4),
        answer: ReversalAnswer::Confirmed,
    };
    let Ok(Next::Ended(_, outcome)) = next(reversing, &confirmed) else {
        panic!("it ends");
    };
    let reason = DeclineCode::ISSUER_NO_ANSWER;
    assert_eq!(outcome, Outcome::Failed { reason });
}
