//! Queues that others have bound to the results: if one confirms nothing, work is not delayed.

use std::sync::Arc;
use std::time::Duration;

use payment_service::broker::rabbitmq::RabbitMq;
use payment_service::broker::{Broker, ConnectionState, Exchange, Publication, PublishError};
use tokio::time::{Instant, timeout};

use super::fixture::{blocking, eventually, is_up, message, options, publish, work};
use crate::support::servers::{Broker as Server, BrokerOptions, StuckSubscriber};

const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_subscriber_queue_without_confirms_delays_no_work() {
    let server = blocking(|| Server::start(&BrokerOptions::default()).unwrap()).await;
    let server = Arc::new(server);
    let asked = Arc::clone(&server);
    let vhost = blocking(move || asked.vhost().unwrap()).await;
    let url = server.url(&vhost);
    let mut quick = options(&url);
    quick.confirm_timeout = CONFIRM_TIMEOUT;
    let client = RabbitMq::new(quick);
    is_up(&client).await;
    let queue = StuckSubscriber::bind(&url).await.unwrap();
    publish(&client, result("before")).await;

    let (stuck, of) = (Arc::clone(&server), vhost.clone());
    blocking(move || StuckSubscriber::stick(&stuck, &of).unwrap()).await;
    let mut state = client.connection();
    state.mark_unchanged();
    let begin = Instant::now();
    let mixed = [result("one"), work("two"), result("three"), work("four")];
    let publishing_mixed = client.publish(&mixed);
    let publishing_work = async {
        let mut published = 0;
        while begin.elapsed() < CONFIRM_TIMEOUT * 2 {
            let asked = Instant::now();
            publish(&client, work("meanwhile")).await;
            assert!(asked.elapsed() < CONFIRM_TIMEOUT / 2, "work waited");
            published += 1;
        }
        published
    };
    let (mixed, published) = tokio::join!(publishing_mixed, publishing_work);
    let missing = Err(PublishError::NotConfirmed);
    assert_eq!(mixed, [missing.clone(), Ok(()), missing, Ok(())]);
    assert!(published > 10, "{published}");
    // The session for results has been reopened by now, which does not mean that the broker is down.
    assert!(!state.has_changed().unwrap(), "{:?}", *state.borrow());
    assert_eq!(*state.borrow(), ConnectionState::Up);

    let stuck = Arc::clone(&server);
    blocking(move || StuckSubscriber::unstick(&stuck, &vhost).unwrap()).await;
    eventually("results are confirmed again", || async {
        client.publish(&[result("after")]).await == [Ok(())]
    })
    .await;
    queue.delete().await.unwrap();
    timeout(Duration::from_secs(5), client.close())
        .await
        .unwrap();
}

fn result(body: &str) -> Publication {
    message(Exchange::Results, "payment.succeeded", body, false)
}
