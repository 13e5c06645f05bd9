//! One measurement: the service on its servers, under load for so long.

use std::time::{Duration, Instant};

use crate::load::{self, Sent};
use crate::pages::Pages;
use crate::probe::{self, Probe};
use crate::settings::Arguments;
use crate::support::process::{Process, Settings};

/// Who uses processor time.
pub const PROCESSES: [&str; 5] = ["database", "broker", "api", "worker", "load"];

/// Where the service finds its servers, and their processes.
pub struct Servers<'a> {
    pub settings: Settings,
    /// For the subscriber, which is near and without TLS in every row.
    pub amqp_url: &'a str,
    pub pids: [Option<u32>; 2],
}

/// What came out.
pub struct Measured {
    pub sent: Sent,
    pub ended: u64,
    pub took: Duration,
    /// Processor time, in seconds, of [`PROCESSES`].
    pub cpu: [f64; 5],
    /// That of everything on the machine.
    pub machine_cpu: f64,
    pub left: (u32, i64),
    pub drained_after: Option<Duration>,
    pub transactions: i64,
    pub memory_mib: (u64, u64),
    /// How often open pages were fetched.
    pub fetched: u64,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.ended as f64 / self.took.as_secs_f64()
    }

    /// Microseconds of processor time for each payment that ended.
    pub fn micros(&self, process: usize) -> f64 {
        self.cpu[process] * 1e6 / self.ended.max(1) as f64
    }
}

/// Starts the service, loads it, and waits until everything has ended.
pub async fn measure(
    (program, pages): (&str, usize),
    arguments: &Arguments,
    servers: &Servers<'_>,
    probe: &Probe,
) -> Measured {
    let settings = &servers.settings;
    let mut setup = Process::spawn(program, "setup", settings);
    assert!(setup.wait(), "setup failed");
    let api = Process::start(program, "api", settings).await;
    let mut workers = Vec::new();
    for _ in 0..arguments.workers {
        workers.push(Process::start(program, "worker", settings).await);
    }
    let worker = workers.first().map(Process::pid);
    let own = Some(std::process::id());
    let [database, broker] = servers.pids;
    let pids = [database, broker, Some(api.pid()), worker, own];
    let cpu_of_all = || pids.map(|pid| pid.map_or(0.0, probe::cpu_seconds));

    let results = load::Results::subscribe(servers.amqp_url).await;
    let pages = Pages::open(api.admin, pages).await;
    let commits = probe.commits().await;
    let (cpu_before, machine_before) = (cpu_of_all(), probe::machine_cpu_seconds());
    let began = Instant::now();
    let longest = Duration::from_secs(arguments.seconds);
    let sent = load::run(api.api, arguments.connections, longest, &results).await;
    let (ended, took) = (results.ended(), began.elapsed());
    let (cpu_after, machine_after) = (cpu_of_all(), probe::machine_cpu_seconds());
    let fetched = pages.close();
    let left = (
        probe::queue_depth(servers.amqp_url).await,
        probe.outbox_depth().await,
    );
    let drained = results.until(sent.accepted, Duration::from_secs(120)).await;
    let drained_after = drained.then(|| began.elapsed());
    Measured {
        ended,
        took,
        cpu: std::array::from_fn(|process| cpu_after[process] - cpu_before[process]),
        machine_cpu: machine_after - machine_before,
        left,
        drained_after,
        transactions: probe.commits_after_outbox_is_empty(commits).await,
        memory_mib: (
            probe::memory_mib(api.pid()),
            worker.map_or(0, probe::memory_mib),
        ),
        sent,
        fetched,
    }
}
