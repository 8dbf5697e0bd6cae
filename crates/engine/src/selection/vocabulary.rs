//! The words of a fleet: what its agents are called, labelled with and run.

use std::collections::{BTreeMap, BTreeSet};

use handover_model::{ComponentName, GroupName, Version};

use super::Subject;

/// How many values of one key are remembered; with more, unknown ones are not told apart.
pub const MOST_VALUES: usize = 1000;

/// What selections over a fleet may refer to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// The labels of agents, with their values.
    pub labels: BTreeMap<String, Known>,
    /// What agents say of themselves.
    pub facts: BTreeMap<String, Known>,
    /// Components, with the versions that are installed somewhere or published.
    pub components: BTreeMap<ComponentName, BTreeSet<Version>>,
    /// Versions of the agent.
    pub agent_versions: BTreeSet<Version>,
    /// Platforms of agents.
    pub platforms: BTreeSet<String>,
    /// Names of agents.
    pub names: Known,
    /// Saved groups.
    pub groups: BTreeSet<GroupName>,
}

/// Values that occur.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Those that are remembered.
    pub values: BTreeSet<String>,
    /// Whether there are more: then a value that is not here may exist all the same.
    pub and_more: bool,
}

impl Vocabulary {
    /// Takes in what one agent adds.
    pub fn learn(&mut self, subject: &Subject<'_>) {
        for (words, labels) in
            [(&mut self.labels, subject.labels), (&mut self.facts, subject.facts)]
        {
            for (key, value) in labels {
                match words.get_mut(key) {
                    Some(known) => known.learn(value),
                    None => words.entry(key.clone()).or_default().learn(value),
                }
            }
        }
        for component in subject.components {
            if !self.components.contains_key(&component.component) {
                self.components.insert(component.component.clone(), BTreeSet::new());
            }
            if let (Some(versions), Some(current)) =
                (self.components.get_mut(&component.component), &component.current)
                && !versions.contains(current)
            {
                versions.insert(current.clone());
            }
        }
        if !self.agent_versions.contains(subject.agent_version) {
            self.agent_versions.insert(subject.agent_version.clone());
        }
        if !self.platforms.contains(subject.platform.as_str()) {
            self.platforms.insert(subject.platform.to_string());
        }
        self.names.learn(subject.name.as_str());
    }
}

impl Known {
    /// Takes in a value, unless there are [`MOST_VALUES`].
    pub fn learn(&mut self, value: &str) {
        if self.values.contains(value) {
            return;
        }
        if self.values.len() < MOST_VALUES {
            self.values.insert(value.to_owned());
        } else {
            self.and_more = true;
        }
    }
}
