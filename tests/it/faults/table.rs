//! The table that is printed and stored in docs/reliability.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::kind::Kind;
use super::verdict::{Row, Verdict};

/// Of several drills.
pub fn markdown(verdicts: &[Verdict]) -> String {
    let mut rows = BTreeMap::<Option<Kind>, Row>::new();
    for (kind, row) in verdicts.iter().flat_map(|verdict| &verdict.rows) {
        rows.entry(*kind).or_default().add(row);
    }
    let mut all = Row::default();
    let mut text = String::from(
        "| fault | times | in flight | lost | charged twice | stuck | results missing | seconds until work flows: mean, longest | innocent payments: p99 seconds | stops: told, untold; false alarms |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (kind, row) in &rows {
        let counts =
            row.lost + row.charged_twice + row.stuck + row.missing + row.untold + row.false_alarms;
        // Payments that met no fault have a line only where something is wrong with them.
        if kind.is_some() || counts > 0 {
            let name = kind.map_or("(no fault)", Kind::name);
            line(&mut text, name, row);
        }
        all.add(row);
    }
    line(&mut text, "all", &all);
    text
}

fn line(text: &mut String, name: &str, row: &Row) {
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {}, {}; {} |",
        row.times,
        row.in_flight,
        row.lost,
        row.charged_twice,
        row.stuck,
        row.missing,
        row.flowing(),
        row.innocent(),
        row.told,
        row.untold,
        row.false_alarms
    );
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.times += other.times;
        self.in_flight += other.in_flight;
        self.lost += other.lost;
        self.charged_twice += other.charged_twice;
        self.stuck += other.stuck;
        self.missing += other.missing;
        self.seconds.extend(&other.seconds);
        self.innocent.extend(&other.innocent);
        self.told += other.told;
        self.untold += other.untold;
        self.false_alarms += other.false_alarms;
    }

    /// As a nearest rank.
    fn innocent(&self) -> String {
        let mut sorted = self.innocent.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (sorted.len() * 99).div_ceil(100);
        let found = rank.checked_sub(1).and_then(|last| sorted.get(last));
        found.map_or("-".to_owned(), |seconds| format!("{seconds:.1}"))
    }

    fn flowing(&self) -> String {
        if self.seconds.is_empty() {
            return "-".to_owned();
        }
        let count = f64::from(u32::try_from(self.seconds.len()).unwrap_or(u32::MAX));
        let mean = self.seconds.iter().sum::<f64>() / count;
        let longest = self.seconds.iter().copied().fold(0.0, f64::max);
        format!("{mean:.1}, {longest:.1}")
    }
}
