//! The leaf's renewal and the rotations that people wish for: of the channel's authority and of
//! the key that signs orders. A wish is a setting, so that the command that makes it needs no
//! other way to a running server than the database.

use std::time::Duration;

use handover_engine::control::rotation::{is_due, may_retire_order_key, may_switch_authority};
use handover_model::{Digest, Timestamp};
use handover_store::documents::{self, Kind};
use handover_store::{Lease, StoreError, meta, settings};
use serde::{Deserialize, Serialize};

use super::{Post, note, pause};
use crate::ca::Leaf;
use crate::{AppState, StartError};

/// The setting that wishes for another channel authority.
pub(crate) const CHANNEL_CA: &str = "rotate.channel-ca";
/// The setting that wishes for another order key.
pub(crate) const ORDER_KEY: &str = "rotate.order-key";
/// How far the channel's authorities are, by the replica that rotates.
const CHANNEL_NUMBER: &str = "channel_ca_number";
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

/// What the database says of the keys.
struct Said {
    /// The wishes for a channel authority and for an order key, with their generations.
    wishes: [Option<(Wish, u64)>; 2],
    /// How far the replica that rotates is.
    published: Numbers,
}

/// How far keys are: the order keys' newest document, and the channel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Numbers {
    orders: u64,
    channel: u64,
}

impl Numbers {
    fn of(state: &AppState) -> Self {
        Self {
            orders: state.keys.orders.ring().number(),
            channel: state.keys.channel.authorities().number(),
        }
    }

    fn is_behind(self, other: Self) -> bool {
        self.orders < other.orders || self.channel < other.channel
    }
}

/// Looks after the keys until the server stops. One replica rotates; the others take over what it
/// wrote to the directory of keys, which replicas share.
pub(super) async fn run(state: AppState, mut leaf: LeafDates) {
    let mut post = Post::new("keys");
    let mut missed = Numbers::default();
    while pause(&state, RHYTHM).await {
        let Some(said) = note("keys", said(&state).await) else { continue };
        if Numbers::of(&state).is_behind(said.published) {
            let is_told = std::mem::replace(&mut missed, said.published) == said.published;
            catch_up(&state, said.published, is_told);
        }
        let mut wishes = None;
        if !Numbers::of(&state).is_behind(said.published)
            && let Some(Some(lease)) = note("keys", post.hold(&state).await)
            && note("keys", publish(&state, &lease, said.published).await).is_some()
        {
            wishes = Some(said.wishes);
        }
        if let Err(error) = turn(&state, wishes, &mut leaf) {
            tracing::error!(error = %crate::Chain(&error), "keys can't be changed");
        }
    }
    post.leave(&state).await;
}

async fn said(state: &AppState) -> Result<Said, StoreError> {
    let said = state.store.read(|tx| -> Result<_, StoreError> {
        let orders = documents::newest(tx, Kind::OrderKeys)?.map_or(0, |(number, _)| number);
        let channel = meta::get(tx, CHANNEL_NUMBER)?.and_then(|text| text.parse().ok());
        let published = Numbers { orders, channel: channel.unwrap_or(0) };
        let wishes = [settings::get(tx, CHANNEL_CA)?, settings::get(tx, ORDER_KEY)?];
        Ok(Said { wishes, published })
    });
    said.await
}

/// Takes over what another replica wrote.
fn catch_up(state: &AppState, published: Numbers, is_told: bool) {
    let reloaded = state.keys.orders.reload().and_then(|orders| {
        let channel = state.keys.channel.reload()?;
        Ok(orders || channel)
    });
    match reloaded {
        Ok(true) => {
            tracing::info!("keys taken over from another replica");
            state.agents.wake_all();
        }
        Ok(false) => {}
        Err(error) => {
            tracing::error!(error = %crate::Chain(&error), "keys can't be read");
            return;
        }
    }
    if Numbers::of(state).is_behind(published) && !is_told {
        let keys = state.config.data.join("keys");
        tracing::error!(
            %keys,
            "another replica rotated keys that are not in this directory: let replicas share it, \
             or copy it here"
        );
    }
}

/// Says how far this replica is, under its lease: what it wrote before it was cut off, too.
async fn publish(state: &AppState, lease: &Lease, published: Numbers) -> Result<(), StoreError> {
    let ours = Numbers::of(state);
    if ours == published {
        return Ok(());
    }
    let (lease, now) = (lease.clone(), state.now().wall);
    let documents = state.keys.orders.ring().documents().to_vec();
    let written = state.store.write(move |tx| -> Result<(), StoreError> {
        tx.check_fence(&lease)?;
        let newest = documents::newest(tx, Kind::OrderKeys)?.map_or(0, |(number, _)| number);
        for (number, document) in (1_u64..).zip(&documents) {
            if number > newest {
                documents::append(tx, Kind::OrderKeys, number, document, now)?;
            }
        }
        meta::set(tx, CHANNEL_NUMBER, &ours.channel.to_string())
    });
    written.await
}

/// Renews the leaf, which every replica has of its own; where `wishes` are given, this is the
/// replica that carries them out.
fn turn(
    state: &AppState,
    wishes: Option<[Option<(Wish, u64)>; 2]>,
    leaf: &mut LeafDates,
) -> Result<(), StartError> {
    let now = state.now().wall;
    if let Some(wishes) = wishes
        && rotate(state, wishes, now)?
    {
        state.agents.wake_all();
    }
    let authorities = state.keys.channel.authorities();
    let is_other = authorities.issuer().pin != leaf.issuer;
    if is_other || is_due(leaf.issued, leaf.ends, now) {
        let fresh = authorities.issuer().issue(&state.leaf_names, now)?;
        *leaf = LeafDates::of(&fresh);
        state.shown.swap(fresh.certified);
        tracing::info!(ends = %leaf.ends, "certificate renewed");
    }
    Ok(())
}

/// Carries wishes out, and ends rotations that every agent has followed; whether there were any.
fn rotate(
    state: &AppState,
    [ca, order_key]: [Option<(Wish, u64)>; 2],
    now: Timestamp,
) -> Result<bool, StartError> {
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
    Ok(has_changed)
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
