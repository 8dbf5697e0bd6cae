//! What must hold, checked against what really happened on the hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handover_model::{OrderId, ReleaseId};

use crate::host::Host;
use crate::plane::Plane;
use crate::shelf::Shelf;

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
}

impl Truth {
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            acts: BTreeMap::new(),
            committed: vec![BTreeSet::new(); hosts],
            ordered: BTreeSet::new(),
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

    pub(crate) fn before_exchange(&self, _plane: &Plane) {}

    pub(crate) fn after_exchange(
        &mut self,
        _plane: &Plane,
        (): (),
        _at: Duration,
    ) -> Result<(), Broken> {
        Ok(())
    }

    /// Looks at everything.
    pub(crate) fn look(
        &mut self,
        _plane: &Plane,
        hosts: &[Host],
        shelf: &Shelf,
    ) -> Result<(), Broken> {
        for host in hosts {
            let Some(current) = host.current() else {
                return Err(Broken(format!("{} lost its current release", host.name)));
            };
            if !shelf.is_signed(&current) {
                return Err(Broken(format!("{} runs {current}, which nobody signed", host.name)));
            }
        }
        Ok(())
    }
}
