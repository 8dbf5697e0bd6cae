//! How long a server takes to its first answer.

use std::time::Duration;

use super::{Ground, Premises, thousands};
use crate::table::{Row, Samples, ms, ratio};

/// Starts until the first answer, and their processor time.
pub(super) fn measure(
    ground: &Ground,
    empty: &Premises,
    large: &Premises,
) -> anyhow::Result<Vec<Row>> {
    let (bare, bare_cpu) = starts(ground, empty)?;
    let (full, full_cpu) = starts(ground, large)?;
    let found = |took: Duration, cpu: Duration| format!("{}, {} of processor", ms(took), ms(cpu));
    Ok(vec![Row {
        what: "start of the server to its first answer: with 100,000 agents",
        found: format!(
            "{} ({} agents)",
            found(full, full_cpu),
            thousands(ground.sizes.fleet.into())
        ),
        aim: "",
        is_met: None,
        beside: format!(
            "with none: {}; {}. hawkBit with 10,000 targets: 19 s",
            found(bare, bare_cpu),
            ratio(full, bare)
        ),
    }])
}

fn starts(ground: &Ground, premises: &Premises) -> anyhow::Result<(Duration, Duration)> {
    let (mut took, mut cpu) = (Samples::default(), Samples::default());
    for _ in 0..ground.sizes.rounds {
        let plane = premises.start()?;
        took.0.push(plane.started_in);
        cpu.0.push(plane.cpu()?);
        plane.stop();
    }
    Ok((took.median(), cpu.median()))
}
