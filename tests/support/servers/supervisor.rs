//! The shell between a test process and its servers (supervisor.sh): a static is never dropped and a
//! killed process runs no code, so another process cleans up.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use super::{Result, ServerError};

const SCRIPT: &str = include_str!("supervisor.sh");

/// Owns a folder and the servers that run in it. Dropping it ends them, forcibly after three seconds, and removes the
/// folder; the drop itself does not wait for that.
#[derive(Debug)]
pub struct Supervisor {
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Supervisor {
    /// From here on `folder` is removed whatever happens.
    pub fn start(folder: &Path) -> Result<Self> {
        // A file, since ps would show a script given as an argument, whole.
        let script = folder.join("supervisor.sh");
        let log = fs::write(&script, SCRIPT)
            .and_then(|()| fs::File::create(folder.join("supervisor.log")));
        let spawned = log.and_then(|log| {
            Command::new("sh")
                .args([&script, folder])
                .current_dir("/")
                // Not in the terminal's foreground group: Ctrl-C must not reach it before it has cleaned up.
                .process_group(0)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // Never the test's own output: a reader of that would wait for the servers to end.
                .stderr(log)
                .spawn()
        });
        let mut child = spawned.map_err(|error| ServerError::failed("cannot start sh", error))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(orders), Some(answers)) => Ok(Self {
                pipes: Mutex::new((orders, BufReader::new(answers))),
            }),
            _ => Err(ServerError::failed(
                "cannot start sh",
                "its pipes are missing",
            )),
        }
    }

    /// Runs `NAME.sh` of the folder; returns the process id.
    pub fn run(&self, name: &str) -> Result<u32> {
        let answer = self.order(&format!("start {name}"))?;
        answer
            .parse()
            .map_err(|_| ServerError::failed("the supervisor gave no process id", answer))
    }

    /// Sends the signal, waits for the end, and forces it after so many seconds.
    pub fn end(&self, name: &str, signal: &str, seconds: u32) -> Result<()> {
        self.order(&format!("end {name} {signal} {seconds}"))
            .map(drop)
    }

    /// Sends a signal and returns; false if the server does not run.
    pub fn signal(&self, name: &str, signal: &str) -> Result<bool> {
        Ok(self.order(&format!("signal {name} {signal}"))? == "ok")
    }

    pub fn is_alive(&self, name: &str) -> Result<bool> {
        Ok(self.order(&format!("alive {name}"))? == "yes")
    }

    fn order(&self, order: &str) -> Result<String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (orders, answers) = &mut *pipes;
        let mut answer = String::new();
        let exchanged = writeln!(orders, "{order}").and_then(|()| answers.read_line(&mut answer));
        match exchanged {
            Ok(length) if length > 0 => Ok(answer.trim().to_owned()),
            Ok(_) => Err(ServerError::failed(
                format!("{order}: the supervisor is gone"),
                "",
            )),
            Err(error) => Err(ServerError::failed(
                format!("{order}: the supervisor is gone"),
                error,
            )),
        }
    }
}
