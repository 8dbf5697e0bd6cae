//! Agents: lists, one of them whole, labels, retirement, and what they said.

mod selected;

use axum::response::Response;
use handover_model::api::{
    AgentDetail, AgentState, AgentSummary, LabelsChange, OrderState, Page, PinInfo, ReportInfo,
    RetireRequest,
};
use handover_model::wire::ReportBody;
use handover_model::{ComponentName, Labels, Timestamp, Version};
use handover_store::agents::{self, Agent, Filter};
use handover_store::events::NewEvent;
use handover_store::pins::StoredPin;
use handover_store::{Tx, audit, events, orders, pins, reports};
use http::StatusCode;
use serde_json::json;

use super::body::{Body, OrNothing};
use super::call::{
    AgentRef, Call, Params, Segments, bad_field, bad_query, check_generation, check_words, listed,
};
use super::{answer, once, place};
use crate::problem::Code;
use crate::{Problem, news};

/// `GET /agents`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let slice = query.slice()?;
    let filter = filter(&mut query)?;
    let select = query.one("select")?;
    query.done()?;
    let now = call.now;
    let page = call
        .state
        .store
        .read(move |tx| {
            let after = slice.after.as_deref();
            match &select {
                Some(text) => selected::list(tx, text, &filter, (after, slice.limit), now),
                None => agents::list(tx, &filter, after, slice.limit).map_err(listed),
            }
        })
        .await?;
    let items = page.items.into_iter().map(|agent| summary(&agent)).collect::<Vec<_>>();
    answer::json(&Page { items, next: page.next })
}

fn filter(query: &mut Params) -> Result<Filter, Problem> {
    let labels = query.many("label");
    let labels = Labels::parse(labels.iter().map(String::as_str))
        .map_err(|error| bad_query("label", error))?;
    let component: Option<ComponentName> = query.parsed("component")?;
    let version: Option<Version> = query.parsed("version")?;
    let name_prefix = query.one("name")?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name_prefix.as_deref().is_some_and(|prefix| !prefix.chars().all(fits)) {
        return Err(bad_query("name", "names have lower-case letters, digits and hyphens"));
    }
    let component = match (component, version) {
        (Some(component), version) => Some((component, version)),
        (None, None) => None,
        (None, Some(_)) => return Err(bad_query("version", "give the component too")),
    };
    let state = query.one("state")?.map(|text| state(&text)).transpose()?;
    let with_retired = query.parsed("retired")?.unwrap_or(false);
    let labels = labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Filter { with_retired, state, labels, component, name_prefix })
}

fn state(text: &str) -> Result<AgentState, Problem> {
    match text {
        "present" => Ok(AgentState::Present),
        "away" => Ok(AgentState::Away),
        "cloned" => Ok(AgentState::Cloned),
        "retired" => Ok(AgentState::Retired),
        _ => Err(bad_query("state", "it is present, away, cloned or retired")),
    }
}

/// `GET /agents/{agent}`.
pub(super) async fn show(call: Call, Segments([agent]): Segments<1>) -> Result<Response, Problem> {
    call.query().done()?;
    let agent = AgentRef::parse(&agent)?;
    let read = call.state.store.read(move |tx| {
        let found = agent.find(tx)?;
        detail(tx, &found)
    });
    let detail = read.await?;
    answer::tagged(&detail, detail.generation)
}

/// `PATCH /agents/{agent}`: labels.
pub(super) async fn change_labels(
    call: Call,
    Segments([agent]): Segments<1>,
    Body { value: change, .. }: Body<LabelsChange>,
) -> Result<Response, Problem> {
    call.query().done()?;
    if change.remove.len() > 64 {
        return Err(bad_field("remove", "at most 64 keys at once"));
    }
    let agent = AgentRef::parse(&agent)?;
    let seen = call.if_match()?;
    let (who, now) = (call.principal.who(), call.now);
    let detail = call
        .state
        .store
        .write(move |tx| -> Result<AgentDetail, Problem> {
            let mut found = agent.find(tx)?;
            check_generation(seen, found.generation, found.name.as_str())?;
            if found.state == AgentState::Retired {
                return Err(retired(&found));
            }
            let kept = change.remove.iter().fold(found.labels.clone(), |l, key| l.without(key));
            let labels = kept.overlaid(&change.set).map_err(|error| bad_field("set", error))?;
            if labels == found.labels {
                return detail(tx, &found);
            }
            let before = std::mem::replace(&mut found.labels, labels);
            agents::save(tx, &found, now)?;
            let row = audit::NewAudit {
                at: now,
                who: who.clone(),
                what: "agent.labels",
                subject: found.id.to_string(),
                before: Some(json!(before)),
                after: Some(json!(found.labels)),
            };
            audit::insert(tx, &row)?;
            events::insert(tx, &event(&found, "agent.labels", json!(found.labels), now))?;
            let found = AgentRef::Id(found.id).find(tx)?;
            detail(tx, &found)
        })
        .await?;
    answer::tagged(&detail, detail.generation)
}

/// `POST /agents/{agent}/retire`.
pub(super) async fn retire(
    call: Call,
    Segments([agent]): Segments<1>,
    OrNothing { value: request, digest }: OrNothing<RetireRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    check_words("reason", request.reason.as_deref(), 500)?;
    let agent = AgentRef::parse(&agent)?;
    let seen = call.if_match()?;
    let (who, now) = (call.principal.who(), call.now);
    let done = once::act(&call, digest, StatusCode::OK, move |tx| {
        let found = agent.find(tx)?;
        if found.state == AgentState::Retired {
            return detail(tx, &found);
        }
        check_generation(seen, found.generation, found.name.as_str())?;
        let note = request.reason.as_deref();
        agents::set_standing(tx, found.key, AgentState::Retired, note, now)?;
        for mut order in orders::open_of(tx, found.key)? {
            order.state = OrderState::Voided;
            order.code = Some("agent-retired".to_owned());
            order.outcome = Some(format!("the agent was retired by {who}"));
            orders::save(tx, &order, now)?;
            news::order(tx, now, &order)?;
        }
        let row = audit::NewAudit {
            at: now,
            who: who.clone(),
            what: "agent.retire",
            subject: found.id.to_string(),
            before: Some(json!({ "state": found.state })),
            after: Some(json!({ "state": AgentState::Retired, "reason": request.reason })),
        };
        audit::insert(tx, &row)?;
        events::insert(tx, &event(&found, "agent.retired", json!({ "by": who }), now))?;
        let found = AgentRef::Id(found.id).find(tx)?;
        detail(tx, &found)
    })
    .await?;
    super::changed(&call, &done.body);
    Ok(answer::text(done.status, done.body))
}

/// `GET /agents/{agent}/timeline`: what happened, newest first.
pub(super) async fn timeline(
    call: Call,
    Segments([agent]): Segments<1>,
) -> Result<Response, Problem> {
    let agent = AgentRef::parse(&agent)?;
    let mut query = call.query();
    let slice = query.slice()?;
    query.done()?;
    let page = call
        .state
        .store
        .read(move |tx| -> Result<_, Problem> {
            let id = agent.find(tx)?.id;
            events::timeline(tx, id, slice.after.as_deref(), slice.limit).map_err(listed)
        })
        .await?;
    answer::json(&page)
}

/// `GET /agents/{agent}/reports`: what it signed, newest first.
pub(super) async fn reports(
    call: Call,
    Segments([agent]): Segments<1>,
) -> Result<Response, Problem> {
    let agent = AgentRef::parse(&agent)?;
    let mut query = call.query();
    let slice = query.slice()?;
    query.done()?;
    let page = call
        .state
        .store
        .read(move |tx| -> Result<_, Problem> {
            let key = agent.find(tx)?.key;
            reports::list(tx, key, slice.after.as_deref(), slice.limit).map_err(listed)
        })
        .await?;
    let items = page.items.iter().filter_map(report_info).collect::<Vec<_>>();
    answer::json(&Page { items, next: page.next })
}

fn report_info(stored: &reports::Stored) -> Option<ReportInfo> {
    let report = place::report_of(stored)?;
    let (kind, order, state) = match report.body {
        ReportBody::State(state) => ("state", None, state.components),
        ReportBody::Order(order) => ("order", Some(*order), Vec::new()),
    };
    Some(ReportInfo {
        number: stored.number,
        at: stored.at,
        received_at: stored.received_at,
        kind: kind.to_owned(),
        order,
        state,
    })
}

/// An agent in a list.
pub(super) fn summary(agent: &Agent) -> AgentSummary {
    AgentSummary {
        id: agent.id,
        name: agent.name.clone(),
        state: agent.state,
        labels: agent.labels.clone(),
        platform: agent.platform.clone(),
        agent_version: agent.agent_version.clone(),
        enrolled_at: agent.enrolled_at,
        last_seen: agent.last_seen,
        ephemeral: agent.ephemeral_after.is_some(),
        components: agent.components.clone(),
        open_orders: agent.open_orders,
    }
}

/// An agent, whole.
pub(super) fn detail(tx: &mut Tx<'_>, agent: &Agent) -> Result<AgentDetail, Problem> {
    let state = place::host_state(tx, agent.key)?;
    let pins = pins::of_agent(tx, agent.key)?.into_iter().map(pin_info).collect();
    let mut open = orders::open_of(tx, agent.key)?;
    open.reverse();
    Ok(AgentDetail {
        agent: summary(agent),
        generation: agent.generation,
        facts: agent.facts.clone(),
        boot: agent.boot.clone(),
        reported_at: agent.reported_at,
        reported: state.map(|(host, _)| host.components).unwrap_or_default(),
        pins,
        orders: open.into_iter().map(super::orders::info).collect(),
        token: agent.token,
        retired_at: agent.retired_at,
        note: agent.note.clone(),
    })
}

/// A pin, as the API shows it.
pub(super) fn pin_info(pin: StoredPin) -> PinInfo {
    PinInfo {
        component: pin.component,
        pin: pin.pin,
        reason: pin.reason,
        by: pin.by,
        at: pin.at,
        order: pin.order,
        in_force: pin.in_force,
        generation: pin.generation,
    }
}

/// An event about an agent.
pub(super) fn event(
    agent: &Agent,
    kind: &'static str,
    data: serde_json::Value,
    at: Timestamp,
) -> NewEvent {
    NewEvent { at, kind, agent: Some(agent.id), order: None, rollout: None, data }
}

fn retired(agent: &Agent) -> Problem {
    let detail = format!("{} was retired and can't be changed any more", agent.name);
    Problem::new(Code::AgentRetired, detail)
}
