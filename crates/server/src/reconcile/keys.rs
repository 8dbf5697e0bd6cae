//! The leaf's renewal and the rotations that people wish for: of the channel's authority and of
//! the key that signs orders. A wish is a setting, so that the command that makes it needs no
//! other way to a running server than the database.

use std::time::Duration;

use handover_engine::control::rotation::{is_due, may_retire_order_key, may_switch_authority};
use handover_model::{Digest, Timestamp};
use handover_store::{StoreError, settings};
use serde::{Deserialize, Serialize};

use super::{note, pause};
use crate::ca::Leaf;
use crate::{AppState, StartError};

/// The setting that wishes for another channel authority.
pub(crate) const CHANNEL_CA: &str = "rotate.channel-ca";
/// The setting that wishes for another order key.
pub(crate) const ORDER_KEY: &str = "rotate.order-key";
/// How often wishes and dates are looked at.
const RHYTHM: Duration = Duration::from_secs(1);
/// How long two order keys overlap.
const OVERLAP: Duration = Duration::from_hours(24);

/// A wish for a rotation; its generation tells wishes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// Don't wait for agents.
    pub(crate) at_once: bool,
}

/// What the renewal needs to know of the leaf.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafDates {
    issued: Timestamp,
    ends: Timestamp,
    issuer: Digest,
}

impl LeafDates {
    pub(crate) fn of(leaf: &Leaf) -> Self {
        Self { issued: leaf.issued, ends: leaf.not_after, issuer: leaf.issuer }
    }
}

/// Looks after the keys until the server stops.
pub(super) async fn run(state: AppState, mut leaf: LeafDates) {
    while pause(&state, RHYTHM).await {
        let Some(wishes) = note("keys", wishes(&state).await) else { continue };
        if let Err(error) = turn(&state, wishes, &mut leaf) {
            tracing::error!(error = %crate::Chain(&error), "keys can't be changed");
        }
    }
}

/// The wishes for a channel authority and for an order key, with their generations.
async fn wishes(state: &AppState) -> Result<[Option<(Wish, u64)>; 2], StoreError> {
    state
        .store
        .read(|tx| -> Result<_, StoreError> {
            Ok([settings::get(tx, CHANNEL_CA)?, settings::get(tx, ORDER_KEY)?])
        })
        .await
}

fn turn(
    state: &AppState,
    [ca, order_key]: [Option<(Wish, u64)>; 2],
    leaf: &mut LeafDates,
) -> Result<(), StartError> {
    let now = state.now().wall;
    let (channel, orders) = (&state.keys.channel, &state.keys.orders);
    let mut has_changed = false;
    if let Some((wish, number)) = ca.filter(|(_, number)| *number > channel.authorities().wish()) {
        channel.rotate(number, now)?;
        tracing::info!("channel authority rotated; the certificate follows the agents");
        if wish.at_once {
            channel.finish()?;
        }
        has_changed = true;
    }
    if let Some((wish, number)) = order_key.filter(|(_, number)| *number > orders.ring().wish()) {
        orders.rotate(number, now)?;
        tracing::info!("order key rotated; both are believed for a while");
        if wish.at_once {
            orders.finish()?;
        }
        has_changed = true;
    }
    has_changed |= finish(state, now)?;
    let authorities = channel.authorities();
    let is_other = authorities.issuer().pin != leaf.issuer;
    if is_other || is_due(leaf.issued, leaf.ends, now) {
        let fresh = authorities.issuer().issue(&state.leaf_names, now)?;
        *leaf = LeafDates::of(&fresh);
        state.shown.swap(fresh.certified);
        tracing::info!(ends = %leaf.ends, "certificate renewed");
    }
    if has_changed {
        state.agents.wake_all();
    }
    Ok(())
}

/// Ends rotations that every agent who is there has followed.
fn finish(state: &AppState, now: Timestamp) -> Result<bool, StartError> {
    let (channel, orders) = (&state.keys.channel, &state.keys.orders);
    let (authorities, ring) = (channel.authorities(), orders.ring());
    if !authorities.is_rotating() && ring.rotating_since().is_none() {
        return Ok(false);
    }
    let patience = state.config.away_after().duration();
    let micros = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
    let since = Timestamp::from_micros(now.as_micros().saturating_sub(micros));
    let [keys, ca] = state.agents.acknowledged((ring.number(), authorities.number()), since);
    let mut has_changed = false;
    if authorities.is_rotating() && may_switch_authority(ca) {
        has_changed |= channel.finish()?;
        tracing::info!("channel authority switched");
    }
    if let Some(begun) = ring.rotating_since()
        && may_retire_order_key(keys, begun, OVERLAP, now)
    {
        has_changed |= orders.finish()?;
        tracing::info!("older order key retired");
    }
    Ok(has_changed)
}
