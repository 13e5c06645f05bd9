//! The servers of a test process end with it, even if it is killed.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::servers::{Broker, BrokerOptions, Database, DatabaseOptions};

#[test]
fn a_killed_test_process_leaves_no_server_and_no_folder() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "servers_end::holds_servers_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut lines = lines.skip_while(|line| !line.starts_with("holding "));
    let folders: Vec<String> = lines
        .next()
        .unwrap()
        .split(' ')
        .skip(1)
        .map(str::to_owned)
        .collect();
    let processes = descendants(child.id());
    println!("{processes:#?}");
    for name in ["mariadbd|mysqld", "beam.smp", "epmd"] {
        assert!(
            processes
                .values()
                .any(|running| name.split('|').any(|name| running == name)),
            "{name} does not run"
        );
    }
    assert_eq!(
        folders
            .iter()
            .filter(|folder| Path::new(folder).exists())
            .count(),
        2
    );

    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let left = || -> Vec<String> {
        let running = processes
            .iter()
            .filter(|(id, name)| name_of(**id).as_ref() == Some(name));
        let folders = folders
            .iter()
            .filter(|folder| Path::new(folder).exists())
            .cloned();
        running
            .map(|(id, name)| format!("{id} {name}"))
            .chain(folders)
            .collect()
    };
    while !left().is_empty() {
        assert!(Instant::now() < deadline, "left behind: {:?}", left());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Not a test: the process that the test above kills.
#[test]
#[ignore = "runs until it is killed"]
fn holds_servers_until_it_is_killed() {
    let database = Database::start(&DatabaseOptions::default()).unwrap();
    let broker = Broker::start(&BrokerOptions::default()).unwrap();
    println!(
        "holding {} {}",
        database.log_file().parent().unwrap().display(),
        broker.log_dir().parent().unwrap().display()
    );
    loop {
        thread::park();
    }
}

/// Ids and names of all processes below that one.
fn descendants(ancestor: u32) -> HashMap<u32, String> {
    let ids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let parents: HashMap<u32, u32> = ids
        .filter_map(|id| Some((id, field(id, "PPid:")?.parse().ok()?)))
        .collect();
    let is_below = |mut id: u32| {
        while let Some(parent) = parents.get(&id) {
            if *parent == ancestor {
                return true;
            }
            id = *parent;
        }
        false
    };
    let below = parents.keys().copied().filter(|id| is_below(*id));
    below.filter_map(|id| Some((id, name_of(id)?))).collect()
}

/// None if there is no such process.
fn name_of(id: u32) -> Option<String> {
    field(id, "Name:")
}

fn field(id: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(|value| value.trim().to_owned())
}
