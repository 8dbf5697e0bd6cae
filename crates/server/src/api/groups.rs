//! Saved groups: a selection is read, looked up in the fleet, and stored as it is printed
//! canonically. A cycle is looked for in the transaction that saves, so that two who save at once
//! make none together.

use axum::response::Response;
use handover_engine::selection::{GroupError, Selection};
use handover_model::GroupName;
use handover_model::api::{GroupInfo, GroupRequest, Page};
use handover_store::events::NewEvent;
use handover_store::groups::{self, Group, MOST};
use handover_store::{Tx, audit, events};
use serde_json::{Value, json};

use super::answer;
use super::body::Body;
use super::call::{Call, Segments, check_generation, check_words, path_part};
use crate::Problem;
use crate::groups::{Saved, Survey, named_by, unknown_ids};
use crate::problem::Code;

/// How many of those that name a group are told.
const TOLD: usize = 5;

/// `GET /groups`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let slice = query.slice()?;
    query.done()?;
    let all = call.state.store.read(groups::all).await?;
    let saved = Saved::of(&all);
    let is_after =
        |group: &&Group| slice.after.as_deref().is_none_or(|after| group.name.as_str() > after);
    let limit = usize::try_from(slice.limit).unwrap_or(usize::MAX);
    let mut page: Vec<Group> =
        all.iter().filter(is_after).take(limit.saturating_add(1)).cloned().collect();
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| has_more).map(|group| group.name.to_string());
    answer::json(&Page { items: counted(&call, &saved, page).await?, next })
}

/// `GET /groups/{group}`.
pub(super) async fn show(call: Call, Segments([name]): Segments<1>) -> Result<Response, Problem> {
    call.query().done()?;
    let name: GroupName = path_part("group", &name)?;
    let all = call.state.store.read(groups::all).await?;
    let group = all.iter().find(|group| group.name == name).ok_or_else(|| absent(&name))?.clone();
    tagged(&call, &Saved::of(&all), group).await
}

/// `PUT /groups/{group}`.
pub(super) async fn put(
    call: Call,
    Segments([name]): Segments<1>,
    Body { value: request, .. }: Body<GroupRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let name: GroupName = path_part("group", &name)?;
    check_words("note", request.note.as_deref(), 500)?;
    let selection = Selection::parse(&request.select).map_err(|error| {
        Problem::new(Code::SelectionMalformed, format!("the selection can't be read: {error}"))
            .field("body.select", error.to_string())
    })?;
    check_known(&call, &name, &selection).await?;
    let (seen, who, now) = (call.if_match()?, call.principal.who(), call.now);
    let saved = call.state.store.write(move |tx| -> Result<(Group, Saved), Problem> {
        let all = groups::all(tx)?;
        let before = all.iter().find(|group| group.name == name);
        let generation = before.map_or(0, |group| group.generation);
        check_generation(seen, generation, "the group")?;
        if before.is_none() && all.len() >= usize::try_from(MOST).unwrap_or(usize::MAX) {
            let detail = format!("there are {MOST} groups, and no more can be: remove one");
            return Err(Problem::new(Code::Conflict, detail));
        }
        let saved = Saved::of(&all).with(name.clone(), selection.clone());
        saved.resolve(&name).map_err(|error| unresolved(&error))?;
        let mut group = Group {
            name: name.clone(),
            select: selection.to_string(),
            note: request.note.clone(),
            by: who.clone(),
            changed_at: now,
            generation,
        };
        if let Some(before) = before
            && (&before.select, &before.note) == (&group.select, &group.note)
        {
            return Ok((before.clone(), saved));
        }
        group.generation = groups::save(tx, &group)?;
        record(tx, "group.save", &group, (before.map(shown), Some(shown(&group))))?;
        Ok((group, saved))
    });
    let (group, saved) = saved.await?;
    tagged(&call, &saved, group).await
}

/// `DELETE /groups/{group}`. One that somebody names is removed on a person's second word alone.
pub(super) async fn remove(call: Call, Segments([name]): Segments<1>) -> Result<Response, Problem> {
    let mut query = call.query();
    let is_meant = query.parsed::<bool>("anyway")?.unwrap_or(false);
    query.done()?;
    let name: GroupName = path_part("group", &name)?;
    let (seen, who, now) = (call.if_match()?, call.principal.who(), call.now);
    let removed = call.state.store.write(move |tx| -> Result<(Group, Saved), Problem> {
        let all = groups::all(tx)?;
        let group = all.iter().find(|group| group.name == name).ok_or_else(|| absent(&name))?;
        check_generation(seen, group.generation, "the group")?;
        let users = named_by(tx, &name)?;
        if !users.is_empty() && !is_meant {
            return Err(used(&name, &users));
        }
        groups::remove(tx, &name, group.generation)?;
        let gone = Group { by: who.clone(), changed_at: now, ..group.clone() };
        record(tx, "group.remove", &gone, (Some(shown(group)), None))?;
        Ok((group.clone(), Saved::of(&all)))
    });
    let (group, saved) = removed.await?;
    tagged(&call, &saved, group).await
}

/// Refuses what nobody in the fleet has.
async fn check_known(call: &Call, name: &GroupName, selection: &Selection) -> Result<(), Problem> {
    let saved = Saved::of(&call.state.store.read(groups::all).await?);
    let saved = saved.with(name.clone(), selection.clone());
    saved.resolve(name).map_err(|error| unresolved(&error))?;
    let mut words = Survey::of(&call.state.store, &[], call.now).await?.words;
    words.groups = saved.names().cloned().collect();
    let shelf = call.state.library.shelf(&call.state).await;
    for component in shelf.components() {
        let offers = shelf.offers(&component).unwrap_or_default();
        let versions = words.components.entry(component).or_default();
        versions.extend(offers.into_iter().map(|offer| offer.facts.version));
    }
    let mut missing: Vec<String> =
        selection.unknown(&words).iter().map(ToString::to_string).collect();
    let ids = selection.clone();
    missing.extend(call.state.store.read(move |tx| unknown_ids(tx, &ids)).await?);
    let Some(first) = missing.first() else { return Ok(()) };
    let detail = format!("the selection names what is not there: {first}");
    let problem = Problem::new(Code::SelectionUnknown, detail);
    Err(missing.iter().fold(problem, |problem, what| problem.field("body.select", what)))
}

fn unresolved(error: &GroupError) -> Problem {
    let code = match error {
        GroupError::Unknown { .. } => Code::SelectionUnknown,
        GroupError::Cycle { .. } => Code::GroupCycle,
        GroupError::TooDeep { .. } | GroupError::TooMany => Code::SelectionMalformed,
    };
    Problem::new(code, format!("the group can't be saved: {error}"))
        .field("body.select", error.to_string())
}

fn used(name: &GroupName, users: &[String]) -> Problem {
    let told = users.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ");
    let more = users.len().saturating_sub(TOLD);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let detail = format!(
        "{told}{more} would miss group {name}: change them first, or remove it all the same with \
         `anyway=true`"
    );
    Problem::new(Code::GroupUsed, detail)
}

/// Groups with what they hold now; one that can't be resolved any more holds nobody.
async fn counted(call: &Call, saved: &Saved, page: Vec<Group>) -> Result<Vec<GroupInfo>, Problem> {
    let resolved: Vec<_> = page.iter().map(|group| saved.resolve(&group.name).ok()).collect();
    let selections: Vec<_> = resolved.iter().flatten().cloned().collect();
    let mut matched =
        Survey::of(&call.state.store, &selections, call.now).await?.matched.into_iter();
    let infos = page.into_iter().zip(resolved).map(|(group, resolved)| GroupInfo {
        name: group.name,
        select: group.select,
        note: group.note,
        matched: resolved.and_then(|_| matched.next()).unwrap_or(0),
        by: group.by,
        changed_at: group.changed_at,
        generation: group.generation,
    });
    Ok(infos.collect())
}

async fn tagged(call: &Call, saved: &Saved, group: Group) -> Result<Response, Problem> {
    let generation = group.generation;
    let mut infos = counted(call, saved, vec![group]).await?;
    let info = infos.pop().ok_or_else(|| Problem::new(Code::Internal, "a group was lost"))?;
    answer::tagged(&info, generation)
}

fn record(
    tx: &mut Tx<'_>,
    what: &'static str,
    group: &Group,
    (before, after): (Option<Value>, Option<Value>),
) -> Result<(), Problem> {
    let (at, who) = (group.changed_at, group.by.clone());
    let subject = format!("group:{}", group.name);
    audit::insert(tx, &audit::NewAudit { at, who, what, subject, before, after })?;
    let data = json!({ "name": group.name, "by": group.by });
    let (agent, order, rollout) = (None, None, None);
    events::insert(tx, &NewEvent { at, kind: what, agent, order, rollout, data })?;
    Ok(())
}

fn shown(group: &Group) -> Value {
    json!({ "select": group.select, "note": group.note })
}

fn absent(name: &GroupName) -> Problem {
    Problem::new(Code::NotFound, format!("there is no group {name}; `handover group list` has all"))
}
