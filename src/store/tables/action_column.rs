//! The column `action` of `payments`: the last attempt that needed its shopper, as JSON.

use serde::{Deserialize, Serialize};

use crate::domain::{Action, ActionState, MethodSummary, Timestamp};
use crate::store::StoreError;
use crate::store::sql_values::SqlValue;

/// An action as JSON.
#[derive(Serialize, Deserialize)]
struct ActionRecord {
    state: String,
    url: String,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<MethodSummary>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    late: bool,
}

/// The column's value.
pub(super) fn written(action: Option<&Action>) -> Result<SqlValue<'static>, StoreError> {
    let Some(action) = action else {
        return Ok(SqlValue::Null);
    };
    SqlValue::json(&ActionRecord {
        state: action.state.as_str().to_owned(),
        url: action.url.clone(),
        expires_at: action.expires_at,
        replaced: action.replaced.clone(),
        late: action.late,
    })
}

/// The action in the column.
pub(super) fn read(column: Option<&str>) -> Result<Option<Action>, ()> {
    let Some(text) = column else {
        return Ok(None);
    };
    let record: ActionRecord = serde_json::from_str(text).map_err(|_| ())?;
    Ok(Some(Action {
        url: record.url,
        expires_at: record.expires_at,
        state: ActionState::parse(&record.state).ok_or(())?,
        replaced: record.replaced,
        late: record.late,
    }))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::OtherSummary;

    #[test]
    fn what_was_written_is_read() {
        for state in [ActionState::Open, ActionState::Closing, ActionState::Over] {
            let other = MethodSummary::Other(OtherSummary {
                name: "wallet".to_owned(),
                shown: std::collections::BTreeMap::new(),
            });
            for replaced in [None, Some(other)] {
                let action = Action {
                    url: "https://pay.example/x?y=\"z".to_owned(),
                    expires_at: datetime!(2026-11-26 12:00:00.123456 UTC),
                    state,
                    replaced,
                    late: state == ActionState::Over,
                };
                let Ok(SqlValue::Text(text)) = written(Some(&action)) else {
                    panic!("not a text");
                };
                assert_eq!(read(Some(&text)), Ok(Some(action)));
            }
        }
        assert_eq!(read(None), Ok(None));
        for damaged in [
            "",
            "{}",
            r#"{"state":"ajar","url":"","expires_at":"2026-01-01T00:00:00Z"}"#,
        ] {
            assert_eq!(read(Some(damaged)), Err(()), "{damaged}");
        }
    }
}
