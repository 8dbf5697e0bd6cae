//! What expires when, who may sign what, what waits.

use std::fmt::Write as _;
use std::process::ExitCode;

use camino::Utf8Path;
use handover_model::{Millis, Timestamp};
use handover_trust::author::TargetsDoc;
use handover_trust::keys::Keys;
use serde::Serialize;

use super::publish::short_ids;
use super::{RepoError, Shelf, missing_signatures};
use crate::output::{Out, table, warn};
use crate::real_world::now;

/// One role.
#[derive(Debug, Serialize)]
struct RoleStatus {
    role: String,
    version: u64,
    expires: Timestamp,
    state: State,
    threshold: u32,
    keys: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Fresh,
    Soon,
    Expired,
}

#[derive(Debug, Serialize)]
struct Status {
    roles: Vec<RoleStatus>,
    waiting: Vec<String>,
    missing_signatures: Vec<String>,
    well: bool,
}

/// Shows it; exit code 1 when something has expired or will before long.
pub(super) fn status(
    directory: &Utf8Path,
    within: Option<Millis>,
    out: &Out,
) -> Result<ExitCode, RepoError> {
    let shelf = Shelf::open(directory)?;
    let roles = role_states(&shelf, within, now())?;
    let well = roles.iter().all(|role| role.state == State::Fresh);
    let status = Status {
        roles,
        waiting: shelf.staged_roles()?,
        missing_signatures: missing_signatures(&shelf)?,
        well,
    };
    out.result(&status, print);
    for role in status.roles.iter().filter(|role| role.state != State::Fresh) {
        let when = if role.state == State::Expired { "expired" } else { "expires" };
        let remedy = role.remedy.unwrap_or_default();
        warn(&format!("{} {when} at {}; {remedy}", role.role, role.expires));
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn role_states(
    shelf: &Shelf,
    within: Option<Millis>,
    now: Timestamp,
) -> Result<Vec<RoleStatus>, RepoError> {
    let published = &shelf.published;
    let mut roles = Vec::new();
    if published.roots.is_empty() {
        return Ok(roles);
    }
    let root = published.root()?;
    let judge = |role: &str, version: u64, expires: Timestamp, keys: &Keys, threshold: u32| {
        let margin = within.map_or(shelf.lifetimes.of(role).duration() / 4, Millis::duration);
        let state = if expires <= now {
            State::Expired
        } else if expires.since(now) < margin {
            State::Soon
        } else {
            State::Fresh
        };
        let remedy = (state != State::Fresh).then(|| remedy(role));
        let keys = short_ids(keys).into_iter().collect();
        RoleStatus { role: role.to_owned(), version, expires, state, threshold, keys, remedy }
    };
    let mut push = |role: &str, version, expires: handover_trust::author::Expiry| {
        let (keys, threshold) = (root.keys_of(role), root.threshold_of(role));
        roles.push(judge(role, version, expires.0, &keys, threshold));
    };
    push("root", root.version, root.expires);
    if published.timestamp.is_some() {
        let (snapshot, timestamp) = (published.snapshot()?, published.timestamp()?);
        let targets = published.targets()?;
        push("timestamp", timestamp.version, timestamp.expires);
        push("snapshot", snapshot.version, snapshot.expires);
        push("targets", targets.version, targets.expires);
        for component in targets.components() {
            let role = TargetsDoc::role_of(&component);
            if published.roles.contains_key(&role) {
                let document = published.component(&component)?;
                let (keys, threshold) =
                    (targets.keys_of(&component), targets.threshold_of(&component));
                roles.push(judge(&role, document.version, document.expires.0, &keys, threshold));
            }
        }
    }
    Ok(roles)
}

fn remedy(role: &str) -> &'static str {
    match role {
        "snapshot" | "timestamp" => "run `handover repo refresh`, and from a timer",
        "root" => "`handover repo rotate-root` and gather signatures",
        "targets" => "`handover repo add-key`, even without changes, stages it anew for signatures",
        _component => "`handover release stage` stages it anew for signatures",
    }
}

fn print(status: &Status) -> String {
    let head = ["ROLE", "VERSION", "EXPIRES", "STATE", "THRESHOLD", "KEYS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for role in &status.roles {
        rows.push(vec![
            role.role.clone(),
            role.version.to_string(),
            role.expires.to_string(),
            match role.state {
                State::Fresh => "fresh",
                State::Soon => "soon",
                State::Expired => "EXPIRED",
            }
            .to_owned(),
            format!("{} of {}", role.threshold, role.keys.len()),
            role.keys.join(" "),
        ]);
    }
    let mut text = table(&rows);
    if !status.waiting.is_empty() {
        let _infallible =
            write!(text, "\n\nwaiting to be published: {}", status.waiting.join(", "));
    }
    for line in &status.missing_signatures {
        let _infallible = write!(text, "\n{line}");
    }
    text
}
