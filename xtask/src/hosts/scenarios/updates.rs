//! Updates on a host where nothing else happens.

use anyhow::ensure;

use crate::hosts::rig::Host;

/// 1.1.0 takes over while clients ask; 1.2.0 is ill and goes.
pub(super) fn good_and_bad(host: &mut Host) -> anyhow::Result<()> {
    host.set_up()?;
    let unit = host.unit("handover@web")?;
    let mut client = host.start(
        "while [ ! -e /root/enough ]; do curl -fsS -m 5 http://127.0.0.1:8080/ >/dev/null && \
         echo >> /root/answered || echo >> /root/failed; done",
    )?;
    host.policy("mode: manual", "pin: 1.1.0")?;
    host.rests_at("1.1.0")?;
    host.proves("web", "1.1.0")?;
    // 1.1.0 is still watched, by a unit of its own that an agent's restart does not end.
    let watchers = "systemctl list-units --plain --no-legend 'handover-watch-web-*'";
    let before = host.must(watchers)?;
    ensure!(before.contains("running"), "nobody watches 1.1.0: {before:?}");
    host.must("systemctl restart handover-agent")?;
    ensure!(host.must(watchers)? == before, "the watcher did not survive the agent's restart");
    host.policy("mode: manual", "mode: manual")?;
    ensure!(host.update("web", "1.2.0")? == Some(4), "1.2.0 was not reverted");
    let slots = host.rests_at("1.1.0")?;
    ensure!(slots.quarantine.iter().any(|q| q.release.version.to_string() == "1.2.0"));
    host.must("touch /root/enough")?;
    client.wait()?;
    let answered = host.must("wc -l < /root/answered")?;
    ensure!(!host.path("/root/failed").exists(), "requests failed; {answered} were answered");
    ensure!(host.unit("handover@web")? == unit, "systemd restarted the service");
    ensure!(host.run("handover-agent rollback web")?.code == Some(0), "rollback failed");
    host.rests_at("1.0.0")?;
    Ok(())
}

/// An administrator's drop-in in mid-trial, and a release's own.
pub(super) fn changed_units(host: &mut Host) -> anyhow::Result<()> {
    host.set_up()?;
    let unit = host.unit("handover@web")?;
    let mut update = host.begin_trial("1.3.0")?;
    host.must(
        "mkdir -p /etc/systemd/system/handover@web.service.d && printf '[Service]\\nNice=5\\n' > \
         /etc/systemd/system/handover@web.service.d/10-admin.conf && systemctl daemon-reload",
    )?;
    host.rests_at("1.3.0")?;
    update.wait()?;
    ensure!(host.update("web", "1.6.0")? == Some(0), "1.6.0 was not installed");
    host.rests_at("1.6.0")?;
    let describe = "systemctl show --value -p Description handover@web";
    host.until("the release's drop-in to count", |host| {
        let text = host.must(describe).map_err(|error| format!("{error:#}"))?;
        if text.trim() == "The sample service" { Ok(()) } else { Err(text) }
    })?;
    ensure!(host.unit("handover@web")? == unit, "systemd restarted the service");
    ensure!(host.run("handover-agent rollback web")?.code == Some(0), "rollback failed");
    host.rests_at("1.3.0")?;
    host.until("the release's drop-in to be gone", |host| {
        let text = host.must(describe).map_err(|error| format!("{error:#}"))?;
        if text.trim() == "Handover: web" { Ok(()) } else { Err(text) }
    })?;
    host.must("test -e /etc/systemd/system/handover@web.service.d/10-admin.conf")?;
    Ok(())
}

/// A root on a small file system that somebody else fills.
pub(super) fn full_disk(host: &mut Host) -> anyhow::Result<()> {
    host.must("mkdir -p /var/lib/handover && mount -t tmpfs -o size=400m t /var/lib/handover")?;
    host.set_up()?;
    let before = host.status("web")?;
    // Room for what the agent writes down itself, and for nothing else.
    host.must(
        "cd /var/lib/handover && dd if=/dev/zero of=filler bs=1M 2>/dev/null; truncate -s -4M filler",
    )?;
    ensure!(host.update("web", "1.1.0")? == Some(3), "an update on a full disk is not refused");
    let after = host.status("web")?;
    for same in ["current", "generation", "previous", "quarantine"] {
        ensure!(before[same] == after[same], "{same} changed: {before} {after}");
    }
    host.serves("1.0.0")?;
    host.must("rm /var/lib/handover/filler")?;
    ensure!(host.update("web", "1.1.0")? == Some(0), "with room again, 1.1.0 was not installed");
    host.proves("web", "1.1.0")?;
    Ok(())
}
