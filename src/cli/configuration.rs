//! Loads the configuration for a command, or prints everything that is wrong with it.

use std::process::ExitCode;

use crate::config::{Config, Fault, Role};

/// sysexits.h: the configuration cannot be used.
const EX_USAGE: u8 = 64;

/// The configuration, or the exit code after all its faults were printed.
pub fn load(role: Role) -> Result<Config, ExitCode> {
    load_with(role, &|name| std::env::var(name).ok())
}

/// Like [`load`], with other variables than the environment's.
pub fn load_with(
    role: Role,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ExitCode> {
    Config::load(role, variable).map_err(|faults| report(&faults))
}

fn report(faults: &[Fault]) -> ExitCode {
    crate::errln!(
        "payment-service cannot start; the configuration has {} fault(s):",
        faults.len()
    );
    for fault in faults {
        crate::errln!("  {fault}");
    }
    ExitCode::from(EX_USAGE)
}
