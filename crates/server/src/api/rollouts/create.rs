//! Making a rollout: first everything that can be wrong with it, then all of it in one
//! transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::response::Response;
use handover_engine::rollout::check::{SpecError, check_spec};
use handover_engine::rollout::controller::{Act, Progress};
use handover_model::api::{LeftOut, RolloutKind, RolloutSpec};
use handover_model::{AgentName, RolloutId, Timestamp};
use handover_store::rollouts::{self, NewRollout, Rollout, RolloutKey};
use handover_store::{Tx, audit, events};
use http::StatusCode;
use serde_json::json;

use super::super::body::Body;
use super::super::call::{Call, check_words};
use super::super::library::Shelf;
use super::super::{once, selections};
use super::acts::{again, refused, shown};
use crate::problem::Code;
use crate::rollouts::{Chosen, Fleet, How, Vetted, Wanted, act, made, vet};
use crate::{AppState, Problem};

/// How many agents a refusal names.
const NAMED: usize = 5;

/// `POST /rollouts`.
pub(crate) async fn create(
    call: Call,
    Body { value: spec, digest }: Body<RolloutSpec>,
) -> Result<Response, Problem> {
    call.query().done()?;
    if let Some(again) = again(&call, digest).await? {
        return Ok(again);
    }
    let surveyed = survey(&call.state, &spec, call.now).await?;
    surveyed.check(&spec)?;
    let seen = of_component(call.state.store.read(rollouts::live).await?, &spec);
    let rivals = rivals(&call.state, &spec, &surveyed.vetted.members, call.now).await?;
    if let Some(rival) = rivals.first().filter(|_| !spec.supersede) {
        return Err(overlap(rival));
    }
    let maker = Maker {
        seen,
        id: call.state.mint(RolloutId::mint),
        spec: Arc::new(spec),
        rivals: rivals.into_iter().map(|rival| rival.key).collect(),
        who: call.principal.who(),
        now: call.now,
    };
    let done = once::act(&call, digest, StatusCode::CREATED, move |tx| maker.make(tx)).await?;
    shown(&call.state, &done).await
}

/// What a specification comes to in the fleet of this moment.
pub(super) struct Survey {
    pub(super) wanted: Wanted,
    pub(super) matched: u32,
    pub(super) of: u32,
    pub(super) is_everything: bool,
    pub(super) unknown: Vec<String>,
    pub(super) vetted: Vetted,
    pub(super) shelf: Arc<Shelf>,
}

/// Looks at the specification, then through the fleet.
///
/// # Errors
/// What is wrong with the specification by itself, its selections and its release.
pub(super) async fn survey(
    state: &AppState,
    spec: &RolloutSpec,
    now: Timestamp,
) -> Result<Survey, Problem> {
    check(spec, now)?;
    let shelf = state.library.shelf(state).await;
    check_release(spec, &shelf)?;
    let wanted = Wanted::of(&state.store, spec).await.map_err(selections::unusable)?;
    let mut fleet = Fleet::choose(&state.store, &wanted, Some(spec), now).await?;
    let unknown = selections::unknown(state, &wanted, &fleet, &shelf).await?;
    let is_everything = selections::is_everything(&wanted, &fleet);
    let chosen = std::mem::take(&mut fleet.chosen);
    let matched = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    let vetted = vet(state, spec, chosen, now).await?;
    Ok(Survey { wanted, matched, of: fleet.of, is_everything, unknown, vetted, shelf })
}

/// What a specification says, without looking at anything else.
pub(super) fn check(spec: &RolloutSpec, now: Timestamp) -> Result<(), Problem> {
    check_words("reason", spec.reason.as_deref(), 500)?;
    check_spec(spec, now, jiff::tz::db()).map_err(|error| unfit(&error))
}

/// A specification that can't work, by its code and field.
pub(super) fn unfit(error: &SpecError) -> Problem {
    let code = Code::ALL.iter().copied().find(|code| code.as_str() == error.code());
    Problem::new(
        code.unwrap_or(Code::RolloutSpec),
        format!("the rollout can't work like that: {error}"),
    )
    .field(format!("body.{}", error.field()), error.to_string())
}

/// Whether the release is one, as far as this server can know.
fn check_release(spec: &RolloutSpec, shelf: &Shelf) -> Result<(), Problem> {
    let Some(offers) = shelf.offers(&spec.component) else { return Ok(()) };
    let (component, to) = (&spec.component, &spec.to);
    let mut same = offers.iter().filter(|offer| offer.facts.version == *to).peekable();
    if same.peek().is_none() {
        let detail = format!(
            "the repository offers no {component} {to}; `handover release list` has what it offers"
        );
        return Err(Problem::new(Code::ReleaseUnknown, detail).field("body.to", "not offered"));
    }
    let revoked: Option<Vec<&str>> = same.map(|offer| offer.facts.revoked.as_deref()).collect();
    match revoked.as_deref() {
        Some([why, ..]) => {
            let detail = format!("{component} {to} was revoked: {why}; roll out another release");
            Err(Problem::new(Code::ReleaseRevoked, detail).field("body.to", "revoked"))
        }
        Some([]) | None => Ok(()),
    }
}

impl Survey {
    /// Whether the fleet gives the rollout its members.
    fn check(&self, spec: &RolloutSpec) -> Result<(), Problem> {
        self.check_selection(spec)?;
        self.check_unable(spec)?;
        if self.vetted.members.is_empty() {
            let why = self.vetted.left_out.iter().chain(&self.vetted.unable);
            let why: Vec<_> =
                why.map(|one| format!("{} of them: {}", one.count, one.text)).collect();
            let detail = format!(
                "{} agents match and none can be a member: {}",
                self.matched,
                why.join("; ")
            );
            return Err(Problem::new(Code::RolloutNothingToDo, detail));
        }
        Ok(())
    }

    /// Whether the selection means agents that there are.
    pub(super) fn check_selection(&self, spec: &RolloutSpec) -> Result<(), Problem> {
        if !self.unknown.is_empty() {
            let names = self.unknown.join("; ");
            let detail = format!("the selection names what is not there: {names}");
            return Err(Problem::new(Code::SelectionUnknown, detail).field("body.select", names));
        }
        if self.matched == 0 {
            let detail = format!(
                "no agent matches {}; `handover agent list --select …` shows what a selection \
                 matches",
                self.wanted.written
            );
            let problem = Problem::new(Code::SelectionEmpty, detail);
            return Err(problem.field("body.select", "it matches no agent"));
        }
        if !spec.all && self.is_everything {
            let detail = format!(
                "the selection matches every agent, {} of {}: if that is meant, say so with \
                 `all: true` (`--all`)",
                self.matched, self.of
            );
            return Err(Problem::new(Code::SelectionEverything, detail)
                .field("body.all", "the selection matches every agent"));
        }
        Ok(())
    }

    fn check_unable(&self, spec: &RolloutSpec) -> Result<(), Problem> {
        let Some(first) = self.vetted.unable.first().filter(|_| !spec.leave_out_unable) else {
            return Ok(());
        };
        let code = match first.code.as_str() {
            "pinned" | "control-pinned" => Code::RolloutPinned,
            "no-path" | "below-floor" | "needs-permit" => Code::RolloutFloor,
            "revoked" => Code::ReleaseRevoked,
            "not-offered" | "no-such-release" => Code::ReleaseUnknown,
            _ => Code::RolloutUnable,
        };
        let count: u32 = self.vetted.unable.iter().map(|one| one.count).sum();
        let detail = format!(
            "{count} of the agents can't come to {} {} ({}): {}; leave them out of the \
             selection, or say `leave_out_unable: true`",
            spec.component,
            spec.to,
            named(first),
            first.text
        );
        let problem = Problem::new(code, detail);
        Err(self.vetted.unable.iter().fold(problem, |problem, one| {
            let words = format!("{}: {} ({})", one.code, one.text, named(one));
            problem.field("body.select", words)
        }))
    }
}

fn named(left_out: &LeftOut) -> String {
    names(&left_out.agents)
}

fn names(agents: &[AgentName]) -> String {
    let shown: Vec<_> = agents.iter().take(NAMED).map(AgentName::as_str).collect();
    let more = if agents.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Another rollout of the component that has some of the same agents.
pub(super) struct Rival {
    key: RolloutKey,
    name: String,
    state: handover_model::api::RolloutState,
    shared: Vec<AgentName>,
}

/// Every rollout of the component that is not over and has, or would have, some of these agents.
///
/// # Errors
/// Of the database.
pub(super) async fn rivals(
    state: &AppState,
    spec: &RolloutSpec,
    members: &[Chosen],
    now: Timestamp,
) -> Result<Vec<Rival>, Problem> {
    let live = state.store.read(rollouts::live).await?;
    let mut found = Vec::new();
    for row in live {
        if row.state.is_over() || row.spec.component != spec.component {
            continue;
        }
        state.rollouts.follow_row(&state.store, row.id).await?;
        let drawn = state.rollouts.with(row.key, |live| live.drawn.clone()).flatten();
        let shared: Vec<AgentName> = if let Some(drawn) = drawn {
            let shared = members.iter().filter(|one| drawn.position(one.key).is_some());
            shared.map(|one| one.name.clone()).collect()
        } else {
            // It looks who matches when it starts; whoever matches now would.
            let Ok(wanted) = Wanted::of(&state.store, &row.spec).await else { continue };
            let fleet = Fleet::choose(&state.store, &wanted, Some(&row.spec), now).await?;
            let keys: BTreeSet<_> = fleet.chosen.iter().map(|one| one.key).collect();
            let shared = members.iter().filter(|one| keys.contains(&one.key));
            shared.map(|one| one.name.clone()).collect()
        };
        if !shared.is_empty() {
            let name = row.name.to_string();
            found.push(Rival { key: row.key, name, state: row.state, shared });
        }
    }
    Ok(found)
}

impl Rival {
    /// What it is, and what can be done about it.
    pub(super) fn words(&self) -> String {
        format!(
            "{} of the agents ({}) are in rollout {} of the same component, which is {}: abort \
             it, leave them out, or let the new one take its place with `supersede: true`",
            self.shared.len(),
            names(&self.shared),
            self.name,
            self.state
        )
    }
}

fn overlap(rival: &Rival) -> Problem {
    Problem::new(Code::RolloutOverlap, rival.words())
        .field("body.select", "shared with another rollout")
}

/// Rollouts of the same component that are not over.
fn of_component(live: Vec<Rollout>, spec: &RolloutSpec) -> BTreeSet<RolloutId> {
    let same = |row: &Rollout| !row.state.is_over() && row.spec.component == spec.component;
    live.into_iter().filter(same).map(|row| row.id).collect()
}

/// A rollout that is about to be made.
struct Maker {
    /// The others that were looked at.
    seen: BTreeSet<RolloutId>,
    id: RolloutId,
    spec: Arc<RolloutSpec>,
    rivals: Vec<RolloutKey>,
    who: String,
    now: Timestamp,
}

impl Maker {
    fn make(&self, tx: &mut Tx<'_>) -> Result<RolloutId, Problem> {
        if !of_component(rollouts::live(tx)?, &self.spec).is_subset(&self.seen) {
            let detail = format!(
                "another rollout of {} was made at the same moment; look at it, then try again",
                self.spec.component
            );
            return Err(Problem::new(Code::RolloutOverlap, detail));
        }
        for rival in &self.rivals {
            let how = How {
                what: "rollout.supersede",
                who: self.who.clone(),
                superseded_by: Some(self.id),
                ..How::default()
            };
            match act(tx, *rival, None, &Act::Supersede, &how, self.now) {
                // It ended by itself in the meantime.
                Err(error) if error.is_refused() => {}
                done => {
                    done.map_err(|error| refused(&self.spec.name, error))?;
                }
            }
        }
        let taken = rollouts::by_name(tx, &self.spec.name)?;
        if let Some(other) = taken.filter(|other| !other.state.is_over()) {
            let detail = format!(
                "rollout {} is {} and has that name; take another one, or abort it first",
                other.name, other.state
            );
            return Err(Problem::new(Code::RolloutName, detail).field("body.name", "taken"));
        }
        let progress = serde_json::to_string(&Progress::new(self.now));
        let new = NewRollout {
            id: self.id,
            kind: RolloutKind::Update,
            spec: RolloutSpec::clone(&self.spec),
            progress: progress.map_err(|error| Problem::internal(&error))?,
            by: self.who.clone(),
        };
        rollouts::insert(tx, &new, self.now)?;
        let change = audit::NewAudit {
            at: self.now,
            who: self.who.clone(),
            what: "rollout.create",
            subject: self.id.to_string(),
            before: None,
            after: Some(json!({ "spec": self.spec })),
        };
        audit::insert(tx, &change)?;
        events::insert(tx, &made(&new, self.now))?;
        Ok(self.id)
    }
}
