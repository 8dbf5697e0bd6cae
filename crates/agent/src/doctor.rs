//! What is wrong with this host's files: findings, each with its way out, and mending.
//!
//! Mending loses nothing: what is taken away goes to `evidence/` under the root. It never makes a
//! host forget: floors are derived again only upwards, and a lost ledger is a person's business.
//! Locks are not looked for: they die with their holders (`flock(2)`).

mod components;
mod control;
mod host;
mod trust;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::{HostError, disk};
use serde::Serialize;

use crate::agent::Agent;
use crate::failure::{Failure, chain};

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A name for programs.
    pub code: &'static str,
    /// What it is about: a path or a component.
    pub subject: String,
    /// What is wrong, for people.
    pub what: String,
    /// The way out, for people; what was done, once it was mended.
    pub way_out: String,
    /// Whether it was mended now.
    pub mended: bool,
}

/// An examination under way.
pub(crate) struct Examination<'a> {
    agent: &'a Agent,
    mend: bool,
    findings: Vec<Finding>,
}

/// Examines the host; with `mend`, mends what can be.
pub fn examine(agent: &Agent, mend: bool) -> Vec<Finding> {
    let mut examination = Examination { agent, mend, findings: Vec::new() };
    host::examine(&mut examination);
    trust::examine(&mut examination);
    components::examine(&mut examination);
    control::examine(&mut examination);
    examination.findings
}

/// Findings for people, one paragraph each.
pub fn words(findings: &[Finding]) -> Vec<String> {
    if findings.is_empty() {
        return vec!["nothing is wrong".to_owned()];
    }
    let lines = findings.iter().map(|finding| {
        let Finding { code, subject, what, way_out, mended } = finding;
        let mark = if *mended { "mended" } else { "WRONG" };
        format!("{mark}  {subject}: {what}; {way_out} [{code}]")
    });
    lines.collect()
}

impl Examination<'_> {
    /// Notes something that nobody but a person can mend.
    fn note(
        &mut self,
        code: &'static str,
        subject: &dyn std::fmt::Display,
        what: String,
        way_out: &str,
    ) {
        let (subject, way_out) = (subject.to_string(), way_out.to_owned());
        self.findings.push(Finding { code, subject, what, way_out, mended: false });
    }

    /// Notes something that `act` can mend; `does` says what that is, as an instruction.
    fn mendable(
        &mut self,
        code: &'static str,
        subject: &dyn std::fmt::Display,
        what: String,
        does: &str,
        act: impl FnOnce(&Agent) -> Result<(), Failure>,
    ) {
        let (way_out, mended) = if self.mend {
            match act(self.agent) {
                Ok(()) => (format!("done: {does}"), true),
                Err(error) => (format!("could not {does}: {}", chain(&error)), false),
            }
        } else {
            (format!("`handover-agent doctor --mend` would {does}"), false)
        };
        let subject = subject.to_string();
        self.findings.push(Finding { code, subject, what, way_out, mended });
    }
}

/// Moves a file or tree to `evidence/`, under a name that nothing has yet.
fn put_aside(agent: &Agent, path: &Utf8Path) -> Result<Utf8PathBuf, HostError> {
    let directory = agent.home.root().join("evidence");
    disk::make_dir_mode(&directory, 0o700)?;
    let inside = path.strip_prefix(agent.home.root()).unwrap_or(path);
    let name = inside.as_str().replace('/', "_");
    let at = agent.now().wall.as_micros();
    let goal = directory.join(format!("{at}-{name}"));
    disk::rename(path, &goal)?;
    Ok(goal)
}
