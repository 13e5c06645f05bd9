//! TLS to the database and to the broker, with certificates of an extra CA.

use std::time::Duration;

use payment_service::broker::rabbitmq::{RabbitMq, RabbitMqOptions, parse_urls};
use payment_service::broker::{Broker as _, ConnectionState};
use payment_service::store::mysql::parse_url;
use payment_service::store::{Store, StoreError};
use tokio::net::TcpStream;

use crate::app::eventually;
use crate::support::certificates::Certificates;
use crate::support::servers::{Broker, BrokerOptions, Database, DatabaseOptions};

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_trusted_by_its_ca_and_host_name() {
    let certificates = Certificates::make();
    let with_tls = DatabaseOptions {
        tls: Some(certificates.server.clone()),
        ..DatabaseOptions::default()
    };
    let server = tokio::task::spawn_blocking(move || Database::start(&with_tls));
    let server = server.await.unwrap().unwrap();
    let reached = async |host: &str, options: &str| {
        let url = format!("mysql://root@{host}:{}/mysql?{options}", server.port());
        let database = Store::mysql(parse_url(&url).unwrap(), 4);
        let checked = database.check().await;
        database.close().await;
        match checked {
            // Connected, and the tables are missing.
            Ok(_) | Err(StoreError::Migration(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    };
    let identity = |authority: &str| {
        let file = certificates.file(authority);
        format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={file}")
    };
    assert_eq!(reached("localhost", &identity("right")).await, Ok(()));
    for (host, options) in [
        ("localhost", identity("wrong")),
        ("127.0.0.1", identity("right")),
        ("localhost", "ssl-mode=VERIFY_IDENTITY".to_owned()),
    ] {
        let refused = reached(host, &options).await.unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
        assert!(
            refused.contains("check ssl-mode, ssl-ca and the host name in DATABASE_URL"),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_trusted_by_its_ca_and_host_name() {
    let certificates = Certificates::make();
    let with_tls = BrokerOptions {
        tls: Some(certificates.server.clone()),
        ..BrokerOptions::default()
    };
    let server = tokio::task::spawn_blocking(move || Broker::start(&with_tls));
    let server = server.await.unwrap().unwrap();
    let (tls, plain) = (server.tls_port(), server.port());
    // It listens there a moment after it listens without TLS.
    eventually("it listens with TLS", || async {
        TcpStream::connect(("127.0.0.1", tls)).await.is_ok()
    })
    .await;
    let reached = async |scheme: &str, host: &str, port: u16, authority: Option<&str>| {
        let url = format!("{scheme}://guest:guest@{host}:{port}/test-0");
        let hosts = parse_urls(&url).unwrap();
        let hosts = match authority {
            Some(authority) => hosts.with_ca(&certificates.pem(authority)).unwrap(),
            None => hosts,
        };
        let broker = RabbitMq::new(RabbitMqOptions::new(hosts, "tls").unwrap());
        let mut connection = broker.connection();
        let settled = connection.wait_for(|state| match state {
            ConnectionState::Down(reason) => reason != "connecting",
            _ => true,
        });
        let settled = tokio::time::timeout(Duration::from_secs(20), settled).await;
        let settled = settled.expect("a word in time").unwrap().clone();
        broker.close().await;
        match settled {
            ConnectionState::Down(reason) => Err(reason),
            _ => Ok(()),
        }
    };
    assert_eq!(
        reached("amqps", "localhost", tls, Some("right")).await,
        Ok(())
    );
    for (host, port, authority) in [
        ("localhost", tls, Some("wrong")),
        ("127.0.0.1", tls, Some("right")),
        ("localhost", tls, None),
        // The broker has no TLS on this port: nothing is sent unencrypted instead.
        ("localhost", plain, Some("right")),
    ] {
        let refused = reached("amqps", host, port, authority).await.unwrap_err();
        assert!(refused.contains("no TLS connection"), "{refused}");
        assert!(refused.contains("AMQP_CA_FILE"), "{refused}");
    }
    assert!(reached("amqp", "localhost", tls, None).await.is_err());
}
