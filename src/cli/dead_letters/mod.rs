//! `dead-letters`: shows messages that could not be used, replays them, or deletes them.

mod replay;
mod store;

use std::fmt::Write;
use std::process::ExitCode;

use time::OffsetDateTime;

use crate::cli::{configuration, output};
use crate::config::{Config, Role};
use crate::telemetry;
use crate::wire::dead_letter::DeadLetter;
use replay::Replays;
use store::{DeadLetterStore, DeadLetterStoreError, Held};

/// What to do with dead letters.
#[derive(Debug, clap::Args)]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Lists all of them, one per line
    List {
        /// Print JSON, with everything that `show` shows
        #[arg(long)]
        json: bool,
    },
    /// Shows one with its masked body
    Show {
        /// The id, as shown by `list`
        id: String,
        /// Print JSON, as without this option
        #[arg(long)]
        json: bool,
    },
    /// Replays one, or all that can be replayed: a request is accepted, another message is published again
    Replay {
        /// The id, as shown by `list`
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// All that can be replayed; the others stay
        #[arg(long)]
        all: bool,
        /// Only prints what would be done
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Deletes one for good
    Discard {
        /// The id, as shown by `list`
        id: String,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command; exit code 1 if something could not be done.
pub async fn run(options: DeadLettersArgs) -> ExitCode {
    if let Err(error) = telemetry::install(telemetry::COMMAND_FILTER, None) {
        return output::failed(error.as_ref());
    }
    let config = match configuration::load(Role::All) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let mut store = match DeadLetterStore::open(&config).await {
        Ok(store) => store,
        Err(error) => return output::failed(&error),
    };
    let done = act(&config, &mut store, &options.action).await;
    if store.beyond_reach > 0 {
        crate::errln!(
            "{} more could not be read: another command is reading them, or there are more than 65535; try again",
            store.beyond_reach
        );
    }
    store.close().await;
    if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn act(config: &Config, store: &mut DeadLetterStore, action: &Action) -> bool {
    match action {
        Action::List { json } => {
            crate::out!("{}", list(&store.letters, *json));
            true
        }
        Action::Show { id, .. } => match store.letters.iter().find(|held| held.letter.id == *id) {
            Some(held) => {
                crate::outln!("{:#}", serde_json::json!(held.letter));
                true
            }
            None => not_found(id),
        },
        Action::Replay {
            id, dry_run, json, ..
        } => {
            let copies = take(store, id.as_deref());
            match id {
                Some(id) if copies.is_empty() => not_found(id),
                _ => {
                    let replays = Replays::new(config, store, (*dry_run, Lines { json: *json }));
                    let remaining = replays.run(copies).await;
                    // With `--all`, letters that cannot be replayed are not a failure.
                    remaining.failed == 0 && (id.is_none() || remaining.left == 0)
                }
            }
        }
        Action::Discard { id, json } => {
            let copies = take(store, Some(id));
            if copies.is_empty() {
                return not_found(id);
            }
            let mut all_done = true;
            for mut held in copies {
                let done = store.discard(&mut held).await;
                all_done &= Lines { json: *json }.result(id, "discarded", done);
            }
            all_done
        }
    }
}

/// Takes those with this id, or all, out of the store.
fn take(store: &mut DeadLetterStore, id: Option<&str>) -> Vec<Held> {
    let (taken, left) = std::mem::take(&mut store.letters)
        .into_iter()
        .partition(|held| id.is_none_or(|id| held.letter.id == id));
    store.letters = left;
    taken
}

/// Prints what became of dead letters, one line for each.
#[derive(Debug, Clone, Copy)]
struct Lines {
    json: bool,
}

impl Lines {
    /// Prints one line; `done` tells whether the letter is gone.
    fn print(self, id: &str, done: bool, message: &str) {
        if self.json {
            let line = serde_json::json!({ "id": id, "done": done, "message": message });
            crate::outln!("{line}");
        } else {
            crate::outln!("{id}  {message}");
        }
    }

    fn result(self, id: &str, what: &str, done: Result<(), DeadLetterStoreError>) -> bool {
        match &done {
            Ok(()) => self.print(id, true, what),
            Err(error) => self.print(id, false, &format!("not {what}: {error}; it stays")),
        }
        done.is_ok()
    }
}

fn not_found(id: &str) -> bool {
    crate::errln!(
        "payment-service: no dead letter has the id {id}; `dead-letters list` shows them all"
    );
    false
}

fn list(letters: &[Held], json: bool) -> String {
    let letters: Vec<&DeadLetter> = letters.iter().map(|held| &held.letter).collect();
    if json {
        return format!("{:#}\n", serde_json::json!(letters));
    }
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let now = OffsetDateTime::now_utc();
    let mut text = format!(
        "{:<36}  {:>8}  {:<5}  {:<18}  {:<22}  {}\n",
        "id", "age", "times", "from", "reason", "message id"
    );
    for letter in letters {
        let message_id = output::printable(letter.message_id.as_deref().unwrap_or("-"));
        let masked = if letter.masked { " (masked)" } else { "" };
        let _ = writeln!(
            text,
            "{:<36}  {:>8}  {:>5}  {:<18}  {:<22}  {message_id}{masked}",
            letter.id,
            age(letter, now),
            letter.count,
            output::printable(&letter.queue),
            output::printable(&letter.reason),
        );
    }
    text
}

/// In whole numbers of the largest unit.
fn age(letter: &DeadLetter, now: OffsetDateTime) -> String {
    let Some(age) = letter.age(now) else {
        return "unknown".to_owned();
    };
    match age {
        age if age.whole_days() > 0 => format!("{}d", age.whole_days()),
        age if age.whole_hours() > 0 => format!("{}h", age.whole_hours()),
        age if age.whole_minutes() > 0 => format!("{}m", age.whole_minutes()),
        age => format!("{}s", age.whole_seconds().max(0)),
    }
}
