//! The long form: all kinds of faults in one place, in an order that the seed chooses, for as long as `SOAK_MINUTES` says.
//! It prints the table, and writes it to docs/reliability.md. `scripts/test --soak MINUTES` runs it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::drill::{Drill, Plan};
use super::fixture::Needs;
use super::kind::Kind;
use super::random::Random;
use super::short::{must_be_clean, seed};
use super::table;
use super::verdict::Verdict;

const BEGIN: &str = "<!-- begin: written by scripts/test --soak -->\n";
const END: &str = "<!-- end -->";

fn setting(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as SOAK_MINUTES says: scripts/test --soak MINUTES runs it"]
async fn faults_for_many_minutes() {
    let (seed, minutes) = (seed(), setting("SOAK_MINUTES", 5));
    let rate = u32::try_from(setting("SOAK_RATE", 70)).expect("a rate");
    println!("FAULT_SEED={seed}, {minutes} minutes, {rate} payments per second");
    let begun = Instant::now();
    let plan = Plan {
        name: "soak",
        seed,
        needs: Needs {
            own_database: true,
            own_broker: true,
            durable: true,
            clusters: false,
        },
        rate,
        previous: None,
    };
    let mut drill = Drill::start(&plan).await;
    let mut order = Random::named(seed, "soak order");
    let limit = Duration::from_secs(minutes * 60);
    'rounds: loop {
        // Every kind once, then every kind once more: no kind waits long for its turn.
        let mut round = Kind::chosen(Kind::on_single_servers());
        order.shuffle(&mut round);
        for kind in round {
            if begun.elapsed() > limit {
                break 'rounds;
            }
            drill.strike(kind).await;
            tell(&drill, begun);
        }
    }
    drill.settle().await;
    let verdict = Verdict::of(&drill).await;
    drill.stop();
    let report = report(seed, minutes, rate, begun, &verdict);
    println!("{report}");
    if std::env::var_os("SOAK_WRITES_DOCUMENT").is_some() {
        write_document(&report);
    }
    must_be_clean(seed, &[verdict]);
}

fn tell(drill: &Drill, begun: Instant) {
    if let Some(episode) = drill.episodes.last() {
        println!(
            "{:6.1} min  {:3} faults  {:6} payments  {}: struck for {:.1} s, work flows after {}",
            begun.elapsed().as_secs_f64() / 60.0,
            drill.episodes.len(),
            drill.ground.client.notes.number(),
            episode.kind.name(),
            (episode.healed - episode.began).as_secs_f64(),
            episode
                .flowing
                .map_or("NOT".to_owned(), |it| format!("{:.1} s", it.as_secs_f64())),
        );
    }
}

fn report(seed: u64, minutes: u64, rate: u32, begun: Instant, verdict: &Verdict) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let times: usize = verdict.rows.values().map(|row| row.times).sum();
    let kinds = verdict.rows.values().filter(|row| row.times > 0).count();
    let day = time::OffsetDateTime::now_utc().date();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "`FAULT_SEED={seed} SOAK_RATE={rate} scripts/test --soak {minutes}` on {day}: {times} faults of {kinds} kinds \
         over {} payments and {} operations in {:.0} minutes, {} findings.\n\n{cores} cores, shared by the service's four processes, the \
         servers and the harness; {}.\n",
        verdict.payments,
        verdict.operations,
        begun.elapsed().as_secs_f64() / 60.0,
        verdict.faults.len(),
        std::env::var("SOAK_SERVERS").unwrap_or_else(|_| "servers of this machine".to_owned()),
    );
    text + &table::markdown(std::slice::from_ref(verdict))
}

fn write_document(report: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let text = std::fs::read_to_string(&path).expect("docs/reliability.md");
    let (head, rest) = text.split_once(BEGIN).expect("the marker of its begin");
    let (_, tail) = rest.split_once(END).expect("the marker of its end");
    let text = format!("{head}{BEGIN}{report}{END}{tail}");
    std::fs::write(&path, text).expect("docs/reliability.md is written");
}
