//! Ends a connection that this side closes: first closes it for writing, then reads and discards what still arrives for a
//! while, so that the caller gets the last answer even if it is still sending.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// How long this may take in total.
const LONGEST: Duration = Duration::from_secs(5);
/// A caller that has sent nothing for this long has had time to read its answer.
const SILENCE: Duration = Duration::from_secs(1);
/// How many bytes are discarded at most.
const MOST: usize = 16 * 1024 * 1024;

/// Ends when the caller has closed its side as well, or at one of the limits.
pub(super) async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; 16 * 1024];
    let (end, mut left) = (Instant::now() + LONGEST, MOST);
    while left > 0 {
        let until = end.min(Instant::now() + SILENCE);
        match timeout_at(until, stream.read(&mut buffer)).await {
            Ok(Ok(length @ 1..)) => left = left.saturating_sub(length),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    async fn lingered(caller: impl AsyncFnOnce(DuplexStream)) -> Duration {
        let (near, mut far) = duplex(1024);
        let begin = Instant::now();
        tokio::select! {
            () = async { caller(near).await; std::future::pending().await } => Duration::ZERO,
            () = linger(&mut far) => begin.elapsed(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_once_when_the_caller_closes() {
        assert!(lingered(async |near| drop(near)).await < SILENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_caller_is_disconnected_after_a_second() {
        let took = lingered(async |_near| std::future::pending().await).await;
        assert_eq!(took.as_secs(), SILENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_sends_single_bytes_is_disconnected_after_five_seconds() {
        let slow = async |mut near: DuplexStream| {
            while near.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SILENCE / 2).await;
            }
        };
        assert_eq!(lingered(slow).await.as_secs(), LONGEST.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_never_stops_sending_is_disconnected_after_16_mib() {
        let (mut near, mut far) = duplex(1024);
        let sending = async {
            let mut sent = 0;
            while near.write_all(&[0; 1024]).await.is_ok() {
                sent += 1024;
            }
            sent
        };
        let (sent, ()) = tokio::join!(sending, async {
            linger(&mut far).await;
            drop(far);
        });
        assert!((MOST..=MOST + 4096).contains(&sent), "{sent}");
    }
}
