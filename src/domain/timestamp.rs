//! Points in time.

use time::format_description::well_known::Rfc3339;

/// A point in time in UTC, to the microsecond, from the database's clock.
pub type Timestamp = time::OffsetDateTime;

/// RFC 3339 in UTC, to the microsecond.
pub fn rfc3339(moment: Timestamp) -> String {
    moment.format(&Rfc3339).unwrap_or_default()
}
