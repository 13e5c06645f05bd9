//! A TCP proxy between a client and a server, whose faults are switched while connections are open.
//!
//! It has a separate thread, so that it works while a test blocks, and ends when its handle is dropped. It knows
//! nothing of TLS: a [`Trigger`] reads the traffic.

#![allow(
    dead_code,
    reason = "each binary that includes this uses its own part of it"
)]

mod link;
mod trigger;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime,
    sync::{oneshot, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use trigger::{Trigger, Tripped};

/// What the proxy does to the bytes, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// Every connection is reset, and so is every new one.
    Cut,
    /// Every connection is reset, and nobody listens any more: new ones are refused.
    Refuse,
    /// Connections stay open, new ones are accepted, and all data is dropped: half-open on both sides. Those that were
    /// open meanwhile are reset at the end, because bytes are missing.
    BlackHole,
    /// Every byte arrives this much later, however many are in transit.
    Delay(Duration),
    /// Every byte is a separate segment.
    ByteByByte,
}

/// Forwards 127.0.0.1:`port` to its target. Dropped, it resets its connections and stops listening.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

/// What the handle and the connections share.
#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    mode: watch::Sender<Mode>,
    /// The generation of new connections.
    generation: Mutex<Arc<Generation>>,
    armed: Mutex<Option<(Trigger, oneshot::Sender<()>)>>,
    end: CancellationToken,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

/// Connections that are switched and reset together.
#[derive(Debug)]
struct Generation {
    reset: CancellationToken,
    silent: AtomicBool,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        // Keeps the port while nobody listens.
        let place = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = place.local_addr()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _in = runtime.enter();
            bound(address)?.listen(BACKLOG)?
        };
        let end = CancellationToken::new();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            mode: watch::Sender::new(Mode::Pass),
            generation: Mutex::new(Generation::within(&end)),
            armed: Mutex::default(),
            end,
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let served = Arc::clone(&shared);
        thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || runtime.block_on(listen(place, listener, served)))?;
        let port = address.port();
        Ok(Self { port, shared })
    }

    /// In front of the one server that a URL names (`scheme://login@host:port/rest`).
    pub fn before(url: &str) -> io::Result<Self> {
        let target = authority(url).parse().map_err(io::Error::other)?;
        Self::start(target)
    }

    /// The same URL through this proxy.
    pub fn url(&self, url: &str) -> String {
        url.replacen(authority(url), &self.address().to_string(), 1)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Switches for all connections, old and new.
    pub fn set(&self, mode: Mode) {
        let former = self.shared.mode.send_replace(mode);
        if matches!(mode, Mode::Cut | Mode::Refuse) || (former == Mode::BlackHole && mode != former)
        {
            self.reset_all();
        }
    }

    /// Resets the connections that are open now; new ones pass.
    pub fn reset_all(&self) {
        self.next_generation().reset.cancel();
    }

    /// Connections that are open now stay open and all their data is dropped; new ones work. This happens
    /// when a firewall in between has forgotten them.
    pub fn silence_all(&self) {
        self.next_generation().silent.store(true, Ordering::Relaxed);
    }

    /// Returns the former one.
    fn next_generation(&self) -> Arc<Generation> {
        let next = Generation::within(&self.shared.end);
        std::mem::replace(&mut *lock(&self.shared.generation), next)
    }

    /// Sets the target of new connections; open ones keep theirs.
    pub fn forward_to(&self, target: SocketAddr) {
        *lock(&self.shared.target) = target;
    }

    /// Resets the next connection that the trigger fits, once, and no other. Replaces a trigger that waits.
    pub fn cut_at(&self, trigger: Trigger) -> Tripped {
        let (told, tripped) = oneshot::channel();
        *lock(&self.shared.armed) = Some((trigger, told));
        Tripped::new(tripped)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.end.cancel();
    }
}

impl Generation {
    fn within(end: &CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            reset: end.child_token(),
            silent: AtomicBool::new(false),
        })
    }
}

impl Shared {
    fn mode_of(&self, generation: &Generation) -> Mode {
        if generation.silent.load(Ordering::Relaxed) {
            Mode::BlackHole
        } else {
            *self.mode.borrow()
        }
    }
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Several sockets can have one address.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn listen(place: TcpSocket, listener: TcpListener, shared: Arc<Shared>) {
    let connections = TaskTracker::new();
    let mut modes = shared.mode.subscribe();
    let mut listener = Some(listener);
    loop {
        let refuses = *modes.borrow_and_update() == Mode::Refuse;
        if refuses || listener.is_none() {
            let again = || bound(place.local_addr()?)?.listen(BACKLOG);
            listener = (!refuses).then(again).and_then(io::Result::ok);
        }
        let accepted = tokio::select! {
            accepted = accept(listener.as_ref()) => accepted,
            _ = modes.changed() => continue,
            () = shared.end.cancelled() => break,
        };
        // For example, out of file descriptors; the next may succeed.
        let Ok((client, _)) = accepted else {
            tokio::task::yield_now().await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let generation = Arc::clone(&lock(&shared.generation));
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            shared.open.fetch_add(1, Ordering::Relaxed);
            serve(client, &shared, &generation).await;
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    // Each is reset before the runtime ends.
    connections.close();
    connections.wait().await;
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn serve(client: TcpStream, shared: &Shared, generation: &Generation) {
    match shared.mode_of(generation) {
        Mode::Cut | Mode::Refuse => return link::reset(&client),
        Mode::BlackHole => {
            link::swallow(&client, &generation.reset).await;
            return link::reset(&client);
        }
        _ => {}
    }
    let target = *lock(&shared.target);
    let connected = tokio::select! {
        connected = TcpStream::connect(target) => connected.ok(),
        () = generation.reset.cancelled() => None,
    };
    match connected {
        Some(server) => link::forward(client, server, shared, generation).await,
        None => link::reset(&client),
    }
}

/// `host:port` of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let login_and_host = &rest[..end];
    login_and_host
        .rsplit_once('@')
        .map_or(login_and_host, |(_, host)| host)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
