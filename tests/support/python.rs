//! The Python with the packages of `tests/requirements.txt`, which `scripts/test` creates once.

#![allow(
    dead_code,
    reason = "each binary that includes this uses its own part of it"
)]

use std::path::PathBuf;

/// `TEST_PYTHON`, or where `scripts/python.sh` puts it.
pub fn interpreter() -> PathBuf {
    let given = std::env::var_os("TEST_PYTHON").map(PathBuf::from);
    let made = || {
        let home = std::env::var_os("HOME").expect("HOME");
        PathBuf::from(home).join(".cache/payment-service/python/bin/python")
    };
    let python = given.unwrap_or_else(made);
    assert!(
        python.exists(),
        "there is no {}: run scripts/test once, which makes it, or set TEST_PYTHON to a Python that has \
         tests/requirements.txt",
        python.display()
    );
    python
}
