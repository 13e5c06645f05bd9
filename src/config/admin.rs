//! `ADMIN_ADDR`: the one variable that some commands read without the others.

use std::net::SocketAddr;

use super::reader::{Fault, Reader};

/// Reads only `ADMIN_ADDR`, for commands that need nothing else.
pub fn admin_addr(variable: &dyn Fn(&str) -> Option<String>) -> Result<SocketAddr, Vec<Fault>> {
    let mut reader = Reader::new(variable);
    let address = read(&mut reader);
    reader.finish(address)
}

pub(super) fn read(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    reader.parsed(
        "ADMIN_ADDR",
        "127.0.0.1:9009",
        "an address such as 127.0.0.1:9009",
    )
}
