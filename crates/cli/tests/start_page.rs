//! docs/start.md, command by command, as a newcomer would type it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it saw")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the page says first: this test's own build has done it.
const PREPARATION: &str = "cargo build --workspace --bins\n\
                           export CHECKOUT=\"$PWD\" PATH=\"$PWD/target/debug:$PATH\"\n";

#[test]
fn every_command_of_the_start_page_does_what_the_page_says() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let page = std::fs::read_to_string(checkout.join("docs/start.md")).unwrap();
    let mut blocks = shell_blocks(&page);
    assert_eq!(blocks.remove(0), PREPARATION, "the preparation is not what this test replaces");
    let (server, web) = (free_port(), free_port());
    // Others use these ports too.
    let commands = blocks.concat().replace("8443", &server).replace("8080", &web);

    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("page.sh");
    let programs = Path::new(env!("CARGO_BIN_EXE_handover")).parent().unwrap().to_owned();
    for name in ["handover-agent", "handover-launch", "handover-upgrade", "handover-sample-web"] {
        let program = programs.join(name);
        assert!(
            program.exists(),
            "{} is missing: cargo build --workspace --bins",
            program.display()
        );
    }
    // Whatever fails ends the page, and what it started.
    let head = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\nset -x\n";
    #[expect(clippy::disallowed_methods, reason = "a test's input, not a host's file")]
    std::fs::write(&script, format!("{head}{}", with_port(&commands, &web))).unwrap();

    let output = Command::new("bash")
        .arg(&script)
        .current_dir(&checkout)
        .env("HOME", home.path())
        .env("CHECKOUT", sample_checkout(&checkout, &programs, home.path()))
        .env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()))
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("HANDOVER_CONTEXT")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}\n{err}");
    assert!(output.status.success(), "the page failed: {}", output.status);
    for (what, wanted) in [
        ("the first order", "done"),
        ("the broken version", "exit code 4"),
        ("the trail", "rows hang together"),
    ] {
        assert!(out.contains(wanted), "{what}: {wanted:?} is not in the output");
    }
    let answers: Vec<&str> = out.lines().filter(|line| line.contains("\"version\"")).collect();
    println!("{answers:?}");
    assert!(!home.path().join("handover-trial").exists(), "something was left behind");
}

/// The content of every fenced block that is shell.
fn shell_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == "```sh") {
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n") + "\n");
    }
    blocks
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// The service listens where its release says by default: on the page's port, here on `port`.
fn with_port(commands: &str, port: &str) -> String {
    let mut all = Vec::new();
    for line in commands.lines() {
        all.push(line.to_owned());
        if let Some((_, directory)) = line.rsplit_once(' ').filter(|_| line.contains("/assemble "))
        {
            all.push(format!("sed -i 's/8080/{port}/' {directory}/release.yaml"));
        }
    }
    all.join("\n") + "\n"
}

/// A checkout as the page knows it: its examples, and the programs where cargo puts them.
fn sample_checkout(checkout: &Path, programs: &Path, home: &Path) -> PathBuf {
    let sample = home.join("checkout");
    std::fs::create_dir_all(sample.join("target")).unwrap();
    std::os::unix::fs::symlink(checkout.join("examples"), sample.join("examples")).unwrap();
    std::os::unix::fs::symlink(programs, sample.join("target/debug")).unwrap();
    sample
}
