//! What apt does, and the rig itself.

use anyhow::ensure;

use crate::hosts::rig::Host;

/// An upgrade of the package changes nothing that runs; a purge leaves nothing but what is not
/// ours.
pub(super) fn upgrade_and_purge(host: &mut Host) -> anyhow::Result<()> {
    let before = files(host)?;
    host.set_up()?;
    let units = (host.unit("handover@web")?, host.unit("handover-agent")?);
    let process = host.proves("web", "1.0.0")?["process"]["pid"].clone();
    let (web, agent) = (host.slots("web")?, host.slots("handover-agent")?);
    host.apt_install("0.1.1")?;
    ensure!((host.unit("handover@web")?, host.unit("handover-agent")?) == units, "units restarted");
    ensure!(host.proves("web", "1.0.0")?["process"]["pid"] == process, "the service was restarted");
    let slots = (host.slots("web")?, host.slots("handover-agent")?);
    ensure!(slots == (web, agent), "the upgrade of the package changed slots");
    ensure!(host.update("web", "1.1.0")? == Some(0), "1.1.0 was not installed afterwards");
    host.proves("web", "1.1.0")?;

    host.must("touch /var/lib/handover/mine")?;
    host.must("apt-get purge --yes --quiet handover-agent 2>&1")?;
    host.until("every process to be gone", |host| {
        let ran =
            host.run("pgrep -fa '[h]andover-|bin/[w]eb'").map_err(|error| error.to_string())?;
        if ran.code == Some(1) { Ok(()) } else { Err(ran.out) }
    })?;
    host.must("rm /var/lib/handover/mine && rmdir /var/lib/handover")?;
    let after = files(host)?;
    let left: Vec<&str> =
        after.lines().filter(|file| !before.lines().any(|known| known == *file)).collect();
    ensure!(left.is_empty(), "the purge left {left:?}");
    // A unit whose file is gone is forgotten when systemd next collects what nobody refers to.
    host.until("every unit to be forgotten", |host| {
        let units = host
            .run("systemctl list-units --all --plain --no-legend 'handover*'")
            .map_err(|error| error.to_string())?;
        if units.out.trim().is_empty() { Ok(()) } else { Err(units.out) }
    })
}

/// Every file of the host but those that apt, dpkg and the journal keep about what they did.
fn files(host: &Host) -> anyhow::Result<String> {
    host.must(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /srv -o \
         -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o \
         -path /tmp -o -path /var/tmp -o -path /var/lib/systemd \\) -prune -o -print | sort",
    )
}

/// The rig itself: without this, every "came back" would prove nothing.
pub(super) fn disk_outlives_power(host: &mut Host) -> anyhow::Result<()> {
    host.must("systemd-run --collect --unit=busy sleep 600 && touch /root/before")?;
    let mut sleeper = host.start("exec sleep 600")?;
    ensure!(host.path("/root/before").exists(), "the host's disk is not where we look");
    let boot = host.must("cat /proc/1/stat")?;
    host.cut_power()?;
    ensure!(host.run("true").is_err(), "a host without power ran a command");
    sleeper.wait()?;
    host.power_on()?;
    host.must("test -e /root/before && ! systemctl is-active busy")?;
    ensure!(boot != host.must("cat /proc/1/stat")?, "it is the same boot");
    host.shut_down()?;
    host.power_on()?;
    host.must("test -e /root/before")?;
    Ok(())
}
