//! A network that takes its time: whatever is sent arrives later by half of a round trip, however much is under way.
//! Threads, not tasks: a runtime's timers know whole milliseconds only.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Forwards a free port of loopback to this one for as long as the bench runs, and returns the port.
pub fn before(target: u16, round_trip: Duration) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, target));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(target) else {
                continue;
            };
            for (from, to) in [(&client, &server), (&server, &client)] {
                to.set_nodelay(true).expect("an option");
                let (from, to) = (from.try_clone(), to.try_clone());
                carry(
                    from.expect("a handle"),
                    to.expect("a handle"),
                    round_trip / 2,
                );
            }
        }
    });
    port
}

/// One direction: a thread that reads and one that writes when it is time.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, pieces) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            let piece = (Instant::now() + delay, bytes[..length].to_vec());
            if sender.send(piece).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in pieces {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
