//! One connection through the proxy: two directions, each with a reader and a writer, so that a delay holds nothing
//! up but the bytes themselves.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Generation, Mode, Shared, lock,
    trigger::{Search, Side, Then},
};

/// Pieces in transit in one direction; a sender of more waits.
const UNDER_WAY: usize = 1024;

/// What both directions of a connection know.
struct Link<'a> {
    shared: &'a Shared,
    generation: &'a Generation,
    /// Ends this connection alone.
    reset: CancellationToken,
    /// The next bytes of the server are an answer that must not arrive.
    answer_withheld: AtomicBool,
    told: std::sync::Mutex<Option<oneshot::Sender<()>>>,
}

/// Ends a connection with a reset.
pub(super) fn reset(stream: &TcpStream) {
    // Dropped after this, it sends RST. One that is gone already needs none.
    let _ = stream.set_zero_linger();
}

/// Accepts everything and sends nothing.
pub(super) async fn swallow(client: &TcpStream, reset: &CancellationToken) {
    let taking = async {
        let mut bytes = [0; 4096];
        loop {
            if client.readable().await.is_err() {
                break;
            }
            match client.try_read(&mut bytes) {
                // Closed by the client: the other side of a black hole is not informed.
                Ok(0) | Err(_) => std::future::pending().await,
                Ok(_) => {}
            }
        }
    };
    tokio::select! {
        () = taking => {}
        () = reset.cancelled() => {}
    }
}

/// Carries both directions until both sides have closed, or one of them is gone, or it is reset.
pub(super) async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    shared: &Shared,
    generation: &Generation,
) {
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let link = Link {
        shared,
        generation,
        reset: generation.reset.child_token(),
        answer_withheld: AtomicBool::new(false),
        told: std::sync::Mutex::default(),
    };
    let closed = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::try_join!(
                carry(Side::Client, from_client, to_server, &link),
                carry(Side::Server, from_server, to_client, &link),
            )
        };
        tokio::select! {
            carried = both => carried.is_ok(),
            () = link.reset.cancelled() => false,
        }
    };
    if !closed {
        reset(&client);
        reset(&server);
    }
    drop((client, server));
    if let Some(told) = lock(&link.told).take() {
        // The waiting side may already be gone.
        let _ = told.send(());
    }
}

async fn carry(
    side: Side,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    link: &Link<'_>,
) -> io::Result<()> {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        let mut search = Search::default();
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = from.read(&mut bytes).await?;
            let mode = link.mode();
            if mode == Mode::BlackHole {
                if length == 0 {
                    // The other side is not informed.
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if length == 0 {
                return Ok(());
            }
            let piece = &bytes[..length];
            if link.withholds(side, &mut search, piece) {
                link.reset.cancel();
                std::future::pending::<()>().await;
            }
            let delay = match mode {
                Mode::Delay(time) => time,
                _ => Duration::ZERO,
            };
            if sender
                .send((Instant::now() + delay, piece.to_vec()))
                .await
                .is_err()
            {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            match link.mode() {
                Mode::BlackHole => {}
                Mode::ByteByByte => {
                    for byte in piece {
                        to.write_all(&[byte]).await?;
                        tokio::task::yield_now().await;
                    }
                }
                _ => to.write_all(&piece).await?,
            }
        }
        if link.mode() == Mode::BlackHole {
            std::future::pending::<()>().await;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|((), ())| ())
}

impl Link<'_> {
    fn mode(&self) -> Mode {
        self.shared.mode_of(self.generation)
    }

    /// Whether these bytes must not arrive, and the connection is to be reset.
    fn withholds(&self, side: Side, search: &mut Search, piece: &[u8]) -> bool {
        if side == Side::Server && self.answer_withheld.load(Ordering::Relaxed) {
            return true;
        }
        let mut armed = lock(&self.shared.armed);
        let Some((trigger, _)) = armed.as_ref().filter(|(trigger, _)| trigger.side == side) else {
            search.note(piece);
            return false;
        };
        if !search.finds(&trigger.pattern, piece) {
            return false;
        }
        let Some((trigger, told)) = armed.take() else {
            return false;
        };
        *lock(&self.told) = Some(told);
        match trigger.then {
            Then::Withhold => true,
            Then::WithholdAnswer => {
                self.answer_withheld.store(true, Ordering::Relaxed);
                false
            }
        }
    }
}
