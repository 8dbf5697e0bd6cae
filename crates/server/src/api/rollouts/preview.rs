//! What a rollout would do: the same looks and the same drawing as when it is made, and plays of
//! the production controller against a simulated fleet of this size.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use handover_engine::rollout::plan::{Plan, is_assumed};
use handover_engine::rollout::play::{PlayAsk, good_day, play};
use handover_engine::rollout::roster::{Candidate, Roster, draw};
use handover_model::api::{
    AgentState, Play, PreviewRequest, PreviewWave, RolloutPreview, RolloutSpec, Strategy,
};
use handover_model::{Hasher, Millis};
use handover_store::AgentKey;

use super::super::answer;
use super::super::body::Body;
use super::super::call::{Call, bad_field};
use super::super::library::Shelf;
use super::create::{Survey, rivals, survey};
use crate::Problem;
use crate::rollouts::{Chosen, baseline, earlier};

/// How many names of a wave are shown.
const FIRST: usize = 5;
/// How often each rate is played, where the fleet is not too large for that.
const PLAYS: u32 = 200;
/// How long an update takes on a host, where nobody says.
const A_MINUTE: Millis = Millis(60_000);
/// The longest that it may take.
const A_DAY: Millis = Millis(24 * 3_600_000);
/// The failure rates that are played where nobody names any, in percent.
const RATES: [f64; 4] = [0.1, 2.0, 10.0, 100.0];
/// The most rates at once.
const MOST_RATES: usize = 8;
/// Below so many hosts the sequential test can hardly see a rate of a few percent.
const SMALL: u32 = 200;

/// `POST /rollouts/preview`.
pub(in crate::api) async fn preview(
    call: Call,
    Body { value: request, .. }: Body<PreviewRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let rates = rates(&request)?;
    let spec = &request.spec;
    let survey = survey(&call.state, spec, call.now).await?;
    survey.check_selection(&RolloutSpec { all: true, ..spec.clone() })?;
    let members = &survey.vetted.members;
    let baseline = baseline(&call.state.store, spec).await?;
    let seed = match request.seed {
        Some(seed) => seed,
        None => drawn_seed()?,
    };
    let candidates: Vec<Candidate<'_>> = members.iter().map(Chosen::candidate).collect();
    let (plan, roster) = draw(spec, wide(seed), baseline, &candidates);
    let (plan, roster) = (Arc::new(plan), Arc::new(roster));
    let plays = plays(&request, rates, &plan, &roster, seed).await?;
    let mut warnings = warnings(spec, &survey);
    if is_assumed(spec, earlier(&call.state.store).await?) {
        warnings.push(format!(
            "too few updates have ended here to know how a good day looks: the gate assumes that \
             {:.1} % fail; name gate.baseline if you know better",
            baseline.rate() * 100.0
        ));
    }
    for rival in rivals(&call.state, spec, members, call.now).await? {
        warnings.push(rival.words());
    }
    let waves = waves(spec, &plan, &roster, members);
    answer::json(&RolloutPreview {
        matched: survey.matched,
        members: plan.members(),
        left_out: [survey.vetted.left_out, survey.vetted.unable].concat(),
        waves,
        paths: survey.vetted.paths,
        warnings,
        plays,
        seed,
    })
}

/// Plays each rate, beside the server's own work.
async fn plays(
    request: &PreviewRequest,
    rates: Vec<f64>,
    plan: &Arc<Plan>,
    roster: &Arc<Roster>,
    seed: u64,
) -> Result<Vec<Play>, Problem> {
    let each_takes = request.each_takes.unwrap_or(A_MINUTE);
    if each_takes < Millis(1) || each_takes > A_DAY {
        return Err(bad_field("each_takes", format!("it goes from 1ms to {A_DAY}")));
    }
    let (plan, roster, spec) = (Arc::clone(plan), Arc::clone(roster), request.spec.clone());
    let played = tokio::task::spawn_blocking(move || {
        let ask = |failures_percent| PlayAsk { failures_percent, plays: PLAYS, seed, each_takes };
        rates.into_iter().map(|rate| play(&plan, &roster, &spec, &ask(rate))).collect()
    });
    played.await.map_err(|error| Problem::internal(&error))
}

fn rates(request: &PreviewRequest) -> Result<Vec<f64>, Problem> {
    let rates = request.failures.clone().unwrap_or_else(|| RATES.to_vec());
    if rates.is_empty() || rates.len() > MOST_RATES {
        return Err(bad_field("failures", format!("name 1 to {MOST_RATES} rates, in percent")));
    }
    if rates.iter().any(|rate| !rate.is_finite() || *rate < 0.0 || *rate > 100.0) {
        return Err(bad_field("failures", "rates go from 0 to 100 percent"));
    }
    Ok(rates)
}

fn drawn_seed() -> Result<u64, Problem> {
    let bytes = crate::real_world::random::<8>().map_err(|error| Problem::internal(&error))?;
    Ok(u64::from_be_bytes(*bytes))
}

/// A short seed as a long one.
fn wide(seed: u64) -> [u8; 32] {
    let mut hasher = Hasher::default();
    hasher.update(&seed.to_be_bytes());
    *hasher.finish().as_bytes()
}

fn waves(spec: &RolloutSpec, plan: &Plan, roster: &Roster, members: &[Chosen]) -> Vec<PreviewWave> {
    let by_key: BTreeMap<AgentKey, &Chosen> = members.iter().map(|one| (one.key, one)).collect();
    let at = |position: u32| {
        let place = usize::try_from(position).ok()?;
        let member = roster.members.get(place)?;
        by_key.get(&AgentKey::from_i64(member.agent)).copied()
    };
    let number = |wave: usize| u32::try_from(wave).unwrap_or(u32::MAX);
    let steps = good_day(plan, spec);
    let shown = plan.waves.iter().enumerate().map(|(wave, planned)| {
        let positions = plan.positions(number(wave));
        let size = positions.end.saturating_sub(positions.start);
        let away =
            positions.clone().filter_map(at).filter(|one| one.state == AgentState::Away).count();
        PreviewWave {
            name: planned.name.clone(),
            members: size,
            away: number(away),
            approval: planned.approval,
            first: positions.filter_map(at).take(FIRST).map(|one| one.name.clone()).collect(),
            steps: steps.get(wave).cloned().unwrap_or_default(),
        }
    });
    shown.collect()
}

fn warnings(spec: &RolloutSpec, survey: &Survey) -> Vec<String> {
    let mut warnings = Vec::new();
    if survey.is_everything && !spec.all {
        warnings.push(
            "the selection matches every agent: making the rollout needs `all: true`".to_owned(),
        );
    }
    if !survey.vetted.unable.is_empty() && !spec.leave_out_unable {
        warnings.push(
            "some agents can't get there: making the rollout is refused because of them, unless \
             it says `leave_out_unable: true`"
                .to_owned(),
        );
    }
    warnings.extend(no_return(spec, &survey.shelf));
    let members = u32::try_from(survey.vetted.members.len()).unwrap_or(u32::MAX);
    if spec.gate.sequential && members <= SMALL && !matches!(spec.strategy, Strategy::Immediate {})
    {
        warnings.push(format!(
            "{members} hosts are few: the sequential test can't see a failure rate of a few \
             percent among them; set failures_at_most, or a soak time"
        ));
    }
    warnings
}

/// Hosts can go back during the trial alone where a release does not let them return.
fn no_return(spec: &RolloutSpec, shelf: &Shelf) -> Option<String> {
    let offers = shelf.offers(&spec.component)?;
    let mut same = offers.iter().filter(|offer| offer.facts.version == spec.to);
    same.any(|offer| offer.facts.return_within.is_none()).then(|| {
        format!(
            "{} {} can't be returned from once a host has committed it: its release says no \
             return_within, so that a revert is refused by the hosts",
            spec.component, spec.to
        )
    })
}
