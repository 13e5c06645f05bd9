//! What is printed: a few lines for each measurement, and at the end the table, in Markdown.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::measure::{Measured, PROCESSES};
use crate::settings::with_pages;

pub fn details(name: &str, measured: &Measured) {
    let (sent, ended) = (&measured.sent, measured.ended);
    println!("\n{name}");
    println!(
        "  payments accepted {}, refused or failed {}, ended during the load {ended}",
        sent.accepted, sent.failed
    );
    println!(
        "  ended per second {:.0}; 202 latency p50 {:.1}, p95 {:.1}, p99 {:.1}, max {:.1} ms",
        measured.rate(),
        sent.latency(0.5),
        sent.latency(0.95),
        sent.latency(0.99),
        sent.latency(1.0)
    );
    let (queue, outbox) = measured.left;
    let drained = measured
        .drained_after
        .map_or("NOT ALL ENDED".to_owned(), |after| {
            format!("all ended after {:.1} s", after.as_secs_f64())
        });
    println!("  left at the load's end: work queue {queue}, outbox rows {outbox}; {drained}");
    println!(
        "  durable transactions per payment {:.3}; memory of api {} MiB, worker {} MiB",
        measured.transactions as f64 / sent.accepted.max(1) as f64,
        measured.memory_mib.0,
        measured.memory_mib.1
    );
    if measured.fetched > 0 {
        let rate = measured.fetched as f64 / measured.took.as_secs_f64();
        println!("  open pages fetched {rate:.0} times per second");
    }
    let cpu = PROCESSES.iter().zip(measured.cpu);
    let cpu: Vec<String> = cpu
        .map(|(name, used)| format!("{name} {used:.1}"))
        .collect();
    println!(
        "  CPU seconds during the load: {}, others {:.1}",
        cpu.join(", "),
        measured.machine_cpu - measured.cpu.iter().sum::<f64>()
    );
}

/// Processor time is in microseconds for each payment that ended.
pub fn table(rows: &[(String, Measured)]) {
    println!(
        "\n| | payments ended per second | 202: p50, p99 (ms) | CPU µs: database | broker | api | worker |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (name, measured) in rows {
        println!(
            "| {name} | {:.0} | {:.0}, {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            measured.rate(),
            measured.sent.latency(0.5),
            measured.sent.latency(0.99),
            measured.micros(0),
            measured.micros(1),
            measured.micros(2),
            measured.micros(3),
        );
    }
}

/// One row and one payment a transaction, on one connection, beside the first row's rate.
pub fn baselines(before: (f64, f64), after: (f64, f64), rate: f64) {
    let line = |name: &str, before: f64, after: f64| {
        let mean = f64::midpoint(before, after);
        let times = rate / mean;
        println!(
            "{name}: {mean:.0} per second ({before:.0} before, {after:.0} after): {times:.2} times as many payments end"
        );
    };
    println!();
    line("one row a transaction", before.0, after.0);
    line("one payment a transaction", before.1, after.1);
}

/// In [`PROCESSES`].
const API: Range<usize> = 2..3;
const ALL_BUT_THE_LOAD: Range<usize> = 0..4;

/// What open pages cost: the rows with so many, beside the same rows without.
pub fn ratios(rows: &[(String, Measured)], pages: usize) {
    let ending = with_pages(pages);
    let with_ending = rows
        .iter()
        .filter_map(|(name, _)| name.strip_suffix(&ending));
    let names: BTreeSet<&str> = with_ending.filter(|_| pages > 0).collect();
    for name in names {
        let with = Sum::of(rows, &format!("{name}{ending}"));
        let without = Sum::of(rows, name);
        let cpu =
            |processes: Range<usize>| with.micros(processes.clone()) / without.micros(processes);
        println!(
            "\n{name}{ending}: {:.3} times as many payments per second as without; CPU per payment: api {:.3} times, all but \
             the load {:.3} times; each page fetched {:.1} times per second",
            with.rate() / without.rate(),
            cpu(API),
            cpu(ALL_BUT_THE_LOAD),
            with.fetched / with.took / pages as f64,
        );
    }
}

/// All rounds of a row.
#[derive(Default)]
struct Sum {
    ended: f64,
    took: f64,
    cpu: [f64; PROCESSES.len()],
    fetched: f64,
}

impl Sum {
    fn of(rows: &[(String, Measured)], wanted: &str) -> Self {
        let mut sum = Self::default();
        for (_, measured) in rows.iter().filter(|(name, _)| name == wanted) {
            sum.ended += measured.ended as f64;
            sum.took += measured.took.as_secs_f64();
            sum.fetched += measured.fetched as f64;
            for (total, used) in sum.cpu.iter_mut().zip(measured.cpu) {
                *total += used;
            }
        }
        sum
    }

    fn rate(&self) -> f64 {
        self.ended / self.took
    }

    /// Microseconds of processor time for each payment that ended.
    fn micros(&self, processes: Range<usize>) -> f64 {
        self.cpu[processes].iter().sum::<f64>() * 1e6 / self.ended
    }
}
