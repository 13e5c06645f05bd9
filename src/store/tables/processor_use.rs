//! Which payments need a processor that is to be removed.

use crate::store::sql_values::SqlValue;
use crate::store::{Store, StoreError};

/// (three times: processor as JSON, end of a card's method, processor as JSON) → number of payments. Those that are under
/// way, whose authorization can be captured, or that have an operation under way.
const OPEN: &str = "
SELECT COUNT(*) FROM (
    SELECT id FROM payments
    WHERE check_at IS NOT NULL AND (INSTR(method, ?) > 0 OR method LIKE ? OR INSTR(action, ?) > 0)
    UNION
    SELECT payments.id FROM capture_schedule JOIN payments ON payments.id = capture_schedule.payment_id
    WHERE INSTR(method, ?) > 0 OR method LIKE ? OR INSTR(action, ?) > 0
    UNION
    SELECT payments.id FROM operations JOIN payments ON payments.id = operations.payment_id
    WHERE operations.check_at IS NOT NULL AND (INSTR(method, ?) > 0 OR method LIKE ? OR INSTR(action, ?) > 0)
) AS found";

impl Store {
    /// How many payments are under way at a processor, or can still be captured there.
    pub async fn payments_open_at(&self, processor: &str) -> Result<u64, StoreError> {
        let json = format!("\"processor\":\"{processor}\"");
        // An underscore stands for any character, so this may count a processor with a similar name, too.
        let card = format!("% card % {processor}");
        let one = [json.as_str(), card.as_str(), json.as_str()];
        let parameters: Vec<SqlValue<'_>> = one.repeat(3).into_iter().map(Into::into).collect();
        let found = self.read::<(i64,)>(OPEN, &parameters).await?;
        let number = found.into_iter().next().map_or(0, |(number,)| number);
        Ok(u64::try_from(number).unwrap_or(0))
    }
}
