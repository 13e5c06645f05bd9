//! Free ports, and waiting until a server answers on them.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Below the range from which Linux takes the ports of outgoing connections. In that range, a client that keeps
/// trying a server that is down can connect to itself, and the server then finds its port taken when it comes back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port of 127.0.0.1 that is free now and given out once in this process. Another process may take it
/// before it is used: then the start is repeated with another.
pub fn free() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let span = u64::from(PORTS.end - PORTS.start);
    loop {
        // RandomState is the standard library's only source of randomness.
        let offset = RandomState::new().hash_one(()) % span;
        let port = PORTS.start + u16::try_from(offset).unwrap_or_default();
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = given.get_or_insert_default().insert(port);
        if is_new && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Starts something that needs ports, again on others if one was taken between choosing and using it.
pub fn tried_again<T, E>(mut start: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    const MORE: u32 = 2;
    for _ in 0..MORE {
        if let Ok(started) = start() {
            return Ok(started);
        }
    }
    start()
}

/// Repeats `ready` until it returns true or an error, or the time is over (false).
pub fn eventually<E>(
    limit: Duration,
    mut ready: impl FnMut() -> Result<bool, E>,
) -> Result<bool, E> {
    let deadline = Instant::now() + limit;
    loop {
        if ready()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether connections are accepted there.
pub fn is_open(port: u16) -> bool {
    connect(port).is_some()
}

fn connect(port: u16) -> Option<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()
}

/// Whether the server on this port, spoken to with `hello`, answers with bytes that `accepts` takes. An open port is
/// not enough: servers listen before they serve.
pub fn answers(port: u16, hello: &[u8], accepts: impl Fn(&[u8]) -> bool) -> bool {
    let Some(mut stream) = connect(port) else {
        return false;
    };
    let mut answer = [0_u8; 64];
    let asked = stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .and_then(|()| stream.write_all(hello));
    match asked.and_then(|()| stream.read(&mut answer)) {
        Ok(length) => accepts(&answer[..length]),
        Err(_) => false,
    }
}
