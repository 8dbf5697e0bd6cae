//! What must hold, checked against what really happened on the hosts.

mod rollouts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handover_model::{OrderId, ReleaseId};

use crate::host::Host;
use crate::plane::Plane;
use crate::shelf::Shelf;

pub(crate) use rollouts::{Rollouts, Stand, all, wall};

/// An invariant that does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) String);

/// What really happened.
#[derive(Debug)]
pub(crate) struct Truth {
    /// By order: how often a release was tried or gone back to.
    acts: BTreeMap<(OrderId, ReleaseId), u32>,
    /// By host: what it committed, ever.
    committed: Vec<BTreeSet<ReleaseId>>,
    ordered: BTreeSet<usize>,
    pub(crate) rollouts: Rollouts,
}

impl Truth {
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            acts: BTreeMap::new(),
            committed: vec![BTreeSet::new(); hosts],
            ordered: BTreeSet::new(),
            rollouts: Rollouts::default(),
        }
    }

    pub(crate) fn is_ordered(&self, host: usize) -> bool {
        self.ordered.contains(&host)
    }

    pub(crate) fn ordered(&mut self, host: usize) {
        self.ordered.insert(host);
    }

    /// A host put a release on trial, or went back to one, for an order.
    pub(crate) fn acted(
        &mut self,
        host: usize,
        order: OrderId,
        release: &ReleaseId,
    ) -> Result<(), Broken> {
        let times = self.acts.entry((order, release.clone())).or_default();
        *times += 1;
        if *times > 1 {
            let text = format!("host-{host} carries {order} out twice: {release} again");
            return Err(Broken(text));
        }
        Ok(())
    }

    pub(crate) fn committed(&mut self, host: usize, release: &ReleaseId) {
        self.committed[host].insert(release.clone());
    }

    /// How rollouts stand before an exchange.
    pub(crate) fn before_exchange(plane: &Plane) -> Option<Vec<Stand>> {
        rollouts::stands(plane).filter(|stands| !stands.is_empty())
    }

    /// Whether what an exchange handed out was allowed.
    pub(crate) fn after_exchange(
        &self,
        plane: &Plane,
        before: Option<Vec<Stand>>,
        hosts: &[Host],
    ) -> Result<(), Broken> {
        let (Some(before), true) = (before, plane.is_up()) else { return Ok(()) };
        let Some(after) = rollouts::stands(plane) else { return Ok(()) };
        self.rollouts.handed_out(plane, &before, &after, hosts)
    }

    /// Whether what the server decided was allowed; what it released.
    pub(crate) fn after_turn(
        &mut self,
        plane: &Plane,
        at: Duration,
    ) -> Result<Vec<String>, Broken> {
        self.rollouts.turned(plane, wall(at))
    }

    /// Looks at everything.
    pub(crate) fn look(
        &mut self,
        plane: &Plane,
        hosts: &[Host],
        repository: &Shelf,
    ) -> Result<(), Broken> {
        for host in hosts {
            let Some(current) = host.current() else {
                return Err(Broken(format!("{} lost its current release", host.name)));
            };
            if !repository.is_signed(&current) {
                return Err(Broken(format!("{} runs {current}, which nobody signed", host.name)));
            }
        }
        Rollouts::believed(plane, hosts, &self.committed, repository)
    }
}
