//! Checks the health reports: what `/health/ready` and the logs reported, and when, compared with when payments
//! really had their outcomes.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::fleet::Fleet;

/// So long without an outcome of a steady load is a stop; and so soon somebody must have said so.
pub const STOP: Duration = Duration::from_secs(10);

const LOOK: Duration = Duration::from_millis(500);

/// A stage that is told to be stuck has let nothing out for so long, at least.
const STAGE: Duration = Duration::from_secs(5);

/// Outcomes that come closer together than that are no stop of anything.
const FLOWING: Duration = Duration::from_secs(2);

/// Stages that every payment passes before its outcome is heard.
const ON_THE_WAY: [&str; 4] = ["accept", "dispatch", "authorize", "record"];

/// A health report of a process.
#[derive(Debug, Clone)]
pub struct Alarm {
    pub at: Instant,
    pub words: String,
}

impl Alarm {
    /// Says that nothing leaves a stage that payments pass.
    pub fn is_of_a_stage(&self) -> bool {
        let names = |stage| self.words.contains(&format!("stage=\"{stage}\""));
        self.words
            .contains("a stage has work but makes no progress")
            && ON_THE_WAY.into_iter().any(names)
    }
}

/// All alarms of a drill, in the order of their time.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Vec<Alarm>>>);

impl Watch {
    /// Looks until `stop`.
    pub fn start(fleet: &Arc<Fleet>, stop: CancellationToken) -> Self {
        let (watch, fleet) = (Self::default(), Arc::clone(fleet));
        let noted = watch.clone();
        tokio::spawn(async move {
            let http = reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(1))
                .build()
                .expect("a client");
            let mut read = 0;
            while !stop.is_cancelled() {
                let admins = fleet.admins.lock();
                let admins = admins.unwrap_or_else(PoisonError::into_inner).clone();
                let asked = admins.iter().map(|admin| readiness(&http, *admin));
                let told = futures::future::join_all(asked).await;
                let told = told.into_iter().filter(|status| status != "ready");
                told.chain(new_lines(&fleet.log, &mut read))
                    .for_each(|words| noted.note(words));
                sleep(LOOK).await;
            }
        });
        watch
    }

    fn note(&self, words: String) {
        let at = Instant::now();
        let mut alarms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.push(Alarm { at, words });
    }

    pub fn all(&self) -> Vec<Alarm> {
        let alarms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.clone()
    }
}

async fn readiness(http: &reqwest::Client, admin: std::net::SocketAddr) -> String {
    let asked = http.get(format!("http://{admin}/health/ready")).send();
    match asked.await {
        Ok(answer) => {
            let told: Value = answer.json().await.unwrap_or_default();
            told["status"].as_str().unwrap_or("no status").to_owned()
        }
        Err(_) => "no answer".to_owned(),
    }
}

/// Warnings and errors of the service's own that were written since.
fn new_lines(log: &Path, read: &mut u64) -> Vec<String> {
    let mut text = Vec::new();
    if let Ok(mut file) = std::fs::File::open(log)
        && file.seek(SeekFrom::Start(*read)).is_ok()
    {
        let _ = file.read_to_end(&mut text);
    }
    // A line that is not complete is read the next time.
    let complete = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    *read += complete as u64;
    let text = String::from_utf8_lossy(&text[..complete]).into_owned();
    let ours = |line: &&str| {
        line.contains(" WARN payment_service") || line.contains("ERROR payment_service")
    };
    text.lines().filter(ours).map(str::to_owned).collect()
}

/// Times between two outcomes that are stops: one of the payments, whose issuers answer at once, waited for as long.
/// `outcomes` in the order of time.
pub fn stops(outcomes: &[Instant], payments: &[InProgress]) -> Vec<(Instant, Instant)> {
    let pairs = outcomes.windows(2).map(|pair| (pair[0], pair[1]));
    let is_stop = |(last, next): &(Instant, Instant)| {
        let waited = |(from, to): &InProgress| {
            *next - *last.max(from) > STOP && to.is_none_or(|to| to >= *next)
        };
        *next - *last > STOP && payments.iter().any(waited)
    };
    pairs.filter(is_stop).collect()
}

/// What the processes have logged from a second before it to a second after it.
pub fn log_around((last, next): (Instant, Instant), log: &Path) -> String {
    let (now, here) = (Instant::now(), OffsetDateTime::now_utc());
    let time = |at: Instant| {
        let text = (here - (now - at)).format(&Rfc3339).unwrap_or_default();
        text.get(..SECONDS).unwrap_or_default().to_owned()
    };
    let from = time(last.checked_sub(Duration::from_secs(1)).unwrap_or(last));
    let to = time(next + Duration::from_secs(1));
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let within = text.lines().filter(|line| {
        let at = line.get(..SECONDS).unwrap_or_default();
        at >= from.as_str() && at <= to.as_str()
    });
    within.collect::<Vec<_>>().join("\n")
}

/// The length of `2026-01-31T23:59:59`.
const SECONDS: usize = 19;

/// Whether it was reported in time.
pub fn is_told((last, _): (Instant, Instant), alarms: &[Alarm]) -> bool {
    let late = last + STOP + LOOK * 2;
    alarms
        .iter()
        .any(|alarm| alarm.at >= last && alarm.at <= late)
}

/// From when to when a payment was in progress; to none if it had no outcome.
pub type InProgress = (Instant, Option<Instant>);

/// Alarms of stages that are false: payments had their outcomes all the time, and none of those with an issuer that answers
/// at once was held up for as long as the stage says. One of several processes can be stuck while the others go on.
pub fn false_alarms(outcomes: &[Instant], payments: &[InProgress], alarms: &[Alarm]) -> Vec<Alarm> {
    let is_false = |alarm: &&Alarm| {
        let since = alarm.at.checked_sub(STAGE).unwrap_or(alarm.at);
        let is_held_up =
            |(from, to): &InProgress| *from <= since && to.is_none_or(|to| to >= alarm.at);
        if payments.iter().any(is_held_up) {
            return false;
        }
        let before = outcomes.iter().rfind(|at| **at < since);
        let within = outcomes
            .iter()
            .filter(|at| **at >= since && **at <= alarm.at);
        let times: Vec<Instant> = before.into_iter().chain(within).copied().collect();
        let last = times.last().is_some_and(|last| alarm.at - *last < FLOWING);
        alarm.is_of_a_stage() && last && times.windows(2).all(|pair| pair[1] - pair[0] < FLOWING)
    };
    alarms.iter().filter(is_false).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARNING: &str = r#" WARN payment_service::watchdog::stages: a stage has work but makes no progress stage="record""#;

    fn alarm(at: Instant, words: &str) -> Alarm {
        Alarm {
            at,
            words: words.to_owned(),
        }
    }

    #[test]
    fn a_stop_of_progress_is_reported_within_ten_seconds() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let outcomes = [at(0), at(1), at(20), at(25)];
        let waiting = [(at(5), Some(at(20)))];
        let stops = stops(&outcomes, &waiting);
        assert_eq!(stops, [(at(1), at(20))]);
        assert!(is_told(stops[0], &[alarm(at(9), "not_ready")]));
        assert!(!is_told(stops[0], &[alarm(at(0), "not_ready")]));
        assert!(!is_told(stops[0], &[alarm(at(13), "not_ready")]));
    }

    #[test]
    fn a_time_in_which_no_payment_waited_is_no_stop() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let outcomes = [at(0), at(1), at(20), at(25)];
        let (ended, begun_late) = ((at(0), Some(at(1))), (at(11), Some(at(20))));
        assert!(stops(&outcomes, &[ended, begun_late]).is_empty());
        assert_eq!(stops(&outcomes, &[(at(9), None)]).len(), 1);
    }

    #[test]
    fn an_alarm_while_payments_end_counts_as_false() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let flowing: Vec<Instant> = (0..20).map(at).collect();
        let warning = [alarm(at(15), WARNING)];
        assert_eq!(false_alarms(&flowing, &[], &warning).len(), 1);
        assert!(false_alarms(&flowing, &[], &[alarm(at(15), "degraded")]).is_empty());
        let stopped = [at(0), at(1), at(15)];
        assert!(false_alarms(&stopped, &[], &[alarm(at(14), WARNING)]).is_empty());
        // Another process goes on, but this one holds payments up.
        for held_up in [(at(9), Some(at(17))), (at(9), None)] {
            assert!(false_alarms(&flowing, &[held_up], &warning).is_empty());
        }
        let quick = (at(12), Some(at(17)));
        assert_eq!(false_alarms(&flowing, &[quick], &warning).len(), 1);
    }
}
