//! The stock entrypoint of a package; see `handover_agent::upgrade`.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(handover_agent::upgrade::main(std::env::args().skip(1)))
}
