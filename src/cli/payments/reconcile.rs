//! `payments reconcile`: our payments at a platform against the platform's own record.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::app::requests;
use crate::cli::{open, output};
use crate::config::Config;
use crate::domain::{Timestamp, rfc3339};
use crate::payments::reconcile::{Counts, Difference, Looked, Reconciliation, Stopped};
use crate::processors::Processor;
use crate::processors::named::Processors;
use crate::processors::simulated::SimulatedIssuer;
use crate::store::Store;

/// sysexits.h: the command was used wrongly.
const EX_USAGE: u8 = 64;

/// sysexits.h: something that it needs is not available.
const EX_UNAVAILABLE: u8 = 69;

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// What to compare.
#[derive(Debug, clap::Args)]
pub(super) struct ReconcileArgs {
    /// The platform's name in PROCESSORS_FILE
    #[arg(long)]
    processor: String,
    /// The first day of the payments to compare, in UTC: YYYY-MM-DD
    #[arg(long, value_parser = day)]
    since: Timestamp,
    /// Payments and refunds that changed less long ago than this count as under way
    #[arg(long, value_parser = humantime::parse_duration, default_value = "5m")]
    settle: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn day(text: &str) -> Result<Timestamp, String> {
    let day = Date::parse(text, DAY)
        .map_err(|_| "use a day such as 2026-11-27 (YYYY-MM-DD, in UTC)".to_owned())?;
    let midnight = day.midnight().assume_utc();
    if midnight > OffsetDateTime::now_utc() {
        return Err("that day has not begun yet".to_owned());
    }
    Ok(midnight)
}

/// Runs the command.
pub(super) async fn run(config: &Config, options: ReconcileArgs) -> ExitCode {
    let database = match open::database(config) {
        Ok(database) => database,
        Err(error) => return unavailable(&error),
    };
    let code = match requests::processors(config, &database) {
        Ok(processors) => match processors.listed(&options.processor) {
            Some(platform) if platform.books().is_none() => without_books(&options.processor),
            Some(platform) => compare(&database, platform.as_ref(), &options).await,
            None => no_such(&options.processor, &processors),
        },
        Err(error) => unavailable(&error),
    };
    database.close().await;
    code
}

fn unavailable(error: &dyn std::error::Error) -> ExitCode {
    let _ = output::failed(error);
    ExitCode::from(EX_UNAVAILABLE)
}

fn without_books(name: &str) -> ExitCode {
    crate::errln!(
        "payment-service: `{name}` has no record that this service can read: compare its reports by hand"
    );
    ExitCode::from(EX_USAGE)
}

fn no_such(name: &str, processors: &Processors) -> ExitCode {
    let known = processors.names();
    if name == SimulatedIssuer::NAME {
        crate::errln!(
            "payment-service: the simulated issuer keeps its ledger in this database: `payment-service check --payments` \
             compares it"
        );
    } else if known.is_empty() {
        crate::errln!(
            "payment-service: there is no processor `{name}`: PROCESSORS_FILE lists none, or is not set for this command"
        );
    } else {
        let known = known.join(", ");
        crate::errln!(
            "payment-service: there is no processor `{name}`; PROCESSORS_FILE lists: {known}"
        );
    }
    ExitCode::from(EX_USAGE)
}

async fn compare(database: &Store, platform: &dyn Processor, options: &ReconcileArgs) -> ExitCode {
    let name = options.processor.as_str();
    let since = (options.since, options.settle);
    let mut lines = Lines {
        json: options.json,
        printed: 0,
    };
    lines.begin();
    let report = |difference: &Difference| lines.difference(difference);
    let mut comparison = Reconciliation::new(database, (name, platform), since, report);
    let stopped = comparison.run().await.err();
    let (counts, looked) = (comparison.counts, comparison.looked.clone());
    let stopped = stopped.map(|why| (why, comparison.reached));
    let end = End {
        counts,
        looked,
        stopped,
    };
    lines.end(options, &end);
    end.exit_code()
}

/// How a comparison ended.
struct End {
    counts: Counts,
    looked: Looked,
    /// Why it is not complete, and how far it came.
    stopped: Option<(Stopped, Timestamp)>,
}

impl End {
    fn exit_code(&self) -> ExitCode {
        let is_complete = !matches!(self.looked, Looked::Not(_));
        match &self.stopped {
            Some(_) => ExitCode::from(EX_UNAVAILABLE),
            None if self.counts.differences > 0 => ExitCode::FAILURE,
            None if is_complete => ExitCode::SUCCESS,
            None => ExitCode::from(EX_UNAVAILABLE),
        }
    }
}

/// Prints differences as they are found: there may be many.
struct Lines {
    json: bool,
    printed: u64,
}

impl Lines {
    fn begin(&self) {
        if self.json {
            crate::out!("{{\n  \"differences\": [");
        }
    }

    fn difference(&mut self, difference: &Difference) {
        if self.json {
            let comma = if self.printed > 0 { "," } else { "" };
            crate::out!("{comma}\n    {}", difference.to_json());
        } else {
            crate::outln!("{}", as_text(difference));
        }
        self.printed += 1;
    }

    fn end(&self, options: &ReconcileArgs, end: &End) {
        let what = format!("{} since {}", options.processor, options.since.date());
        if self.json {
            let bracket = if self.printed > 0 { "\n  ]" } else { "]" };
            crate::outln!("{bracket},{}", rest_of_json(options, end));
        } else {
            crate::outln!("{what}: {}", in_words(end.counts));
        }
        match (&end.stopped, &end.looked) {
            (Some((why, reached)), _) => crate::errln!(
                "payment-service: the comparison of {what} is not complete: {why}. Payments created before {} were \
                 compared; repeat it later.",
                rfc3339(*reached)
            ),
            (None, Looked::Not(why)) => crate::errln!(
                "payment-service: each payment of ours was compared, but what is charged only there was not looked for: {why}."
            ),
            (None, Looked::Until(until)) if !self.json => crate::outln!(
                "What is charged only there was looked for until {}: the platform's list of it is late.",
                rfc3339(*until)
            ),
            _ => {}
        }
    }
}

fn as_text(difference: &Difference) -> String {
    let payment = difference
        .payment
        .map_or_else(|| "-".to_owned(), |id| id.to_string());
    let words = output::printable(&difference.in_words());
    let what_to_do = sentence(difference.kind.what_to_do());
    format!("payment {payment}, {words}. {what_to_do}.")
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// The fields after the differences, with the closing brace.
fn rest_of_json(options: &ReconcileArgs, end: &End) -> String {
    let (counts, stopped) = (end.counts, end.stopped.as_ref());
    let (looked_until, not_looked) = match &end.looked {
        Looked::UpToNow => (None, None),
        Looked::Until(until) => (Some(rfc3339(*until)), None),
        Looked::Not(why) => (None, Some(why)),
    };
    let rest = json!({
        "processor": options.processor,
        "since": rfc3339(options.since),
        "complete": stopped.is_none() && not_looked.is_none(),
        "compared": counts.compared,
        "under_way": counts.under_way,
        "found": counts.differences,
        "of_others": counts.others,
        "left_out": counts.left_out,
        "looked_until": looked_until,
        "not_looked": not_looked,
        "stopped": stopped.map(|(why, _)| why.to_string()),
        "reached": stopped.map(|(_, reached)| rfc3339(*reached)),
    });
    let text = format!("{rest:#}");
    text.trim_start_matches('{').to_owned()
}

fn in_words(counts: Counts) -> String {
    let mut text = format!(
        "{} compared, {} under way, {} different",
        counts.compared, counts.under_way, counts.differences
    );
    if counts.others > 0 {
        text.push_str(&format!("; {} there are of others", counts.others));
    }
    if counts.left_out > 0 {
        text.push_str(&format!(
            "; {} of ours cannot be read: `payment-service check --payments` names them",
            counts.left_out
        ));
    }
    text
}
