//! The sequencer, and what every replica does with what was numbered: agents hear of orders, and
//! streams wake.

use std::time::Duration;

use handover_model::api::EventInfo;
use handover_store::sequencer::{LEASE, number};
use handover_store::{Database, StoreError, events, fleet};

use super::{Post, note};
use crate::AppState;

/// How many are numbered, and read, at once.
const BATCH: u32 = 500;

/// The number of the newest event.
pub(super) async fn newest(state: &AppState) -> Result<u64, StoreError> {
    let range = state.store.read(events::range).await?;
    Ok(range.map_or(0, |(_oldest, newest)| newest))
}

/// Numbers and follows, until the server stops.
pub(super) async fn run(state: AppState, mut seen: u64) {
    // Nobody else writes to a SQLite file, so that its own ring tells everything; other replicas
    // write to PostgreSQL.
    let patience = match state.store.database() {
        Database::Sqlite(_) => Duration::from_secs(5),
        Database::Postgres(_) => Duration::from_millis(250),
    };
    let news = state.store.news();
    let mut post = Post::new(LEASE);
    state.events.send_replace(seen);
    loop {
        note("sequencer", turn(&state, &mut post, &mut seen).await);
        tokio::select! {
            () = news.notified() => {}
            () = tokio::time::sleep(patience) => {}
            () = state.stop.cancelled() => break,
        }
    }
    // What the last requests wrote is numbered before the lease is left.
    note("sequencer", turn(&state, &mut post, &mut seen).await);
    post.leave(&state).await;
}

pub(super) async fn turn(
    state: &AppState,
    post: &mut Post,
    seen: &mut u64,
) -> Result<(), StoreError> {
    if let Some(lease) = post.hold(state).await? {
        loop {
            let lease = lease.clone();
            let numbered = state.store.write(move |tx| number(tx, &lease, BATCH)).await;
            if matches!(numbered, Err(StoreError::Fenced { .. })) {
                post.lease = None;
            }
            if !numbered?.has_more {
                break;
            }
        }
    }
    loop {
        let after = seen.to_string();
        let page = state
            .store
            .read(move |tx| events::list(tx, &events::Filter::All, Some(&after), BATCH))
            .await?;
        for event in &page.items {
            follow(state, event).await?;
            *seen = event.seq;
        }
        if !page.items.is_empty() {
            state.events.send_replace(*seen);
        }
        if page.next.is_none() {
            return Ok(());
        }
    }
}

/// What an event changes in memory.
async fn follow(state: &AppState, event: &EventInfo) -> Result<(), StoreError> {
    let known = event.agent.and_then(|agent| state.agents.key_of(agent));
    follow_agent(state, event).await?;
    let key = known.or_else(|| event.agent.and_then(|agent| state.agents.key_of(agent)));
    crate::rollouts::follow(state, event, key).await
}

async fn follow_agent(state: &AppState, event: &EventInfo) -> Result<(), StoreError> {
    if event.kind == "fleet.resumed" {
        return mark_waiting(state).await;
    }
    let Some(agent) = event.agent else { return Ok(()) };
    match event.kind.as_str() {
        "order.pending" | "order.cancelling" => state.agents.mark(agent),
        "agent.away" => state.agents.is_away(agent),
        "agent.enrolled" | "agent.returned" | "agent.retired" | "agent.cloned" => {
            state.follow(agent).await?;
        }
        // Kinds are text that others may add to; the rest is for people.
        _ => {}
    }
    Ok(())
}

/// Whoever had an order that the stop kept here may have it now.
async fn mark_waiting(state: &AppState) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = state.store.read(move |tx| fleet::waiting(tx, after, BATCH)).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        for (_, agent) in &page {
            state.agents.mark(*agent);
        }
    }
}
