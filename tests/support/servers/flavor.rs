//! Which servers: the oldest that the service supports, or the newest.

use std::{env, fmt, path::PathBuf};

use super::{Result, ServerError};

/// The oldest and the newest supported servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// MariaDB 10.11 and RabbitMQ 3.10, or whatever the machine's own packages are.
    Old,
    /// MySQL 9 and RabbitMQ 4 in a separate folder, run under chroot, because the machine's release does not have them.
    New,
}

impl Flavor {
    /// `TEST_SERVERS`: `old` (the default) or `new`.
    pub fn from_env() -> Result<Self> {
        match env::var("TEST_SERVERS").as_deref() {
            Err(_) | Ok("" | "old") => Ok(Self::Old),
            Ok("new") => Ok(Self::New),
            Ok(other) => Err(ServerError::Given {
                variable: "TEST_SERVERS",
                reason: format!("{other:?} is neither old nor new"),
            }),
        }
    }

    /// The folder that the servers see as `/`: `TEST_SERVERS_ROOT`, else the one that scripts/test builds.
    pub(super) fn root(self) -> Result<PathBuf> {
        if self == Self::Old {
            return Ok(PathBuf::from("/"));
        }
        let root = match (env::var_os("TEST_SERVERS_ROOT"), env::var_os("HOME")) {
            (Some(root), _) if !root.is_empty() => PathBuf::from(root),
            (_, Some(home)) => PathBuf::from(home).join(".cache/payment-service/servers-new"),
            _ => PathBuf::from("/var/cache/payment-service/servers-new"),
        };
        if root.join("usr/sbin/mysqld").exists() {
            return Ok(root);
        }
        Err(ServerError::Missing {
            what: format!("the folder with MySQL 9 and RabbitMQ 4, {},", root.display()),
            remedy: "run `scripts/test --servers new` as root on Debian or Ubuntu, which builds it, or set \
                     TEST_SERVERS_ROOT to a debootstrap of sid that includes mysql-server-core and rabbitmq-server"
                .to_owned(),
        })
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "old",
            Self::New => "new",
        })
    }
}
