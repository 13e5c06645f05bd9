//! How many files, and therefore connections, this process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files that are not callers' connections: database, broker, log, the embedded store.
pub(super) const OTHERS: usize = 128;

/// Raises the soft limit to the hard limit, and returns the resulting limit.
pub(super) fn raise() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let mut raised = limit;
        raised.current = limit.maximum;
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => tracing::debug!(%error, "the limit of open files could not be raised"),
        }
    }
    // None means no limit.
    let files = limit.current.unwrap_or(u64::MAX);
    usize::try_from(files).unwrap_or(usize::MAX)
}
