//! The chapters. Each does what a person would do, then looks.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::catalogue;
use super::clients::{Tally, request};
use super::control::Control;
use super::host::{Host, Joining};
use super::stage::Stage;
use super::story::{command, tell};

/// The hosts.
const HOSTS: [&str; 5] = ["host-1", "host-2", "host-3", "host-4", "host-5"];
/// A note that visitors leave before anything goes wrong.
const NOTE: &str = "do not lose me";
/// Exit codes of commands, as docs/exit-codes.md has them.
const DONE: i32 = 0;
const REFUSED: i32 = 3;
const REVERTED: i32 = 4;
/// Long enough for any update here, on a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// Keys, a repository, and the first release.
pub(super) fn repository(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("A repository whose keys never meet");
    tell(
        "Three people hold root keys, three others hold release keys, each in a directory that \
         stands for a machine of their own. Two of three must sign. Documents travel to them and \
         back as files. (Key files have passphrases, unless one says otherwise, as here.)",
    );
    command("handover repo new-key …    handover repo init … --threshold 2");
    stage.publisher.make_keys()?;
    stage.publisher.make_repository()?;
    stage.publisher.add_component("web")?;
    stage.publisher.add_component("handover-agent")?;
    stage.publisher.sign_as_root()?;
    let content = catalogue::web(&stage.programs, "1.0.0")?;
    let package = stage.publisher.build("web-1.0.0", &content)?;
    stage.publisher.stage(&package)?;
    command("handover release build … && handover release stage …");
    let early = stage.publisher.publish();
    stage.story.check(
        "publishing before two of three have signed is refused",
        match early {
            Ok(()) => Err("it was published".to_owned()),
            Err(_refused) => Ok(String::new()),
        },
    );
    stage.publisher.sign_release("web")?;
    stage.publisher.publish()?;
    stage.story.check("web 1.0.0 is signed by dora and emil, and published", Ok(String::new()));
    Ok(())
}

/// A server on an empty directory, and an operator.
pub(super) fn control_plane(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("A control plane that can sign no release");
    let url = stage.server.url();
    tell(&format!(
        "It starts on an empty directory. The repository stays where it is, plain files that \
         hosts fetch from {url}; the control plane reads it as a host does, and holds no key for \
         it. It says when, and the keyholders say what."
    ));
    command("handover server --data … --repository …    handover login hol1_…");
    let handover = stage.programs.path("handover");
    let control = Control::start(&handover, stage.directory(), &stage.publisher.repository())?;
    stage.story.check("it listens, and the operator is logged in", Ok(control.url()));
    stage.control = Some(control);
    Ok(())
}

/// Five hosts enrol and install the first release.
pub(super) fn hosts(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("Five hosts enrol");
    tell(
        "Each is a directory with an agent, a launcher for it, and a launcher for the service. \
         A token enrols one host, once; it carries what the host shall trust.",
    );
    command("handover token create --bind site=west    handover-agent enroll hoe1_…");
    let (url, trusted_root) = (stage.server.url(), stage.publisher.first_root());
    let tokens = stage.control()?.tokens("west", HOSTS.len())?;
    ensure!(tokens.len() == HOSTS.len(), "{} tokens were made", tokens.len());
    for (name, token) in HOSTS.into_iter().zip(&tokens) {
        let directory = stage.directory().join("hosts");
        let joining =
            Joining { token, repository: &url, trusted_root: &trusted_root, poll: "500ms" };
        let mut host = Host::enrol(name, &directory, &stage.programs, &joining)?;
        host.switch_on(&stage.logs())?;
        stage.hosts.push(host);
    }
    let again = stage.hosts[0].command(&["enroll", "--again", &tokens[1]])?;
    stage.story.check(
        "a token that was used enrols nobody else",
        match again.status.code() {
            Some(REFUSED) => Ok(String::new()),
            _ => Err(format!("{}: {}{}", again.status, again.out, again.err)),
        },
    );
    order(stage, "web", "1.0.0", DONE)?;
    stage.expect_everywhere("the agent installed web 1.0.0", PATIENCE, |host| {
        host.prove("web", "1.0.0")?;
        let answer = host.ask()?;
        ensure!(answer.version == "1.0.0", "{} answers {}", host.name, answer.version);
        Ok("it answers, and the running executable has the signed digest".to_owned())
    })?;
    for host in &stage.hosts {
        let (status, _) = request(host.port, "PUT", "/note", NOTE)?;
        ensure!(status == 200, "{} did not take the note: {status}", host.name);
    }
    tell(&format!("Visitors leave a note with each: \"{NOTE}\"."));
    stage.start_clients();
    tell("From here on one client for each host requests without pause.");
    stage.rest(Duration::from_millis(300))
}

/// A good release.
pub(super) fn good(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("1.1.0 is good");
    tell(
        "The new version installs itself: the agent only checks signatures, unpacks, and runs \
         handover/upgrade from the new package.",
    );
    stage.tally();
    let mut visits = BTreeMap::new();
    for host in &stage.hosts {
        visits.insert(host.port, host.ask()?.visits);
    }
    publish(stage, "1.1.0")?;
    order(stage, "web", "1.1.0", DONE)?;
    stage.expect_everywhere("1.1.0 is committed and answers", PATIENCE, |host| {
        settled(host, "1.1.0")
    })?;
    stage.expect_everywhere("it took over the state", PATIENCE, |host| {
        let answer = host.ask()?;
        ensure!(answer.notes == [NOTE], "{} has notes {:?}", host.name, answer.notes);
        let before = visits.get(&host.port).copied().unwrap_or(0);
        ensure!(answer.visits > before, "{} forgot visits", host.name);
        Ok("the note is there, and no visit that was counted is lost".to_owned())
    })?;
    no_failure(stage)
}

/// A release that starts and fails its health check.
pub(super) fn ill(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("1.2.0 starts, and fails its health check");
    stage.tally();
    publish(stage, "1.2.0")?;
    order(stage, "web", "1.2.0", REVERTED)?;
    stage.expect_everywhere("1.2.0 is in quarantine", PATIENCE, |host| {
        let why = quarantined(host, "1.2.0")?;
        Ok(why)
    })?;
    stage.expect_everywhere("1.1.0 serves again", PATIENCE, |host| settled(host, "1.1.0"))?;
    no_failure(stage)
}

/// A release whose own installer hangs.
pub(super) fn hanging(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("1.3.0 brings an installer that hangs");
    tell(
        "These hosts' policy gives an installer four seconds to say something (10 minutes, \
         unless said otherwise).",
    );
    stage.tally();
    publish(stage, "1.3.0")?;
    order(stage, "web", "1.3.0", REVERTED)?;
    stage.expect_everywhere("the hanging installer was started, and ended", PATIENCE, |host| {
        let explained = host.command(&["explain", "web"])?;
        let text = format!("{}{}", explained.out, explained.err);
        ensure!(text.contains("did not answer in time"), "{}: {}", host.name, text.trim());
        let hanging = super::host::processes_under(host.root());
        let hanging = hanging.iter().filter(|(_, name)| name.contains("upgrade run")).count();
        ensure!(hanging == 0, "{}: it still runs", host.name);
        Ok("explain says so".to_owned())
    })?;
    stage.expect_everywhere("1.1.0 never stopped serving", PATIENCE, |host| {
        settled(host, "1.1.0")
    })?;
    no_failure(stage)
}

/// A release that migrates state, is committed, and crashes later.
pub(super) fn crashing(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("1.4.0 migrates its state, is committed, and crashes an hour later");
    tell("The hour is five seconds here, and return_within one minute.");
    stage.tally();
    publish(stage, "1.4.0")?;
    give(stage, "1.4.0")?;
    stage.expect_everywhere(
        "1.4.0 is committed, on a migrated copy of the state",
        PATIENCE,
        |host| {
            settled(host, "1.4.0")?;
            let answer = host.ask()?;
            ensure!(answer.schema == 2, "{} has schema {}", host.name, answer.schema);
            ensure!(answer.notes == [NOTE], "{} has notes {:?}", host.name, answer.notes);
            Ok("schema 2, the note is there".to_owned())
        },
    )?;
    no_failure(stage)?;
    tell("And now it crashes, on every host, again and again.");
    stage.expect_everywhere("1.1.0 serves again, by the launcher alone", PATIENCE, |host| {
        settled(host, "1.1.0")?;
        quarantined(host, "1.4.0")?;
        let answer = host.ask()?;
        ensure!(answer.schema == 1, "{} has schema {}", host.name, answer.schema);
        ensure!(answer.notes == [NOTE], "{} has notes {:?}", host.name, answer.notes);
        Ok("schema 1, the note is there".to_owned())
    })?;
    let seen = stage.expect(PATIENCE, |stage| {
        let said = stage.control()?.command(&["agent", "explain", HOSTS[0], "web"])?;
        ensure!(said.out.contains("quarantine"), "{}{}", said.out, said.err);
        Ok(said.out.lines().next().unwrap_or_default().to_owned())
    })?;
    stage.story.check("the control plane knows why", seen);
    let tally = stage.tally();
    tell(&format!(
        "While it crashed, {} of {} requests failed: the price of a crash, and not of an update.",
        tally.failed,
        tally.failed + tally.answered
    ));
    Ok(())
}

/// The agents update themselves.
pub(super) fn agents(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("The agents update themselves, by the very same path");
    let mut before = Vec::new();
    for host in &stage.hosts {
        before.push(host.prove("handover-agent", "0.1.0")?);
    }
    let served = served_by(stage)?;
    stage.tally();
    let content = catalogue::agent(&stage.programs, "0.2.0", 1)?;
    stage.publisher.release("handover-agent", "agent-0.2.0", &content)?;
    order(stage, "handover-agent", "0.2.0", DONE)?;
    stage.expect_everywhere("handover-agent 0.2.0 is committed and runs", PATIENCE, |host| {
        let pid = host.prove("handover-agent", "0.2.0")?;
        ensure!(!before.contains(&pid), "{}: the old process runs", host.name);
        Ok("a new process, with the new digest".to_owned())
    })?;
    let still = served_by(stage)? == served;
    stage.story.check(
        "the service was not touched: the same processes serve",
        if still { Ok(String::new()) } else { Err("a process changed".to_owned()) },
    );
    stage.expect_everywhere("the new agents are at work", PATIENCE, |host| {
        let status = host.status()?;
        let runs = status["components"].as_array().context("status lists no components")?;
        let well = runs.iter().all(|component| component["state"] == "running");
        ensure!(well, "{}: {status}", host.name);
        Ok("status: everything runs, proved by digest".to_owned())
    })?;
    no_failure(stage)
}

/// The control plane is killed while orders are carried out.
pub(super) fn killed(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("The control plane is killed in mid-update");
    stage.tally();
    publish(stage, "1.5.0")?;
    give(stage, "1.5.0")?;
    let begun = stage.expect(PATIENCE, |stage| {
        let states = stage.control()?.orders_to("1.5.0")?;
        ensure!(states.iter().any(|state| state == "running"), "none runs: {states:?}");
        Ok(states.join(", "))
    })?;
    command("kill -9 …");
    stage.control_mut()?.kill()?;
    stage.story.check("SIGKILL while its orders stood at", begun);
    stage.expect_everywhere("without it, the hosts finish what was ordered", PATIENCE, |host| {
        settled(host, "1.5.0")
    })?;
    stage.control_mut()?.switch_on()?;
    let learned = stage.expect(PATIENCE, |stage| {
        let states = stage.control()?.orders_to("1.5.0")?;
        let is_well = states.len() == HOSTS.len() && states.iter().all(|state| state == "done");
        ensure!(is_well, "its orders stand at {states:?}");
        Ok("five orders, all proved done".to_owned())
    })?;
    stage.story.check("started again, it learns how they ended", learned);
    let twice = stage.hosts.iter().map(|host| host.runs_to("web", "1.5.0"));
    let runs = twice.collect::<anyhow::Result<Vec<_>>>()?;
    stage.story.check(
        "no order was carried out twice",
        if runs.iter().all(|count| *count == 1) {
            Ok("one run on each host".to_owned())
        } else {
            Err(format!("runs on the hosts: {runs:?}"))
        },
    );
    let audit = stage.control()?.command(&["audit", "verify"])?;
    stage.story.check(
        "the audit trail is whole",
        if audit.status.success() {
            Ok(audit.out.lines().next().unwrap_or_default().to_owned())
        } else {
            Err(format!("{}{}", audit.out, audit.err))
        },
    );
    no_failure(stage)
}

/// The processes that answer.
fn served_by(stage: &Stage) -> anyhow::Result<Vec<u32>> {
    stage.hosts.iter().map(|host| host.ask().map(|answer| answer.pid)).collect()
}

/// Builds, signs and publishes a release of the service.
pub(super) fn publish(stage: &mut Stage, version: &str) -> anyhow::Result<()> {
    let content = catalogue::web(&stage.programs, version)?;
    stage.publisher.release("web", &format!("web-{version}"), &content)?;
    stage.story.check(
        &format!("web {version} is signed by two of three, and published"),
        Ok(String::new()),
    );
    Ok(())
}

/// Orders a version on every host, and watches to the end. The command's exit code must say how
/// it went.
fn order(stage: &mut Stage, component: &str, version: &str, code: i32) -> anyhow::Result<()> {
    command(&format!("handover agent update host-1 … --component {component} --to {version}"));
    let ended = stage.control()?.update(&HOSTS, component, version, &[])?;
    let how = match code {
        DONE => "done, as five hosts prove",
        _reverted => "tried, and taken back",
    };
    let found = if ended.status.code() == Some(code) {
        Ok(format!("exit code {code}"))
    } else {
        Err(format!("{}: {}{}", ended.status, ended.out, ended.err))
    };
    stage.story.check(&format!("the order's end is told as it was: {how}"), found);
    Ok(())
}

/// Orders a version of the service on every host, without waiting.
fn give(stage: &mut Stage, version: &str) -> anyhow::Result<()> {
    command(&format!("handover agent update host-1 … --component web --to {version} --no-wait"));
    let ended = stage.control()?.update(&HOSTS, "web", version, &["--no-wait"])?;
    ensure!(ended.status.success(), "the order was not taken: {}{}", ended.out, ended.err);
    Ok(())
}

/// Whether a host has settled on a version: committed, proved by digest, answering.
pub(super) fn settled(host: &Host, version: &str) -> anyhow::Result<String> {
    host.prove("web", version)?;
    let answer = host.ask()?;
    ensure!(answer.version == version, "{} answers {}", host.name, answer.version);
    Ok("on every host, proved by digest".to_owned())
}

/// Why a version is in quarantine on a host.
pub(super) fn quarantined(host: &Host, version: &str) -> anyhow::Result<String> {
    let slots = host.slots("web")?;
    let found = slots.quarantine.iter().find(|q| q.release.version.to_string() == version);
    let found = found.with_context(|| format!("{}: {version} is not in quarantine", host.name))?;
    Ok(found.reason.clone())
}

/// No client saw a failure since the chapter began.
pub(super) fn no_failure(stage: &mut Stage) -> anyhow::Result<()> {
    // What is on its way now belongs to the chapter too.
    stage.rest(Duration::from_millis(100))?;
    let Tally { answered, failed, reasons, slowest } = stage.tally();
    let found = if failed == 0 && answered > 0 {
        Ok(format!("{answered} requests, 0 failed; the slowest took {} ms", slowest.as_millis()))
    } else {
        Err(format!("{failed} of {} requests failed: {reasons:?}", failed + answered))
    };
    stage.story.check("what the clients saw", found);
    Ok(())
}
