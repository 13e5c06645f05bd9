//! Tests of the harness: its clusters are clusters.

use std::time::Instant;

use crate::support::servers::{BrokerCluster, Galera};

#[test]
#[ignore = "half a minute more than the tests on clusters take"]
fn nodes_form_a_cluster_and_come_back_after_a_kill() {
    let begin = Instant::now();
    let brokers = std::thread::spawn(|| BrokerCluster::start().unwrap());
    let galera = Galera::start().unwrap();
    println!("galera up after {:.1} s", begin.elapsed().as_secs_f32());
    let brokers = brokers.join().unwrap();
    println!("both up after {:.1} s", begin.elapsed().as_secs_f32());
    for number in 0..3 {
        assert_eq!(galera.size(number), 3);
    }
    let begin = Instant::now();
    galera.nodes()[0].kill().unwrap();
    galera.rejoin(0).unwrap();
    println!(
        "galera node back after {:.1} s",
        begin.elapsed().as_secs_f32()
    );
    assert_eq!(galera.size(0), 3);
    let begin = Instant::now();
    galera.nodes()[1].kill().unwrap();
    galera.rejoin_empty(1).unwrap();
    println!(
        "empty galera node back after {:.1} s",
        begin.elapsed().as_secs_f32()
    );
    assert_eq!(galera.size(1), 3);
    let begin = Instant::now();
    brokers.nodes()[1].kill().unwrap();
    brokers.rejoin(1).unwrap();
    println!(
        "broker node back after {:.1} s",
        begin.elapsed().as_secs_f32()
    );
    assert_eq!(brokers.open(), [true, true, true]);
}
