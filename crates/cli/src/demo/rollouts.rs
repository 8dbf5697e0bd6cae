//! The chapters of rollouts: a good release through twenty hosts, one of them silent, with a pause
//! and an approval; and a bad one, which is stopped and taken back.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use handover_model::api::{
    HoldCode, MemberInfo, MemberOutcome, RolloutInfo, RolloutPreview, RolloutState,
};

use super::chapters::{PATIENCE, no_failure, publish, quarantined, settled};
use super::stage::Stage;
use super::story::{command, say, tell};

/// The good one, and the bad one.
const GOOD: &str = "web-1-6-0";
const BAD: &str = "web-1-7-0";
/// How many hosts there are.
const FLEET: u32 = 20;
/// How long a host may take from its acknowledgement to its proof: long enough for an update here,
/// short enough to wait for.
const DEADLINE: &str = "12s";
/// How long is looked on while nothing may happen.
const WHILE: Duration = Duration::from_secs(2);

/// What it would do, before anything moves.
pub(super) fn preview(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("1.6.0 for all of them: first on paper");
    publish(stage, "1.6.0")?;
    command("handover rollout preview --component web --to 1.6.0 --select all …");
    let words = ["rollout", "preview", "--component", "web", "--to", "1.6.0", "--select", "all"];
    let words = [&words[..], &["--approve-between", "--each-takes", "3s", "--seed", "7"]].concat();
    let shown = stage.control()?.command(&words)?;
    ensure!(shown.status.success(), "preview: {}{}", shown.out, shown.err);
    for line in shown.out.lines() {
        say(&format!("         {line}"));
    }
    let preview: RolloutPreview = serde_json::from_value(stage.control()?.json(&words)?)?;
    let waves: Vec<u32> = preview.waves.iter().map(|wave| wave.members).collect();
    let found = if preview.members == FLEET && waves == [1, 4, 15] {
        Ok("1, 4 and 15 hosts".to_owned())
    } else {
        Err(format!("{} members in {waves:?}", preview.members))
    };
    stage.story.check("twenty hosts in waves of 5, 25 and 100 %", found);
    let always = preview.plays.iter().find(|play| play.failures >= 100.0);
    let found = match always {
        Some(play) if play.exposed_p95 == 1 => {
            Ok("one that fails everywhere would meet one host".to_owned())
        }
        played => Err(format!("{played:?}")),
    };
    stage.story.check("how many hosts a bad release would meet is known before", found);
    let orders = stage.control()?.orders_to("1.6.0")?;
    stage.story.check(
        "nothing moved",
        if orders.is_empty() { Ok(String::new()) } else { Err(format!("{orders:?}")) },
    );
    Ok(())
}

/// A canary, an approval, a host that falls silent in mid-update, a pause.
pub(super) fn good(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("1.6.0, wave by wave, and a host falls silent");
    stage.tally();
    command("handover rollout create --component web --to 1.6.0 --select all --approve-between");
    let spec = ["--component", "web", "--to", "1.6.0", "--select", "all", "--all"];
    let how = ["--approve-between", "--deadline", DEADLINE, "--name", GOOD];
    act(stage, &[&["rollout", "create"], &spec[..], &how[..]].concat())?;
    let canary = wait_for(stage, GOOD, |rollout| {
        let hold = held_by(rollout, HoldCode::Approval)?;
        let wave = &rollout.waves[0].counts;
        ensure!((wave.done, rollout.counts.exposed) == (1, 1), "it stands at {wave:?}");
        Ok(format!("one host is done, the others wait: {hold}"))
    })?;
    stage.story.check("one canary proves itself, and then a person is asked", canary);

    let silent = freeze_one_of_the_second_wave(stage)?;
    let missed = wait_for(stage, GOOD, |rollout| {
        ensure!(rollout.waves[1].counts.done >= 3, "the others are not done");
        let hold = rollout.holds.iter().find(|hold| {
            hold.agents.iter().any(|agent| agent.as_str() == silent) || hold.text.contains(&silent)
        });
        let hold = hold.with_context(|| format!("nothing waits for {silent}"))?;
        ensure!(rollout.counts.released == 5, "{} are released", rollout.counts.released);
        Ok(format!("{} ({})", hold.text, name_of(hold.code)))
    })?;
    stage.story.check("the rollout is held, and says by whom", missed);
    let counted = wait_for(stage, GOOD, |rollout| {
        let wave = &rollout.waves[1].counts;
        ensure!((wave.silent, wave.done, wave.failed) == (1, 3, 0), "it stands at {wave:?}");
        Ok("3 done, 1 silent".to_owned())
    })?;
    stage.story.check("after its deadline it counts as silent, and never as a success", counted);

    paused(stage)?;
    let done = wait_for(stage, GOOD, |rollout| {
        ensure!(rollout.state == RolloutState::Done, "it is {}", rollout.state);
        let counts = &rollout.counts;
        ensure!((counts.done, counts.silent) == (19, 1), "it stands at {counts:?}");
        Ok(format!("19 proved it, and {silent} is named as silent"))
    })?;
    let named = members(stage, GOOD, &["--outcome", "silent"])?;
    let is_named = named.len() == 1 && named[0].name.as_str() == silent;
    let done = done.and_then(|text| if is_named { Ok(text) } else { Err(format!("{named:?}")) });
    stage.story.check("the rollout is done", done);

    tell(&format!("And {silent} wakes up."));
    host_of(stage, &silent)?.thaw()?;
    let back = wait_for(stage, GOOD, |rollout| {
        let counts = &rollout.counts;
        ensure!((counts.done, counts.silent) == (20, 0), "it stands at {counts:?}");
        Ok("20 done, nobody silent".to_owned())
    })?;
    stage.story.check("what it did meanwhile is counted", back);
    stage.expect_everywhere("1.6.0 is committed and answers", PATIENCE, |host| {
        settled(host, "1.6.0")
    })?;
    no_failure(stage)
}

/// Approves the second wave and stops an agent that took its order: the host's name.
fn freeze_one_of_the_second_wave(stage: &mut Stage) -> anyhow::Result<String> {
    command(&format!("handover rollout approve {GOOD}"));
    act(stage, &["rollout", "approve", GOOD, "--reason", "the canary is well"])?;
    let mut frozen = None;
    let found = stage.expect(PATIENCE, |stage| {
        let running = members(stage, GOOD, &["--wave", "2", "--outcome", "running"])?;
        let name = running.first().context("no host has begun")?.name.to_string();
        host_of(stage, &name)?.freeze()?;
        // It may have been done just then.
        let again = members(stage, GOOD, &["--wave", "2"])?;
        let stands = again.iter().find(|member| member.name.as_str() == name);
        let runs = stands.is_some_and(|member| member.outcome == MemberOutcome::Running);
        if !runs {
            host_of(stage, &name)?.thaw()?;
        }
        ensure!(runs, "{name} was faster");
        Ok(name)
    })?;
    command("kill -STOP …");
    if let Ok(name) = &found {
        frozen = Some(name.clone());
    }
    let what = "a host has its order, and its agent stops in mid-update";
    stage.story.check(what, found);
    frozen.context("no agent could be stopped in time")
}

/// Pauses, approves the last wave, and looks on: nobody is handed anything.
fn paused(stage: &mut Stage) -> anyhow::Result<()> {
    command(&format!("handover rollout pause {GOOD} && handover rollout approve {GOOD}"));
    act(stage, &["rollout", "pause", GOOD, "--reason", "a look at the silent one"])?;
    act(stage, &["rollout", "approve", GOOD, "--wave", "3"])?;
    let before = stage.control()?.orders_to("1.6.0")?.len();
    stage.rest(WHILE)?;
    let after = stage.control()?.orders_to("1.6.0")?.len();
    let begun = stage.hosts.iter().map(|host| host.runs_to("web", "1.6.0"));
    let begun: usize = begun.sum::<anyhow::Result<usize>>()?;
    let rollout = look(stage, GOOD)?;
    // The silent one may have begun, or not.
    let stands = (rollout.state, rollout.counts.exposed, before, after, begun.max(5));
    stage.story.check(
        "paused: the last wave is approved, and nobody gets an order",
        if stands == (RolloutState::Paused, 5, 5, 5, 5) {
            Ok(format!("5 orders before and {WHILE:?} later"))
        } else {
            Err(format!("{stands:?}"))
        },
    );
    command(&format!("handover rollout resume {GOOD}"));
    act(stage, &["rollout", "resume", GOOD])
}

/// A release that is well on fresh hosts and crashes on those with a history.
pub(super) fn bad(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("1.7.0 crashes wherever there is a history");
    tell(
        "On hosts whose state holds a visitor's note it never serves. It goes to the new hosts in \
         the north first, then to the old ones in the west, two at a time to begin with; the \
         rest waits for a person.",
    );
    stage.tally();
    publish(stage, "1.7.0")?;
    command(
        "handover rollout create --component web --to 1.7.0 --select all --wave 'north=label.site \
         = north' --wave 'west=label.site = west' --first 2",
    );
    let spec = ["--component", "web", "--to", "1.7.0", "--select", "all", "--all", "--first", "2"];
    let waves = ["--wave", "north=label.site = north", "--wave", "west=label.site = west"];
    act(stage, &[&["rollout", "create", "--name", BAD], &spec[..], &waves[..]].concat())?;
    let halted = wait_for(stage, BAD, |rollout| {
        ensure!(rollout.state == RolloutState::Halted, "it is {}", rollout.state);
        let halt = rollout.halt.as_ref().context("it says why")?;
        Ok(halt.text.clone())
    })?;
    stage.story.check("its gate stops it", halted);
    culprits(stage)?;
    let spared = wait_for(stage, BAD, |rollout| {
        let counts = &rollout.counts;
        let stands = (counts.exposed, rollout.waves[0].counts.done, counts.failed);
        ensure!(stands == (7, 5, 2), "it stands at {counts:?}");
        Ok("seven did: five are well, two failed".to_owned())
    })?;
    stage.story.check("thirteen of twenty hosts never met it", spared);
    let failed = members(stage, BAD, &["--outcome", "failed"])?;
    let failed: Vec<_> = failed.iter().map(|member| member.name.to_string()).collect();
    let mut seen = Vec::new();
    for name in &failed {
        seen.push(stage.expect(PATIENCE, |stage| {
            let host = host_of(stage, name)?;
            settled(host, "1.6.0")?;
            quarantined(host, "1.7.0")
        })?);
    }
    let seen: Result<Vec<_>, _> = seen.into_iter().collect();
    stage.story.check(
        "they are back at 1.6.0 by themselves, and keep 1.7.0 in quarantine",
        seen.map(|whys| whys.first().cloned().unwrap_or_default()),
    );
    taken_back(stage)
}

/// The halt names hosts, all of the old ones.
fn culprits(stage: &mut Stage) -> anyhow::Result<()> {
    let rollout = look(stage, BAD)?;
    let halt = rollout.halt.context("it says why")?;
    let named: BTreeSet<_> = halt.deciding.iter().map(|host| host.name.to_string()).collect();
    let old: BTreeSet<_> = stage.hosts.iter().take(5).map(|host| host.name.clone()).collect();
    let shown = named.iter().cloned().collect::<Vec<_>>().join(" and ");
    stage.story.check(
        "it names the hosts that decided it",
        if !named.is_empty() && named.is_subset(&old) {
            Ok(shown)
        } else {
            Err(format!("{:?}", halt.deciding))
        },
    );
    Ok(())
}

/// The five that are well on the bad release go back too, by a rollout of its own.
fn taken_back(stage: &mut Stage) -> anyhow::Result<()> {
    command(&format!("handover rollout revert {BAD}"));
    act(stage, &["rollout", "revert", BAD, "--yes", "--reason", "it crashes in the west"])?;
    let reverted = wait_for(stage, BAD, |rollout| {
        ensure!(rollout.state == RolloutState::Reverted, "it is {}", rollout.state);
        Ok(String::new())
    })?;
    stage.story.check("whoever had come to it is taken back", reverted);
    stage.expect_everywhere("all twenty end on a signed, good version", PATIENCE, |host| {
        settled(host, "1.6.0")
    })?;
    let audit = stage.control()?.command(&["audit", "verify"])?;
    stage.story.check(
        "who did what is in the audit trail, and it is whole",
        if audit.status.success() {
            Ok(audit.out.lines().next().unwrap_or_default().to_owned())
        } else {
            Err(format!("{}{}", audit.out, audit.err))
        },
    );
    no_failure(stage)
}

/// What a person types; it must succeed.
fn act(stage: &Stage, words: &[&str]) -> anyhow::Result<()> {
    let ended = stage.control()?.command(words)?;
    let said = format!("{}{}", ended.out, ended.err);
    ensure!(ended.status.success(), "handover {}: {}", words.join(" "), said.trim());
    Ok(())
}

/// How a rollout stands.
fn look(stage: &Stage, name: &str) -> anyhow::Result<RolloutInfo> {
    Ok(serde_json::from_value(stage.control()?.json(&["rollout", "show", name])?)?)
}

/// Its members, or some of them.
fn members(stage: &Stage, name: &str, which: &[&str]) -> anyhow::Result<Vec<MemberInfo>> {
    let words = [&["rollout", "members", name], which].concat();
    Ok(serde_json::from_value(stage.control()?.json(&words)?)?)
}

/// Waits until `look` is content with how it stands.
fn wait_for(
    stage: &Stage,
    name: &str,
    content: impl Fn(&RolloutInfo) -> anyhow::Result<String>,
) -> anyhow::Result<Result<String, String>> {
    stage.expect(PATIENCE, |stage| {
        let rollout = look(stage, name)?;
        content(&rollout).map_err(|missing| {
            let holds: Vec<_> = rollout.holds.iter().map(|hold| hold.text.as_str()).collect();
            anyhow::anyhow!("{missing:#} ({}; {})", rollout.state, holds.join("; "))
        })
    })
}

/// What a hold of this kind says.
fn held_by(rollout: &RolloutInfo, code: HoldCode) -> anyhow::Result<String> {
    let hold = rollout.holds.iter().find(|hold| hold.code == code);
    Ok(hold.with_context(|| format!("no hold is {}", name_of(code)))?.text.clone())
}

/// A hold's kind, in words.
fn name_of(code: HoldCode) -> String {
    let name = serde_json::to_value(code).unwrap_or_default();
    name.as_str().unwrap_or_default().replace('_', " ")
}

/// A host by its name.
fn host_of<'s>(stage: &'s Stage, name: &str) -> anyhow::Result<&'s super::host::Host> {
    let host = stage.hosts.iter().find(|host| host.name == name);
    host.with_context(|| format!("there is no {name}"))
}
