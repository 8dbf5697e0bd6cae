//! What befalls a trial from outside.

use anyhow::ensure;

use crate::hosts::rig::Host;

/// `systemctl restart` while a slow release is on trial, and while an ill one is.
pub(super) fn restart(host: &mut Host) -> anyhow::Result<()> {
    host.set_up()?;
    let mut update = host.begin_trial("1.3.0")?;
    host.must("systemctl restart handover@web")?;
    let slots = host.slots("web")?;
    ensure!(slots.current.is_some_and(|slot| slot.release.version.to_string() == "1.0.0"));
    let slots = host.rests_at("1.3.0")?;
    ensure!(
        slots.previous.first().is_some_and(|slot| slot.release.version.to_string() == "1.0.0"),
        "the last good version is lost"
    );
    update.wait()?;
    host.proves("web", "1.3.0")?;
    let mut update = host.begin_trial("1.4.0")?;
    host.must("systemctl restart handover@web")?;
    update.wait()?;
    let slots = host.rests_at("1.3.0")?;
    ensure!(slots.quarantine.iter().any(|q| q.release.version.to_string() == "1.4.0"));
    host.proves("web", "1.3.0")?;
    Ok(())
}

/// The power goes while an ill release is on trial, and while a slow good one is.
pub(super) fn power_cut(host: &mut Host) -> anyhow::Result<()> {
    host.set_up()?;
    let mut update = host.begin_trial("1.4.0")?;
    host.cut_power()?;
    update.wait()?;
    host.power_on()?;
    let slots = host.rests_at("1.0.0")?;
    ensure!(slots.quarantine.iter().any(|q| q.release.version.to_string() == "1.4.0"));
    // The watcher notices a little later than the launcher, and until then web is taken.
    host.until("nobody to watch web", |host| {
        let units = "systemctl list-units --plain --no-legend 'handover-watch-web-*'";
        let ran = host.run(units).map_err(|error| format!("{error:#}"))?;
        if ran.out.contains("running") { Err(ran.out) } else { Ok(()) }
    })?;
    let mut update = host.begin_trial("1.3.0")?;
    host.cut_power()?;
    update.wait()?;
    host.power_on()?;
    // The agent picks the watch up, and the release is as good as it was.
    host.rests_at("1.3.0")?;
    host.proves("web", "1.3.0")?;
    ensure!(host.update("web", "1.6.0")? == Some(0), "the next update failed");
    host.proves("web", "1.6.0")?;
    Ok(())
}

/// 1.5.0 ignores the stop signal, so that the swap to 1.6.0 takes as long as its grace.
pub(super) fn stop_in_a_swap(host: &mut Host) -> anyhow::Result<()> {
    host.set_up()?;
    ensure!(host.update("web", "1.5.0")? == Some(0), "1.5.0 was not installed");
    host.proves("web", "1.5.0")?;
    let mut update = host.start("handover-agent update web --to 1.6.0")?;
    host.until("the launcher to stop 1.5.0", |host| {
        let slots = host.slots("web").map_err(|error| format!("{error:#}"))?;
        let busy = slots.trial.is_some() || slots.pause.is_some();
        if busy { Ok(()) } else { Err("nothing is under way".to_owned()) }
    })?;
    host.must("systemctl stop handover@web")?;
    ensure!(host.run("pgrep -f 'bin/[w]eb'")?.code == Some(1), "the stop left something running");
    host.must("systemctl start handover@web")?;
    update.wait()?;
    let settled = host.until("web to rest", |host| {
        let slots = host.slots("web").map_err(|error| format!("{error:#}"))?;
        match slots.current {
            Some(current) if slots.trial.is_none() && slots.pause.is_none() => {
                Ok(current.release.version.to_string())
            }
            _ => Err("on trial or paused".to_owned()),
        }
    })?;
    ensure!(["1.5.0", "1.6.0"].contains(&settled.as_str()), "{settled} is current");
    host.rests_at(&settled)?;
    host.proves("web", &settled)?;
    Ok(())
}
