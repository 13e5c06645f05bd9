//! Creates keys: they are shown once and not stored.

use std::process::ExitCode;

use crate::clients::new_api_key;
use crate::clients::secret::Secret;
use crate::vault::SealKeys;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub struct KeysArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints an API key, the line for `CLIENTS_FILE`, a value for `SEAL_KEYS`, and a secret for callbacks.
pub fn print(options: &KeysArgs) -> ExitCode {
    let (key, digest) = new_api_key();
    let clients = serde_json::json!({
        "clients": [{ "name": "store-manager", "api_key_sha256": [digest], "rabbitmq_user": "store-manager" }]
    });
    let seal_keys = SealKeys::generate().to_text();
    let secret = Secret::generate();
    if options.json {
        let keys = serde_json::json!({
            "api_key": key,
            "clients_file": clients,
            "seal_keys": seal_keys.as_str(),
            "callback_secret": secret.as_str(),
        });
        crate::outln!("{keys:#}");
        return ExitCode::SUCCESS;
    }
    crate::outln!("API key, only for the client:\n  {key}\n");
    crate::outln!("CLIENTS_FILE, which has only the key's SHA-256:\n  {clients}\n");
    crate::outln!(
        "SEAL_KEYS, the same for every process:\n  {}",
        seal_keys.as_str()
    );
    crate::outln!(
        "\nA secret that signs callbacks, for CLIENTS_FILE and the client only:\n  {}",
        secret.as_str()
    );
    ExitCode::SUCCESS
}
