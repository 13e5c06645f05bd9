//! `MAX_TRIES`, `RETRY_*`: the delays between tries.

use super::reader::Reader;
use crate::retry::{Backoff, RetrySchedule};

pub(super) fn read(reader: &mut Reader<'_>) -> RetrySchedule {
    let default = RetrySchedule::default();
    RetrySchedule {
        backoff: Backoff::doubling(
            reader.duration("RETRY_INITIAL", default.backoff.initial),
            reader.duration("RETRY_MAX_INTERVAL", default.backoff.max_interval),
        ),
        max_tries: reader.number("MAX_TRIES", default.max_tries, 1..=100),
    }
}
