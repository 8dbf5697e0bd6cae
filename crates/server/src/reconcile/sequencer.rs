//! The sequencer: numbers events, chains the audit trail, and rings for everybody who streams.

use std::time::Duration;

use handover_store::{StoreError, events, sequencer};

use super::{Hold, pause};
use crate::AppState;

/// How many rows are numbered in one transaction.
const BATCH: u32 = 500;
/// How long other replicas' events may go unnoticed.
const GLANCE: Duration = Duration::from_millis(250);

/// Numbers until the server stops.
pub(super) async fn run(state: AppState) {
    let mut hold = Hold::new(&state, sequencer::LEASE);
    let news = state.store.news();
    while !state.stop.is_cancelled() {
        match round(&state, &mut hold).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => hold.fail(&state, &error).await,
        }
        tokio::select! {
            () = news.notified() => {}
            () = pause(&state, GLANCE) => {}
        }
    }
    // What the last requests wrote is numbered before the lease is left.
    while let Ok(true) = round(&state, &mut hold).await {}
    hold.release(&state.store).await;
}

/// Numbers a batch, or sees what another replica numbered; whether there is more to do.
async fn round(state: &AppState, hold: &mut Hold) -> Result<bool, StoreError> {
    let Some(lease) = hold.keep(state).await? else {
        let newest = state.store.read(events::range).await?;
        ring(state, newest.map_or(0, |(_, last)| last));
        return Ok(false);
    };
    let numbered = state.store.write(move |tx| sequencer::number(tx, &lease, BATCH)).await?;
    if let Some(last) = numbered.events.last() {
        ring(state, last.seq);
    }
    Ok(numbered.has_more)
}

/// Tells the streams, if there is something new for them.
fn ring(state: &AppState, newest: u64) {
    state.events.send_if_modified(|known| {
        let is_news = newest > *known;
        *known = newest.max(*known);
        is_news
    });
}
