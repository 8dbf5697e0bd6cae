//! The launcher: see [`handover_agent::launch`].

use std::process::ExitCode;

fn main() -> ExitCode {
    // Anything that is no UTF-8 is no name and no root of ours.
    let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    ExitCode::from(handover_agent::launch::main(arguments))
}
