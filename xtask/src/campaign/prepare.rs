//! What every run begins with: three states of a repository, and a host on which 1.0.0 serves.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use anyhow::{Context as _, ensure};
use camino::Utf8Path;

use super::keeper::keep;
use super::points::Role;
use super::run::{Told, offer};
use super::stage::{REPOSITORY, SERVICE, Stage};
use crate::cast::{Cast, Web};
use crate::{command, dist, served};

/// Builds the programs and publishes 1.0.0, 1.1.0 (which migrates the state, brings configuration
/// and writes a file outside its slot) and 1.2.0; keeps the repository as it is after each.
///
/// # Errors
/// When a build or the command line fails.
pub(super) fn releases(share: &Utf8Path) -> anyhow::Result<()> {
    command::run(Command::new("cargo").args([
        "build",
        "--quiet",
        "--workspace",
        "--exclude",
        "xtask",
        "--bins",
    ]))?;
    if share.exists() {
        fs::remove_dir_all(share).with_context(|| format!("remove {share}"))?;
    }
    let programs = Utf8Path::new("target/debug");
    let cast = Cast::begin(&share.join("cast"), programs, &["web"])?;
    for (number, version) in [(1, "1.0.0"), (2, "1.1.0"), (3, "1.2.0")] {
        let web = Web {
            version,
            sequence: number,
            schema: if number == 1 { 1 } else { 2 },
            behaviour: "",
            more: "return_within: 60s\n",
            window: "6s",
            stable_for: "200ms",
        };
        let source = share.join("cast").join(version);
        web.lay_out(&source, &programs.join("handover-sample-web"))?;
        cast.publish(&source)?;
        cast.keep(&share.join(format!("repository-{number}")))?;
    }
    Ok(())
}

/// Installs 1.0.0 on a host and keeps its root.
///
/// # Errors
/// When the installation fails.
pub(super) fn root(stage: &Stage, share: &Utf8Path) -> anyhow::Result<Told> {
    offer(stage, share, 1)?;
    served::serve(&stage.dir.join("repository"), REPOSITORY)?;
    let root = stage.root();
    let policy = format!(
        "agent: campaign\nrepository:\n  metadata: http://{REPOSITORY}/metadata\n  targets: \
         http://{REPOSITORY}/targets\npoll: 1h\ncomponents:\n  - name: web\n"
    );
    let anchor = stage.dir.join("repository/metadata/1.root.json");
    let address = format!("http://{REPOSITORY}");
    let begin = ["init", "--name", "campaign", "--repository", &address, "--trusted-root"];
    let asked = stage.ask_agent(&[begin.as_slice(), &[anchor.as_str()]].concat())?;
    ensure!(asked.code == Some(0), "init failed: {}{}", asked.out, asked.err);
    dist::put(&root.join("policy.yaml"), &policy, 0o644)?;
    let launcher = keep(Role::Launcher, None, stage.launcher(), &stage.log(Role::Launcher))?;
    let asked = stage.ask_agent(&["update", "web"])?;
    ensure!(asked.code == Some(0), "the installation failed: {}{}", asked.out, asked.err);
    let settled = stage.settle()?;
    leave_a_note()?;
    launcher.end()?;
    let kept = share.join("root");
    command::output(Command::new("cp").arg("-a").arg(root).arg(&kept))?;
    Ok(Told { points: Vec::new(), settled, starts: launcher.starts() })
}

/// Has the service remember something, so that a lost state is noticed.
fn leave_a_note() -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(SERVICE).context("connect")?;
    let request = "PUT /note HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\nConnection: close\r\n\r\nremember me";
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read the answer")?;
    ensure!(answer.starts_with("HTTP/1.1 2"), "the service answered {answer:?}");
    Ok(())
}
