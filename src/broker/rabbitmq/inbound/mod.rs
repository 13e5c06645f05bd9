//! Cleans everything that the broker sends before it reaches lapin, so that lapin can read it and its size is limited.
//!
//! RabbitMQ passes on properties, headers and bodies as any client has sent them. lapin ends the connection when a name
//! or a property is not UTF-8, overflows its stack on deeply nested headers, and collects bodies of any size. One such
//! message would stop everything else on its connection, so each frame is cleaned before lapin reads it, see [`frames`].
//! This code does not depend on the meaning of messages, and does not change outgoing bytes.

mod frames;
mod header;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures::Stream;
use futures::io::{AsyncRead, AsyncWrite};
use lapin::AsyncTcpStream;

use frames::Cleaner;

/// A plain or encrypted stream to the broker.
pub(super) type Wire = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// Bytes read from the socket at a time.
const READ: usize = 64 * 1024;

/// Bytes of dropped bodies after which lapin's thread does its other work, such as heartbeats.
const DROPPED_AT_ONCE: usize = 4 * 1024 * 1024;

/// Tokio, except that incoming bytes are cleaned.
#[derive(Debug, Clone)]
pub(super) struct Kit(Tokio);

impl Kit {
    /// A runtime kit for the current tokio runtime.
    pub(super) fn runtime() -> Runtime<Self> {
        Runtime::new(Self(Tokio::current()))
    }

    /// Connects without cleaning: TLS must be between the socket and [`Cleaned`].
    pub(super) async fn connect(addresses: Vec<SocketAddr>) -> io::Result<Wire> {
        AsyncTcpStream::connect(&Tokio::current(), addresses).await
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Cleaned<Wire>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Cleaned::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}

/// A stream whose incoming frames are cleaned.
pub(super) struct Cleaned<S> {
    stream: S,
    cleaner: Cleaner,
    received: Box<[u8]>,
    /// Clean bytes; those before `taken` have already been read.
    clean: Vec<u8>,
    taken: usize,
}

impl<S> Cleaned<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            cleaner: Cleaner::default(),
            received: vec![0; READ].into(),
            clean: Vec::new(),
            taken: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cleaned<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut received = 0;
        while this.taken == this.clean.len() {
            if received > DROPPED_AT_ONCE {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut this.received))?;
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            received += read;
            this.taken = 0;
            this.clean.clear();
            this.cleaner.push(&this.received[..read], &mut this.clean);
        }
        let ready = &this.clean[this.taken..];
        let read = ready.len().min(buffer.len());
        buffer[..read].copy_from_slice(&ready[..read]);
        this.taken += read;
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cleaned<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
