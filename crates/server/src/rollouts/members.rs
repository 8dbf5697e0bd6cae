//! The members of a rollout, page by page.

use handover_model::api::{MemberInfo, MemberOutcome, Page};
use handover_store::rollouts::{self, Rollout};
use handover_store::{AgentKey, StoreError, agents};

use super::{Live, build};
use crate::AppState;

/// Which members.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Which {
    pub(crate) wave: Option<u32>,
    pub(crate) outcome: Option<MemberOutcome>,
}

/// A page of members by place, after a place.
pub(crate) async fn page_of_members(
    state: &AppState,
    row: &Rollout,
    which: Which,
    after: Option<u32>,
    limit: u32,
) -> Result<Page<MemberInfo>, StoreError> {
    let here = state.rollouts.with(row.key, |live: &mut Live| {
        let drawn = live.drawn.clone()?;
        let controller = live.controller().filter(|_| live.is_ours)?;
        Some(chosen(&drawn, |position| controller.outcome(position), which, after, limit))
    });
    let found = match here.flatten() {
        Some(found) => found,
        None => match build::open_aside(&state.store, row).await? {
            Some((drawn, controller)) => {
                chosen(&drawn, |position| controller.outcome(position), which, after, limit)
            }
            None => Vec::new(),
        },
    };
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > most;
    let shown: Vec<Chosen> = found.into_iter().take(most).collect();
    let next = shown.last().filter(|_| has_more).map(|last| last.position.to_string());
    let key = row.key;
    let items = state
        .store
        .read(move |tx| -> Result<_, StoreError> {
            let mut items = Vec::with_capacity(shown.len());
            for one in &shown {
                let Some(agent) = agents::by_key(tx, one.agent)? else { continue };
                let order = rollouts::order_of_member(tx, key, one.position)?.pop();
                items.push(MemberInfo {
                    position: one.position,
                    wave: one.wave,
                    agent: agent.id,
                    name: agent.name,
                    outcome: one.outcome,
                    order: order.as_ref().map(|order| order.id),
                    attempt: order.as_ref().map(|order| order.attempt),
                    at: order.as_ref().map(|order| order.changed_at),
                    code: order.as_ref().and_then(|order| order.code.clone()),
                    text: order.and_then(|order| order.outcome),
                });
            }
            Ok(items)
        })
        .await?;
    Ok(Page { items, next })
}

#[derive(Debug, Clone, Copy)]
struct Chosen {
    position: u32,
    wave: u32,
    agent: AgentKey,
    outcome: MemberOutcome,
}

/// One more than the page has, if there is one more.
fn chosen(
    drawn: &super::Drawn,
    outcome: impl Fn(u32) -> MemberOutcome,
    which: Which,
    after: Option<u32>,
    limit: u32,
) -> Vec<Chosen> {
    let all = which.wave.map_or(0..drawn.plan.members(), |wave| drawn.plan.positions(wave));
    let from = after.map_or(all.start, |after| all.start.max(after.saturating_add(1)));
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    (from..all.end)
        .filter_map(|position| {
            let outcome = outcome(position);
            let fits = which.outcome.is_none_or(|wanted| wanted == outcome);
            let agent = drawn.agent(position).filter(|_| fits)?;
            Some(Chosen { position, wave: drawn.plan.wave_of(position), agent, outcome })
        })
        .take(most)
        .collect()
}
