//! A platform's answer that decides nothing, and what that means for the caller of a processor.

use serde_json::Value;

use super::http::NoObject;
use crate::domain::{Answer, CloseAnswer, DeclineCode, OperationAnswer};
use crate::store::StoreError;

/// No definite result: the caller asks again.
pub(super) enum Unclear {
    /// Provably nothing was executed.
    NotExecuted(DeclineCode),
    /// Anything may have happened.
    Unknown,
}

impl Unclear {
    /// The attempt was closed while this call was on its way.
    pub(super) fn closed() -> Self {
        Self::NotExecuted(DeclineCode::ISSUER_UNAVAILABLE)
    }

    /// For a question that follows a call which may have been executed: even if the question was not executed, that call
    /// may have been.
    pub(super) fn after_a_call(self) -> Self {
        Self::Unknown
    }
}

impl From<StoreError> for Unclear {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "what a platform calls a payment can be neither read nor stored");
        Self::Unknown
    }
}

impl From<NoObject> for Unclear {
    fn from(no_object: NoObject) -> Self {
        match no_object {
            NoObject::NotExecuted(_) => Self::NotExecuted(DeclineCode::ISSUER_UNAVAILABLE),
            NoObject::Unknown(_) => Self::Unknown,
            NoObject::Refused(error) => {
                let code = code(&error);
                tracing::warn!(code, "a platform refused a call that it should not refuse");
                Self::Unknown
            }
        }
    }
}

/// Stripe's or PayPal's word for what is wrong.
fn code(error: &Value) -> Option<&str> {
    let codes = [&error["code"], &error["details"][0]["issue"]];
    codes.into_iter().find_map(Value::as_str)
}

/// The answer to an authorization.
pub(super) fn answer(authorized: Result<Answer, Unclear>) -> Answer {
    match authorized {
        Ok(answer) => answer,
        Err(Unclear::NotExecuted(reason)) => Answer::NotCharged { reason },
        Err(Unclear::Unknown) => Answer::Unknown,
    }
}

/// The answer to an operation.
pub(super) fn operation_answer(operated: Result<OperationAnswer, Unclear>) -> OperationAnswer {
    match operated {
        Ok(answer) => answer,
        Err(Unclear::NotExecuted(reason)) => OperationAnswer::NotExecuted { reason },
        Err(Unclear::Unknown) => OperationAnswer::Unknown,
    }
}

/// The answer to closing an operation, which was repeated for that.
pub(super) fn close_answer(repeated: Result<OperationAnswer, Unclear>) -> CloseAnswer {
    match repeated {
        Ok(OperationAnswer::Done { .. } | OperationAnswer::Accepted { .. }) => {
            CloseAnswer::Executed
        }
        Ok(OperationAnswer::Refused { .. }) => CloseAnswer::NotExecuted,
        Ok(_) | Err(_) => CloseAnswer::Unknown,
    }
}
