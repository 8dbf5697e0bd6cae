//! A simulated fleet: how many hosts of which stratum, at which sites, and what befalls them.

use super::dice::{Dice, LnFactorials};

/// Who there is.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// How many hosts.
    pub(crate) hosts: u32,
    /// How many of each stratum; the last one is the smallest.
    pub(crate) strata: Vec<u32>,
    /// How many at each site.
    pub(crate) sites: Vec<u32>,
    site_of: Vec<u32>,
    pub(crate) table: LnFactorials,
}

/// What befalls hosts, each in millionths. A rate of the untouched holds for the touched as well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    /// Touched hosts that fail.
    pub(crate) failing: u32,
    /// Hosts that fall silent by themselves within a step.
    pub(crate) silent: u32,
    /// Touched hosts that fall silent in addition.
    pub(crate) silenced: u32,
    /// Hosts that are not there when they are released.
    pub(crate) away: u32,
    /// Sites that lose their network within a step.
    pub(crate) outage: u32,
    /// Whether outages silence only touched hosts: as when the others are looked at in another
    /// moment.
    pub(crate) do_outages_spare_the_unexposed: bool,
    /// Whether every touched host of the last stratum fails.
    pub(crate) is_last_stratum_doomed: bool,
}

/// A good release on a good day: one update in a thousand fails anyway, 2 % of the hosts are away,
/// as many fall silent within a step, and one site in a thousand loses its network.
pub(crate) const HEALTHY: World = World {
    failing: 1_000,
    silent: 20_000,
    silenced: 0,
    away: 20_000,
    outage: 1_000,
    do_outages_spare_the_unexposed: false,
    is_last_stratum_doomed: false,
};

impl Fleet {
    /// `hosts` in ten strata from 30 % down to 0.1 %, and at sites of which each size holds a
    /// third of the hosts: `large`, a tenth and a hundredth of that.
    pub(crate) fn new(hosts: u32, large: u32) -> Self {
        let mut sites = Vec::new();
        for size in [large, large / 10, large / 100] {
            let size = size.max(1);
            sites.extend((0..hosts / 3 / size).map(|_| size));
        }
        let placed: u32 = sites.iter().sum();
        sites.extend((placed < hosts).then_some(hosts - placed));
        Self::of(hosts, sites)
    }

    /// The same strata at a few sites of one size.
    pub(crate) fn at_sites(hosts: u32, sites: u32) -> Self {
        let mut sites = vec![hosts / sites; usize::try_from(sites).unwrap_or(1)];
        sites[0] += hosts - sites.iter().sum::<u32>();
        Self::of(hosts, sites)
    }

    fn of(hosts: u32, sites: Vec<u32>) -> Self {
        let permille = [200, 150, 110, 80, 60, 50, 30, 19, 1];
        let mut strata: Vec<u32> =
            permille.iter().map(|share| (hosts * share / 1_000).max(1)).collect();
        strata.insert(0, hosts - strata.iter().sum::<u32>());
        let mut site_of = Vec::new();
        for (number, size) in (0_u32..).zip(&sites) {
            site_of.extend((0..*size).map(|_| number));
        }
        Self { hosts, strata, sites, site_of, table: LnFactorials::up_to(hosts.max(20_000)) }
    }

    /// The site of a host that is drawn among all.
    pub(crate) fn any_site(&self, dice: &mut Dice) -> u32 {
        let host = usize::try_from(dice.below(self.hosts)).unwrap_or(0);
        self.site_of[host]
    }

    /// Sites that lose their network in a step, each with its hosts.
    pub(crate) fn outages(&self, world: &World, dice: &mut Dice) -> Vec<(u32, u32)> {
        let sites = u32::try_from(self.sites.len()).unwrap_or(u32::MAX);
        let many = dice.binomial(&self.table, sites, world.outage);
        let any = |dice: &mut Dice| {
            let site = dice.below(sites);
            (
                site,
                usize::try_from(site).ok().and_then(|at| self.sites.get(at)).copied().unwrap_or(0),
            )
        };
        (0..many).map(|_| any(dice)).collect()
    }
}

/// Hosts that have not been released, by stratum.
#[derive(Debug)]
pub(crate) struct Rest {
    strata: Vec<u32>,
}

impl Rest {
    pub(crate) fn of(fleet: &Fleet) -> Self {
        Self { strata: fleet.strata.clone() }
    }

    pub(crate) fn total(&self) -> u32 {
        self.strata.iter().sum()
    }

    /// Takes one host of each stratum out.
    pub(crate) fn take_one_of_each(&mut self) -> Vec<u32> {
        let taken: Vec<u32> = self.strata.iter().map(|left| (*left).min(1)).collect();
        self.remove(&taken);
        taken
    }

    /// Takes `many` out, whichever come; says how many of each stratum.
    pub(crate) fn take(&mut self, fleet: &Fleet, dice: &mut Dice, many: u32) -> Vec<u32> {
        let (mut total, mut wanted) = (self.total(), many);
        let mut taken = Vec::with_capacity(self.strata.len());
        for left in &self.strata {
            let here = dice.hypergeometric(&fleet.table, total, *left, wanted.min(total));
            total -= left;
            wanted -= here;
            taken.push(here);
        }
        self.remove(&taken);
        taken
    }

    fn remove(&mut self, taken: &[u32]) {
        for (left, taken) in self.strata.iter_mut().zip(taken) {
            *left -= taken;
        }
    }
}
