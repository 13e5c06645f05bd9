//! `--json` of the commands that print a result, and scripts that complete commands in shells.

use super::fixture::{Fixture, run_with};
use crate::support::process::{Process, Settings};

#[tokio::test]
async fn keys_and_liveness_are_printed_as_json() {
    let keys = run_with(&["keys", "--json"], &[]).await.with(0).json();
    for name in ["api_key", "seal_keys", "callback_secret"] {
        assert!(keys[name].as_str().unwrap().len() > 20, "{keys}");
    }
    assert_eq!(keys["clients_file"]["clients"][0]["name"], "store-manager");

    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_payment-service");
    let mut process = Process::start(program, "", &Settings::embedded(folder.path())).await;
    let asked = [("ADMIN_ADDR", process.admin.to_string())];
    let live = async |code| {
        let ended = run_with(&["check", "--live", "--json"], &asked).await;
        ended.with(code).json()
    };
    assert_eq!(live(0).await["live"], true);
    process.kill();
    let dead = live(1).await;
    assert_eq!(dead["live"], false);
    assert!(
        dead["reason"].as_str().unwrap().contains("refused"),
        "{dead}"
    );
}

#[tokio::test]
async fn the_demonstration_is_printed_as_json() {
    let demo = run_with(&["demo", "--json"], &[]).await.with(0).json();
    assert_eq!(demo["as_promised"], true);
    assert_eq!(demo["payments"].as_array().unwrap().len(), 14);
    assert_eq!(demo["payments"][0]["payment"]["status"], "succeeded");
}

#[tokio::test]
async fn results_about_dead_letters_are_printed_as_json() {
    let fixture = Fixture::embedded().await;
    let replayed = fixture
        .run(&["dead-letters", "replay", "--all", "--json"])
        .await;
    assert_eq!(replayed.with(0).out, "");
    fixture
        .run(&["dead-letters", "discard", "none", "--json"])
        .await
        .with(1);
}

#[tokio::test]
async fn each_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run_with(&["completions", shell], &[]).await.with(0).out;
        for word in ["dead-letters", "trigger", "watch", "--json"] {
            let word = word.trim_start_matches("--");
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    run_with(&["completions", "cobol"], &[]).await.with(2);
}
