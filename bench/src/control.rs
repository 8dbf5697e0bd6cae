//! Aims 1 and 2, and what else the control plane costs: each figure beside a bare TLS server, or
//! another limit, that ran in the same minutes.

mod agent;
mod check_ins;
mod enrolments;
mod memory;
mod orders;
mod peer;
mod plane;
mod postgres;
mod rollouts;
mod starting;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::table::Row;
use peer::Peer;
use plane::{Plane, Premises};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Agents of the large fleet.
    pub(crate) fleet: u32,
    /// Agents of the small one, with which "none" is measured: a server that never answered
    /// anybody is no peer of one that did.
    pub(crate) few: u32,
    /// Agents on PostgreSQL.
    pub(crate) postgres: u32,
    /// Connections that carry check-ins.
    pub(crate) connections: u32,
    /// Long polls held at once.
    pub(crate) polls: u32,
    /// Rounds of which the median counts.
    pub(crate) rounds: u32,
    /// How long a round is measured.
    pub(crate) lasting: Duration,
    /// Handshakes of each kind.
    pub(crate) handshakes: u32,
    /// Orders handed out.
    pub(crate) orders: u32,
    /// Hosts enrolled.
    pub(crate) enrolments: u32,
    /// Members of a rollout.
    pub(crate) members: u32,
}

impl Sizes {
    fn at(scale: u32) -> Self {
        Self {
            fleet: 100_000 / scale,
            few: 1_000 / scale,
            postgres: 20_000 / scale,
            connections: (512 / scale).max(16),
            polls: 5_000 / scale,
            rounds: if scale == 1 { 5 } else { 1 },
            lasting: Duration::from_secs(8) / scale.min(4),
            handshakes: 2_000 / scale,
            orders: 200 / scale.min(4),
            enrolments: 100 / scale.min(4),
            members: 10_000 / scale,
        }
    }
}

/// What every measurement needs.
struct Ground {
    programs: PathBuf,
    sizes: Sizes,
}

/// Measures all of it.
pub(crate) fn measure(programs: &Path, scale: u32) -> anyhow::Result<Vec<Row>> {
    let ground = Ground { programs: programs.to_owned(), sizes: Sizes::at(scale) };
    let sizes = ground.sizes;
    let empty = Premises::new(&ground, None)?;
    let few = Premises::new(&ground, None)?;
    few.populate(sizes.few)?;
    let large = Premises::new(&ground, None)?;
    large.populate(sizes.fleet)?;

    let mut rows = Vec::new();
    rows.extend(check_ins::measure(&ground, &large)?);
    rows.extend(memory::measure(&ground, &few, &large)?);
    rows.push(orders::measure(&ground, &few)?);
    rows.push(postgres::measure(&ground, &large)?);
    rows.extend(starting::measure(&ground, &empty, &large)?);
    rows.push(enrolments::measure(&ground, &few)?);
    rows.push(agent::measure(&ground)?);
    Ok(rows)
}

/// Measures a rollout through a large fleet.
pub(crate) fn measure_rollout(programs: &Path, scale: u32) -> anyhow::Result<Vec<Row>> {
    rollouts::measure(&Ground { programs: programs.to_owned(), sizes: Sizes::at(scale) })
}

/// The median of figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// A number with commas between the thousands.
fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(-1000.0), "-1,000");
    }
}
