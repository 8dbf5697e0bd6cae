//! Which agents a selection means, of the whole fleet, read page by page.

use handover_engine::rollout::roster::Candidate;
use handover_engine::selection::{
    GroupError, Resolved, Selection, SelectionError, Subject, Vocabulary,
};
use handover_model::api::{AgentState, RolloutSpec, Strategy};
use handover_model::{AgentId, AgentName, GroupName, Platform, Timestamp, Version};
use handover_store::agents::{self, Subject as Stored};
use handover_store::{AgentKey, Store, StoreError, groups};

/// Agents that are read at once.
const PAGE: u32 = 5_000;

/// A selection that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    /// It can't be read.
    #[error("{source}")]
    Text {
        /// Of what: `select`, or a wave's.
        field: String,
        /// Why not.
        source: SelectionError,
    },
    /// A group that it names can't be put in its place.
    #[error("{source}")]
    Group {
        /// Of what.
        field: String,
        /// Why not.
        source: GroupError,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Selections, with groups in place of their names.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// As it was written.
    pub(crate) written: Selection,
    pub(crate) select: Resolved,
    /// Waves by selection, as written and resolved.
    pub(crate) waves: Vec<(Selection, Resolved)>,
    groups: Vec<GroupName>,
}

/// An agent that a selection means.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) key: AgentKey,
    pub(crate) id: AgentId,
    pub(crate) name: AgentName,
    pub(crate) platform: Platform,
    pub(crate) current: Option<Version>,
    pub(crate) site: Option<String>,
    pub(crate) wave: Option<u16>,
    pub(crate) state: AgentState,
}

/// What a selection means of the fleet as it is.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// Those that match, in the order of their rows.
    pub(crate) chosen: Vec<Chosen>,
    /// How many agents there are.
    pub(crate) of: u32,
    /// The words of the whole fleet.
    pub(crate) words: Vocabulary,
}

impl Chosen {
    /// As the drawing takes it.
    pub(crate) fn candidate(&self) -> Candidate<'_> {
        Candidate {
            key: self.key.as_i64(),
            id: self.id,
            platform: &self.platform,
            current: self.current.as_ref(),
            site: self.site.as_deref(),
            wave: self.wave,
        }
    }
}

impl Wanted {
    /// Reads the selections of a specification.
    pub(crate) async fn of(store: &Store, spec: &RolloutSpec) -> Result<Self, FleetError> {
        let waves = match &spec.strategy {
            Strategy::Waves { waves, .. } => waves.as_slice(),
            Strategy::Immediate {} | Strategy::Staged { .. } => &[],
        };
        let waves: Vec<_> = waves
            .iter()
            .enumerate()
            .map(|(number, wave)| (format!("strategy.waves[{number}].select"), &wave.select))
            .collect();
        Self::read(store, &spec.select, &waves).await
    }

    /// Reads one selection.
    pub(crate) async fn one(store: &Store, select: &str) -> Result<Self, FleetError> {
        Self::read(store, select, &[]).await
    }

    async fn read(
        store: &Store,
        select: &str,
        waves: &[(String, &String)],
    ) -> Result<Self, FleetError> {
        let saved = store.read(groups::all).await?;
        let mut known = std::collections::BTreeMap::new();
        for group in &saved {
            // One that was saved by a newer program, and that this one can't read, is not there.
            if let Ok(selection) = Selection::parse(&group.select) {
                known.insert(group.name.clone(), selection);
            }
        }
        let resolve = |field: &str, text: &str| {
            let field = field.to_owned();
            let parsed = Selection::parse(text)
                .map_err(|source| FleetError::Text { field: field.clone(), source })?;
            let resolved = parsed
                .resolve(|name| known.get(name))
                .map_err(|source| FleetError::Group { field, source })?;
            Ok::<_, FleetError>((parsed, resolved))
        };
        let (written, select) = resolve("select", select)?;
        let waves = waves
            .iter()
            .map(|(field, text)| resolve(field, text))
            .collect::<Result<Vec<_>, _>>()?;
        let groups = saved.into_iter().map(|group| group.name).collect();
        Ok(Self { written, select, waves, groups })
    }

    /// Whether an agent is meant, and in which wave.
    pub(crate) fn choose(
        &self,
        stored: Stored,
        spec: Option<&RolloutSpec>,
        now: Timestamp,
    ) -> Option<Chosen> {
        let wave = {
            let subject = subject(&stored, now);
            if !self.select.matches(&subject) {
                return None;
            }
            self.waves.iter().position(|(_, wave)| wave.matches(&subject))
        };
        let current = spec.and_then(|spec| {
            let mut components = stored.components.into_iter();
            components.find(|one| one.component == spec.component).and_then(|one| one.current)
        });
        let site = spec.and_then(|spec| stored.labels.get(&spec.site_label).map(str::to_owned));
        Some(Chosen {
            key: stored.key,
            id: stored.id,
            name: stored.name,
            platform: stored.platform,
            current,
            site,
            wave: wave.and_then(|wave| u16::try_from(wave).ok()),
            state: stored.state,
        })
    }
}

impl Fleet {
    /// Goes through all agents.
    pub(crate) async fn choose(
        store: &Store,
        wanted: &Wanted,
        spec: Option<&RolloutSpec>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut fleet = Self::default();
        fleet.words.groups = wanted.groups.iter().cloned().collect();
        let mut after = AgentKey::from_i64(0);
        loop {
            let page = store.read(move |tx| agents::subjects(tx, after, PAGE)).await?;
            let Some(last) = page.last() else { return Ok(fleet) };
            after = last.key;
            fleet.of = fleet.of.saturating_add(u32::try_from(page.len()).unwrap_or(u32::MAX));
            for stored in page {
                fleet.words.learn(&subject(&stored, now));
                fleet.chosen.extend(wanted.choose(stored, spec, now));
            }
        }
    }
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
