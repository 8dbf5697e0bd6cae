//! Rollouts that are live, in memory: who belongs to them, and their controllers.
//!
//! Invariant: nothing here is the only copy. Rows are read at start and followed by the event
//! stream; a controller is opened from rows, follows events from then on, and is dropped whenever
//! what it decided could not be written.
//!
//! Invariant: how far a rollout is stands in its row. What is here only says whom to wake and what
//! to ask; whether an order is made is asked of the row, in the transaction that makes it.

mod acts;
mod build;
mod decide;
mod fleet;
mod follow;
mod info;
mod live;
mod members;
mod start;
mod turn;
mod vet;
mod waits;
mod write;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use handover_model::api::RolloutState;
use handover_model::{ComponentName, RolloutId, RolloutName, Timestamp};
use handover_store::rollouts::{self, Rollout, RolloutKey};
use handover_store::{AgentKey, Store, StoreError};
use tokio::sync::Notify;

pub(crate) use acts::{ActError, How, act};
pub(crate) use decide::{last_heard, release, words_of};
pub(crate) use fleet::{Chosen, Fleet, FleetError, Wanted};
pub(crate) use follow::follow;
pub(crate) use info::{info_of, summary_of};
pub(crate) use live::{Drawn, Live, Membership, Touched, Windows};
pub(crate) use members::{Which, page_of_members};
pub(crate) use start::{baseline, earlier};
pub(crate) use turn::{next_look, turn, wake};
pub(crate) use vet::{Vetted, vet};
pub(crate) use waits::{Waiting, Woken};
pub(crate) use write::{Cancel, event, made};

/// Every rollout that is not over, or whose release is still watched.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    live: Mutex<BTreeMap<RolloutKey, Live>>,
    /// Rings when there may be something to decide.
    bell: Notify,
    /// Held by whoever opens a controller from rows, or takes a row over into memory.
    building: tokio::sync::Mutex<()>,
}

impl Rollouts {
    /// Reads every live rollout, and returns the agents for whom something may wait.
    pub(crate) async fn load(&self, store: &Store) -> Result<Vec<AgentKey>, StoreError> {
        let mut waiting = Vec::new();
        for row in store.read(rollouts::live).await? {
            let drawn = build::drawn_of(store, &row).await?;
            let live = Live::new(row, drawn);
            waiting.extend(build::unserved(store, &live).await?);
            self.lock().insert(live.row.key, live);
        }
        Ok(waiting)
    }

    /// Takes over what the database says of one rollout.
    pub(crate) async fn follow_row(
        &self,
        store: &Store,
        id: RolloutId,
    ) -> Result<Option<RolloutKey>, StoreError> {
        let _turn = self.building.lock().await;
        self.take_row(store, id).await
    }

    async fn take_row(
        &self,
        store: &Store,
        id: RolloutId,
    ) -> Result<Option<RolloutKey>, StoreError> {
        let Some(row) = store.read(move |tx| rollouts::get(tx, id)).await? else {
            return Ok(None);
        };
        let key = row.key;
        if !is_live(&row) {
            self.lock().remove(&key);
            return Ok(Some(key));
        }
        let seed = build::seed_of(&row)?;
        let known = self.with(key, |live| (live.row.generation, live.is_drawn_as(&row, seed)));
        match known {
            Some((generation, _)) if generation >= row.generation => {}
            Some((_, true)) => {
                self.with(key, |live| live.renew(row.clone()));
            }
            Some((_, false)) | None => {
                let drawn = build::drawn_of(store, &row).await?;
                let mut all = self.lock();
                match all.get_mut(&key) {
                    Some(live) => live.redraw(row, drawn),
                    None => {
                        all.insert(key, Live::new(row, drawn));
                    }
                }
            }
        }
        self.bell.notify_one();
        Ok(Some(key))
    }

    /// What an agent may have orders of, the most urgent first.
    pub(crate) fn memberships(&self, agent: AgentKey) -> Vec<Membership> {
        let all = self.lock();
        let mut found: Vec<_> = all.values().filter_map(|live| live.membership(agent)).collect();
        found.sort_by_key(|one| std::cmp::Reverse((one.spec.priority, one.is_revert())));
        found
    }

    /// Rollouts that may have brought an agent to another release, and are looked after still.
    pub(crate) fn touched(&self, agent: AgentKey) -> Vec<Touched> {
        self.lock().values().filter_map(|live| live.touched(agent)).collect()
    }

    /// What is to be said of an agent's places in rollouts of a component.
    pub(crate) fn explain(
        &self,
        agent: AgentKey,
        component: &handover_model::ComponentName,
    ) -> Vec<handover_engine::explain::InRollout> {
        let all = self.lock();
        let same = all.values().filter(|live| live.row.spec.component == *component);
        same.filter_map(|live| live.says(agent)).collect()
    }

    /// Looks at one rollout, or changes it.
    pub(crate) fn with<T>(&self, key: RolloutKey, look: impl FnOnce(&mut Live) -> T) -> Option<T> {
        self.lock().get_mut(&key).map(look)
    }

    /// The row of a live rollout.
    pub(crate) fn key_of(&self, id: RolloutId) -> Option<RolloutKey> {
        self.lock().values().find(|live| live.row.id == id).map(|live| live.row.key)
    }

    /// The members of the rollouts of a component that are not over, but of the one of that name.
    pub(crate) fn rosters_of(&self, component: &ComponentName, but: &RolloutName) -> Vec<Drawn> {
        let all = self.lock();
        let others = all.values().filter(|live| {
            let row = &live.row;
            !row.state.is_over() && row.spec.component == *component && row.name != *but
        });
        others.filter_map(|live| live.drawn.clone()).collect()
    }

    /// The rows of all that are live.
    pub(crate) fn keys(&self) -> Vec<RolloutKey> {
        self.lock().keys().copied().collect()
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Rings for whoever decides.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits for the ring.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Everything has to be decided anew: this replica has just become the one that does, and
    /// another one did until now.
    pub(crate) fn forget_controllers(&self) {
        for live in self.lock().values_mut() {
            live.drop_controller();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RolloutKey, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a rollout is looked after at all.
pub(crate) fn is_live(row: &Rollout) -> bool {
    // One whose hosts are being taken back is looked after until they are.
    row.ended_at.is_none() || row.watch_until.is_some() || row.state == RolloutState::Reverting
}

/// The earlier of two times, where there are any.
pub(crate) fn sooner(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
