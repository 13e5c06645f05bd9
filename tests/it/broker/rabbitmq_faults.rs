//! Faults of RabbitMQ, and that clients recover from them without help.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{ConnectionProperties, options::QueueDeleteOptions};
use payment_service::broker::{
    Broker, ConnectionState, PublishError, Queue, Topology,
    rabbitmq::{RabbitMq, parse_urls},
};

use super::fixture::{
    Fixture, blocking, depth_becomes, eventually, is_registered, is_up, next, options, publish,
    text, work,
};
use crate::support::servers::{Broker as Server, BrokerOptions, fresh_vhost, shared_broker};

/// How soon clients must recover: the broker's start, and the longest delay between attempts.
const BACK: Duration = Duration::from_secs(10);

async fn own_server() -> (Arc<Server>, String) {
    let server = blocking(|| Server::start(&BrokerOptions::default()).unwrap()).await;
    let url = server.url(&server.vhost().unwrap());
    (Arc::new(server), url)
}

async fn state_becomes(client: &RabbitMq, what: &str, fits: impl Fn(&ConnectionState) -> bool) {
    let mut connection = client.connection();
    let found = tokio::time::timeout(
        Duration::from_secs(30),
        connection.wait_for(|state| fits(state)),
    )
    .await;
    assert!(
        found.is_ok(),
        "{what}: still {:?}",
        client.connection().borrow()
    );
}

#[tokio::test]
async fn publisher_and_consumer_recover_after_the_broker_is_killed() {
    let (server, url) = own_server().await;
    let mut quick = options(&url);
    quick.confirm_timeout = Duration::from_secs(2);
    let client = RabbitMq::new(quick);
    is_up(&client).await;
    let mut consumer = client.consume(Queue::Work, 10);
    publish(&client, work("before")).await;
    let in_hand = next(&mut consumer).await;

    let killed = Arc::clone(&server);
    blocking(move || killed.kill().unwrap()).await;
    let begin = Instant::now();
    let outcome = client.publish(&[work("during")]).await;
    assert!(
        matches!(
            outcome[..],
            [Err(PublishError::NotConnected | PublishError::NotConfirmed)]
        ),
        "{outcome:?}"
    );
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    state_becomes(&client, "down", |state| {
        matches!(state, ConnectionState::Down(_))
    })
    .await;
    eventually("consumer gone", || async { !*consumer.registered.borrow() }).await;
    // The session has ended, so nothing happens.
    in_hand.settle.acknowledge().await;

    let started = Arc::clone(&server);
    blocking(move || started.start_again().unwrap()).await;
    let begin = Instant::now();
    is_up(&client).await;
    is_registered(&consumer).await;
    println!(
        "back {:.1} s after the broker",
        begin.elapsed().as_secs_f32()
    );
    assert!(begin.elapsed() < BACK);
    let again = next(&mut consumer).await;
    assert_eq!(text(&again), "before");
    again.settle.acknowledge().await;
    publish(&client, work("after")).await;
    let after = next(&mut consumer).await;
    assert_eq!(text(&after), "after");
    after.settle.acknowledge().await;
    depth_becomes(&client, Queue::Work, 0).await;
    client.close().await;
}

/// A stopped process keeps its connections open and answers nothing: half-open, as if a cable were cut.
#[tokio::test]
async fn a_silent_broker_costs_no_more_than_the_confirm_time_out() {
    let (server, url) = own_server().await;
    let mut quick = options(&url);
    quick.confirm_timeout = Duration::from_secs(1);
    quick.connect_timeout = Duration::from_secs(1);
    let client = RabbitMq::new(quick);
    is_up(&client).await;

    server.pause().unwrap();
    let begin = Instant::now();
    let outcome = client.publish(&[work("into the silence")]).await;
    assert_eq!(outcome, [Err(PublishError::NotConfirmed)]);
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    state_becomes(&client, "down", |state| {
        matches!(state, ConnectionState::Down(_))
    })
    .await;
    assert_eq!(
        client.publish(&[work("at once")]).await,
        [Err(PublishError::NotConnected)]
    );

    // The process accepts connections but sends nothing.
    state_becomes(
        &client,
        "tried again",
        |state| matches!(state, ConnectionState::Down(reason) if reason.contains("no answer in time")),
    )
    .await;
    server.resume().unwrap();
    let begin = Instant::now();
    is_up(&client).await;
    assert!(begin.elapsed() < BACK);
    publish(&client, work("after")).await;
    client.close().await;
    drop(client);
    eventually("lapin's threads end", || async { io_threads() == 0 }).await;
}

/// lapin's threads of dead connections would pile up during a long outage. Other tests
/// have connections, too, so this runs only in a process with one test.
fn io_threads() -> usize {
    if !std::env::args().any(|argument| argument.contains("falls_silent")) {
        return 0;
    }
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("lapin-io-loop"))
        .count()
}

#[tokio::test]
async fn a_resource_alarm_is_reported_as_blocked_until_it_ends() {
    let (server, url) = own_server().await;
    let mut quick = options(&url);
    quick.confirm_timeout = Duration::from_secs(2);
    let client = RabbitMq::new(quick);
    is_up(&client).await;
    let mut consumer = client.consume(Queue::Work, 10);
    publish(&client, work("before")).await;
    let in_hand = next(&mut consumer).await;

    let alarmed = Arc::clone(&server);
    let alarm = "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).";
    blocking(move || alarmed.rabbitmqctl(&["eval", alarm]).unwrap()).await;
    // The broker blocks a connection when it publishes.
    eventually("blocked", || async {
        client.publish(&[work("during")]).await;
        *client.connection().borrow() == ConnectionState::Blocked
    })
    .await;
    let begin = Instant::now();
    assert_eq!(
        client.publish(&[work("during")]).await,
        [Err(PublishError::NotConnected)]
    );
    assert!(
        begin.elapsed() < Duration::from_millis(100),
        "a blocked broker is not waited for"
    );
    // Acknowledgements use a separate connection.
    in_hand.settle.acknowledge().await;

    let calmed = Arc::clone(&server);
    let calm = "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).";
    blocking(move || calmed.rabbitmqctl(&["eval", calm]).unwrap()).await;
    is_up(&client).await;
    publish(&client, work("after")).await;
    client.close().await;
}

#[tokio::test]
async fn connections_closed_by_the_server_are_reopened() {
    let (server, url) = own_server().await;
    let client = RabbitMq::new(options(&url));
    is_up(&client).await;
    let mut consumer = client.consume(Queue::Work, 10);
    is_registered(&consumer).await;
    let mut states = client.connection();
    states.mark_unchanged();
    let closer = Arc::clone(&server);
    blocking(move || {
        closer
            .rabbitmqctl(&["close_all_connections", "--global", "maintenance"])
            .unwrap()
    })
    .await;
    let begin = Instant::now();
    // It may be up again by now.
    states.changed().await.unwrap();
    is_up(&client).await;
    assert!(begin.elapsed() < BACK);
    publish(&client, work("after")).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(text(&delivery), "after");
    delivery.settle.acknowledge().await;
    client.close().await;
}

#[tokio::test]
async fn a_consumer_declares_its_deleted_queue_again() {
    let fixture = Fixture::rabbitmq().await;
    let client = fixture.client().await;
    let mut consumer = client.consume(Queue::Work, 10);
    is_registered(&consumer).await;
    delete_work_queue(&fixture).await;
    let mut registered = consumer.registered.clone();
    registered.wait_for(|it| !it).await.unwrap();
    let begin = Instant::now();
    is_registered(&consumer).await;
    assert!(begin.elapsed() < BACK);
    // The broker may need a moment to route to a new queue: unroutable messages are published again.
    let publisher = &*client;
    eventually("routed again", || async {
        publisher.publish(&[work("after")]).await == [Ok(())]
    })
    .await;
    let delivery = next(&mut consumer).await;
    assert_eq!(text(&delivery), "after");
    delivery.settle.acknowledge().await;
    client.close().await;
}

#[tokio::test]
async fn messages_to_a_deleted_queue_are_unroutable_until_it_is_declared_again() {
    let fixture = Fixture::rabbitmq().await;
    let client = fixture.client().await;
    publish(&*client, work("before")).await;
    delete_work_queue(&fixture).await;
    let outcome = client.publish(&[work("during")]).await;
    assert!(
        matches!(outcome[..], [Err(PublishError::Unroutable { .. })]),
        "{outcome:?}"
    );
    let publisher = &*client;
    eventually("declared again", || async {
        publisher.publish(&[work("after")]).await == [Ok(())]
    })
    .await;
    depth_becomes(publisher, Queue::Work, 1).await;
    client.close().await;
}

async fn delete_work_queue(fixture: &Fixture) {
    let Fixture::RabbitMq { url, .. } = fixture else {
        panic!("not at RabbitMQ")
    };
    let operator = lapin::Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = operator.create_channel().await.unwrap();
    channel
        .queue_delete(Queue::Work.name().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    operator.close(200, "done".into()).await.unwrap();
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_named_and_everything_continues() {
    let url = fresh_vhost().await.unwrap().to_string();
    let mut other = options(&url);
    other.topology = Topology::of_definitions()
        .unwrap()
        .with_max_length(Queue::Work, 5);
    let first = RabbitMq::new(other);
    is_up(&first).await;

    let client = RabbitMq::new(options(&url));
    state_becomes(&client, "mismatch", |state| {
        matches!(state, ConnectionState::Mismatch(words) if words.contains("payments.work") && words.contains("x-max-length"))
    })
    .await;
    let refused = client.declare_topology().await.unwrap_err().to_string();
    assert!(
        refused.contains("payments.work") && !refused.contains("payments.requests"),
        "{refused}"
    );
    let mut consumer = client.consume(Queue::Work, 1);
    publish(&client, work("all the same")).await;
    next(&mut consumer).await.settle.acknowledge().await;
    first.close().await;
    client.close().await;
}

#[tokio::test]
async fn the_second_host_is_used_when_the_first_is_dead() {
    let url = fresh_vhost()
        .await
        .unwrap()
        .replace("@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:");
    let client = RabbitMq::new(options(&url));
    let begin = Instant::now();
    is_up(&client).await;
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    publish(&client, work("a")).await;
    client.close().await;
}

#[tokio::test]
async fn without_any_host_the_error_has_the_cause_and_no_password() {
    let client = RabbitMq::new(options("amqp://user:secret@127.0.0.1:1/x"));
    state_becomes(&client, "down", |state| {
        matches!(state, ConnectionState::Down(reason) if reason.contains("127.0.0.1:1") && !reason.contains("secret"))
    })
    .await;
    assert_eq!(
        client.publish(&[work("a")]).await,
        [Err(PublishError::NotConnected)]
    );
    assert!(client.depth(Queue::Work).await.is_err());
    assert!(client.declare_topology().await.is_err());
    client.close().await;
}

#[tokio::test]
async fn a_virtual_host_may_have_special_characters() {
    let vhost = "odd/vhost %&?#ü";
    let url = blocking(move || {
        let server = shared_broker().unwrap();
        server.rabbitmqctl(&["add_vhost", vhost]).unwrap();
        server
            .rabbitmqctl(&["set_permissions", "-p", vhost, "guest", ".*", ".*", ".*"])
            .unwrap();
        server.url("odd%2Fvhost%20%25%26%3F%23%C3%BC")
    })
    .await;
    assert!(parse_urls(&url).is_ok());
    let client = RabbitMq::new(options(&url));
    is_up(&client).await;
    publish(&client, work("a")).await;
    client.close().await;
}
