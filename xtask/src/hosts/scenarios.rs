//! What is played on hosts: each scenario has a host of its own, freshly booted.

use super::rig::Host;

/// One story, told on one host.
pub(super) struct Scenario {
    /// What it shows, as a sentence.
    pub(super) name: &'static str,
    /// Plays it; an error is its failure.
    pub(super) play: fn(&mut Host) -> anyhow::Result<()>,
}

/// Every scenario, the longest first, so that the lane ends soon after the last begins.
pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "a disk outlives a power cut", play: a_disk_outlives_a_power_cut }];

/// The rig itself: without this, every later "came back" would prove nothing.
fn a_disk_outlives_a_power_cut(host: &mut Host) -> anyhow::Result<()> {
    host.must("systemd-run --collect --unit=busy sleep 600 && touch /root/before")?;
    let mut sleeper = host.start("exec sleep 600")?;
    anyhow::ensure!(host.path("/root/before").exists(), "the host's disk is not where we look");
    let boot = host.must("cat /proc/1/stat")?;
    host.cut_power()?;
    anyhow::ensure!(host.run("true").is_err(), "a host without power ran a command");
    sleeper.wait()?;
    host.power_on()?;
    host.must("test -e /root/before && ! systemctl is-active busy")?;
    anyhow::ensure!(boot != host.must("cat /proc/1/stat")?, "it is the same boot");
    host.shut_down()?;
    host.power_on()?;
    host.must("test -e /root/before")?;
    Ok(())
}
