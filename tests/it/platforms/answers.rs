//! Which answers of Stripe's are believed: a refusal only after the object was read, an object only if it is ours.

use payment_service::domain::{
    Answer, CaptureMethod, CloseAnswer, OperationAnswer, OperationId, OperationKind,
};
use payment_service::processors::{Authorization, OperationCall, Processor};
use uuid::Uuid;

use super::sessions::page;
use super::stand_in::Fault;
use super::{Visa, attempt, money, on_each, processor};

fn by_token(payment: i64, capture: CaptureMethod) -> Authorization<'static> {
    Authorization {
        key: attempt(payment),
        amount: money(2000),
        capture,
        method: &Visa,
        return_to: None,
    }
}

fn operation(payment: i64, kind: OperationKind) -> OperationCall {
    OperationCall {
        key: OperationId(Uuid::now_v7()),
        kind,
        authorization: attempt(payment),
        authorized: money(2000),
        amount: money(500),
    }
}

const DONE: OperationAnswer = OperationAnswer::Done {
    confirm_after: None,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_another_payment_or_amount_is_neither_stored_nor_shown() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let processor = processor(&app, &stripe);
            let stored = async |payment| {
                let key = attempt(payment).to_string();
                let reference = app.database.processor_reference("stripe", &key).await;
                reference.unwrap()
            };
            let faults = [Fault::OtherPayment, Fault::OtherAmount];
            for (payment, fault) in (9601..).zip(faults) {
                stripe.fail("/payment_intents", fault);
                let charge = by_token(payment, CaptureMethod::Automatic);
                assert_eq!(processor.authorize(&charge).await, Answer::Unknown);
                assert_eq!(stored(payment).await, None, "{fault:?}");
                let approved = processor.authorize(&charge).await;
                assert!(matches!(approved, Answer::Approved { .. }), "{approved:?}");
                assert_eq!(stripe.moved(payment), (2000, 0));
            }
            let back = Some("https://shop.example/back");
            for (payment, fault) in (9611..).zip(faults) {
                stripe.fail("/sessions", fault);
                let opened = processor.authorize(&page(payment, back)).await;
                assert_eq!(opened, Answer::Unknown, "{fault:?}");
                assert_eq!(stored(payment).await, None, "{fault:?}");
                let opened = processor.authorize(&page(payment, back)).await;
                let Answer::ActionRequired { url, .. } = opened else {
                    panic!("{opened:?}");
                };
                assert_eq!(stripe.sessions(payment)[0]["url"], url);
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_about_an_operation_that_does_not_fit_is_looked_up() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let processor = processor(&app, &stripe);
            let faults = [
                Fault::OtherPayment,
                Fault::OtherAmount,
                Fault::RefusedAfter("strange"),
            ];
            for (payment, fault) in (9701..).zip(faults) {
                let held = by_token(payment, CaptureMethod::Manual);
                processor.authorize(&held).await;
                stripe.fail("/capture", fault);
                let capture = operation(payment, OperationKind::Capture);
                assert_eq!(processor.capture(&capture).await, DONE, "{fault:?}");
                stripe.fail("/refunds", fault);
                let refund = operation(payment, OperationKind::Refund);
                assert_eq!(processor.refund(&refund).await, DONE, "{fault:?}");
                assert_eq!(processor.close(&refund).await, CloseAnswer::Executed);
                assert_eq!(stripe.moved(payment), (500, 500), "{fault:?}");
            }
        },
    )
    .await;
}

/// Not executed would mean that nothing was refunded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_refused_after_an_unanswered_call_says_nothing_about_the_call() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let processor = processor(&app, &stripe);
            let charge = by_token(9801, CaptureMethod::Automatic);
            processor.authorize(&charge).await;
            stripe.fail("/refunds", Fault::Html);
            // The list, which is read then.
            stripe.fail("/refunds", Fault::Busy);
            let refund = operation(9801, OperationKind::Refund);
            assert_eq!(processor.refund(&refund).await, OperationAnswer::Unknown);
            assert_eq!(stripe.moved(9801), (2000, 500));
        },
    )
    .await;
}
