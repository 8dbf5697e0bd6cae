//! Looking for one target through all delegations (TUF 1.0.34, 5.6.7): pre-order, each role once,
//! bounded, stopping at a terminating delegation.

use std::collections::{BTreeSet, VecDeque};

use super::{Refresh, Stage};
use crate::VerifyError;
use crate::catalog::target_facts;

/// Where the search stands.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Roles to visit, each with its delegator; next first.
    ahead: VecDeque<(String, String)>,
    visited: BTreeSet<String>,
    path: Option<String>,
}

impl Refresh {
    /// Searches on for `path`; true when a file is needed first.
    pub(super) fn pursue_target(&mut self, path: &str) -> Result<bool, VerifyError> {
        if self.walk.path.as_deref() != Some(path) {
            self.walk = Walk { path: Some(path.to_owned()), ..Walk::default() };
            self.walk.ahead.push_back(("targets".to_owned(), String::new()));
        }
        while let Some((role, delegator)) = self.walk.ahead.front().cloned() {
            if self.walk.visited.contains(&role) {
                self.walk.ahead.pop_front();
                continue;
            }
            if self.walk.visited.len() >= self.limits.roles {
                break;
            }
            if role != "targets" {
                if self.pin_of(&role).is_none() {
                    self.walk.ahead.pop_front();
                    continue;
                }
                if !self.has_role(&role, &delegator)? {
                    self.stage = Stage::Role { role, delegator };
                    return Ok(true);
                }
            }
            self.walk.ahead.pop_front();
            if self.visit(&role, path)? {
                break;
            }
        }
        Ok(false)
    }

    /// After a role's file came: back to the goals.
    pub(super) fn resume_walk(&mut self, _role: &str) -> Result<(), VerifyError> {
        self.pursue_goals()
    }

    /// Looks into one role; true when the target was found.
    fn visit(&mut self, role: &str, path: &str) -> Result<bool, VerifyError> {
        self.walk.visited.insert(role.to_owned());
        let Some(targets) = self.core.targets_role(role) else { return Ok(false) };
        if let Some(target) = targets.target(path) {
            let consistent = self.core.root().consistent_snapshot;
            let facts = target_facts(path, target, consistent)?;
            self.found.targets.insert(path.to_owned(), facts);
            return Ok(true);
        }
        let mut children = VecDeque::new();
        for child in targets.delegations.iter().flat_map(|delegations| &delegations.roles) {
            if matches!(child.name.as_str(), "root" | "timestamp" | "snapshot" | "targets") {
                continue;
            }
            let fits = child.matches_path(path).map_err(|source| VerifyError::Malformed {
                subject: format!("the delegation of {}", child.name),
                source: source.into(),
            })?;
            if fits {
                children.push_back((child.name.clone(), role.to_owned()));
                if child.terminating {
                    self.walk.ahead.clear();
                    break;
                }
            }
        }
        children.append(&mut self.walk.ahead);
        self.walk.ahead = children;
        Ok(false)
    }
}
