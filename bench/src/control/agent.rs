//! Aim 6 under a control plane: the agent as it is shipped, enrolled and idle.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use camino::Utf8PathBuf;
use handover_model::Digest;
use handover_store::{AgentKey, agents};

use super::enrolments::{pins, store_token, token_text};
use super::{Ground, Premises};
use crate::process::resident;
use crate::real_world::wait_until;
use crate::site::{Site, Wanted, end};
use crate::table::Row;

/// Its token's secret.
const SECRET: &str = "bench-agent-token";

/// Enrols a host with the released programs and looks at the agent between two check-ins.
pub(super) fn measure(ground: &Ground) -> anyhow::Result<Row> {
    let what = "agent as shipped, enrolled and idle: resident";
    if !ground.programs.join("handover-agent").exists() {
        let found = "not measured: the agent as shipped was not built for this run".to_owned();
        let beside = "`cargo xtask dist --programs-only` builds it".to_owned();
        return Ok(Row { what, found, aim: "≤ 5,000 kB", is_met: None, beside });
    }
    let release = Wanted {
        version: "1.0.0".to_owned(),
        sequence: 1,
        behaviour: "",
        window: "60s",
        padding: 0,
    };
    let site = Site::open(&ground.programs, &[release])?;
    let repository = Utf8PathBuf::try_from(site.path("repo/public"))?;
    let premises = Premises::serving(ground, None, Some(repository))?;
    store_token(&premises, SECRET)?;
    let plane = premises.start()?;
    let url = format!("https://localhost:{}", plane.target().address.port());
    let root = Digest::of(&fs::read(site.path("repo/public/metadata/1.root.json"))?);
    let token = token_text(SECRET, &url, pins(&premises)?, root);
    let program = site.program("handover-agent");
    let enrolled = Command::new(&program)
        .args(["--root", "enrolled", "enroll", "--name", "enrolled"])
        .env("HANDOVER_TOKEN", token)
        .current_dir(site.path(""))
        .output()?;
    let said = String::from_utf8_lossy(&enrolled.stderr);
    ensure!(enrolled.status.success(), "enrolment: {}\n{said}", enrolled.status);
    let mut follower = Command::new(&program)
        .args(["--root", "enrolled", "follow"])
        .env("RUST_LOG", "off")
        .current_dir(site.path(""))
        .stderr(Stdio::null())
        .spawn()?;
    // It is idle once its state was taken and it waits for what comes next.
    let reported = wait_until(Duration::from_secs(30), || has_reported(&premises).unwrap_or(false));
    wait_until(Duration::from_secs(5), || false);
    let memory = resident(follower.id());
    end(&mut follower);
    ensure!(reported, "the agent did not report within 30 s");
    let alone = alone(&site)?;
    let memory = memory?;
    Ok(Row {
        what,
        found: format!("{memory} kB"),
        aim: "≤ 5,000 kB",
        is_met: Some(memory <= 5_000),
        beside: format!("the same program, following a repository alone: {alone} kB"),
    })
}

/// Whether the database has a state report of the only agent.
fn has_reported(premises: &Premises) -> anyhow::Result<bool> {
    let store = premises.look()?;
    let all = store.read_blocking(|tx| agents::residents(tx, AgentKey::from_i64(0), 1))?;
    Ok(all.first().context("nobody enrolled")?.state_digest.is_some())
}

/// Resident memory of the agent on the host that follows a repository.
fn alone(site: &Site) -> anyhow::Result<u64> {
    let mut follower = Command::new(site.program("handover-agent"))
        .args(["--root", "host", "follow"])
        .env("RUST_LOG", "off")
        .current_dir(site.path(""))
        .stderr(Stdio::null())
        .spawn()?;
    wait_until(Duration::from_secs(5), || false);
    let memory = resident(follower.id());
    end(&mut follower);
    memory
}
