//! The stages of the process on this machine, as its `/health/ready` reports them.

use std::net::SocketAddr;

use serde_json::Value;

use super::Finding;
use crate::cli::check::live;

const REMEDY: &str = "the process's log has a line for each, `a stage has work but makes no progress`, with what to do";

pub(super) async fn look(admin: SocketAddr) -> Finding {
    let Ok(told) = live::read(admin, "/health/ready").await else {
        let words = format!("no process of the service answers at http://{admin}: not checked");
        return Finding::ok("stages", words);
    };
    of(&told)
}

fn of(told: &Value) -> Finding {
    let Some(stages) = told["stages"].as_object() else {
        return Finding::ok("stages", "the process reports none: it is another release");
    };
    let stuck = |(name, stage): (&String, &Value)| {
        let error = stage["error"].as_str().unwrap_or("no error was reported");
        let age = stage["oldest_age"].as_f64().unwrap_or_default();
        (stage["stuck"] == true).then(|| format!("{name}: no progress for {age:.0} s ({error})"))
    };
    let stuck: Vec<String> = stages.iter().filter_map(stuck).collect();
    if stuck.is_empty() {
        Finding::ok("stages", format!("all {} make progress", stages.len()))
    } else {
        Finding::fail("stages", stuck.join("; "), REMEDY)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::check::environment::Level;

    #[test]
    fn a_stuck_stage_is_reported_with_its_error() {
        let stuck = json!({ "stuck": true, "oldest_age": 7.2, "error": "read-only" });
        let goes_on = json!({ "stuck": false, "oldest_age": 0.0, "error": null });
        let finding = of(&json!({ "stages": { "accept": stuck, "record": goes_on } }));
        assert_eq!(finding.level, Level::Fail);
        assert_eq!(finding.message, "accept: no progress for 7 s (read-only)");
        let finding = of(&json!({ "stages": { "record": goes_on } }));
        assert_eq!(finding.level, Level::Ok);
    }
}
