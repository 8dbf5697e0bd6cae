//! What is played on hosts: each scenario has a host of its own, freshly booted.

mod agents;
mod contained;
mod fleets;
mod packages;
mod trials;
mod updates;

use super::containers::Containers;
use super::fleet::Fleet;
use super::rig::Host;
use Play::{Alone, Contained, Joined};

/// One story, told on hosts of its own.
pub(super) struct Scenario {
    /// What it shows, as a sentence.
    pub(super) name: &'static str,
    /// Plays it; an error is its failure.
    pub(super) play: Play,
}

/// What a scenario is played on.
#[derive(Clone, Copy)]
pub(super) enum Play {
    /// One host.
    Alone(fn(&mut Host) -> anyhow::Result<()>),
    /// A control plane, and as many agents.
    Joined(u8, fn(&mut Fleet) -> anyhow::Result<()>),
    /// Containers of the images that we define.
    Contained(fn(&Containers) -> anyhow::Result<()>),
}

/// Every scenario, the longest first, so that the lane ends soon after the last begins.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a control plane that dies in mid-update loses no order, and none is done twice",
        play: Joined(2, fleets::server_dies),
    },
    Scenario {
        name: "an agent whose link is down for an update finishes it and reports later",
        play: Joined(1, fleets::partition),
    },
    Scenario {
        name: "apt upgrades the control plane with its data kept, and a purge leaves nothing",
        play: Joined(1, fleets::keep_and_purge),
    },
    Scenario {
        name: "a host enrols over the network, takes orders, and explains what it did",
        play: Joined(1, fleets::enrol_and_update),
    },
    Scenario {
        name: "a host that loses its power in mid-trial comes back on a good version",
        play: Alone(trials::power_cut),
    },
    Scenario {
        name: "an administrator's restart in mid-trial neither commits nor loses anything",
        play: Alone(trials::restart),
    },
    Scenario {
        name: "the agent updates itself while the service serves, and a bad agent reverts",
        play: Alone(agents::update_itself),
    },
    Scenario {
        name: "a stop during a swap stops everything, and a start finds a good version",
        play: Alone(trials::stop_in_a_swap),
    },
    Scenario {
        name: "a good release takes over unnoticed and a bad one goes to quarantine",
        play: Alone(updates::good_and_bad),
    },
    Scenario {
        name: "units that change under a running service change nothing that runs",
        play: Alone(updates::changed_units),
    },
    Scenario {
        name: "a full disk refuses an update and nothing changes",
        play: Alone(updates::full_disk),
    },
    Scenario {
        name: "apt upgrades the package under a running agent, and a purge leaves nothing",
        play: Alone(packages::upgrade_and_purge),
    },
    Scenario {
        name: "a launcher that can't start is rescued by the one before it",
        play: Alone(agents::rescue),
    },
    Scenario {
        name: "in containers the launcher is process 1, and an update goes as on any host",
        play: Contained(contained::update),
    },
    Scenario {
        name: "the control plane runs in a container, and an agent's container enrols with it",
        play: Contained(contained::server),
    },
    Scenario { name: "a disk outlives a power cut", play: Alone(packages::disk_outlives_power) },
];
