//! `CALLBACK_*`: time-outs, retries and limits of callbacks, and extra CA certificates. The receivers are in
//! `CLIENTS_FILE`.

use std::time::Duration;

use super::reader::Reader;
use crate::callbacks::authorities::Authorities;
use crate::callbacks::settings::CallbackSettings;
use crate::retry::Backoff;

pub(super) fn read(reader: &mut Reader<'_>) -> CallbackSettings {
    CallbackSettings {
        authorities: authorities(reader).unwrap_or_default(),
        timeout: reader.duration("CALLBACK_TIMEOUT", Duration::from_secs(10)),
        retry: Backoff::doubling(
            reader.duration("CALLBACK_RETRY_INITIAL", Duration::from_secs(5)),
            reader.duration("CALLBACK_RETRY_MAX_INTERVAL", Duration::from_secs(15 * 60)),
        ),
        give_up_after: reader.duration("CALLBACK_GIVE_UP_AFTER", Duration::from_secs(24 * 60 * 60)),
        concurrency: reader.number("CALLBACK_CONCURRENCY", 16, 1..=1000),
        backlog_limit: reader.number("CALLBACK_BACKLOG_LIMIT", 100_000, 1..=u64::from(u32::MAX)),
    }
}

fn authorities(reader: &mut Reader<'_>) -> Option<Authorities> {
    let file = reader.text("CALLBACK_CA_FILE")?;
    let read = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"));
    let pem = reader.checked("CALLBACK_CA_FILE", read)?;
    reader.checked("CALLBACK_CA_FILE", Authorities::parse(&pem))
}
