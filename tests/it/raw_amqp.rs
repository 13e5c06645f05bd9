//! Messages that no client library sends: properties and headers byte for byte, by AMQP 0-9-1 frames.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// Bits of the properties, as the flags of a content header have them.
pub const HEADERS: u16 = 1 << 13;
pub const CORRELATION_ID: u16 = 1 << 10;
pub const MESSAGE_ID: u16 = 1 << 7;

/// A connection with one channel, whose messages are confirmed.
pub struct RawPublisher {
    stream: TcpStream,
    /// Messages that are not confirmed yet, by their number on the channel.
    unconfirmed: BTreeSet<u64>,
    sent: u64,
}

impl RawPublisher {
    /// Logs in as guest.
    pub async fn connect(url: &str) -> Self {
        let (_, rest) = url.split_once('@').unwrap();
        let (address, vhost) = rest.split_once('/').unwrap();
        let mut this = Self {
            stream: TcpStream::connect(address).await.unwrap(),
            unconfirmed: BTreeSet::new(),
            sent: 0,
        };
        this.stream.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        this.read().await;
        // Connection.StartOk, TuneOk and Open; Channel.Open.
        let login = [
            &[0, 10, 0, 11, 0, 0, 0, 0][..],
            &short(b"PLAIN"),
            &[0, 0, 0, 12],
            b"\0guest\0guest",
            &short(b"en_US"),
        ];
        this.write(METHOD, 0, &login.concat()).await;
        this.read().await;
        let tuned = [0, 10, 0, 31, 7, 255, 0, 2, 0, 0, 0, 0];
        this.write(METHOD, 0, &tuned).await;
        let open = [&[0, 10, 0, 40][..], &short(vhost.as_bytes()), &[0, 0]].concat();
        this.write(METHOD, 0, &open).await;
        this.read().await;
        this.write(METHOD, 1, &[0, 20, 0, 10, 0]).await;
        this.read().await;
        // Confirm.Select: what is still on its way to a queue when its channel is closed can be lost.
        this.write(METHOD, 1, &[0, 85, 0, 10, 0]).await;
        this.read().await;
        this
    }

    /// Publishes with the properties of these flags, in their order.
    pub async fn publish(&mut self, to: (&str, &str), flags: u16, properties: &[u8], body: &[u8]) {
        let (exchange, routing_key) = to;
        let publish = [
            &[0, 60, 0, 40, 0, 0][..],
            &short(exchange.as_bytes()),
            &short(routing_key.as_bytes()),
            &[0],
        ];
        self.write(METHOD, 1, &publish.concat()).await;
        let header = [
            &[0, 60, 0, 0][..],
            &(body.len() as u64).to_be_bytes(),
            &flags.to_be_bytes(),
            properties,
        ];
        self.write(HEADER, 1, &header.concat()).await;
        for part in body.chunks(131_064) {
            self.write(BODY, 1, part).await;
        }
        self.sent += 1;
        self.unconfirmed.insert(self.sent);
    }

    /// Returns when the broker has confirmed all of it.
    pub async fn close(mut self) {
        while !self.unconfirmed.is_empty() {
            let answer = self.read().await;
            // Basic.Ack: the message's number, and whether those before it are meant as well.
            assert_eq!(answer[..4], [0, 60, 0, 80], "not a confirm");
            let number = u64::from_be_bytes(answer[4..12].try_into().unwrap());
            match answer[12] {
                0 => drop(self.unconfirmed.remove(&number)),
                _ => self.unconfirmed.retain(|other| *other > number),
            }
        }
        self.write(METHOD, 1, &[0, 20, 0, 40, 0, 200, 0, 0, 0, 0, 0])
            .await;
        self.read().await;
    }

    async fn write(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let frame = [
            &[kind][..],
            &channel.to_be_bytes(),
            &length.to_be_bytes(),
            payload,
            &[0xce],
        ];
        self.stream.write_all(&frame.concat()).await.unwrap();
    }

    /// The payload of the next frame, and its last byte.
    async fn read(&mut self) -> Vec<u8> {
        let reading = async {
            let mut head = [0; 7];
            self.stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
            let mut rest = vec![0; usize::try_from(length).unwrap() + 1];
            self.stream.read_exact(&mut rest).await.unwrap();
            // Connection.Close or Channel.Close would say what was wrong.
            assert!(
                !matches!(rest[..4], [0, 10, 0, 50] | [0, 20, 0, 40]),
                "{}",
                String::from_utf8_lossy(&rest)
            );
            rest
        };
        tokio::time::timeout(Duration::from_secs(60), reading)
            .await
            .expect("an answer in time")
    }
}

/// A short text: one byte of length.
pub fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

/// A long text, or a table: four bytes of length.
pub fn long(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
}

/// Lists within lists, as one header. RabbitMQ itself takes seconds for the deepest that fit into a frame.
pub fn deep_header() -> Vec<u8> {
    let mut nested = b"V".to_vec();
    for _ in 0..100 {
        nested = [b"A", &long(&nested)[..]].concat();
    }
    [&short(b"deep")[..], &nested].concat()
}
