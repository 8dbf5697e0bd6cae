//! The agent's program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(handover_agent::commands::main())
}
