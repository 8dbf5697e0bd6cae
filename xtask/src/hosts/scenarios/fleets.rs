//! A control plane and agents that it reaches over a network.

use anyhow::ensure;

use crate::hosts::fleet::{FIRST_TOKEN, Fleet};
use crate::hosts::rig::Host;

/// The most that `systemd-analyze security` may find exposed, in tenths.
const EXPOSED: u32 = 15;

/// Orders that succeed, that revert, and what is said about it.
pub(super) fn enrol_and_update(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.set_up()?;
    let [host] = fleet.hosts.as_slice() else { anyhow::bail!("one agent is enough") };
    let name = host.name();
    for path in [FIRST_TOKEN, "/etc/handover/server.env"] {
        let others = fleet.server.must(&format!("find {path} -perm /077"))?;
        ensure!(others.is_empty(), "others can read {path}");
    }
    let said = fleet.server.must("journalctl --no-pager --unit handover-server")?;
    ensure!(!said.contains("hol1_"), "the journal holds a login token");
    fleet.server.must(&format!(
        "systemd-analyze security --no-pager --threshold={EXPOSED} handover-server.service"
    ))?;

    fleet.order(&format!("agent update {name} --component web --to 1.1.0"))?;
    fleet.shows(host, "1.1.0")?;
    host.proves("web", "1.1.0")?;
    let ill = fleet.operate(&format!("agent update {name} --component web --to 1.2.0"))?;
    ensure!(
        ill.code == Some(4),
        "an ill release ended with {:?}\n{}{}",
        ill.code,
        ill.out,
        ill.err
    );
    fleet.shows(host, "1.1.0")?;
    let why = fleet.order(&format!("agent explain {name} web"))?;
    ensure!(why.contains("1.1.0"), "explain does not say what runs: {why}");
    let agent = fleet.json(&format!("agent show {name}"))?.to_string();
    ensure!(agent.contains("1.2.0"), "the quarantine is not known: {agent}");
    let again = fleet.operate(&format!("agent update {name} --component web --to 1.2.0"))?;
    ensure!(again.code == Some(3), "an order lifted a quarantine: {}{}", again.out, again.err);
    fleet.order("audit verify")?;
    Ok(())
}

/// An upgrade of the server's package keeps everything; removal keeps the data; a purge does not.
pub(super) fn keep_and_purge(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.set_up()?;
    let [host] = fleet.hosts.as_slice() else { anyhow::bail!("one agent is enough") };
    let agent = fleet.json(&format!("agent show {}", host.name()))?["id"].clone();
    let settings = fleet.server.must("sha256sum /etc/handover/server.env")?;
    let (keys, certificate) = (keys(fleet)?, certificate(host, fleet)?);
    let before = fleet.server.unit("handover-server")?.0;
    fleet.apt_install_server("0.1.1")?;
    ensure!(fleet.server.unit("handover-server")?.0 != before, "the old server still runs");
    ensure!(self::keys(fleet)? == keys, "the upgrade changed keys");
    ensure!(
        fleet.server.must("sha256sum /etc/handover/server.env")? == settings,
        "settings changed"
    );
    // The certificate is new, and nobody had to be told.
    ensure!(self::certificate(host, fleet)? != certificate, "the certificate was not renewed");
    ensure!(fleet.json(&format!("agent show {}", host.name()))?["id"] == agent, "another agent");
    fleet.order(&format!("agent update {} --component web --to 1.1.0", host.name()))?;
    fleet.shows(host, "1.1.0")?;

    fleet.server.must("apt-get remove --yes --quiet handover-server 2>&1")?;
    ensure!(self::keys(fleet)? == keys, "removal took the keys");
    fleet.server.must("! pgrep -u handover-server")?;
    host.serves("1.1.0")?;
    fleet.apt_install_server("0.1.1")?;
    fleet.all_done(host)?;
    fleet.server.must("apt-get purge --yes --quiet handover-server 2>&1")?;
    let left = fleet.server.must(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /var/lib/dpkg -o -path \
         /srv -o -path /var/lib/apt -o -path /var/log -o -path \
         /usr/share/man \\) -prune -o -name '*handover-server*' -print; ls -d \
         /etc/handover 2>/dev/null || true",
    )?;
    ensure!(left.is_empty(), "the purge left {left}");
    fleet.server.must("! pgrep -u handover-server")?;
    host.proves("web", "1.1.0")?;
    Ok(())
}

/// The server is restarted, and then its power is cut, while agents carry out its orders.
pub(super) fn server_dies(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.set_up()?;
    for host in &fleet.hosts {
        fleet.ask(host, "1.3.0")?;
    }
    for host in &fleet.hosts {
        on_trial(host, "1.3.0")?;
    }
    fleet.server.must("systemctl restart handover-server")?;
    fleet.server.cut_power()?;
    for host in &fleet.hosts {
        host.rests_at("1.3.0")?;
        host.proves("web", "1.3.0")?;
    }
    fleet.server.power_on()?;
    for host in &fleet.hosts {
        fleet.shows(host, "1.3.0")?;
        ensure!(fleet.all_done(host)? == 2, "an order is lost, or there is one too many");
        ensure!(host.runs()? == 2, "an order was carried out twice");
    }
    // Orders that nobody had fetched when the power went are there afterwards.
    let first = &fleet.hosts[0];
    first.must("systemctl stop handover-agent")?;
    fleet.ask(first, "1.6.0")?;
    fleet.server.cut_power()?;
    fleet.server.power_on()?;
    let first = &fleet.hosts[0];
    first.must("systemctl start handover-agent")?;
    fleet.shows(first, "1.6.0")?;
    ensure!(fleet.all_done(first)? == 3, "the order is lost");
    fleet.order("audit verify")?;
    Ok(())
}

/// An agent's link is down for the length of an update.
pub(super) fn partition(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.set_up()?;
    let [host] = fleet.hosts.as_slice() else { anyhow::bail!("one agent is enough") };
    fleet.ask(host, "1.3.0")?;
    on_trial(host, "1.3.0")?;
    host.unplug()?;
    host.rests_at("1.3.0")?;
    host.proves("web", "1.3.0")?;
    let states = fleet.orders(host)?;
    ensure!(states.iter().any(|state| state != "done"), "the link was not down: {states:?}");
    host.plug_in()?;
    fleet.shows(host, "1.3.0")?;
    ensure!(fleet.all_done(host)? == 2, "an order is lost");
    ensure!(host.runs()? == 2, "an order was carried out twice");
    // An order that is given into the void waits, and goes out when the link is back.
    host.unplug()?;
    fleet.ask(host, "1.6.0")?;
    host.serves("1.3.0")?;
    host.plug_in()?;
    fleet.shows(host, "1.6.0")?;
    ensure!(fleet.all_done(host)? == 3, "an order is lost");
    Ok(())
}

/// Waits until `version` of web is on trial.
fn on_trial(host: &Host, version: &str) -> anyhow::Result<()> {
    host.until(&format!("{version} to be on trial"), |host| {
        let slots = host.slots("web").map_err(|error| format!("{error:#}"))?;
        match slots.trial {
            Some(trial) if trial.slot.release.version.to_string() == version => Ok(()),
            Some(_) | None => Err("no such trial".to_owned()),
        }
    })
}

/// Digests of the server's keys.
fn keys(fleet: &Fleet) -> anyhow::Result<String> {
    fleet.server.must("sha256sum /var/lib/handover-server/keys/*")
}

/// The certificate that the server shows over the network.
fn certificate(host: &Host, fleet: &Fleet) -> anyhow::Result<String> {
    host.must(&format!(
        "openssl s_client -connect {}:8443 </dev/null 2>/dev/null | openssl x509 -noout -serial",
        fleet.server.address()
    ))
}
