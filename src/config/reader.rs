//! Reads variables one by one and collects every fault.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A variable that cannot be used, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong; without the value if that may be a secret.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.message)
    }
}

/// Looks variables up; an empty one counts as not set.
pub(super) struct Reader<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            variable,
            faults: Vec::new(),
        }
    }

    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, Vec<Fault>> {
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            _ => Err(self.faults),
        }
    }

    pub(super) fn fault(&mut self, variable: &'static str, message: String) {
        self.faults.push(Fault { variable, message });
    }

    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        (self.variable)(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    pub(super) fn is_set(&self, name: &'static str) -> bool {
        self.text(name).is_some()
    }

    pub(super) fn checked<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        read: Result<T, E>,
    ) -> Option<T> {
        read.map_err(|error| self.fault(name, format!("cannot be used: {error}")))
            .ok()
    }

    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.fault(name, format!("is `{text}`, but must be {wanted}"));
        }
        parsed
    }

    pub(super) fn with<T>(
        &mut self,
        name: &'static str,
        default: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if self.is_set(name) {
            self.optional(name, wanted, parse)
        } else {
            parse(default)
        }
    }

    pub(super) fn parsed<T: FromStr>(
        &mut self,
        name: &'static str,
        default: &str,
        wanted: &str,
    ) -> Option<T> {
        self.with(name, default, wanted, |text| text.parse().ok())
    }

    pub(super) fn number<N: FromStr + PartialOrd + fmt::Display>(
        &mut self,
        name: &'static str,
        default: N,
        range: RangeInclusive<N>,
    ) -> N {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.optional(name, &wanted, parse).unwrap_or(default)
    }

    pub(super) fn duration(&mut self, name: &'static str, default: Duration) -> Duration {
        let parse = |text: &str| humantime::parse_duration(text).ok();
        self.optional(name, "a duration such as 250ms, 5s or 2m", parse)
            .unwrap_or(default)
    }

    pub(super) fn switch(&mut self, name: &'static str, default: bool) -> bool {
        let parse = |text: &str| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        };
        self.optional(name, "on or off", parse).unwrap_or(default)
    }
}
