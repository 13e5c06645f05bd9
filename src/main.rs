//! Arguments → configuration → app, and the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    payment_service::tools::cli::main()
}
