//! Which of the agents that a selection means could not get to the release, and why: asked of
//! what their hosts reported, as each host itself would answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use handover_engine::explain::Beforehand;
use handover_engine::graph::Offer;
use handover_model::api::{AgentState, LeftOut, PreviewPath, RolloutSpec};
use handover_model::wire::ComponentState;
use handover_model::{AgentName, ComponentName, Pin, Platform, Timestamp, Version};
use handover_store::{AgentKey, StoreError, Tx, pins};

use super::fleet::Chosen;
use crate::AppState;
use crate::api::library::Shelf;
use crate::api::{component_in, host_state};

/// Hosts that are read at once.
const BATCH: usize = 500;
/// How many names are shown of many.
const FIRST: usize = 10;

/// Agents that a selection means, parted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vetted {
    /// Those that can be members.
    pub(crate) members: Vec<Chosen>,
    /// Those that are none although nothing is wrong: they are there already, or get no orders.
    pub(crate) left_out: Vec<LeftOut>,
    /// Those that could not get there, by the stable code of why.
    pub(crate) unable: Vec<LeftOut>,
    /// The ways that members go.
    pub(crate) paths: Vec<PreviewPath>,
}

/// Parts them.
///
/// # Errors
/// Of the database.
pub(crate) async fn vet(
    state: &AppState,
    spec: &RolloutSpec,
    chosen: Vec<Chosen>,
    now: Timestamp,
) -> Result<Vetted, StoreError> {
    let shelf = state.library.shelf(state).await;
    let mut judge = Judge::new(spec, &shelf, now);
    let mut parts = Parts::default();
    let mut rest = chosen.into_iter().peekable();
    while rest.peek().is_some() {
        let batch: Vec<Chosen> = rest.by_ref().take(BATCH).collect();
        let (keys, component): (Vec<_>, _) =
            (batch.iter().map(|one| one.key).collect(), spec.component.clone());
        let hosts = state.store.read(move |tx| read(tx, &keys, &component)).await?;
        for (one, host) in batch.into_iter().zip(hosts) {
            parts.sort(one, &host, &mut judge);
        }
    }
    Ok(parts.done())
}

/// What a host reported of the component, and the control plane's own pin.
struct Host {
    is_reported: bool,
    state: Option<ComponentState>,
    pin: Option<Pin>,
}

fn read(
    tx: &mut Tx<'_>,
    keys: &[AgentKey],
    component: &ComponentName,
) -> Result<Vec<Host>, StoreError> {
    let mut hosts = Vec::with_capacity(keys.len());
    for key in keys {
        let reported = host_state(tx, *key)?;
        let state = reported.as_ref().and_then(|(host, _)| component_in(host, component));
        hosts.push(Host {
            is_reported: reported.is_some(),
            state: state.cloned(),
            pin: pins::get(tx, *key, component)?.and_then(|pin| pin.pin),
        });
    }
    Ok(hosts)
}

/// What a host's own rules make of the target: the stops of the way, or code and sentence.
type Verdict = Result<Vec<Version>, (String, String)>;

/// Asks of each host what it would say; those that stand alike are asked once.
struct Judge<'s> {
    spec: &'s RolloutSpec,
    shelf: &'s Shelf,
    offers: Option<Vec<Offer>>,
    now: Timestamp,
    known: HashMap<String, Verdict>,
}

impl<'s> Judge<'s> {
    fn new(spec: &'s RolloutSpec, shelf: &'s Shelf, now: Timestamp) -> Self {
        let offers = shelf.offers(&spec.component);
        Self { spec, shelf, offers, now, known: HashMap::new() }
    }

    fn ask(&mut self, one: &Chosen, host: &Host) -> Verdict {
        let alike = likeness(one, host);
        if let Some(verdict) = self.known.get(&alike) {
            return verdict.clone();
        }
        let beforehand = Beforehand {
            agent: &one.name,
            component: &self.spec.component,
            platform: &one.platform,
            state: host.state.as_ref(),
            reported: host.is_reported,
            control_pin: host.pin.as_ref(),
            offers: self.offers.as_deref(),
            skipped: self.shelf.skipped(&self.spec.component),
            now: self.now,
        };
        let verdict = match beforehand.check_update(Some(&self.spec.to)) {
            Ok(path) if path.is_empty() => Ok(vec![self.spec.to.clone()]),
            Ok(path) => Ok(path),
            // It passes: the host is asked again when its turn comes.
            Err(refusal) if matches!(refusal.code(), "trial-pending" | "clock-off") => {
                Ok(vec![self.spec.to.clone()])
            }
            Err(refusal) => Err((refusal.code().to_owned(), refusal.to_string())),
        };
        self.known.insert(alike, verdict.clone());
        verdict
    }
}

/// What a host's answer depends on, as a text: hosts with the same one answer alike.
fn likeness(one: &Chosen, host: &Host) -> String {
    let state = host.state.clone();
    let state = state.map(|state| ComponentState { proof: None, outlook: None, ..state });
    let pin = host.pin.as_ref().map(ToString::to_string);
    let parts = (one.platform.as_str(), host.is_reported, pin, state);
    serde_json::to_string(&parts).unwrap_or_else(|_unspeakable| one.id.to_string())
}

#[derive(Default)]
struct Parts {
    members: Vec<Chosen>,
    left_out: Reasons,
    unable: Reasons,
    ways: BTreeMap<(Platform, Option<Version>), (Vec<Version>, u32)>,
}

impl Parts {
    fn sort(&mut self, one: Chosen, host: &Host, judge: &mut Judge<'_>) {
        if one.state == AgentState::Cloned {
            let why = "two machines use its identity, so that it gets no orders";
            return self.left_out.note("agent.cloned", why, &one.name);
        }
        match judge.ask(&one, host) {
            Err((code, why)) if code == "already-there" => {
                self.left_out.note(&code, &why, &one.name);
            }
            Err((code, why)) => self.unable.note(&code, &why, &one.name),
            Ok(hops) => {
                let way = (one.platform.clone(), one.current.clone());
                self.ways.entry(way).or_insert((hops, 0)).1 += 1;
                self.members.push(one);
            }
        }
    }

    fn done(self) -> Vetted {
        let paths = self.ways.into_iter().map(|((platform, from), (hops, members))| PreviewPath {
            platform,
            from,
            hops,
            members,
        });
        Vetted {
            members: self.members,
            left_out: self.left_out.listed(),
            unable: self.unable.listed(),
            paths: paths.collect(),
        }
    }
}

/// Why agents are no members: by code a sentence, how many, the first few by name.
#[derive(Default)]
struct Reasons(BTreeMap<String, (String, u32, BTreeSet<AgentName>)>);

impl Reasons {
    fn note(&mut self, code: &str, why: &str, name: &AgentName) {
        let entry = self.0.entry(code.to_owned());
        let (_, count, names) = entry.or_insert_with(|| (why.to_owned(), 0, BTreeSet::new()));
        *count = count.saturating_add(1);
        names.insert(name.clone());
        if names.len() > FIRST {
            names.pop_last();
        }
    }

    /// The most frequent first.
    fn listed(self) -> Vec<LeftOut> {
        let reasons = self.0.into_iter().map(|(code, (text, count, names))| LeftOut {
            code,
            text,
            count,
            agents: names.into_iter().collect(),
        });
        let mut listed: Vec<_> = reasons.collect();
        listed.sort_by_key(|one| std::cmp::Reverse(one.count));
        listed
    }
}
