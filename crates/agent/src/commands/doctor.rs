//! `doctor`: finds what is wrong with this host's files, and mends what can be mended.

use super::print::{Printer, wrap};
use crate::agent::Agent;
use crate::failure::{Exit, Failure};

pub(super) fn doctor(agent: &Agent, printer: Printer, mend: bool) -> Result<Exit, Failure> {
    let findings = crate::doctor::examine(agent, mend);
    let left = findings.iter().any(|finding| !finding.mended);
    printer.data(&findings, |findings| {
        let lines = crate::doctor::words(findings);
        lines.iter().map(|line| wrap(line, 4)).collect::<Vec<_>>().join("\n")
    })?;
    Ok(if left { Exit::Damaged } else { Exit::Done })
}
