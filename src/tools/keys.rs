//! Makes keys: they are shown once and kept nowhere.

use std::process::ExitCode;

use crate::card_seal::SealKeys;
use crate::clients::new_api_key;

/// Prints an API key, the line for `CLIENTS_FILE`, and a value for `SEAL_KEYS`.
pub fn print() -> ExitCode {
    let (key, digest) = new_api_key();
    let clients = serde_json::json!({
        "clients": [{ "name": "store-manager", "api_key_sha256": [digest], "rabbitmq_user": "store-manager" }]
    });
    println!("API key, for the client alone:\n  {key}\n");
    println!("CLIENTS_FILE, which knows only its SHA-256:\n  {clients}\n");
    println!(
        "SEAL_KEYS, the same for every process:\n  {}",
        SealKeys::generate().to_text().as_str()
    );
    ExitCode::SUCCESS
}
