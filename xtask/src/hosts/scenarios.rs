//! What is played on hosts: each scenario has a host of its own, freshly booted.

mod agents;
mod packages;
mod trials;
mod updates;

use super::rig::Host;

/// One story, told on one host.
pub(super) struct Scenario {
    /// What it shows, as a sentence.
    pub(super) name: &'static str,
    /// Plays it; an error is its failure.
    pub(super) play: fn(&mut Host) -> anyhow::Result<()>,
}

/// Every scenario, the longest first, so that the lane ends soon after the last begins.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a host that loses its power in mid-trial comes back on a good version",
        play: trials::power_cut,
    },
    Scenario {
        name: "an administrator's restart in mid-trial neither commits nor loses anything",
        play: trials::restart,
    },
    Scenario {
        name: "the agent updates itself while the service serves, and a bad agent reverts",
        play: agents::update_itself,
    },
    Scenario {
        name: "a stop during a swap stops everything, and a start finds a good version",
        play: trials::stop_in_a_swap,
    },
    Scenario {
        name: "a good release takes over unnoticed and a bad one goes to quarantine",
        play: updates::good_and_bad,
    },
    Scenario {
        name: "units that change under a running service change nothing that runs",
        play: updates::changed_units,
    },
    Scenario {
        name: "a full disk refuses an update and nothing changes",
        play: updates::full_disk,
    },
    Scenario {
        name: "apt upgrades the package under a running agent, and a purge leaves nothing",
        play: packages::upgrade_and_purge,
    },
    Scenario {
        name: "a launcher that can't start is rescued by the one before it",
        play: agents::rescue,
    },
    Scenario { name: "a disk outlives a power cut", play: packages::disk_outlives_power },
];
