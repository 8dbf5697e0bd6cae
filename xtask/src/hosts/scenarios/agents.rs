//! The agent and the launcher themselves.

use anyhow::ensure;

use crate::hosts::rig::Host;

/// The service `handover-agent` installs its own successor, and refuses to stay on a bad one.
pub(super) fn update_itself(host: &mut Host) -> anyhow::Result<()> {
    host.set_up()?;
    let (web, agent) = (host.unit("handover@web")?, host.unit("handover-agent")?);
    let served = host.proves("web", "1.0.0")?["process"]["pid"].clone();
    host.policy("pin: 0.2.0", "mode: manual")?;
    host.proves("handover-agent", "0.2.0")?;
    ensure!(host.unit("handover-agent")? == agent, "systemd restarted the agent's service");
    host.until("the launcher to be replaced", |host| {
        let ran = host.run("cmp /var/lib/handover/bin/handover-launch /var/lib/handover/components/handover-agent/releases/0.2.0*/bin/handover-launch");
        ran.map_err(|e| e.to_string()).and_then(|r| if r.code == Some(0) { Ok(()) } else { Err(r.err) })
    })?;
    host.policy("pin: 0.3.0", "mode: manual")?;
    host.until("0.3.0 to be in quarantine", |host| {
        let slots = host.slots("handover-agent").map_err(|error| format!("{error:#}"))?;
        let there = slots.quarantine.iter().any(|q| q.release.version.to_string() == "0.3.0");
        if there { Ok(()) } else { Err("not yet".to_owned()) }
    })?;
    host.proves("handover-agent", "0.2.0")?;
    ensure!(host.proves("web", "1.0.0")?["process"]["pid"] == served, "the service was restarted");
    ensure!(host.unit("handover@web")? == web, "systemd restarted the service");
    // The new launcher takes over at the next restart, which an administrator may choose.
    host.must("systemctl restart handover-agent handover@web")?;
    host.proves("handover-agent", "0.2.0")?;
    host.proves("web", "1.0.0")?;
    ensure!(host.update("web", "1.1.0")? == Some(0), "1.1.0 was not installed");
    host.proves("web", "1.1.0")?;
    Ok(())
}

/// A launcher that fails at once, with its predecessor beside it.
pub(super) fn rescue(host: &mut Host) -> anyhow::Result<()> {
    host.set_up()?;
    host.must(
        "cd /var/lib/handover/bin && cp handover-launch handover-launch.previous && printf \
         '#!/bin/sh\\nexit 1\\n' > broken && chmod 755 broken && mv broken handover-launch",
    )?;
    host.run("systemctl restart handover@web")?;
    host.until("the rescue unit to serve", |host| {
        let ran = host.run("systemctl is-active handover-rescue@web");
        ran.map_err(|e| e.to_string())
            .and_then(|r| if r.out.trim() == "active" { Ok(()) } else { Err(r.out) })
    })?;
    host.serves("1.0.0")?;
    host.proves("web", "1.0.0")?;
    host.must(
        "cd /var/lib/handover/bin && cp handover-launch.previous mended && mv mended \
         handover-launch && systemctl reset-failed handover@web && systemctl start handover@web",
    )?;
    host.serves("1.0.0")?;
    ensure!(host.run("systemctl is-active handover-rescue@web")?.code != Some(0), "both run");
    Ok(())
}
