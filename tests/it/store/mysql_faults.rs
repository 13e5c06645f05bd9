//! Tests that only servers allow: connections that end, hosts that fail.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use payment_service::domain::PaymentId;
use payment_service::payments::commands::Commands;
use payment_service::payments::leases::Leases;
use payment_service::payments::outbox::Message;
use payment_service::store::ids::IdSpace;
use payment_service::store::mysql::parse_url;
use payment_service::store::probe::{End, try_write};
use payment_service::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, Row};

use super::samples::*;
use crate::support::proxy::Proxy;
use crate::support::servers::{Database as Server, DatabaseOptions, fresh_database};

fn connect(url: &str) -> Store {
    Store::mysql(parse_url(url).unwrap(), 5)
}

async fn ready() -> (Store, MySqlConnection) {
    let url = fresh_database().await.unwrap();
    let database = connect(&url);
    database.migrate().await.unwrap();
    (database, MySqlConnection::connect(&url).await.unwrap())
}

/// Ends every other connection to this test's database.
async fn kill_others(administrator: &mut MySqlConnection) {
    let others: Vec<(i64,)> = sqlx::query_as(
        "SELECT CAST(id AS SIGNED) FROM information_schema.processlist
         WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    )
    .fetch_all(&mut *administrator)
    .await
    .unwrap();
    assert!(!others.is_empty());
    for (id,) in others {
        // A connection that has already ended is not an error.
        let _ = administrator
            .execute(AssertSqlSafe(format!("KILL {id}")))
            .await;
    }
}

#[tokio::test]
async fn a_commit_on_a_killed_connection_is_unknown_and_writing_again_resolves_it() {
    let (database, mut administrator) = ready().await;
    let row = with_key(1, "killed");
    let mut tx = begin(&database).await;
    tx.insert_payments(std::slice::from_ref(&row))
        .await
        .unwrap();
    kill_others(&mut administrator).await;
    let result = tx.commit().await;
    assert!(
        matches!(result, Err(StoreError::CommitUnknown(_))),
        "{result:?}"
    );
    for _ in 0..2 {
        keep(&database, std::slice::from_ref(&row)).await;
    }
    assert_eq!(read(&database, 1).await, Some(row));
}

#[tokio::test]
async fn a_statement_on_a_killed_connection_is_unavailable_and_the_next_transaction_works() {
    let (database, mut administrator) = ready().await;
    let mut tx = begin(&database).await;
    tx.insert_payments(&[payment(1)]).await.unwrap();
    kill_others(&mut administrator).await;
    let result = tx.lock_payments(&[PaymentId(1)]).await;
    assert!(
        matches!(result, Err(StoreError::Unavailable(_))),
        "{result:?}"
    );
    drop(tx);
    assert_eq!(read(&database, 1).await, None);
    keep(&database, &[payment(1)]).await;
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable_within_seconds() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let database = connect(&format!("mysql://root:secret@127.0.0.1:{port}/payments"));
    let begun = Instant::now();
    let checked = database.check().await.map(|_| ());
    for result in [checked, database.migrate().await] {
        assert!(
            matches!(result, Err(StoreError::Unavailable(_))),
            "{result:?}"
        );
        assert!(!format!("{result:?}").contains("secret"));
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn the_first_host_that_answers_and_can_be_written_to_is_used_until_it_fails() {
    let [first, second] = [(); 2].map(|()| Server::start(&DatabaseOptions::default()).unwrap());
    for server in [&first, &second] {
        let mut connection = MySqlConnection::connect(&server.admin_url()).await.unwrap();
        connection.execute("CREATE DATABASE pair").await.unwrap();
        connect(&server.url("pair")).migrate().await.unwrap();
    }
    let authority = |server: &Server| {
        let url = server.url("pair");
        let (_, rest) = url.split_once("://").unwrap();
        rest.split_once('/').unwrap().0.to_owned()
    };
    let (one, two) = (authority(&first), authority(&second));
    let second_host = two.rsplit_once('@').map_or(two.as_str(), |(_, host)| host);
    let url = format!("mysql://{one},{second_host}/pair");
    let database = connect(&url);
    keep(&database, &[payment(1)]).await;
    assert_eq!(where_it_is(&first, &second, 1).await, [true, false]);

    // Read-only for everyone: whatever stands in its way, the next ones go to the other host.
    let mut administrator = MySqlConnection::connect(&first.admin_url()).await.unwrap();
    let limited = "CREATE USER pair IDENTIFIED BY 'pair'; GRANT ALL ON pair.* TO pair";
    for server in [&first, &second] {
        let mut connection = MySqlConnection::connect(&server.admin_url()).await.unwrap();
        connection.execute(sqlx::raw_sql(limited)).await.unwrap();
    }
    let host = |server: &Server| format!("127.0.0.1:{}", server.port());
    let url = format!("mysql://pair:pair@{},{}/pair", host(&first), host(&second));
    let database = connect(&url);
    keep(&database, &[payment(2)]).await;
    administrator
        .execute("SET GLOBAL read_only = 1")
        .await
        .unwrap();
    assert!(eventually_kept(&database, 3).await);
    assert_eq!(where_it_is(&first, &second, 2).await, [true, false]);
    assert_eq!(where_it_is(&first, &second, 3).await, [false, true]);
    // The former primary still answers reads, with old data: nothing is refused for good on its word.
    let former = connect(&format!("mysql://pair:pair@{}/pair", host(&first)));
    let client = client("store-manager");
    assert!(former.payment_by_key(&client, "k").await.is_ok());
    let asked = former.payment_by_key_on_primary(&client, "k").await;
    assert!(
        matches!(asked, Err(StoreError::Unavailable(_))),
        "{asked:?}"
    );
    let asked = former.payment_on_primary(PaymentId(2)).await;
    assert!(
        matches!(asked, Err(StoreError::Unavailable(_))),
        "{asked:?}"
    );

    administrator
        .execute("SET GLOBAL read_only = 0")
        .await
        .unwrap();
    second.kill().unwrap();
    assert!(eventually_kept(&database, 4).await);
    assert_eq!(
        read(&connect(&first.url("pair")), 4).await,
        Some(payment(4))
    );
}

/// After a promotion the former primary may keep running with its connections open.
#[tokio::test]
async fn a_fail_over_behind_one_address_is_detected_at_once() {
    let [first, second] = [(); 2].map(|()| Server::start(&DatabaseOptions::default()).unwrap());
    let limited = "CREATE USER pair IDENTIFIED BY 'pair'; GRANT ALL ON pair.* TO pair";
    for server in [&first, &second] {
        let mut connection = MySqlConnection::connect(&server.admin_url()).await.unwrap();
        connection.execute("CREATE DATABASE pair").await.unwrap();
        connection.execute(sqlx::raw_sql(limited)).await.unwrap();
        connect(&server.url("pair")).migrate().await.unwrap();
    }
    let place = |server: &Server| SocketAddr::from(([127, 0, 0, 1], server.port()));
    let proxy = Proxy::start(place(&first)).unwrap();
    let url = format!("mysql://pair:pair@{}/pair", proxy.address());
    let database = connect(&url);
    let several = (1..=5).map(|id| eventually_kept(&database, id));
    assert!(
        futures::future::join_all(several)
            .await
            .into_iter()
            .all(|kept| kept)
    );

    let mut administrator = MySqlConnection::connect(&first.admin_url()).await.unwrap();
    administrator
        .execute("SET GLOBAL read_only = 1")
        .await
        .unwrap();
    proxy.forward_to(place(&second));
    let begun = Instant::now();
    let several = (6..=10).map(|id| eventually_kept(&database, id));
    assert!(
        futures::future::join_all(several)
            .await
            .into_iter()
            .all(|kept| kept)
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(where_it_is(&first, &second, 10).await, [false, true]);
}

/// A session keeps the settings that it began with.
#[tokio::test]
async fn a_corrected_setting_applies_to_open_connections() {
    let server = Server::start(&DatabaseOptions::default()).unwrap();
    let mut administrator = MySqlConnection::connect(&server.admin_url()).await.unwrap();
    administrator.execute("CREATE DATABASE pair").await.unwrap();
    connect(&server.url("pair")).migrate().await.unwrap();
    for (wrong, right) in [
        ("binlog_format = 'STATEMENT'", "binlog_format = 'ROW'"),
        ("transaction_read_only = 1", "transaction_read_only = 0"),
    ] {
        // MariaDB knows it by its old name before 11.1.
        let old_name = |setting: &str| setting.replace("transaction_read_only", "tx_read_only");
        let set = async |administrator: &mut MySqlConnection, setting: &str| {
            let set = AssertSqlSafe(format!("SET GLOBAL {setting}"));
            if administrator.execute(set).await.is_err() {
                let set = AssertSqlSafe(format!("SET GLOBAL {}", old_name(setting)));
                administrator.execute(set).await.unwrap();
            }
        };
        set(&mut administrator, wrong).await;
        let database = connect(&server.url("pair"));
        for _ in 0..3 {
            let refused = try_write(&database, End::RollBack).await;
            assert!(
                matches!(refused, Err(StoreError::Unavailable(_))),
                "{wrong}: {refused:?}"
            );
        }
        set(&mut administrator, right).await;
        let begun = Instant::now();
        while try_write(&database, End::Commit).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(5), "{right}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn where_it_is(first: &Server, second: &Server, id: i64) -> [bool; 2] {
    let is_at = async |server: &Server| read(&connect(&server.url("pair")), id).await.is_some();
    [is_at(first).await, is_at(second).await]
}

/// As a batch would: again until it is written.
async fn eventually_kept(database: &Store, id: i64) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let attempt = async {
            let mut tx = database.begin().await?;
            tx.insert_payments(&[payment(id)]).await?;
            tx.commit().await
        };
        match attempt.await {
            Ok(()) => return true,
            Err(StoreError::Unavailable(_) | StoreError::CommitUnknown(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// A private server with these arguments, and the commands of a store on it.
async fn own_server(arguments: Vec<String>) -> (Server, Store, Commands) {
    let options = DatabaseOptions {
        arguments,
        ..DatabaseOptions::default()
    };
    let starting = tokio::task::spawn_blocking(move || Server::start(&options));
    let server = starting.await.unwrap().unwrap();
    let mut administrator = MySqlConnection::connect(&server.admin_url()).await.unwrap();
    administrator
        .execute("CREATE DATABASE payments")
        .await
        .unwrap();
    let database = connect(&server.url("payments"));
    database.migrate().await.unwrap();
    let second = Duration::from_secs(1);
    let leases = Leases {
        outbox: 30 * second,
        claim: second,
        check: second,
    };
    let ids = IdSpace { first: 1, last: 9 };
    let (commands, _) = Commands::new(database.clone(), ids, leases);
    (server, database, commands)
}

/// With a body of so many bytes.
fn message(length: usize) -> Message {
    let row = outbox(None, NOON);
    let mut publication = message_in(&row).clone();
    publication.body = "x".repeat(length);
    Message {
        id: row.id,
        publication,
        delay: None,
    }
}

/// All processes share this limit, so that one more process can reach it.
#[tokio::test]
async fn a_server_that_has_no_room_for_more_statements_refuses_nothing() {
    let (server, _, commands) = own_server(Vec::new()).await;
    let mut administrator = MySqlConnection::connect(&server.admin_url()).await.unwrap();
    let enqueue = async |number: u32| {
        let messages = (0..number).map(|_| commands.enqueue(message(100)));
        futures::future::join_all(messages).await
    };
    for number in [1, 3, 4, 5, 7] {
        enqueue(number).await;
    }
    let count: (String, String) = sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")
        .persistent(false)
        .fetch_one(&mut administrator)
        .await
        .unwrap();
    let full = format!("SET GLOBAL max_prepared_stmt_count = {}", count.1);
    administrator.execute(AssertSqlSafe(full)).await.unwrap();

    for outcome in enqueue(60).await {
        outcome.unwrap();
    }
    let written = sqlx::raw_sql("SELECT COUNT(*) FROM payments.outbox");
    let written = written.fetch_one(&mut administrator).await.unwrap();
    assert_eq!(written.get::<i64, _>(0), 80);
}

#[tokio::test]
async fn only_a_message_longer_than_the_server_allows_is_refused() {
    let arguments = vec!["--max-allowed-packet=1048576".to_owned()];
    let (_server, database, commands) = own_server(arguments).await;
    let began = Instant::now();
    let lengths = (0..40).map(|index| if index == 20 { 3_000_000 } else { 100 });
    let outcomes =
        futures::future::join_all(lengths.map(|length| commands.enqueue(message(length)))).await;
    for (index, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_ok(), index != 20, "{index}: {outcome:?}");
    }
    let refused = outcomes[20].as_ref().unwrap_err();
    assert!(matches!(refused, StoreError::Rejected(_)), "{refused:?}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(database.outbox_depth().await.unwrap().total, 39);
}
