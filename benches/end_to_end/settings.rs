//! What the environment says of a run.

use tempfile::NamedTempFile;

use crate::support::operator;
use crate::support::process::Settings;

/// The connections of the operators' address are enough for so many in an earlier release, too.
const MOST_PAGES: u64 = 120;

/// How to measure.
pub struct Arguments {
    pub seconds: u64,
    pub rounds: u64,
    pub connections: usize,
    pub workers: u64,
    /// The service's programs: this build, and another one to compare with, in turns.
    pub programs: Vec<(&'static str, String)>,
    /// Open operators' pages, in every second turn.
    pub pages: usize,
    /// Who may open them.
    pub operators: NamedTempFile,
}

impl Arguments {
    pub fn from_env() -> Self {
        let mut programs = vec![("", env!("CARGO_BIN_EXE_payment-service").to_owned())];
        if let Ok(other) = std::env::var("BENCH_PROGRAM") {
            programs.insert(0, (", other program", other));
        }
        Self {
            seconds: number("BENCH_SECONDS", 20),
            rounds: number("BENCH_ROUNDS", 1),
            connections: number("BENCH_CONNECTIONS", 256) as usize,
            workers: number("BENCH_WORKERS", 1),
            programs,
            pages: number("BENCH_PAGE", 0).min(MOST_PAGES) as usize,
            operators: operator::admin_file(),
        }
    }

    /// What is measured in turns: the end of the row's name, the program, the number of open pages.
    pub fn turns(&self) -> Vec<(String, &str, usize)> {
        let mut turns = Vec::new();
        for (suffix, program) in &self.programs {
            for pages in [0, self.pages] {
                let name = format!("{suffix}{}", with_pages(pages));
                turns.push((name, program.as_str(), pages));
            }
        }
        turns.dedup();
        turns
    }
}

/// The end of the name of a row with open pages.
pub fn with_pages(pages: usize) -> String {
    match pages {
        0 => String::new(),
        _ => format!(", {pages} open pages"),
    }
}

/// Of api and worker.
pub fn of_the_service(database_url: &str, amqp_url: &str) -> Settings {
    let given = [
        ("ISSUER_LATENCY", "25ms"),
        ("WORKER_CONCURRENCY", "512"),
        ("ISSUER_LEDGER", "on"),
        // As in a container with at most one processor, which is where docs/deployment.md starts.
        ("TOKIO_WORKER_THREADS", "1"),
    ];
    let mut settings = Settings::servers(database_url, amqp_url).with("LOG", "warn");
    for (name, default) in given {
        let value = std::env::var(name).unwrap_or_else(|_| default.to_owned());
        settings = settings.with(name, &value);
    }
    settings
}

/// What docs/deployment.md advises for the database, unless `BENCH_SERVER=default` asks for how it comes.
pub fn of_the_database(is_mariadb: bool, further: &str) -> Vec<String> {
    let as_it_comes = std::env::var("BENCH_SERVER").is_ok_and(|server| server == "default");
    let advised: &[&str] = match (as_it_comes, is_mariadb) {
        (true, _) => &[],
        (false, true) => &[
            "--binlog-row-image=MINIMAL",
            "--binlog-annotate-row-events=OFF",
            "--binlog-cache-size=1M",
        ],
        (false, false) => &["--binlog-row-image=MINIMAL", "--binlog-cache-size=1M"],
    };
    let further = further.split_whitespace();
    let all = advised.iter().copied().chain(further);
    all.map(str::to_owned).collect()
}

/// The lists in `BENCH_SERVER_ARGS`; an empty one without it.
pub fn variants() -> Vec<String> {
    let lists = std::env::var("BENCH_SERVER_ARGS").unwrap_or_default();
    lists
        .split('|')
        .map(|list| list.trim().to_owned())
        .collect()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}
