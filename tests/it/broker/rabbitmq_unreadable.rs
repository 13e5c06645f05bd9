//! A message that lapin cannot read: RabbitMQ passes on properties that are not UTF-8 as they were sent.

use std::time::Duration;

use payment_service::broker::{Exchange, Queue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::place::{Place, depth_becomes, is_registered, message, next, publish, text, work};

#[tokio::test]
async fn it_ends_as_a_dead_letter_and_neither_its_neighbours_nor_other_queues_suffer() {
    let place = Place::rabbitmq().await;
    let client = place.client().await;
    let client = &*client;
    let order = |body: &str| message(Exchange::Requests, "order.payment", body, true);
    publish(client, order("before")).await;
    publish_unreadable(&place).await;
    for number in 0..20 {
        publish(client, order(&format!("behind {number}"))).await;
    }
    depth_becomes(client, Queue::Requests, 22).await;

    let mut working = client.consume(Queue::Work, 10);
    is_registered(&working).await;
    working.registered.mark_unchanged();
    let mut requests = client.consume(Queue::Requests, 256);
    let mut seen = Vec::new();
    while seen.len() < 21 {
        let delivery = next(&mut requests).await;
        seen.push(text(&delivery).to_owned());
        delivery.settle.acknowledge().await;
        // A connection that has ended delivers again what was not yet acknowledged.
        seen.sort();
        seen.dedup();
    }
    // The consumer of another queue has not noticed anything.
    assert!(!working.registered.has_changed().unwrap());
    publish(client, work("meanwhile")).await;
    next(&mut working).await.settle.acknowledge().await;
    depth_becomes(client, Queue::Requests, 0).await;
    depth_becomes(client, Queue::DeadLetters, 1).await;
    client.close().await;
}

/// An order whose `message_id` is two bytes that no text has.
async fn publish_unreadable(place: &Place) {
    let Place::RabbitMq { url, .. } = place else {
        panic!("not at RabbitMQ")
    };
    let (_, rest) = url.split_once('@').unwrap();
    let (address, vhost) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    read_frame(&mut stream).await;
    // Connection.StartOk, TuneOk and Open; Channel.Open.
    let login = [
        &[0, 10, 0, 11, 0, 0, 0, 0][..],
        &short(b"PLAIN"),
        &[0, 0, 0, 12],
        b"\0guest\0guest",
        &short(b"en_US"),
    ];
    write_frame(&mut stream, 1, 0, &login.concat()).await;
    read_frame(&mut stream).await;
    write_frame(&mut stream, 1, 0, &[0, 10, 0, 31, 7, 255, 0, 2, 0, 0, 0, 0]).await;
    let open = [&[0, 10, 0, 40][..], &short(vhost.as_bytes()), &[0, 0]].concat();
    write_frame(&mut stream, 1, 0, &open).await;
    read_frame(&mut stream).await;
    write_frame(&mut stream, 1, 1, &[0, 20, 0, 10, 0]).await;
    read_frame(&mut stream).await;
    // Basic.Publish, a header with one property, and the body.
    let publish = [
        &[0, 60, 0, 40, 0, 0][..],
        &short(b"payments.requests"),
        &short(b"order.payment"),
        &[0],
    ];
    write_frame(&mut stream, 1, 1, &publish.concat()).await;
    const MESSAGE_ID: u16 = 1 << 7;
    let header = [
        &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2][..],
        &MESSAGE_ID.to_be_bytes(),
        &short(&[0xff, 0xfe]),
    ];
    write_frame(&mut stream, 2, 1, &header.concat()).await;
    write_frame(&mut stream, 3, 1, b"{}").await;
    // Channel.Close; its answer says that all before it is done.
    write_frame(&mut stream, 1, 1, &[0, 20, 0, 40, 0, 200, 0, 0, 0, 0, 0]).await;
    read_frame(&mut stream).await;
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

async fn write_frame(stream: &mut TcpStream, kind: u8, channel: u16, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap();
    let frame = [
        &[kind][..],
        &channel.to_be_bytes(),
        &length.to_be_bytes(),
        payload,
        &[0xce],
    ];
    stream.write_all(&frame.concat()).await.unwrap();
}

async fn read_frame(stream: &mut TcpStream) {
    let reading = async {
        let mut head = [0; 7];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut rest = vec![0; usize::try_from(length).unwrap() + 1];
        stream.read_exact(&mut rest).await.unwrap();
        // Connection.Close or Channel.Close would say what was wrong.
        assert!(
            !matches!(rest[..4], [0, 10, 0, 50] | [0, 20, 0, 40]),
            "{}",
            String::from_utf8_lossy(&rest)
        );
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .expect("an answer in time");
}
