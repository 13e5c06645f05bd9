//! `ADMIN_ADDR`, the one variable that some commands read without the others, and who may open the operators' page:
//! `ADMIN_HOSTS`, `ADMIN_FILE`.

use std::net::SocketAddr;
use std::path::Path;

use super::reader::{Fault, Reader};
use crate::clients::operators::Operators;

/// Who may open the operators' page.
#[derive(Debug, Clone, Default)]
pub struct AdminSettings {
    /// `ADMIN_HOSTS`: further names, each with its port, under which the page may be opened; in lower case.
    pub hosts: Vec<String>,
    /// `ADMIN_FILE`: who may log in.
    pub operators: Option<Operators>,
}

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

pub(super) fn settings(reader: &mut Reader<'_>) -> AdminSettings {
    let wanted =
        "host names, each with its port unless it is that of http or https, separated by commas";
    let hosts = reader.optional("ADMIN_HOSTS", wanted, |text| {
        text.split(',').map(|name| host(name.trim())).collect()
    });
    let operators = reader.text("ADMIN_FILE").and_then(|file| {
        let loaded = Operators::load(Path::new(&file));
        reader.checked("ADMIN_FILE", loaded)
    });
    AdminSettings {
        hosts: hosts.unwrap_or_default(),
        operators,
    }
}

/// A host as browsers send it, perhaps with a port.
fn host(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    let is_host = !name.is_empty() && name.chars().all(allowed);
    is_host.then(|| name.to_ascii_lowercase())
}
