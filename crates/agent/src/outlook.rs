//! What each component of this host would do next, and why: `engine::choose` over everything
//! that is known here, components in their order.

use std::collections::BTreeMap;

use handover_engine::choose::{Asked, Choice, Decision, Facts, Standing, choose};
use handover_engine::floors::{Floors, Ledger};
use handover_engine::graph::{Offer, offers};
use handover_engine::window::Schedule;
use handover_model::{
    ComponentName, ComponentPolicy, HostPolicy, LAUNCHER_PROTOCOL, Millis, Permit, Platform, Slots,
    Timestamp,
};
use handover_trust::{Catalog, Verified};

use crate::accepted::Accepted;
use crate::agent::Agent;
use crate::failure::Failure;
use crate::policy::in_order;

/// Everything that decisions rest on, read once.
pub struct Outlook {
    policy: HostPolicy,
    floors: Floors,
    ledger: Ledger,
    platform: Platform,
    launcher: u32,
    clock_off: Option<Millis>,
    now: Timestamp,
    schedules: BTreeMap<ComponentName, Schedule>,
}

/// One component's view ahead.
#[derive(Debug, Clone)]
pub struct Ahead {
    /// What the policy says of it.
    pub policy: ComponentPolicy,
    /// Its slots.
    pub slots: Slots,
    /// What it would do and why.
    pub decision: Decision,
    /// What the repository offers of it.
    pub offers: Vec<Offer>,
}

/// What a person asks of one component; all others look by themselves.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The component.
    pub component: &'a ComponentName,
    /// What is asked.
    pub asked: Asked<'a>,
    /// Permits that the person brought.
    pub permits: &'a [Verified<Permit>],
}

impl Outlook {
    /// Reads what decisions rest on.
    ///
    /// # Errors
    /// [`Failure`] for damaged floors or ledger, and for windows that can't be used.
    pub fn read(
        agent: &Agent,
        policy: &HostPolicy,
        clock_off: Option<Millis>,
    ) -> Result<Self, Failure> {
        let accepted = Accepted::of(&agent.home);
        let mut schedules = BTreeMap::new();
        for component in &policy.components {
            let schedule =
                Schedule::parse(&component.windows, jiff::tz::db()).map_err(|error| {
                    let reason = format!("policy: windows of {}: {error}", component.name);
                    Failure::Refused { code: "policy.window", reason }
                })?;
            schedules.insert(component.name.clone(), schedule);
        }
        Ok(Self {
            policy: policy.clone(),
            floors: accepted.floors()?,
            ledger: accepted.ledger()?,
            platform: agent.platform.clone(),
            launcher: launcher_protocol(agent),
            clock_off,
            now: agent.now().wall,
            schedules,
        })
    }

    /// The whole host ahead, in the order in which components move. Where `only` one of them
    /// matters, another whose slots are damaged counts as not installed and is left out.
    ///
    /// # Errors
    /// [`Failure`] for damaged slots.
    pub fn ahead(
        &self,
        agent: &Agent,
        catalog: &Verified<Catalog>,
        wish: Option<Wish<'_>>,
        only: Option<&ComponentName>,
    ) -> Result<Vec<Ahead>, Failure> {
        let mut all = Vec::new();
        let mut others = BTreeMap::new();
        let ordered = in_order(&self.policy.components)
            .map_err(|reason| Failure::Refused { code: "policy.order", reason })?;
        for policy in ordered {
            let slots = match agent.home.slots(&policy.name) {
                Err(_) if only.is_some_and(|only| *only != policy.name) => {
                    others.insert(policy.name.clone(), Standing::NotInstalled);
                    continue;
                }
                read => read?,
            };
            let offered = offers(catalog, &policy.name);
            let skipped = catalog.components.get(&policy.name);
            let skipped = skipped.map_or(&[][..], |releases| releases.skipped.as_slice());
            let wish = wish.filter(|wish| *wish.component == policy.name);
            let facts = self.facts(policy, &slots, &others);
            let decision = match wish {
                Some(wish) => choose(&facts, &offered, skipped, wish.permits, wish.asked),
                None => choose(&facts, &offered, skipped, &[], Asked::Nobody),
            };
            others.insert(policy.name.clone(), standing(&slots, &decision));
            all.push(Ahead { policy: policy.clone(), slots, decision, offers: offered });
        }
        Ok(all)
    }

    /// The facts of one component, for decisions that are not about what comes next.
    pub fn facts<'a>(
        &'a self,
        policy: &'a ComponentPolicy,
        slots: &'a Slots,
        others: &'a BTreeMap<ComponentName, Standing>,
    ) -> Facts<'a> {
        Facts {
            agent: &self.policy.agent,
            platform: &self.platform,
            policy,
            windows: &self.schedules[&policy.name],
            slots,
            floors: &self.floors,
            ledger: &self.ledger,
            launcher: self.launcher,
            others,
            clock_off: self.clock_off,
            now: self.now,
        }
    }
}

fn standing(slots: &Slots, decision: &Decision) -> Standing {
    match &decision.choice {
        _ if slots.trial.is_some() => Standing::Moving,
        Choice::Update { next, .. } if slots.current.is_some() => {
            Standing::Behind { next: next.facts.version.clone() }
        }
        Choice::Hold(reason) if slots.current.is_some() => Standing::Held(Box::new(reason.clone())),
        Choice::UpToDate if slots.current.is_some() => Standing::Settled,
        Choice::Update { .. } | Choice::Hold(_) | Choice::UpToDate => Standing::NotInstalled,
    }
}

/// What the installed launcher says that it speaks; what this build speaks where it can't be
/// asked, which `doctor` complains about.
fn launcher_protocol(agent: &Agent) -> u32 {
    let output = std::process::Command::new(agent.home.launcher()).arg("--version").output();
    let said = output.ok().filter(|output| output.status.success()).and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        let rest = text.split("launcher protocol ").nth(1)?;
        rest.trim_end().trim_end_matches(')').parse().ok()
    });
    said.unwrap_or(LAUNCHER_PROTOCOL)
}
