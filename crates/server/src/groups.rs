//! Saved groups over the fleet as it is: what they hold, what they name that is not there, and who
//! names them.

use std::collections::BTreeMap;

use handover_engine::selection::{GroupError, Reference, Resolved, Selection, Subject, Vocabulary};
use handover_model::api::{RolloutSpec, Strategy};
use handover_model::{GroupName, Timestamp};
use handover_store::agents::{self, Subject as Stored};
use handover_store::groups::{self, Group};
use handover_store::{AgentKey, Store, StoreError, Tx, rollouts};

/// Agents that are read at once.
const PAGE: u32 = 5_000;

/// Every saved group that can be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Saved(BTreeMap<GroupName, Selection>);

impl Saved {
    /// What `groups` say. One that a newer program saved, and that this one can't read, is not
    /// there.
    pub(crate) fn of(groups: &[Group]) -> Self {
        let read =
            |group: &Group| Some((group.name.clone(), Selection::parse(&group.select).ok()?));
        Self(groups.iter().filter_map(read).collect())
    }

    /// The same with one more, or another in its place.
    pub(crate) fn with(mut self, name: GroupName, selection: Selection) -> Self {
        self.0.insert(name, selection);
        self
    }

    /// A group with all that it names in place.
    ///
    /// # Errors
    /// [`GroupError`], also where it holds itself.
    pub(crate) fn resolve(&self, name: &GroupName) -> Result<Resolved, GroupError> {
        let found = self.0.get(name).ok_or_else(|| GroupError::Unknown { name: name.clone() })?;
        found.resolve(|name| self.0.get(name))
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &GroupName> {
        self.0.keys()
    }
}

/// What the fleet says of selections.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// How many agents each holds, in the order in which they were given.
    pub(crate) matched: Vec<u32>,
    /// The words of the fleet.
    pub(crate) words: Vocabulary,
}

impl Survey {
    /// Goes through the whole fleet once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn of(
        store: &Store,
        selections: &[Resolved],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut survey = Self { matched: vec![0; selections.len()], ..Self::default() };
        let mut after = AgentKey::from_i64(0);
        loop {
            let page = store.read(move |tx| agents::subjects(tx, after, PAGE)).await?;
            let Some(last) = page.last() else { return Ok(survey) };
            after = last.key;
            for stored in &page {
                let subject = subject(stored, now);
                survey.words.learn(&subject);
                for (count, selection) in survey.matched.iter_mut().zip(selections) {
                    *count += u32::from(selection.matches(&subject));
                }
            }
        }
    }
}

/// Agents that a selection names by ids that nobody has.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn unknown_ids(
    tx: &mut Tx<'_>,
    selection: &Selection,
) -> Result<Vec<String>, StoreError> {
    let mut missing = Vec::new();
    for need in selection.needs() {
        if let Reference::Id(id) = need
            && agents::get(tx, id)?.is_none_or(|agent| agent.retired_at.is_some())
        {
            missing.push(format!("there is no agent {id}"));
        }
    }
    Ok(missing)
}

/// Who names a group: other groups, and rollouts that are not over.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn named_by(tx: &mut Tx<'_>, name: &GroupName) -> Result<Vec<String>, StoreError> {
    let saved = Saved::of(&groups::all(tx)?);
    let others = saved.0.iter().filter(|(other, held)| *other != name && names(held, name));
    let mut found: Vec<String> = others.map(|(other, _)| format!("group {other}")).collect();
    for rollout in rollouts::live(tx)? {
        if !rollout.state.is_over() && selections(&rollout.spec).any(|text| names_it(text, name)) {
            found.push(format!("rollout {}", rollout.name));
        }
    }
    Ok(found)
}

fn names(selection: &Selection, name: &GroupName) -> bool {
    selection.groups().into_iter().any(|named| named.as_str() == name.as_str())
}

fn names_it(text: &str, name: &GroupName) -> bool {
    Selection::parse(text).is_ok_and(|selection| names(&selection, name))
}

/// Every selection that stands in a specification.
fn selections(spec: &RolloutSpec) -> impl Iterator<Item = &str> {
    let waves = match &spec.strategy {
        Strategy::Waves { waves, .. } => waves.as_slice(),
        Strategy::Immediate {} | Strategy::Staged { .. } => &[],
    };
    std::iter::once(spec.select.as_str()).chain(waves.iter().map(|wave| wave.select.as_str()))
}

fn subject(stored: &Stored, now: Timestamp) -> Subject<'_> {
    Subject {
        id: stored.id,
        name: &stored.name,
        state: stored.state,
        platform: &stored.platform,
        agent_version: &stored.agent_version,
        labels: &stored.labels,
        facts: &stored.facts,
        components: &stored.components,
        last_seen: stored.last_seen,
        now,
    }
}
