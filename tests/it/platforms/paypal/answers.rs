//! Which answers of PayPal's are believed: a refusal only after the order was read, an object only if it is ours.

use payment_service::domain::{
    Answer, AttemptCloseAnswer, CaptureMethod, CloseAnswer, OperationAnswer, OperationKind,
};
use payment_service::processors::Processor;
use payment_service::processors::paypal::PayPal;
use uuid::Uuid;

use super::stand_in::{Fault, Pays, StandIn};
use super::{
    approved, attempt, authorization, begin, close, is_approved, is_charged, on_each, operation,
    processor,
};

/// What PayPal says of a call that it has executed before.
const AFTERWARDS: [Fault; 5] = [
    Fault::RefusedAfter("PAYER_CANNOT_PAY"),
    Fault::RefusedAfter("INSTRUMENT_DECLINED"),
    Fault::RefusedAfter("ORDER_NOT_APPROVED"),
    Fault::RefusedAfter("ORDER_ALREADY_CAPTURED"),
    Fault::SaysDeclined,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_paypal_s_after_the_charge_is_not_believed() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            for (payment, fault) in (9601..).zip(AFTERWARDS) {
                let key = approved(&paypal, &processor, payment).await;
                paypal.fail("/capture", fault);
                let asked = processor.ask(key).await;
                assert!(is_approved(&asked), "{fault:?}: {asked:?}");
                assert!(is_charged(&close(&processor, key).await), "{fault:?}");
                assert_eq!(paypal.moved(payment), (2000, 0));
            }
            for (payment, fault) in (9611..).zip(AFTERWARDS) {
                let key = approved(&paypal, &processor, payment).await;
                // A worker was stopped after it had begun.
                begin(&app, key, 60).await;
                paypal.fail("/capture", fault);
                assert!(is_charged(&close(&processor, key).await), "{fault:?}");
            }
            for (payment, fault) in (9621..).zip(AFTERWARDS) {
                let key = attempt(payment);
                let held = authorization(key, CaptureMethod::Manual);
                processor.authorize(&held).await;
                assert!(paypal.shopper(payment, Pays::Well));
                paypal.fail("/authorize", fault);
                // The worker that takes over asks by the same call.
                let authorized = processor.authorize(&held).await;
                assert!(
                    matches!(authorized, Answer::Approved { .. }),
                    "{fault:?}: {authorized:?}"
                );
            }
            // A refusal of what was not executed is one.
            let key = approved(&paypal, &processor, 9631).await;
            paypal.declines(9631);
            assert!(!is_approved(&processor.ask(key).await));
            assert_eq!(close(&processor, key).await, AttemptCloseAnswer::Closed);
            assert_eq!(paypal.moved(9631), (0, 0));
        },
    )
    .await;
}

/// An authorized amount.
async fn held(paypal: &StandIn, processor: &PayPal, payment: i64) {
    let held = authorization(attempt(payment), CaptureMethod::Manual);
    processor.authorize(&held).await;
    assert!(paypal.shopper(payment, Pays::Well));
    let authorized = processor.authorize(&held).await;
    assert!(
        matches!(authorized, Answer::Approved { .. }),
        "{authorized:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_paypal_s_after_the_operation_is_not_believed() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            let done = OperationAnswer::Done {
                confirm_after: None,
            };
            let faults = [
                Fault::RefusedAfter("AUTHORIZATION_VOIDED"),
                Fault::RefusedAfter("AUTHORIZATION_ALREADY_CAPTURED"),
                Fault::RefusedAfter("REFUND_AMOUNT_EXCEEDED"),
                Fault::RefusedAfter("CAPTURE_FULLY_REFUNDED"),
                Fault::SaysDeclined,
                Fault::OtherPayment,
                Fault::OtherAmount,
            ];
            for (payment, fault) in (9701..).zip(faults) {
                held(&paypal, &processor, payment).await;
                let capture = operation(payment, OperationKind::Capture, Uuid::now_v7());
                paypal.fail("/capture", fault);
                assert_eq!(processor.capture(&capture).await, done, "{fault:?}");
                assert_eq!(processor.query(&capture).await, done, "{fault:?}");
                let refund = operation(payment, OperationKind::Refund, Uuid::now_v7());
                paypal.fail("/refund", fault);
                assert_eq!(processor.refund(&refund).await, done, "{fault:?}");
                assert_eq!(processor.close(&refund).await, CloseAnswer::Executed);
                assert_eq!(paypal.moved(payment), (500, 500), "{fault:?}");
            }
            held(&paypal, &processor, 9711).await;
            let void = operation(9711, OperationKind::Void, Uuid::now_v7());
            paypal.fail("/void", Fault::RefusedAfter("PREVIOUSLY_CAPTURED"));
            assert_eq!(processor.void(&void).await, done);
            // A refusal of what was not executed is one.
            let capture = operation(9711, OperationKind::Capture, Uuid::now_v7());
            let refused = processor.capture(&capture).await;
            assert!(
                matches!(
                    refused,
                    OperationAnswer::Refused {
                        authorization_gone: true,
                        ..
                    }
                ),
                "{refused:?}"
            );
        },
    )
    .await;
}

/// Not executed would mean that nothing was refunded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_refused_after_an_unanswered_call_says_nothing_about_the_call() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            let key = approved(&paypal, &processor, 9801).await;
            assert!(is_approved(&processor.ask(key).await));
            let refund = operation(9801, OperationKind::Refund, Uuid::now_v7());
            paypal.fail("/refund", Fault::Html);
            // The order, which is asked about then.
            paypal.fail("T", Fault::Busy);
            assert_eq!(processor.refund(&refund).await, OperationAnswer::Unknown);
            assert_eq!(paypal.moved(9801), (2000, 500));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_another_payment_or_amount_is_neither_stored_nor_shown() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            let of = |payment| authorization(attempt(payment), CaptureMethod::Automatic);
            for (payment, fault) in (9901..).zip([Fault::OtherPayment, Fault::OtherAmount]) {
                paypal.fail("/checkout/orders", fault);
                assert_eq!(processor.authorize(&of(payment)).await, Answer::Unknown);
                let key = attempt(payment).to_string();
                let stored = app.database.processor_reference("paypal", &key).await;
                assert_eq!(stored.unwrap(), None, "{fault:?}");
                let key = approved(&paypal, &processor, payment).await;
                assert!(is_approved(&processor.ask(key).await));
                assert_eq!(paypal.orders(payment).len(), 1);
            }
            // A short answer does not say whose order it is.
            paypal.fail("/checkout/orders", Fault::Short);
            let key = approved(&paypal, &processor, 9911).await;
            assert!(is_approved(&processor.ask(key).await));
            assert_eq!(paypal.moved(9911), (2000, 0));
        },
    )
    .await;
}
