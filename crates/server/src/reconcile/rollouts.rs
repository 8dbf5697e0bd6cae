//! Rollouts go on: one replica, which holds the lease, decides; every one wakes the agents that
//! it knows to wait.

use std::time::Duration;

use handover_store::StoreError;

use super::{Post, note};
use crate::{AppState, rollouts};

/// The longest that nothing is looked at.
const SELDOM: Duration = Duration::from_secs(5);
/// The shortest.
const OFTEN: Duration = Duration::from_millis(20);

/// Decides until the server stops.
pub(super) async fn run(state: AppState) {
    let mut post = Post::new("rollouts");
    loop {
        note("rollouts", turn(&state, &mut post).await);
        let now = state.now().wall;
        let next = rollouts::next_look(&state).map_or(SELDOM, |at| at.since(now));
        tokio::select! {
            () = state.rollouts.rung() => {}
            () = tokio::time::sleep(next.clamp(OFTEN, SELDOM)) => {}
            () = state.stop.cancelled() => break,
        }
    }
    post.leave(&state).await;
}

/// One turn: agents whose time has come are woken, and if this replica has the lease, whatever is
/// due is decided.
pub(super) async fn turn(state: &AppState, post: &mut Post) -> Result<(), StoreError> {
    rollouts::wake(state, state.now().wall);
    if state.rollouts.is_empty() {
        return Ok(());
    }
    let held = post.lease.as_ref().map(|lease| lease.fence);
    let Some(lease) = post.hold(state).await? else {
        // What this replica believed of them grows old.
        if held.is_some() {
            state.rollouts.forget_controllers();
        }
        return Ok(());
    };
    if held != Some(lease.fence) {
        state.rollouts.forget_controllers();
    }
    let done = rollouts::turn(state, &lease).await;
    if matches!(done, Err(StoreError::Fenced { .. })) {
        post.lease = None;
        state.rollouts.forget_controllers();
    }
    done
}
