//! Connections that do nothing, or do it slowly.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpStream;

use super::*;

/// The longest that a request may take here, with debug builds and other tests running.
const GOOD: Duration = Duration::from_secs(1);

#[tokio::test]
async fn heads_sent_byte_by_byte_are_cut_off_and_block_no_other_caller() {
    let victim = Victim::embedded(&[("HTTP_IDLE_TIMEOUT", "2s")]).await;
    let mut slow = open_many(victim.address(), 500).await;
    let neighbor = victim.neighbor();
    let begin = std::time::Instant::now();
    // A byte now and then does not prolong it.
    for byte in head(2).bytes().take(40) {
        for stream in &mut slow {
            let _ = stream.write_all(&[byte]).await;
        }
        if begin.elapsed() > Duration::from_secs(3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for stream in &mut slow {
        assert_eq!(rest(stream).await, "");
    }
    let meanwhile = "500 connections send their heads byte by byte";
    neighbor.was_served_within(GOOD, meanwhile).await;
}

#[tokio::test]
async fn five_thousand_idle_connections_block_no_other_caller() {
    may_open_files(6000);
    let victim = Victim::on_servers(&[]).await;
    let idle = open_many(victim.address(), 5000).await;
    let neighbor = victim.neighbor();
    neighbor
        .was_served_within(GOOD, "5000 connections are idle")
        .await;
    // Each of them can still be used.
    for mut stream in idle.into_iter().step_by(500) {
        is_served(&mut stream).await;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", victim.api.pid())).unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmRSS"));
    let _ = writeln!(std::io::stderr(), "5000 idle connections: {memory:?}");
}

#[tokio::test]
async fn at_the_limit_the_longest_idle_connection_is_closed_and_busy_ones_are_kept() {
    let victim = Victim::embedded(&[("HTTP_CONNECTIONS", "20")]).await;
    all_places_are_free(victim.address()).await;
    let mut idle = open_many(victim.address(), 20).await;
    // These have been used; of the others the third one is the oldest.
    is_served(&mut idle[0]).await;
    is_served(&mut idle[1]).await;
    let mut new = open(victim.address()).await;
    is_served(&mut new).await;
    assert_eq!(rest(&mut idle[2]).await, "");
    is_served(&mut idle[0]).await;
    is_served(&mut idle[3]).await;
    // Idle connections displace each other, not those with a request.
    let neighbor = victim.neighbor();
    crate::app::eventually("the neighbor is there", async || neighbor.has_begun()).await;
    for _ in 0..20 {
        drop(open_many(victim.address(), 50).await);
    }
    let meanwhile = "20 places are wanted by 1000 idle connections";
    neighbor.was_served_within(GOOD, meanwhile).await;

    // If all have a request, a new one gets 503.
    drop((idle, new));
    all_places_are_free(victim.address()).await;
    let mut busy = open_many(victim.address(), 20).await;
    for (number, stream) in busy.iter_mut().enumerate() {
        // One client may hold half of them.
        begin_body(stream, if number < 10 { STORE.1 } else { KIOSK.1 }).await;
    }
    let mut new = open(victim.address()).await;
    send(&mut new, &(head(2) + "{}")).await;
    let answer = rest(&mut new).await.to_ascii_lowercase();
    for part in [
        "http/1.1 503 ",
        "retry-after: 1",
        "application/problem+json",
        "connection: close",
    ] {
        assert!(answer.contains(part), "{part} is not in {answer}");
    }
    // The earlier ones are served.
    for stream in &mut busy {
        send(stream, "{}").await;
        assert_eq!(status(stream).await, "422");
    }
}

#[tokio::test]
async fn a_low_limit_of_open_files_is_reported_and_respected() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("limited");
    let text = format!("#!/bin/sh\nulimit -n 500\nexec {PROGRAM} \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let victim = Victim::embedded_by(script.to_str().unwrap(), &[]).await;
    let log = victim.log();
    assert!(log.contains("HTTP_CONNECTIONS is lowered"), "{log}");
    assert!(log.contains("connections=116"), "{log}");
    let _idle = open_many(victim.address(), 600).await;
    let neighbor = victim.neighbor();
    let meanwhile = "600 connections are open to a process that may open 500 files";
    neighbor.was_served_within(GOOD, meanwhile).await;
    let log = victim.log();
    assert!(!log.contains("cannot be accepted"), "{log}");
}

/// The service has closed its ends of all connections, also of those that this side closed.
async fn all_places_are_free(address: SocketAddr) {
    let open = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let port = format!(":{:04X}", address.port());
        let is_open = |line: &str| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().is_some_and(|local| local.ends_with(&port));
            // Established, or closed by the other side alone.
            local && matches!(fields.nth(1), Some("01" | "08"))
        };
        table.lines().filter(|line| is_open(line)).count()
    };
    crate::app::eventually("all places are free", async || open() == 0).await;
}

async fn open_many(address: SocketAddr, number: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(number);
    for _ in 0..number {
        streams.push(open(address).await);
    }
    streams
}

/// For this side's ends.
fn may_open_files(number: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < number) {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
    }
    assert!(
        limit.current.is_none_or(|current| current >= number),
        "raise the hard limit of open files to {number} (ulimit -Hn)"
    );
}
