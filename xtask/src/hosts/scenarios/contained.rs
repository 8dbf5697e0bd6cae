//! The images that `packaging/container/Containerfile` defines.

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;

use crate::dist::put;
use crate::hosts::actor::policy_text;
use crate::hosts::containers::{Containers, PLAIN, image};
use crate::hosts::wardrobe::REPOSITORY;
use crate::wait;

const LIMIT: Duration = Duration::from_mins(1);

/// Two containers on one volume, the agent's and the service's, each with a launcher as its entry.
pub(super) fn update(containers: &Containers) -> anyhow::Result<()> {
    containers.build("agent", "0.1.0")?;
    play(containers).map_err(|source| {
        let logs = format!("agent:\n{}web:\n{}", containers.logs("agent"), containers.logs("web"));
        source.context(logs)
    })
}

/// The server's image: its own user, a read-only system, a token for an agent's container, a stop
/// in good order, and the same keys when it is started again.
pub(super) fn server(containers: &Containers) -> anyhow::Result<()> {
    for target in ["server", "agent"] {
        containers.build(target, "0.1.0")?;
    }
    serve(containers).map_err(|source| {
        let logs =
            format!("server:\n{}agent:\n{}", containers.logs("server"), containers.logs("agent"));
        source.context(logs)
    })
}

fn serve(containers: &Containers) -> anyhow::Result<()> {
    let share = containers.share();
    containers.must("volume create data")?;
    let options = format!(
        "--read-only --volume data:/var/lib/handover-server --volume {share}:/srv/share:ro --env \
         HANDOVER_SERVER_LISTEN=127.0.0.1:8444 --env \
         HANDOVER_SERVER_REPOSITORY=/srv/share/repository --env \
         HANDOVER_SERVER_FIRST_TOKEN=/var/lib/handover-server/first-token"
    );
    containers.start(("server", "server"), &options, "")?;
    let user = containers.must("exec server id --user --name")?;
    ensure!(user.trim() == "handover-server", "it runs as {user}");
    let operator = "exec --env XDG_CONFIG_HOME=/var/lib/handover-server/operator server handover";
    until(containers, "the server to listen", |containers| {
        containers.must("exec server test -s /var/lib/handover-server/first-token").map(drop)
    })?;
    containers
        .must(&format!("{operator} login --token-file /var/lib/handover-server/first-token"))?;
    let token = containers.must(&format!("{operator} token create --name contained"))?;
    let root = containers.volume("enrolled")?;
    let options = format!(
        "--volume {root}:/var/lib/handover --hostname contained --env HANDOVER_TOKEN={}",
        token.trim()
    );
    containers.start(("agent", "agent"), &options, "")?;
    let present = |containers: &Containers| {
        let shown = containers.must(&format!("{operator} --output json agent show contained"))?;
        let shown: Value = serde_json::from_str(&shown)?;
        ensure!(shown["state"] == "present", "{shown}");
        Ok(())
    };
    until(containers, "the agent to be present", present)?;
    containers.must("stop --time 30 server")?;
    let code = containers.must("inspect --format {{.State.ExitCode}} server")?;
    ensure!(code.trim() == "0", "the server ended with {code}");
    // The agent trusts the same keys as before, and enrols no second time.
    containers.must("restart --time 30 agent")?;
    containers.must("start server")?;
    until(containers, "the agent to be present again", present)?;
    let listed = containers.must(&format!("{operator} --output json agent list"))?;
    let listed: Value = serde_json::from_str(&listed)?;
    ensure!(listed.as_array().is_some_and(|all| all.len() == 1), "{listed}");
    Ok(())
}

/// Looks until `look` succeeds.
fn until(
    containers: &Containers,
    what: &str,
    look: impl Fn(&Containers) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    wait::until(what, LIMIT, || look(containers).map_err(|error| format!("{error:#}")))
}

fn play(containers: &Containers) -> anyhow::Result<()> {
    let root = containers.volume("host")?;
    let volumes =
        format!("--volume {root}:/var/lib/handover --volume {}:/share:ro", containers.share());
    containers.must(&format!(
        "run --rm {PLAIN} {volumes} --entrypoint handover-agent {} init --repository \
         http://{REPOSITORY} --trusted-root /share/root.json --name host --component web",
        image("agent")
    ))?;
    put(&root.join("policy.yaml"), &policy_text("mode: manual", "mode: manual"), 0o644)?;
    // The agent proves what runs by looking at processes, so it has to see the service's.
    containers.start(("agent", "agent"), &volumes, "")?;
    containers.start(("web", "agent"), &format!("{volumes} --pid container:agent"), "web")?;
    ensure!(
        containers.must("exec agent readlink /proc/1/exe")?.trim()
            == "/var/lib/handover/bin/handover-launch",
        "process 1 is not the launcher"
    );
    containers.must("exec agent handover-agent update web --to 1.0.0")?;
    proves(containers, "1.0.0")?;
    let launchers = containers.must("exec agent pgrep handover-launch")?;
    containers.must("exec agent handover-agent update web --to 1.1.0")?;
    proves(containers, "1.1.0")?;
    let ill = containers.run("exec agent handover-agent update web --to 1.2.0")?;
    ensure!(ill.code == Some(4), "1.2.0 was not reverted: {}{}", ill.out, ill.err);
    proves(containers, "1.1.0")?;
    ensure!(containers.must("exec agent pgrep handover-launch")? == launchers, "a launcher died");
    orphans_are_reaped(containers)?;
    stop_and_start(containers)
}

/// What loses its parent in the container falls to process 1, which must not leave it a zombie.
fn orphans_are_reaped(containers: &Containers) -> anyhow::Result<()> {
    containers.must("exec agent sh -c (true&)")?;
    wait::until("no zombie to be left", LIMIT, || {
        let ran =
            containers.run("exec agent ps -e -o stat=,args=").map_err(|e| format!("{e:#}"))?;
        let zombies: Vec<&str> = ran.out.lines().filter(|line| line.starts_with('Z')).collect();
        if ran.code == Some(0) && zombies.is_empty() { Ok(()) } else { Err(ran.out) }
    })
}

/// A stop in good order, then one without a word; either way the same release comes back.
fn stop_and_start(containers: &Containers) -> anyhow::Result<()> {
    containers.must("stop --time 30 web")?;
    let code = containers.must("inspect --format {{.State.ExitCode}} web")?;
    ensure!(code.trim() == "0", "the service's launcher ended with {code}");
    containers.must("kill --signal KILL agent")?;
    containers.must("wait agent")?;
    containers.must("start agent")?;
    containers.must("start web")?;
    proves(containers, "1.1.0")
}

/// Waits until the agent has proved that the service runs as `version`.
fn proves(containers: &Containers, version: &str) -> anyhow::Result<()> {
    wait::until(&format!("web {version} to be proved"), LIMIT, || {
        let ran = containers
            .run("exec agent handover-agent --output json status")
            .map_err(|error| format!("{error:#}"))?;
        let status: Value = serde_json::from_str(&ran.out).map_err(|_source| ran.out + &ran.err)?;
        let web = status["components"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["component"] == "web"))
            .ok_or_else(|| status.to_string())?;
        let process = &web["process"];
        let proved =
            web["current"] == version && process["version"] == version && process["proved"] == true;
        if proved { Ok(()) } else { Err(web.to_string()) }
    })
}
