//! How operations move: whatever is lost or delayed, the status agrees with what the processor did.

use proptest::prelude::*;

use super::*;

/// What happens to a call.
#[derive(Debug, Clone, Copy)]
enum Way {
    Answered,
    AnswerLost,
    /// The caller gives up; the call may reach the processor later.
    Delayed,
    Down,
}

/// A processor that carries an operation out at most once, and never after it was closed.
#[derive(Debug, Default)]
struct Processor {
    refuses: bool,
    executed: bool,
    closed: bool,
    delayed: u32,
}

impl Processor {
    fn execute(&mut self) -> OperationAnswer {
        if self.executed {
            return OperationAnswer::Done {
                confirm_after: None,
            };
        }
        if self.refuses || self.closed {
            let code = DeclineCode::from_static("refused");
            return OperationAnswer::Refused {
                code,
                authorization_gone: false,
            };
        }
        self.executed = true;
        OperationAnswer::Done {
            confirm_after: None,
        }
    }

    fn close(&mut self) -> CloseAnswer {
        self.closed = true;
        match self.executed {
            true => CloseAnswer::Executed,
            false => CloseAnswer::NotExecuted,
        }
    }

    fn call(&mut self, now: &OperationProgress, way: Way, max_tries: u32) -> OperationTrigger {
        let asked = now.try_number;
        if now.phase == OperationPhase::Close {
            let answer = match way {
                Way::Answered => self.close(),
                Way::AnswerLost => {
                    self.close();
                    CloseAnswer::Unknown
                }
                Way::Delayed | Way::Down => CloseAnswer::Unknown,
            };
            return OperationTrigger::Closed { asked, answer };
        }
        let answer = match way {
            Way::Answered => self.execute(),
            Way::AnswerLost => {
                self.execute();
                OperationAnswer::Unknown
            }
            Way::Delayed => {
                self.delayed += 1;
                OperationAnswer::Unknown
            }
            Way::Down => OperationAnswer::NotExecuted {
                reason: DeclineCode::ISSUER_UNAVAILABLE,
            },
        };
        OperationTrigger::Answered {
            asked,
            answer,
            max_tries,
        }
    }
}

fn moved(next: OperationNext) -> OperationProgress {
    match next {
        OperationNext::TryAgain { progress, .. }
        | OperationNext::Succeeded { progress, .. }
        | OperationNext::Failed { progress, .. }
        | OperationNext::Waits(progress)
        | OperationNext::Confirmed(progress) => progress,
    }
}

#[test]
fn a_try_that_was_not_made_is_made_later() {
    let now = OperationProgress::NEW;
    let asked = now.try_number;
    let waits = next_operation(now.clone(), OperationTrigger::NotCalled { asked });
    assert_eq!(waits, Ok(OperationNext::Waits(now.clone())));
    let stale = OperationTrigger::NotCalled { asked: asked + 1 };
    assert_eq!(next_operation(now, stale), Err(StaleTry));
}

fn any_way() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![
        Way::Answered,
        Way::AnswerLost,
        Way::Delayed,
        Way::Delayed,
        Way::Down,
    ])
}

proptest! {
    #[test]
    fn whatever_is_lost_or_late_the_status_agrees_with_the_processor(
        refuses: bool, max_tries in 1_u32..5, ways in prop::collection::vec(any_way(), 0..20),
        late in prop::collection::vec(any::<bool>(), 20),
    ) {
        let mut processor = Processor { refuses, ..Processor::default() };
        let mut now = OperationProgress::NEW;
        for (way, late) in ways.into_iter().chain([Way::Answered; 3]).zip(late) {
            if late && processor.delayed > 0 {
                processor.delayed -= 1;
                processor.execute();
            }
            if now.status != OperationStatus::Pending {
                break;
            }
            let trigger = processor.call(&now, way, max_tries);
            now = moved(next_operation(now, trigger).expect("the current try"));
        }
        for _ in 0..processor.delayed {
            processor.execute();
        }
        let expected = match now.status {
            OperationStatus::Succeeded => true,
            OperationStatus::Failed => false,
            OperationStatus::Pending => return Err(TestCaseError::fail(format!("{now:?}"))),
        };
        prop_assert_eq!(processor.executed, expected, "{:?}", now);
    }
}

fn answered(asked: u32, answer: OperationAnswer) -> OperationTrigger {
    OperationTrigger::Answered {
        asked,
        answer,
        max_tries: 5,
    }
}

#[test]
fn an_accepted_operation_is_queried_until_there_is_a_result() {
    let ask_after = Duration::from_secs(3);
    let accepted = answered(1, OperationAnswer::Accepted { ask_after });
    let next = next_operation(OperationProgress::NEW, accepted).expect("a move");
    let OperationNext::TryAgain {
        progress,
        reason: None,
        after,
    } = next
    else {
        panic!("{next:?}");
    };
    assert_eq!(
        (progress.phase, after),
        (OperationPhase::Query, Some(ask_after))
    );
    let unknown = next_operation(progress, answered(2, OperationAnswer::Unknown)).expect("a move");
    let done = answered(
        3,
        OperationAnswer::Done {
            confirm_after: None,
        },
    );
    let ended = next_operation(moved(unknown), done).expect("a move");
    assert!(
        matches!(ended, OperationNext::Succeeded { .. }),
        "{ended:?}"
    );
}

#[test]
fn a_refund_that_succeeded_can_fail_until_it_is_confirmed() {
    let done = OperationAnswer::Done {
        confirm_after: Some(Duration::from_secs(5)),
    };
    let now = moved(next_operation(OperationProgress::NEW, answered(1, done)).expect("a move"));
    assert_eq!(now.status, OperationStatus::Succeeded);
    assert_eq!((now.phase, now.try_number), (OperationPhase::Confirm, 2));
    let refused = OperationAnswer::Refused {
        code: DeclineCode::from_static("expired_or_canceled_card"),
        authorization_gone: false,
    };
    let failed = moved(next_operation(now.clone(), answered(2, refused)).expect("a move"));
    assert_eq!(failed.status, OperationStatus::Failed);
    let stands = answered(
        2,
        OperationAnswer::Done {
            confirm_after: None,
        },
    );
    let confirmed = moved(next_operation(now, stands).expect("a move"));
    assert!(!confirmed.awaits_answer());
    assert_eq!(confirmed.status, OperationStatus::Succeeded);
}

#[test]
fn an_answer_to_an_earlier_try_changes_nothing() {
    let now = OperationProgress {
        try_number: 2,
        ..OperationProgress::NEW
    };
    let done = answered(
        1,
        OperationAnswer::Done {
            confirm_after: None,
        },
    );
    assert_eq!(next_operation(now, done), Err(StaleTry));
}
