//! Charts: outcomes per minute, time to the outcome, and why payments were not paid, for 15 minutes to 24 hours. Their source
//! is the counts that every process writes once a minute.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::shell::{self, Shell, Visitor, soon};
use crate::domain::PaymentStatus;
use crate::http::page::Language;
use crate::metric::{CATALOGUE, Kind, PAYMENT_OUTCOME_SECONDS};
use crate::store::MinuteCounts;

/// The times that can be shown, in minutes.
const SPANS: [u32; 4] = [15, 60, 6 * 60, 24 * 60];

/// The outcomes that have a line, with their colour in the style.
const LINES: [(PaymentStatus, &str); 5] = [
    (PaymentStatus::Succeeded, "good"),
    (PaymentStatus::RequiresCapture, "busy"),
    (PaymentStatus::Declined, "bad"),
    (PaymentStatus::Failed, "warning"),
    (PaymentStatus::Canceled, "soft"),
];

/// The quantiles of the time to the outcome, with the colour and dashes of their line.
const QUANTILES: [(f64, &str, &str, &[u32]); 3] = [
    (0.5, "p50", "good", &[]),
    (0.95, "p95", "busy", &[8, 4]),
    (0.99, "p99", "bad", &[2, 4]),
];

/// What to show.
#[derive(Debug, Deserialize)]
pub struct Asked {
    /// A text, so that any value gets a page.
    minutes: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/charts.html")]
struct ChartsPage {
    shell: Shell,
    minutes: u32,
    spans: Vec<Span>,
    /// Sums over the whole time: title and value.
    totals: Vec<(String, String)>,
    codes: Vec<(String, u64)>,
    /// [`Data`] as JSON, safe within HTML.
    data: String,
}

struct Span {
    minutes: u32,
    title: &'static str,
}

/// What the script draws.
#[derive(Serialize)]
struct Data {
    /// Seconds since 1970, one for each minute.
    minutes: Vec<i64>,
    charts: Vec<Chart>,
}

#[derive(Serialize)]
struct Chart {
    /// The element that it is drawn in.
    id: &'static str,
    unit: &'static str,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    title: &'static str,
    colour: &'static str,
    dash: &'static [u32],
    /// One for each minute; none if there was no payment.
    values: Vec<Option<f64>>,
}

/// The page.
pub async fn page(
    State(admin): State<Arc<Admin>>,
    visitor: Visitor,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let l = visitor.language;
    let minutes = minutes(asked);
    let (now, counted) = match soon(admin.counted.minutes(&admin.database, minutes)).await {
        Ok(read) => read,
        Err(away) => return away.page(&admin, &visitor, "/charts"),
    };
    let mut sum = MinuteCounts::default();
    counted.values().for_each(|counts| sum.add(counts.clone()));
    let mut codes: Vec<(String, u64)> = sum.codes.clone().into_iter().collect();
    codes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let data = Data::new(now, minutes, &counted);
    let page = ChartsPage {
        shell: Shell::new(&admin, &visitor, "/charts").renewed(10_000),
        minutes,
        spans: SPANS.map(|minutes| Span::new(minutes, l)).into(),
        totals: totals(&sum),
        codes,
        data: within_html(&data),
    };
    shell::html(StatusCode::OK, &page)
}

/// The same data.
pub async fn json(
    State(admin): State<Arc<Admin>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let minutes = minutes(asked);
    match soon(admin.counted.minutes(&admin.database, minutes)).await {
        Ok((now, counted)) => Json(Data::new(now, minutes, &counted)).into_response(),
        Err(away) => away.json(),
    }
}

/// The time to show; an hour if the query cannot be read.
fn minutes(asked: Result<Query<Asked>, QueryRejection>) -> u32 {
    asked.map_or(60, |Query(asked)| asked.minutes())
}

impl Asked {
    /// One of [`SPANS`]; an hour if nothing else is asked for.
    fn minutes(&self) -> u32 {
        let asked = self.minutes.as_deref().and_then(|it| it.parse().ok());
        asked.filter(|it| SPANS.contains(it)).unwrap_or(60)
    }
}

impl Span {
    fn new(minutes: u32, l: Language) -> Self {
        let title = match minutes {
            15 => l.pick("15 minutes", "15 minutes"),
            60 => l.pick("1 hour", "1 heure"),
            360 => l.pick("6 hours", "6 heures"),
            _ => l.pick("24 hours", "24 heures"),
        };
        Self { minutes, title }
    }
}

impl Data {
    fn new(now: i64, minutes: u32, counted: &BTreeMap<i64, MinuteCounts>) -> Self {
        let shown = || now - i64::from(minutes) + 1..=now;
        let outcomes = LINES.iter().map(|(status, colour)| {
            let of_minute = |minute| {
                let counts: Option<&MinuteCounts> = counted.get(&minute);
                let count = counts.and_then(|it| it.outcomes.get(status.as_str()));
                Some(count.copied().unwrap_or_default() as f64)
            };
            Line {
                title: status.as_str(),
                colour,
                dash: &[],
                values: shown().map(of_minute).collect(),
            }
        });
        let seconds = QUANTILES.iter().map(|(share, title, colour, dash)| Line {
            title,
            colour,
            dash,
            values: shown()
                .map(|minute| quantile(counted.get(&minute)?, *share))
                .collect(),
        });
        Self {
            minutes: shown().map(|minute| minute * 60).collect(),
            charts: vec![
                Chart {
                    id: "outcomes",
                    unit: "",
                    lines: outcomes.collect(),
                },
                Chart {
                    id: "seconds",
                    unit: " s",
                    lines: seconds.collect(),
                },
            ],
        }
    }
}

/// The outcomes that occurred, and how long payments took.
fn totals(sum: &MinuteCounts) -> Vec<(String, String)> {
    let outcomes = sum.outcomes.iter();
    let mut totals: Vec<_> = outcomes
        .map(|(status, count)| (status.clone(), count.to_string()))
        .collect();
    for (share, title, ..) in QUANTILES {
        if let Some(seconds) = quantile(sum, share) {
            totals.push((title.to_owned(), format!("{seconds} s")));
        }
    }
    totals
}

/// The time within which this share of the payments had its outcome, in seconds to three decimals: interpolated within its
/// bucket, as Prometheus does. None without payments. The bucket without an upper limit gives its lower one.
fn quantile(counts: &MinuteCounts, share: f64) -> Option<f64> {
    let limit = |text: &String| text.parse().unwrap_or(f64::INFINITY);
    let mut buckets: Vec<(f64, u64)> = counts
        .seconds
        .iter()
        .map(|(upto, count)| (limit(upto), *count))
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: u64 = buckets.iter().map(|(_, count)| count).sum();
    let wanted = share * all as f64;
    let mut below = 0.0;
    for (upper, count) in buckets {
        let count = count as f64;
        if count > 0.0 && below + count >= wanted {
            let lower = lower_limit(upper);
            let seconds = if upper.is_finite() {
                lower + (upper - lower) * (wanted - below) / count
            } else {
                lower
            };
            return Some((seconds * 1000.0).round() / 1000.0);
        }
        below += count;
    }
    None
}

/// The lower limit of a bucket, from the histogram's definition: empty buckets are not stored.
fn lower_limit(upper: f64) -> f64 {
    let histogram = CATALOGUE
        .iter()
        .find(|it| it.name == PAYMENT_OUTCOME_SECONDS);
    let limits = match histogram.map(|it| it.kind) {
        Some(Kind::Histogram(limits)) => limits,
        _ => &[],
    };
    let lower = limits.iter().rfind(|limit| **limit < upper);
    lower.copied().unwrap_or_default()
}

/// JSON that cannot end the element that it stands in.
fn within_html(data: &Data) -> String {
    let json = serde_json::to_string(data).unwrap_or_default();
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(seconds: &[(&str, u64)]) -> MinuteCounts {
        let seconds = seconds.iter();
        MinuteCounts {
            seconds: seconds
                .map(|(limit, count)| ((*limit).to_owned(), *count))
                .collect(),
            ..MinuteCounts::default()
        }
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let sample = counts(&[("0.1", 50), ("10", 10), ("0.5", 40)]);
        assert_eq!(quantile(&sample, 0.5), Some(0.1));
        assert_eq!(quantile(&sample, 0.7), Some(0.375));
        assert_eq!(quantile(&sample, 0.95), Some(7.5));
        assert_eq!(quantile(&counts(&[]), 0.5), None);
        assert_eq!(
            quantile(&counts(&[("0.5", 0), ("+Inf", 3)]), 0.5),
            Some(3600.0)
        );
    }

    #[test]
    fn every_minute_has_a_value_and_one_without_payments_has_no_quantile() {
        let mut counted = BTreeMap::new();
        let mut minute = counts(&[("0.1", 2)]);
        minute.outcomes = [("succeeded".to_owned(), 2)].into();
        counted.insert(99, minute);
        let data = Data::new(100, 15, &counted);
        assert_eq!(data.minutes.first(), Some(&(86 * 60)));
        assert_eq!(data.minutes.last(), Some(&(100 * 60)));
        let line = |chart: usize, line: usize| data.charts[chart].lines[line].values[13..].to_vec();
        assert_eq!(line(0, 0), [Some(2.0), Some(0.0)]);
        assert_eq!(line(1, 0), [Some(0.075), None]);
    }

    #[test]
    fn an_unknown_span_is_an_hour() {
        let asked = |minutes: &str| Asked {
            minutes: Some(minutes.to_owned()),
        };
        assert_eq!(asked("1440").minutes(), 1440);
        for unknown in ["7", "", "<script>", "99999999999"] {
            assert_eq!(asked(unknown).minutes(), 60);
        }
    }
}
