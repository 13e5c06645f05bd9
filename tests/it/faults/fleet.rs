//! The processes under fault: two api and two worker, each started again as an operating system's service manager does.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::fixture::Fixture;
use super::load::Apis;
use super::platforms::Platforms;
use crate::app::{KIOSK, STORE, clients_file};
use crate::callbacks::SECRET;
use crate::callbacks::receiver::Receiver;
use crate::support::process::{Process, Settings};

pub const ROLES: [&str; 4] = ["api", "api", "worker", "worker"];

/// How long each process may take to listen after its start, and to stop after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(30);

/// Short enough that everything is decided within the time that a fault's aftermath may take, and with enough tries
/// that the issuer's own faults end as their cards promise even when other faults take some tries.
const SETTINGS: &[(&str, &str)] = &[
    ("LOG", "warn"),
    ("ISSUER_LATENCY", "150ms"),
    ("PROCESSOR_TIMEOUT", "4s"),
    ("MAX_TRIES", "6"),
    ("RETRY_INITIAL", "100ms"),
    ("RETRY_MAX_INTERVAL", "1s"),
    ("OUTBOX_LEASE", "3s"),
    ("CHECK_AFTER", "5s"),
    ("CHECK_EVERY", "2s"),
    ("PUBLIC_URL", PUBLIC_URL),
    // Shoppers who have an hour less from one moment to the next must still be in time.
    ("ISSUER_ACTION_LIFE", "2h"),
];

/// Where nobody listens: the harness knows where the processes do.
pub const PUBLIC_URL: &str = "http://127.0.0.1:9";

/// As in [`SETTINGS`].
pub const PROCESSOR_TIMEOUT: Duration = Duration::from_secs(4);
pub const TRIES: u32 = 6;

/// The claim on a try: twice `PROCESSOR_TIMEOUT` and two seconds more.
pub const CLAIM: Duration = Duration::from_secs(10);

/// The program: `PAYMENT_SERVICE`, such as a release build, or the one that was built with the tests.
pub fn program() -> String {
    std::env::var("PAYMENT_SERVICE")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_payment-service").to_owned())
}

pub struct Fleet {
    /// In the order of [`ROLES`].
    settings: Vec<Settings>,
    /// The program of each, in the order of [`ROLES`].
    programs: Mutex<Vec<String>>,
    /// In the order of [`ROLES`]. Only one fault at a time works on them.
    processes: tokio::sync::Mutex<Vec<Process>>,
    pub apis: Apis,
    /// Where each process tells its health now.
    pub admins: Apis,
    /// Is called for the kiosk's payments.
    pub receiver: Receiver,
    /// The processes' logs.
    pub log: PathBuf,
    /// For what the processes say, unless `FAULT_LOG` names a file.
    _folder: TempDir,
    /// Problems of processes, such as an unexpected exit.
    odd: Mutex<Vec<String>>,
}

impl Fleet {
    /// Sets the place of that name up, and starts everything: the release that `previous` names, if it does, else this one.
    /// The platforms are only listed for this one.
    pub async fn start(
        name: &str,
        fixture: &Fixture,
        platforms: &Platforms,
        previous: Option<String>,
    ) -> Arc<Self> {
        let listed = previous.is_none();
        let first = previous.unwrap_or_else(program);
        let folder = tempfile::tempdir().unwrap();
        // One for each place: a process of another one must not be taken for one of this.
        let log = std::env::var("FAULT_LOG").ok();
        let log = log.map(|log| PathBuf::from(format!("{log}-{}", name.replace(' ', "-"))));
        let log = log.unwrap_or_else(|| folder.path().join("log"));
        let receiver = Receiver::start().await;
        let called = json!({
            "url": receiver.url("/orders"), "secrets": [SECRET], "allow_private_addresses": true,
        });
        let clients = clients_file(folder.path(), &[(KIOSK.0, called)]);
        // Messages are published by hand, too: without `user-id`.
        let processors = platforms.processors_file(folder.path());
        let mut files = vec![("CLIENTS_FILE", &*clients), ("DEFAULT_CLIENT", STORE.0)];
        files.extend(listed.then_some(("PROCESSORS_FILE", &*processors)));
        let settings_of = |number| {
            let [database, amqp] = fixture.urls_for(number);
            let own = Settings::servers(&database, &amqp).with_log(&log);
            let common = SETTINGS.iter().chain(&files);
            common.fold(own, |own, (name, value)| own.with(name, value))
        };
        let settings: Vec<Settings> = (0..ROLES.len()).map(settings_of).collect();
        let mut setup = Process::spawn(&first, "setup", &settings[0]);
        let ended = tokio::task::spawn_blocking(move || setup.wait());
        assert!(ended.await.unwrap(), "setup failed");
        let processes = ROLES.iter().zip(&settings);
        let processes = processes.map(|(role, settings)| start(&first, role, settings));
        let processes = futures::future::join_all(processes).await;
        let apis = Arc::new(Mutex::new(addresses(&processes)));
        let admins = processes.iter().map(|process| process.admin).collect();
        let admins = Arc::new(Mutex::new(admins));
        let fleet = Arc::new(Self {
            settings,
            programs: Mutex::new(vec![first; ROLES.len()]),
            processes: tokio::sync::Mutex::new(processes),
            apis,
            admins,
            receiver,
            log,
            _folder: folder,
            odd: Mutex::default(),
        });
        for process in fleet.processes.lock().await.iter() {
            process.until_ready(PATIENCE).await;
        }
        tokio::spawn(start_again_what_ends(Arc::downgrade(&fleet)));
        fleet
    }

    /// Kills the process with that number, and starts it again.
    pub async fn kill(&self, number: usize) {
        let mut processes = self.processes.lock().await;
        processes[number].kill();
        self.replace(&mut processes, number).await;
    }

    /// Kills all processes at the same moment, and starts them again.
    pub async fn kill_all(&self) {
        let mut processes = self.processes.lock().await;
        processes.iter_mut().for_each(Process::kill);
        for number in 0..processes.len() {
            self.replace(&mut processes, number).await;
        }
    }

    /// Tells it to stop, waits until it has, and starts it again.
    pub async fn stop(&self, number: usize) -> Result<(), String> {
        self.restart_with(number, &[]).await
    }

    /// As [`Self::stop`], and starts it again with other variables.
    pub async fn restart_with(
        &self,
        number: usize,
        variables: &[(&str, &str)],
    ) -> Result<(), String> {
        let mut processes = self.processes.lock().await;
        processes[number].signal("TERM");
        let status = until_ended(&mut processes[number]).await;
        let status = status.ok_or_else(|| format!("{} does not stop", ROLES[number]))?;
        let own = self.settings[number].clone();
        let settings = variables
            .iter()
            .fold(own, |own, (name, value)| own.with(name, value));
        processes[number] = start(&self.program(number), ROLES[number], &settings).await;
        self.note_addresses(&processes);
        if status.success() {
            Ok(())
        } else {
            Err(format!("{} stopped with {status}", ROLES[number]))
        }
    }

    /// As [`Self::stop`], and another release takes its place.
    pub async fn replace_release(&self, number: usize, release: &str) -> Result<(), String> {
        {
            let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
            release.clone_into(&mut programs[number]);
        }
        self.stop(number).await
    }

    /// Stops all processes of a role, does something, and starts them again.
    pub async fn without<T>(&self, role: &str, work: impl Future<Output = T>) -> T {
        let mut processes = self.processes.lock().await;
        let numbers: Vec<usize> = (0..ROLES.len())
            .filter(|number| ROLES[*number] == role)
            .collect();
        for number in &numbers {
            processes[*number].kill();
        }
        let done = work.await;
        for number in numbers {
            self.replace(&mut processes, number).await;
        }
        done
    }

    /// The sum of a counter over the processes of a role.
    pub async fn counted(&self, role: &str, counter: &str) -> f64 {
        let processes = self.processes.lock().await;
        let numbered = processes.iter().zip(ROLES);
        let asked = numbered
            .filter(|(_, its)| *its == role)
            .map(|(process, _)| process.counter(counter));
        futures::future::join_all(asked).await.into_iter().sum()
    }

    /// Waits until it is ready.
    pub async fn until_ready(&self, number: usize) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.processes.lock().await[number].readiness().await;
            if status == "ready" {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{} is not ready: {status}", ROLES[number]));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends it a signal and goes on.
    pub async fn signal(&self, number: usize, name: &str) {
        self.processes.lock().await[number].signal(name);
    }

    /// Something that has to end the process; how it ended. It is started again.
    pub async fn must_end(
        &self,
        number: usize,
        cause: impl FnOnce(),
    ) -> Result<ExitStatus, String> {
        // Held all the time, so that nobody takes note of an end that is wanted.
        let mut processes = self.processes.lock().await;
        cause();
        let status = until_ended(&mut processes[number]).await;
        self.replace(&mut processes, number).await;
        status.ok_or_else(|| format!("{} goes on", ROLES[number]))
    }

    /// Begins `setup` and kills it after a while.
    pub async fn kill_setup(&self, after: Duration) {
        let mut setup = Process::spawn(&program(), "setup", &self.settings[0]);
        sleep(after).await;
        setup.kill();
    }

    /// Runs `setup` to its end.
    pub async fn set_up(&self) -> Result<(), String> {
        let mut setup = Process::spawn(&program(), "setup", &self.settings[0]);
        let ended = tokio::task::spawn_blocking(move || setup.wait()).await;
        match ended {
            Ok(true) => Ok(()),
            _ => Err("setup failed".to_owned()),
        }
    }

    fn program(&self, number: usize) -> String {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs[number].clone()
    }

    async fn replace(&self, processes: &mut [Process], number: usize) {
        let program = self.program(number);
        processes[number] = start(&program, ROLES[number], &self.settings[number]).await;
        self.note_addresses(processes);
    }

    fn note_addresses(&self, processes: &[Process]) {
        let admins = processes.iter().map(|process| process.admin).collect();
        *self.admins.lock().unwrap_or_else(PoisonError::into_inner) = admins;
        *self.apis.lock().unwrap_or_else(PoisonError::into_inner) = addresses(processes);
    }

    /// Runs a command of the service's, as an operator does.
    async fn command(&self, fixture: &Fixture, words: &[&str]) -> Result<Output, String> {
        let mut command = Command::new(program());
        command
            .args(words)
            .env_clear()
            .envs(self.settings[0].variables())
            .env("DATABASE_URL", &fixture.database_url);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.map_err(|error| error.to_string())?;
        output.map_err(|error| error.to_string())
    }

    /// What the service's own oracle finds: the names of broken promises and their examples.
    pub async fn audit(&self, fixture: &Fixture) -> Result<Vec<String>, String> {
        let words = ["check", "--payments", "--json"];
        let output = self.command(fixture, &words).await?;
        let audit: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let findings = audit["findings"].as_array().cloned().unwrap_or_default();
        let broken = findings
            .iter()
            .filter(|finding| finding["severity"] == "breach" && finding["count"] != 0)
            .map(|finding| format!("{}: {}", finding["promise"], finding["examples"]));
        let broken: Vec<String> = broken.collect();
        if output.status.success() != broken.is_empty() || findings.is_empty() {
            return Err(format!("the oracle contradicts itself: {audit}"));
        }
        Ok(broken)
    }

    /// What the service's own comparison with Stripe's record finds.
    pub async fn reconcile(&self, fixture: &Fixture) -> Result<Vec<String>, String> {
        let yesterday = time::OffsetDateTime::now_utc().date().previous_day();
        let yesterday = yesterday.map(|day| day.to_string()).unwrap_or_default();
        let words = [
            ["payments", "reconcile"],
            ["--processor", "stripe"],
            ["--since", &yesterday],
            ["--settle", "0s"],
        ];
        let output = self.command(fixture, &words.concat()).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.code() {
            Some(0) => Ok(Vec::new()),
            Some(1) => Ok(vec![text]),
            _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// A payment as an operator sees it.
    pub async fn show(&self, fixture: &Fixture, payment: i64) -> Result<String, String> {
        let id = payment.to_string();
        let output = self.command(fixture, &["payments", "show", &id]).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The payments that `payments list --needs-person` lists.
    pub async fn needs_person(&self, fixture: &Fixture) -> Result<BTreeSet<i64>, String> {
        let words = ["payments", "list", "--needs-person", "--json"];
        let words = [&words[..], &["--limit", "100"]].concat();
        let output = self.command(fixture, &words).await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let listed: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let listed = listed.as_array().cloned().unwrap_or_default();
        let ids = listed.iter().filter_map(|it| it["payment_id"].as_i64());
        Ok(ids.collect())
    }

    fn note(&self, what: String) {
        let mut odd = self.odd.lock().unwrap_or_else(PoisonError::into_inner);
        odd.push(what);
    }

    pub fn odd(&self) -> Vec<String> {
        self.odd
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn addresses(processes: &[Process]) -> Vec<std::net::SocketAddr> {
    let numbered = processes.iter().zip(ROLES);
    let apis = numbered.filter(|(_, role)| *role == "api");
    apis.map(|(process, _)| process.api).collect()
}

/// On free ports. One of them may be taken before it is used: then it ends at once, and is started on others.
async fn start(program: &str, role: &str, settings: &Settings) -> Process {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut process = Process::spawn(program, role, settings);
        while process.ended().is_none() {
            if tokio::net::TcpStream::connect(process.admin).await.is_ok() {
                return process;
            }
            assert!(Instant::now() < deadline, "{role} does not listen");
            sleep(Duration::from_millis(10)).await;
        }
        assert!(Instant::now() < deadline, "{role} does not start");
    }
}

/// How it has ended; none if it has not in time.
async fn until_ended(process: &mut Process) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match process.ended() {
            None if Instant::now() < deadline => sleep(Duration::from_millis(20)).await,
            status => return status,
        }
    }
}

async fn start_again_what_ends(fleet: std::sync::Weak<Fleet>) {
    while let Some(fleet) = fleet.upgrade() {
        let mut processes = fleet.processes.lock().await;
        for number in 0..processes.len() {
            if let Some(status) = processes[number].ended() {
                fleet.note(format!("{} ended by itself with {status}", ROLES[number]));
                fleet.replace(&mut processes, number).await;
            }
        }
        drop(processes);
        drop(fleet);
        sleep(Duration::from_millis(200)).await;
    }
}
