//! Captures, voids and refunds at the simulated issuer.

use std::time::Duration;

use super::SimulatedIssuer;
use crate::domain::{CloseAnswer, DeclineCode, OperationAnswer, OperationKind};
use crate::processors::OperationCall;
use crate::processors::simulated::cards::{OperationFault, operation_fault};
use crate::processors::simulated::decision::SLOW;
use crate::processors::simulated::ledger::{Ledger, OperationStanding, Request};
use crate::store::StoreError;
use crate::store::rows::IssuerOperation;

/// Why a refund that was carried out fails afterwards.
const RETURNED: &str = "expired_or_canceled_card";

impl SimulatedIssuer {
    /// Carries an operation out, unless the card of its authorization is one with which that goes wrong. Without a ledger
    /// everything is carried out.
    pub(super) async fn execute(&self, call: &OperationCall) -> OperationAnswer {
        self.take_time(call.authorization, Duration::ZERO).await;
        let Some(ledger) = &self.ledger else {
            return OperationAnswer::Done {
                confirm_after: None,
            };
        };
        let test_card = match ledger.operate(Request::Look, wanted(call)).await {
            Ok((_, test_card)) => test_card,
            Err(error) => return not_executed(&error),
        };
        let fault = test_card.as_deref().and_then(operation_fault);
        match self.go_wrong(call, fault, ledger).await {
            Some(answer) => answer,
            None => execute_in(ledger, call, fault).await,
        }
    }

    /// The answer of an issuer that does not carry the operation out now, or whose answer is lost.
    async fn go_wrong(
        &self,
        call: &OperationCall,
        fault: Option<OperationFault>,
        ledger: &Ledger,
    ) -> Option<OperationAnswer> {
        match fault? {
            OperationFault::DownFor(kind, times) if kind == call.kind => {
                match ledger.count_call(call.key.to_string()).await {
                    Ok(count) if count > times => None,
                    Ok(_) => Some(OperationAnswer::NotExecuted {
                        reason: DeclineCode::ISSUER_UNAVAILABLE,
                    }),
                    Err(_) => Some(OperationAnswer::Unknown),
                }
            }
            OperationFault::LoseFirstAnswer(kind) if kind == call.kind => {
                let count = ledger.count_call(call.key.to_string()).await;
                let answer = execute_in(ledger, call, None).await;
                let is_lost = count.is_ok_and(|count| count == 1);
                Some(match is_lost {
                    true => OperationAnswer::Unknown,
                    false => answer,
                })
            }
            // Never returns: the caller's time-out ends it.
            OperationFault::StaySilent(kind) if kind == call.kind => std::future::pending().await,
            OperationFault::Refuse(kind) if kind == call.kind => Some(refused("refused", false)),
            OperationFault::AuthorizationGone if call.kind == OperationKind::Capture => {
                Some(refused("authorization_expired", true))
            }
            _ => None,
        }
    }

    /// Says what became of an operation.
    pub(super) async fn look(&self, call: &OperationCall) -> OperationAnswer {
        self.take_time(call.authorization, Duration::ZERO).await;
        let done = OperationAnswer::Done {
            confirm_after: None,
        };
        let Some(ledger) = &self.ledger else {
            return done;
        };
        let looked = ledger.operate(Request::Look, wanted(call)).await;
        let Ok((standing, test_card)) = looked else {
            return OperationAnswer::Unknown;
        };
        let fault = test_card.as_deref().and_then(operation_fault);
        let is_refund = call.kind == OperationKind::Refund;
        if is_refund && fault == Some(OperationFault::RefundFailsAfterwards) {
            return match ledger.operate(Request::Return, wanted(call)).await {
                Ok((OperationStanding::Returned, _)) => refused(RETURNED, false),
                Ok(_) | Err(_) => OperationAnswer::Unknown,
            };
        }
        match standing {
            OperationStanding::Executed => done,
            OperationStanding::Returned => refused(RETURNED, false),
            OperationStanding::Closed => refused("operation_closed", false),
            OperationStanding::Refused(code, gone) => refused(code, gone),
            OperationStanding::Blank => OperationAnswer::Unknown,
        }
    }

    /// Makes sure that an operation is carried out, or never will be.
    pub(super) async fn close_operation(&self, call: &OperationCall) -> CloseAnswer {
        self.take_time(call.authorization, Duration::ZERO).await;
        let Some(ledger) = &self.ledger else {
            return CloseAnswer::NotExecuted;
        };
        match ledger.operate(Request::Close, wanted(call)).await {
            Ok((OperationStanding::Executed | OperationStanding::Returned, _)) => {
                CloseAnswer::Executed
            }
            Ok((OperationStanding::Closed, _)) => CloseAnswer::NotExecuted,
            Ok(_) | Err(_) => CloseAnswer::Unknown,
        }
    }
}

async fn execute_in(
    ledger: &Ledger,
    call: &OperationCall,
    fault: Option<OperationFault>,
) -> OperationAnswer {
    let is_refund = call.kind == OperationKind::Refund;
    match ledger.operate(Request::Execute, wanted(call)).await {
        Ok((OperationStanding::Executed, _)) => match fault {
            Some(OperationFault::RefundSucceedsLate) if is_refund => {
                OperationAnswer::Accepted { ask_after: SLOW }
            }
            Some(OperationFault::RefundFailsAfterwards) if is_refund => OperationAnswer::Done {
                confirm_after: Some(SLOW),
            },
            _ => OperationAnswer::Done {
                confirm_after: None,
            },
        },
        Ok((OperationStanding::Returned, _)) => refused(RETURNED, false),
        Ok((OperationStanding::Closed, _)) => refused("operation_closed", false),
        Ok((OperationStanding::Refused(code, gone), _)) => refused(code, gone),
        Ok((OperationStanding::Blank, _)) => OperationAnswer::Unknown,
        Err(error) => not_executed(&error),
    }
}

fn refused(code: &'static str, authorization_gone: bool) -> OperationAnswer {
    OperationAnswer::Refused {
        code: DeclineCode::from_static(code),
        authorization_gone,
    }
}

/// The answer if the ledger fails: only what the database refused is certainly not in it.
fn not_executed(error: &StoreError) -> OperationAnswer {
    match error {
        StoreError::Rejected(_) => OperationAnswer::NotExecuted {
            reason: DeclineCode::ISSUER_UNAVAILABLE,
        },
        _ => OperationAnswer::Unknown,
    }
}

fn wanted(call: &OperationCall) -> IssuerOperation {
    IssuerOperation {
        key: call.key.to_string(),
        authorization: call.authorization.to_string(),
        payment: call.authorization.payment,
        kind: call.kind,
        amount: call.amount.minor(),
        currency: call.amount.currency(),
        executed: false,
        returned: false,
    }
}
