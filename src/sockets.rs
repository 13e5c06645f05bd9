//! Second handles on the TCP sockets of this process, to set `TCP_NODELAY` if a library neither sets it nor exposes its
//! socket. Only sqlx 0.9.0 needs this, see docs/adr/adr020-tcp-nodelay.md; on all other sockets it is set when they are
//! opened or accepted.
//!
//! To get a handle, the process sends the descriptor's number to itself over a Unix socket (`SCM_RIGHTS`), which needs
//! no unsafe code and no right that a container lacks. The file system must have `/proc/self/fd`, as on Linux.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::vec;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// The descriptors of this process, as files named by their numbers.
const DESCRIPTORS: &str = "/proc/self/fd";

/// Second handles on the connected TCP sockets of this process, one after the other.
#[derive(Debug)]
pub struct TcpSockets {
    numbers: vec::IntoIter<RawFd>,
    channel: Channel,
}

/// The connected TCP sockets that this process has open now, whichever library opened them. A handle keeps its socket
/// open: drop it soon.
pub fn connected_tcp_sockets() -> io::Result<TcpSockets> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(DESCRIPTORS)? {
        let number = entry?.file_name();
        numbers.extend(
            number
                .to_str()
                .and_then(|number| number.parse::<RawFd>().ok()),
        );
    }
    Ok(TcpSockets {
        numbers: Vec::into_iter(numbers),
        channel: Channel::open()?,
    })
}

/// Sets `TCP_NODELAY` on each connection of this process to one of these ports. Returns the number of connections.
pub fn set_nodelay_to(ports: &[u16]) -> io::Result<usize> {
    let mut found = 0;
    for socket in connected_tcp_sockets()? {
        // The other side may close a socket at any time; then options can no longer be set.
        let Ok(peer) = socket.peer_addr() else {
            continue;
        };
        if ports.contains(&peer.port()) {
            socket.set_nodelay(true)?;
            found += 1;
        }
    }
    Ok(found)
}

impl Iterator for TcpSockets {
    type Item = TcpStream;

    fn next(&mut self) -> Option<TcpStream> {
        let channel = &self.channel;
        self.numbers.find_map(|number| {
            // Only sockets are duplicated: closing a second handle on a file would release its locks.
            if !is_socket(number) {
                return None;
            }
            // Another thread may have closed it in the meantime.
            let socket = TcpStream::from(channel.duplicate(number).ok()??);
            // Listeners, and Unix sockets, have no peer with an Internet address.
            socket.peer_addr().ok().map(|_| socket)
        })
    }
}

fn is_socket(number: RawFd) -> bool {
    fs::metadata(format!("{DESCRIPTORS}/{number}"))
        .is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Two Unix sockets that are connected to each other.
#[derive(Debug)]
struct Channel {
    sender: UnixDatagram,
    receiver: UnixDatagram,
}

impl Channel {
    fn open() -> io::Result<Self> {
        let (sender, receiver) = UnixDatagram::pair()?;
        // A blocking receiver could wait for ever, and sent data is available at once.
        receiver.set_nonblocking(true)?;
        Ok(Self { sender, receiver })
    }

    /// Returns none if the process may not open another file.
    fn duplicate(&self, number: RawFd) -> io::Result<Option<OwnedFd>> {
        sendmsg::<()>(
            self.sender.as_raw_fd(),
            &[IoSlice::new(&[0])],
            &[ControlMessage::ScmRights(&[number])],
            MsgFlags::empty(),
            None,
        )?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut received = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(
            &self.receiver,
            &mut [IoSliceMut::new(&mut byte)],
            &mut received,
            // Child processes must not inherit it.
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut descriptors = received.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        Ok(descriptors.next().and_then(|mut found| found.next()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("a connection");
        let (server, _) = listener.accept().expect("the other end");
        (client, server)
    }

    fn port(socket: &TcpStream) -> u16 {
        socket.local_addr().expect("an address").port()
    }

    #[test]
    fn an_option_set_on_a_duplicated_handle_applies_to_the_socket() {
        let (client, server) = connection();
        assert!(set_nodelay_to(&[port(&server)]).expect("descriptors") >= 1);
        assert!(client.nodelay().expect("an option"));
        let is_set = server.nodelay().expect("an option");
        assert!(!is_set, "it leads to another port");
        set_nodelay_to(&[1, port(&client)]).expect("descriptors");
        assert!(server.nodelay().expect("an option"));
    }

    #[test]
    fn duplicated_handles_are_closed() {
        let (client, mut server) = connection();
        assert!(set_nodelay_to(&[port(&server)]).expect("descriptors") >= 1);
        drop(client);
        let longest = Some(Duration::from_secs(10));
        server.set_read_timeout(longest).expect("an option");
        let read = server.read(&mut [0]).expect("the connection's end");
        assert_eq!(read, 0);
    }

    #[test]
    fn no_socket_is_found_for_an_unconnected_port() {
        assert_eq!(set_nodelay_to(&[1]).expect("descriptors"), 0);
    }
}
