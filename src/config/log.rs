//! `LOG` and `LOG_FORMAT`: what is logged, and in which form.

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::reader::Reader;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object per line.
    Json,
}

/// How the process logs.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// `LOG`; `None` if it is not set.
    pub filter: Option<Targets>,
    /// `LOG_FORMAT`
    pub format: LogFormat,
}

impl LogSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let wanted = "a level (off, error, warn, info, debug, trace), or levels of targets in addition to it, such as \
                      info,payment_service=debug";
        let filter = reader.optional("LOG", wanted, filter);
        let format = |text: &str| match text.to_ascii_lowercase().as_str() {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        };
        let format = reader.optional("LOG_FORMAT", "text or json", format);
        Self {
            filter,
            format: format.unwrap_or(LogFormat::Text),
        }
    }
}

/// `Targets` has a parser, but it takes a misspelled level for the name of a target.
fn filter(text: &str) -> Option<Targets> {
    text.split(',')
        .map(str::trim)
        .try_fold(Targets::new(), |filter, part| match part.split_once('=') {
            None => Some(filter.with_default(level(part)?)),
            Some((target, of_the_target)) => {
                let target = target.trim();
                let is_a_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
                (!target.is_empty() && target.chars().all(is_a_path)).then_some(())?;
                Some(filter.with_target(target, level(of_the_target)?))
            }
        })
}

fn level(text: &str) -> Option<LevelFilter> {
    let text = text.trim().to_ascii_lowercase();
    LEVELS
        .contains(&text.as_str())
        .then(|| text.parse().ok())
        .flatten()
}
