//! `choose`, asked by somebody who has only the host's report.

use std::collections::BTreeMap;
use std::fmt;

use handover_model::api::{BlockedRelease, ComponentUpdates};
use handover_model::wire::ComponentState;
use handover_model::{
    AgentName, ComponentName, ComponentPolicy, Digest, Guard, IdGen, Millis, Mode, Pin, Platform,
    Quarantined, Readiness, Recipe, ReleaseId, RunId, Slot, Slots, StopSpec, Timestamp, Trial,
    Version,
};
use handover_trust::Skipped;

use super::excludes;
use crate::choose::{Asked, Choice, Decision, Facts, Reason, choose, choose_rollback};
use crate::floors::{Floor, Floors, Ledger};
use crate::graph::Offer;
use crate::window::Schedule;

/// What is known beforehand of one component on one host.
#[derive(Debug, Clone, Copy)]
pub struct Beforehand<'a> {
    /// The agent's name.
    pub agent: &'a AgentName,
    /// The component.
    pub component: &'a ComponentName,
    /// The host's platform.
    pub platform: &'a Platform,
    /// The component in the host's last report, if it is in there.
    pub state: Option<&'a ComponentState>,
    /// Whether there is a report at all. Without one nothing about the host can be known.
    pub reported: bool,
    /// The control plane's own pin, as it is wanted now.
    pub control_pin: Option<&'a Pin>,
    /// What the repository offers of the component; `None` when this control plane does not know
    /// the repository.
    pub offers: Option<&'a [Offer]>,
    /// What it offers to newer programs.
    pub skipped: &'a [Skipped],
    /// The time.
    pub now: Timestamp,
}

/// Why an order would be refused. Displays as one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The host would say so.
    Host(Reason),
    /// The control plane's own pin excludes it.
    ControlPinned {
        /// What it excludes.
        version: Version,
        /// The pin.
        pin: String,
    },
    /// It failed on the host, and an order does not lift that.
    Quarantined {
        /// The component.
        component: ComponentName,
        /// Which version.
        version: Version,
        /// How it failed.
        why: String,
    },
    /// The component is there already.
    AlreadyThere {
        /// At this version.
        version: Version,
    },
}

impl Refusal {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Host(reason) => reason.code(),
            Self::ControlPinned { .. } => "control-pinned",
            Self::Quarantined { .. } => "quarantined",
            Self::AlreadyThere { .. } => "already-there",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(reason) => fmt::Display::fmt(reason, f),
            Self::ControlPinned { version, pin } => {
                write!(f, "the control plane's pin {pin} excludes {version}; unpin it first")
            }
            Self::Quarantined { component, version, why } => write!(
                f,
                "{version} of {component} is in quarantine on this host: {why}; clear the \
                 quarantine to try it again"
            ),
            Self::AlreadyThere { version } => write!(f, "{version} is committed there already"),
        }
    }
}

impl<'a> Beforehand<'a> {
    /// The committed version.
    pub fn current(&self) -> Option<&'a Version> {
        self.state.and_then(|state| state.current.as_ref()).map(|release| &release.version)
    }

    /// The channel that the host follows.
    pub fn channel(&self) -> &'a str {
        self.state.map_or("stable", |state| state.channel.as_str())
    }

    /// The newest version for this host's platform and channel that is not revoked.
    pub fn newest_offered(&self) -> Option<Version> {
        self.fitting().map(|offer| &offer.facts.version).max().cloned()
    }

    /// Checks an order to update, to a version or to the newest permitted one, and returns the
    /// stops of the way as far as they can be known.
    ///
    /// # Errors
    /// Why the host would refuse it.
    pub fn check_update(&self, to: Option<&Version>) -> Result<Vec<Version>, Refusal> {
        let Some(offers) = self.offers else {
            self.check_pins(to)?;
            return to.map_or(Ok(()), |to| self.check_quarantine(to)).map(|()| Vec::new());
        };
        if !self.reported {
            return self.check_offered(offers, to).map(|()| Vec::new());
        }
        let Some(wanted) = to else {
            let updates = self.updates();
            return match (updates.newest, self.held_newest(offers)) {
                (Some(_), _) => Ok(updates.path),
                (None, Some(refusal)) => Err(refusal),
                (None, None) => Err(self.already_there()),
            };
        };
        self.check_pins(to)?;
        self.check_quarantine(wanted)?;
        match self.ask(offers, Asked::For(wanted)).choice {
            Choice::Update { path, .. } => Ok(path.into_iter().map(|id| id.version).collect()),
            Choice::UpToDate => Err(Refusal::AlreadyThere { version: wanted.clone() }),
            Choice::Hold(reason) => Err(Refusal::Host(reason)),
        }
    }

    /// Checks an order to go back, to a version or to the last good one, and returns where to.
    ///
    /// # Errors
    /// Why the host would refuse it.
    pub fn check_rollback(&self, to: Option<&Version>) -> Result<Option<Version>, Refusal> {
        if !self.reported {
            return Ok(None);
        }
        let offers = self.offers.unwrap_or(&[]);
        let back = self.with_facts(|facts| choose_rollback(facts, offers, &[], to));
        let back = back.map_err(Refusal::Host)?;
        self.check_pins(Some(&back.to.version))?;
        Ok(Some(back.to.version))
    }

    /// What could be ordered now, and what not.
    pub fn updates(&self) -> ComponentUpdates {
        let mut updates = ComponentUpdates {
            component: self.component.clone(),
            current: self.current().cloned(),
            newest: None,
            path: Vec::new(),
            available: Vec::new(),
            code: "up-to-date".to_owned(),
            sentence: "nothing newer is offered that it may run".to_owned(),
            blocked: Vec::new(),
        };
        let Some(offers) = self.offers else {
            let sentence = "this control plane has no repository to look in".to_owned();
            return ComponentUpdates { code: "no-repository".to_owned(), sentence, ..updates };
        };
        for version in self.newer(offers) {
            match self.check_update(Some(version)) {
                Ok(path) if updates.newest.is_none() => {
                    (updates.newest, updates.path) = (Some(version.clone()), path);
                    updates.available.push(version.clone());
                }
                Ok(_) => updates.available.push(version.clone()),
                Err(refusal) => updates.blocked.push(BlockedRelease {
                    version: version.clone(),
                    code: refusal.code().to_owned(),
                    sentence: refusal.to_string(),
                }),
            }
        }
        if let Some(newest) = &updates.newest {
            let sentence = format!("{newest} can be ordered");
            (updates.code, updates.sentence) = ("available".to_owned(), sentence);
        } else if let Some(refusal) = self.held_newest(offers) {
            (updates.code, updates.sentence) = (refusal.code().to_owned(), refusal.to_string());
        }
        updates
    }

    /// What the host's own choice would be if a person asked for the newest.
    fn held_newest(&self, offers: &[Offer]) -> Option<Refusal> {
        let decision = self.ask(offers, Asked::Newest);
        if let Choice::Hold(reason) = decision.choice {
            return Some(Refusal::Host(reason));
        }
        let newest = self.newest_offered().filter(|newest| self.current() != Some(newest))?;
        let pins = self.check_pins(Some(&newest));
        pins.and_then(|()| self.check_quarantine(&newest)).err()
    }

    fn already_there(&self) -> Refusal {
        match self.current() {
            Some(version) => Refusal::AlreadyThere { version: version.clone() },
            None => Refusal::Host(Reason::NotOffered { component: self.component.clone() }),
        }
    }

    fn check_offered(&self, offers: &[Offer], to: Option<&Version>) -> Result<(), Refusal> {
        let component = || self.component.clone();
        if offers.is_empty() {
            return Err(Refusal::Host(Reason::NotOffered { component: component() }));
        }
        let Some(wanted) = to else { return Ok(()) };
        self.check_pins(to)?;
        let offer = offers.iter().find(|offer| {
            offer.facts.version == *wanted && offer.facts.platform.runs_on(self.platform)
        });
        match offer.map(|offer| offer.facts.revoked.clone()) {
            None => Err(Refusal::Host(Reason::NoSuchRelease {
                component: component(),
                version: wanted.clone(),
                channel: self.channel().to_owned(),
                platform: self.platform.clone(),
            })),
            Some(Some(why)) => Err(Refusal::Host(Reason::Revoked { version: wanted.clone(), why })),
            Some(None) => Ok(()),
        }
    }

    fn check_pins(&self, to: Option<&Version>) -> Result<(), Refusal> {
        let Some(version) = to else { return Ok(()) };
        let host = self.state.and_then(|state| state.pin.as_ref());
        if let Some(pin) = excludes(host, version) {
            let (version, pin) = (version.clone(), pin.to_string());
            return Err(Refusal::Host(Reason::Pinned { version, pin }));
        }
        match excludes(self.control_pin, version) {
            None => Ok(()),
            Some(pin) => {
                Err(Refusal::ControlPinned { version: version.clone(), pin: pin.to_string() })
            }
        }
    }

    fn check_quarantine(&self, version: &Version) -> Result<(), Refusal> {
        let entries = self.state.map_or(&[][..], |state| state.quarantine.as_slice());
        let entry = entries
            .iter()
            .find(|entry| entry.release.version == *version && self.is_offered(&entry.release));
        match entry {
            None => Ok(()),
            Some(entry) => Err(Refusal::Quarantined {
                component: self.component.clone(),
                version: version.clone(),
                why: entry.reason.clone(),
            }),
        }
    }

    /// A release that was built again under the same version is another one.
    fn is_offered(&self, release: &ReleaseId) -> bool {
        self.offers.is_none_or(|offers| {
            let mut same = offers.iter().filter(|offer| offer.facts.version == release.version);
            same.any(|offer| offer.digest == release.digest)
        })
    }

    fn fitting(&self) -> impl Iterator<Item = &'a Offer> + '_ {
        self.offers.unwrap_or(&[]).iter().filter(|offer| {
            offer.facts.revoked.is_none()
                && offer.facts.platform.runs_on(self.platform)
                && offer.facts.channel == self.channel()
        })
    }

    /// Versions above the current one that fit platform and channel, the highest first.
    fn newer<'o>(&self, offers: &'o [Offer]) -> Vec<&'o Version> {
        let current = self.current();
        let mut versions: Vec<_> = offers
            .iter()
            .filter(|offer| offer.facts.platform.runs_on(self.platform))
            .filter(|offer| offer.facts.channel == self.channel())
            .map(|offer| &offer.facts.version)
            .filter(|version| current.is_none_or(|current| *version > current))
            .collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        versions.dedup();
        versions
    }

    pub(super) fn ask(&self, offers: &[Offer], asked: Asked<'_>) -> Decision {
        self.with_facts(|facts| choose(facts, offers, self.skipped, &[], asked))
    }

    /// The facts that the host's own decision would rest on, as far as the report shows them. The
    /// rest is taken as harmless: windows and the order of components hold no order back, and the
    /// host checks its launcher itself.
    fn with_facts<T>(&self, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let policy = ComponentPolicy {
            name: self.component.clone(),
            channel: self.channel().to_owned(),
            mode: self.state.map_or(Mode::Manual, |state| state.mode),
            pin: self.state.and_then(|state| state.pin.clone()),
            // Looked at beside it, by its own name.
            control_pin: None,
            after: Vec::new(),
            windows: Vec::new(),
            parameters: BTreeMap::new(),
        };
        let slots = self.state.map(|state| slots_of(state, self.offers)).unwrap_or_default();
        let facts = Facts {
            agent: self.agent,
            platform: self.platform,
            policy: &policy,
            windows: &Schedule::default(),
            slots: &slots,
            floors: &self.floors(),
            ledger: &Ledger::default(),
            launcher: u32::MAX,
            others: &BTreeMap::new(),
            clock_off: None,
            now: self.now,
        };
        ask(&facts)
    }

    fn floors(&self) -> Floors {
        let mut floors = Floors::default();
        if let Some((state, version)) =
            self.state.and_then(|state| Some((state, state.floor.clone()?)))
        {
            let floor =
                Floor { version, sequence: state.sequence.unwrap_or(0), raised_at: self.now };
            floors.components.insert(self.component.clone(), floor);
        }
        floors
    }
}

/// The slots as far as decisions look at them.
fn slots_of(state: &ComponentState, offers: Option<&[Offer]>) -> Slots {
    let sequence = |release: &ReleaseId| {
        let mut known = offers.unwrap_or(&[]).iter();
        known.find(|offer| offer.id() == *release).map_or(0, |offer| offer.facts.sequence)
    };
    let slot = |release: &ReleaseId, number: Option<u64>| {
        bare_slot(release.clone(), number.unwrap_or_else(|| sequence(release)))
    };
    let trial = state.trial.as_ref().map(|release| Trial {
        slot: slot(release, None),
        boots_left: 1,
        window: Millis(u64::MAX),
        elapsed: Millis(0),
        guard: None,
    });
    let quarantine = state.quarantine.iter().map(|entry| Quarantined {
        release: entry.release.clone(),
        reason: entry.reason.clone(),
        at: entry.at,
        run: no_run(),
    });
    Slots {
        generation: 0,
        current: state.current.as_ref().map(|release| slot(release, state.sequence)),
        trial,
        pause: None,
        previous: state.previous.iter().map(|release| slot(release, None)).collect(),
        quarantine: quarantine.collect(),
    }
}

/// A slot of which only the release is known. Its guard stands in for "the host's floor is what
/// the host says it is, and not what this slot would make of it".
fn bare_slot(release: ReleaseId, sequence: u64) -> Slot {
    Slot {
        release,
        sequence,
        recipe: Recipe {
            launcher: 0,
            executable: "/".into(),
            executable_digest: Digest::of(b""),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: "/".into(),
            user: None,
            stop: StopSpec::default(),
            readiness: Readiness::None,
            sockets: Vec::new(),
        },
        state: None,
        config: "/".into(),
        run: no_run(),
        committed_at: None,
        guard: Some(Guard { within: Millis(u64::MAX), elapsed: Millis(0), crashes_left: 1 }),
    }
}

fn no_run() -> RunId {
    RunId::mint(&mut IdGen::new([0; 32]), Timestamp::from_micros(0))
}
