//! Makes keys: they are shown once and kept nowhere.

use std::process::ExitCode;

use crate::clients::new_api_key;
use crate::clients::secret::Secret;
use crate::vault::SealKeys;

/// Prints an API key, the line for `CLIENTS_FILE`, a value for `SEAL_KEYS`, and a secret for callbacks.
pub fn print() -> ExitCode {
    let (key, digest) = new_api_key();
    let clients = serde_json::json!({
        "clients": [{ "name": "store-manager", "api_key_sha256": [digest], "rabbitmq_user": "store-manager" }]
    });
    crate::outln!("API key, for the client alone:\n  {key}\n");
    crate::outln!("CLIENTS_FILE, which knows only its SHA-256:\n  {clients}\n");
    crate::outln!(
        "SEAL_KEYS, the same for every process:\n  {}",
        SealKeys::generate().to_text().as_str()
    );
    crate::outln!(
        "\nA secret that signs callbacks, for CLIENTS_FILE and for the client alone:\n  {}",
        Secret::generate().as_str()
    );
    ExitCode::SUCCESS
}
