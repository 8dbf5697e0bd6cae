//! Checkpoints of the audit trail: its head, signed, in a file beside the database, so that the
//! database's owner can't rewrite it unseen.

use std::time::Duration;

use handover_model::api::Checkpoint;
use handover_store::{StoreError, audit};

use super::{Post, note, pause};
use crate::{AppState, files};

/// How often the head is looked at.
const RHYTHM: Duration = Duration::from_mins(1);

/// Signs until the server stops.
pub(super) async fn run(state: AppState) {
    let mut post = Post::new("checkpoints");
    let mut last = 0;
    while pause(&state, RHYTHM).await {
        let Some(Some(_lease)) = note("checkpoints", post.hold(&state).await) else { continue };
        note("checkpoints", sign(&state, &mut last).await);
    }
    // What was written since the last one is not left without one by an orderly stop.
    note("checkpoints", sign(&state, &mut last).await);
    post.leave(&state).await;
}

async fn sign(state: &AppState, last: &mut u64) -> Result<(), StoreError> {
    let (seq, hash) = state.store.read(audit::head).await?;
    if seq <= *last {
        return Ok(());
    }
    let checkpoint = Checkpoint {
        type_: Checkpoint::TYPE.to_owned(),
        at: state.now().wall,
        epoch: state.epoch,
        seq,
        hash,
    };
    let signed = handover_trust::control::sign(&checkpoint, &state.keys.checkpoint);
    // Numbers and texts always have a canonical form.
    let Ok(Ok(line)) = signed.map(|document| serde_json::to_vec(&document)) else {
        return Ok(());
    };
    let path = state.config.data.join("checkpoints.jsonl");
    let written = tokio::task::spawn_blocking(move || files::append_line(&path, &line)).await;
    match written {
        Ok(Ok(())) => *last = seq,
        Ok(Err(error)) => tracing::error!(error = %crate::Chain(&error), "checkpoint not kept"),
        Err(panicked) => tracing::error!(error = %panicked, "checkpoint not kept"),
    }
    Ok(())
}
