//! The transition function: whatever happens, the status agrees with the money.

use proptest::prelude::*;

use super::model::{Step, Way, World};
use super::*;
use PaymentStatus::{Canceled, Processing, Succeeded};

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
