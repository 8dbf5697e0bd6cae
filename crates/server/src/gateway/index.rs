//! Every living agent, in memory: what a heartbeat needs, in a few hundred bytes.
//!
//! Invariant: nothing here is the only copy. It is read from the database at start, and follows
//! the event stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use handover_engine::control::clones::{self, Hearing, Voice};
use handover_engine::control::rotation::Acknowledged;
use handover_model::api::AgentState;
use handover_model::wire::SyncRequest;
use handover_model::{AgentId, Digest, Now, Timestamp};
use handover_store::agents::{Agent, Resident};
use handover_store::{AgentKey, Store, StoreError, agents};
use tokio::sync::Notify;

use crate::Problem;
use crate::limits::limited;

/// How many are read at once at start.
const PAGE: u32 = 5000;
/// What is said again and again is said at most this often, in seconds.
const REPEAT: u32 = 10;
/// The length of the window in which an agent's requests are counted, in seconds.
const WINDOW: u64 = 10;

/// Every living agent.
#[derive(Debug, Default)]
pub(crate) struct Index(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_secret: HashMap<Digest, u32>,
    by_id: HashMap<AgentId, u32>,
    by_key: HashMap<AgentKey, u32>,
}

#[derive(Debug)]
struct Slot {
    key: AgentKey,
    id: AgentId,
    state: AgentState,
    secret: Digest,
    secret_before: Option<Digest>,
    voice: Voice,
    acknowledged: u64,
    state_digest: Option<Digest>,
    last_seen: Timestamp,
    order_keys: u64,
    ca: u64,
    /// Whether an order waits for it, as far as is known.
    is_pending: bool,
    /// Counts reasons to look; `told` is what it was when it was last told.
    marks: u32,
    told: u32,
    /// When it was told last, in seconds of this process's life.
    told_at: u32,
    window: u32,
    in_window: u32,
    /// What memory knows of it and the database does not yet.
    is_unsaved: bool,
    is_moved: bool,
    waiting: Option<Arc<Notify>>,
}

/// One request's place in the index, and what is known of its sender.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each named where it is used")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    slot: u32,
    /// What was shown; void as soon as the agent has another.
    pub(super) secret: Digest,
    pub(super) key: AgentKey,
    pub(super) id: AgentId,
    pub(super) state: AgentState,
    pub(super) acknowledged: u64,
    pub(super) state_digest: Option<Digest>,
    /// The process is another one than the database knows.
    pub(super) is_unsaved: bool,
    /// It is on another machine than before.
    pub(super) is_moved: bool,
    /// The newer of two secrets was shown: the older one is void.
    pub(super) voids_secret: bool,
    /// An order waits.
    pub(super) is_pending: bool,
    /// Something new happened since it was told.
    pub(super) is_fresh: bool,
    /// It is long enough ago that it was told what it may know already.
    pub(super) may_repeat: bool,
    marks: u32,
}

/// What a finished exchange changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    pub(super) state: AgentState,
    pub(super) acknowledged: u64,
    pub(super) state_digest: Option<Digest>,
    pub(super) is_pending: bool,
}

impl Index {
    /// Reads every living agent.
    pub(crate) async fn load(&self, store: &Store) -> Result<(), StoreError> {
        let mut after = AgentKey::from_i64(0);
        loop {
            let page = store.read(move |tx| agents::residents(tx, after, PAGE)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.key;
            let mut inner = self.lock();
            for resident in &page {
                inner.put(resident);
            }
        }
    }

    /// Follows a change of one agent that somebody else wrote; `None`: it is gone.
    pub(crate) fn follow(&self, id: AgentId, agent: Option<&Agent>) {
        let mut inner = self.lock();
        match agent.filter(|agent| agent.retired_at.is_none()) {
            Some(agent) => inner.put(&resident(agent)),
            None => inner.remove(id),
        }
    }

    /// An order waits for the agent, or a cancel does.
    pub(crate) fn mark(&self, id: AgentId) {
        let mut inner = self.lock();
        if let Some(slot) = inner.by_id(id) {
            slot.mark();
        }
    }

    /// Something may wait for these agents.
    pub(crate) fn mark_keys(&self, keys: impl IntoIterator<Item = AgentKey>) {
        let mut inner = self.lock();
        for key in keys {
            let place = inner.by_key.get(&key).copied();
            if let Some(slot) = place.and_then(|place| inner.at(place)) {
                slot.mark();
            }
        }
    }

    /// The row of a living agent.
    pub(crate) fn key_of(&self, id: AgentId) -> Option<AgentKey> {
        self.lock().by_id(id).map(|slot| slot.key)
    }

    /// When the agent was heard last, as far as this replica knows.
    pub(crate) fn last_seen(&self, key: AgentKey) -> Option<Timestamp> {
        let mut inner = self.lock();
        let place = inner.by_key.get(&key).copied()?;
        inner.at(place).map(|slot| slot.last_seen)
    }

    /// Whether an agent is known, and not away.
    pub(crate) fn is_there(&self, key: AgentKey) -> bool {
        let mut inner = self.lock();
        let place = inner.by_key.get(&key).copied();
        place.and_then(|place| inner.at(place)).is_some_and(|slot| slot.state != AgentState::Away)
    }

    /// Takes over what other replicas heard.
    pub(crate) fn heard(&self, heard: &[(AgentKey, Timestamp)]) {
        let mut inner = self.lock();
        for (key, at) in heard {
            let place = inner.by_key.get(key).copied();
            if let Some(slot) = place.and_then(|place| inner.at(place)) {
                slot.last_seen = slot.last_seen.max(*at);
            }
        }
    }

    /// The agent was silent for too long.
    pub(crate) fn is_away(&self, id: AgentId) {
        if let Some(slot) = self.lock().by_id(id)
            && slot.state == AgentState::Present
        {
            slot.state = AgentState::Away;
        }
    }

    /// Everybody is to hear of new keys.
    pub(crate) fn wake_all(&self) {
        for slot in self.lock().slots.iter_mut().flatten() {
            slot.told_at = 0;
            slot.wake();
        }
    }

    /// How many agents there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// How far agents that were heard since `since` are with the documents of these numbers:
    /// order keys, then the channel's authorities.
    pub(crate) fn acknowledged(&self, numbers: (u64, u64), since: Timestamp) -> [Acknowledged; 2] {
        let mut seen = [Acknowledged::default(); 2];
        for slot in self.lock().slots.iter().flatten().filter(|slot| slot.last_seen >= since) {
            for (seen, (held, wanted)) in
                seen.iter_mut().zip([(slot.order_keys, numbers.0), (slot.ca, numbers.1)])
            {
                seen.online += 1;
                seen.behind += u64::from(held < wanted);
            }
        }
        seen
    }

    /// Whether somebody has that secret.
    pub(super) fn knows(&self, secret: &Digest) -> bool {
        self.lock().by_secret.contains_key(secret)
    }

    /// Takes one request in; `None`: nobody has that secret.
    pub(super) fn visit(
        &self,
        secret: &Digest,
        request: &SyncRequest,
        now: Now,
        per_window: u32,
    ) -> Result<Option<Visit>, Problem> {
        let mut inner = self.lock();
        let Some(place) = inner.by_secret.get(secret).copied() else { return Ok(None) };
        let Some(slot) = inner.at(place) else { return Ok(None) };
        slot.count(now.mono, per_window)?;
        let hearing = clones::hear(&slot.voice, request.session, request.machine);
        match hearing {
            Hearing::Same => {}
            Hearing::Restarted => slot.is_unsaved = true,
            Hearing::Moved => (slot.is_unsaved, slot.is_moved) = (true, true),
            Hearing::Cloned => (slot.is_unsaved, slot.state) = (true, AgentState::Cloned),
        }
        slot.voice = clones::remember(&slot.voice, request.session, request.machine);
        slot.last_seen = now.wall;
        slot.order_keys = request.order_keys;
        slot.ca = request.ca;
        Ok(Some(Visit {
            slot: place,
            secret: *secret,
            key: slot.key,
            id: slot.id,
            state: slot.state,
            acknowledged: slot.acknowledged,
            state_digest: slot.state_digest,
            is_unsaved: slot.is_unsaved,
            is_moved: slot.is_moved,
            voids_secret: slot.secret_before.is_some() && slot.secret == *secret,
            is_pending: slot.is_pending,
            is_fresh: slot.marks != slot.told,
            may_repeat: slot.may_repeat(now.mono),
            marks: slot.marks,
        }))
    }

    /// Looks again, for one whose request is held open.
    pub(super) fn revisit(&self, visit: &Visit, now: Now) -> Option<Visit> {
        let mut inner = self.lock();
        let slot = inner.at(visit.slot).filter(|slot| slot.is_of(visit))?;
        Some(Visit {
            state: slot.state,
            is_unsaved: slot.is_unsaved,
            is_moved: slot.is_moved,
            voids_secret: false,
            acknowledged: slot.acknowledged,
            state_digest: slot.state_digest,
            is_pending: slot.is_pending,
            is_fresh: slot.marks != slot.told,
            may_repeat: slot.may_repeat(now.mono),
            marks: slot.marks,
            ..*visit
        })
    }

    /// Keeps what an exchange changed, now that it is durable.
    pub(super) fn settle(&self, visit: &Visit, settled: &Settled) {
        let mut inner = self.lock();
        let Some(slot) = inner.at(visit.slot).filter(|slot| slot.is_of(visit)) else { return };
        let before = if visit.voids_secret { slot.secret_before.take() } else { None };
        // One that was found to be two in the meantime stays so.
        if slot.state != AgentState::Cloned {
            slot.state = settled.state;
        }
        slot.acknowledged = slot.acknowledged.max(settled.acknowledged);
        slot.state_digest = settled.state_digest;
        (slot.is_unsaved, slot.is_moved) = (false, false);
        if slot.marks == visit.marks {
            slot.is_pending = settled.is_pending;
        }
        if let Some(before) = before {
            inner.by_secret.remove(&before);
        }
        if settled.state == AgentState::Retired {
            inner.remove(visit.id);
        }
    }

    /// Notes that the agent was told what there is.
    pub(super) fn told(&self, visit: &Visit, now: Duration) {
        let mut inner = self.lock();
        if let Some(slot) = inner.at(visit.slot).filter(|slot| slot.is_of(visit)) {
            slot.told = visit.marks;
            slot.told_at = seconds(now).max(1);
        }
    }

    /// What rings when there is something new for the agent.
    pub(super) fn bell(&self, visit: &Visit) -> Option<Arc<Notify>> {
        let mut inner = self.lock();
        let slot = inner.at(visit.slot).filter(|slot| slot.is_of(visit))?;
        Some(Arc::clone(slot.waiting.get_or_insert_with(Arc::default)))
    }

    /// Lets go of the bell when nobody else holds it.
    pub(super) fn unbell(&self, visit: &Visit) {
        let mut inner = self.lock();
        if let Some(slot) = inner.at(visit.slot).filter(|slot| slot.is_of(visit))
            && slot.waiting.as_ref().is_some_and(|bell| Arc::strong_count(bell) <= 1)
        {
            slot.waiting = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn at(&mut self, place: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(place).ok()?)?.as_mut()
    }

    fn by_id(&mut self, id: AgentId) -> Option<&mut Slot> {
        let place = self.by_id.get(&id).copied()?;
        self.at(place)
    }

    fn put(&mut self, resident: &Resident) {
        if let Some(place) = self.by_id.get(&resident.id).copied()
            && let Some(slot) = self.at(place)
        {
            let before = slot.clone_secrets();
            slot.renew(resident);
            let after = slot.clone_secrets();
            for secret in before {
                self.by_secret.remove(&secret);
            }
            for secret in after {
                self.by_secret.insert(secret, place);
            }
            return;
        }
        let slot = Some(Slot::new(resident));
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("there are fewer than 2^32 agents")
        });
        if let Some(free) = usize::try_from(place).ok().and_then(|at| self.slots.get_mut(at)) {
            *free = slot;
        }
        self.by_id.insert(resident.id, place);
        self.by_key.insert(resident.key, place);
        self.know(resident, place);
    }

    fn know(&mut self, resident: &Resident, place: u32) {
        self.by_secret.insert(resident.secret, place);
        if let Some(before) = resident.secret_before {
            self.by_secret.insert(before, place);
        }
    }

    fn remove(&mut self, id: AgentId) {
        let Some(place) = self.by_id.remove(&id) else { return };
        let Some(slot) = usize::try_from(place).ok().and_then(|at| self.slots.get_mut(at)) else {
            return;
        };
        let Some(slot) = slot.take() else { return };
        self.by_key.remove(&slot.key);
        for secret in slot.clone_secrets() {
            self.by_secret.remove(&secret);
        }
        slot.wake();
        self.free.push(place);
    }
}

impl Slot {
    /// Whether the sender of a request is still who this is about: the place may have been given
    /// away, and a secret becomes void when the agent enrols again.
    fn is_of(&self, visit: &Visit) -> bool {
        self.id == visit.id
            && (self.secret == visit.secret || self.secret_before == Some(visit.secret))
    }

    fn new(resident: &Resident) -> Self {
        let voice = Voice {
            session: resident.session,
            before: resident.session_before,
            machine: resident.machine,
        };
        Self {
            key: resident.key,
            id: resident.id,
            state: resident.state,
            secret: resident.secret,
            secret_before: resident.secret_before,
            voice,
            acknowledged: resident.acknowledged,
            state_digest: resident.state_digest,
            last_seen: resident.last_seen,
            order_keys: 0,
            ca: 0,
            is_pending: resident.has_open_orders,
            marks: 1,
            told: 0,
            told_at: 0,
            window: 0,
            in_window: 0,
            is_unsaved: false,
            is_moved: false,
            waiting: None,
        }
    }

    /// Takes over what the database says. Of the same enrolment memory may know more than that
    /// look at the database, but not whether another replica found it to be two.
    fn renew(&mut self, resident: &Resident) {
        if self.secret == resident.secret {
            if resident.state == AgentState::Cloned {
                self.state = AgentState::Cloned;
            }
            self.is_pending |= resident.has_open_orders;
            self.marks = self.marks.wrapping_add(1);
            self.wake();
            return;
        }
        let bell = self.waiting.take();
        let marks = self.marks.wrapping_add(1);
        let last_seen = self.last_seen.max(resident.last_seen);
        let (order_keys, ca) = (self.order_keys, self.ca);
        *self = Self { last_seen, order_keys, ca, marks, ..Self::new(resident) };
        self.waiting = bell;
        self.wake();
    }

    fn mark(&mut self) {
        self.is_pending = true;
        self.marks = self.marks.wrapping_add(1);
        self.wake();
    }

    fn clone_secrets(&self) -> Vec<Digest> {
        std::iter::once(self.secret).chain(self.secret_before).collect()
    }

    /// Counts a request in the current window.
    fn count(&mut self, now: Duration, per_window: u32) -> Result<(), Problem> {
        let window = u32::try_from(now.as_secs() / WINDOW).unwrap_or(u32::MAX);
        if window != self.window {
            (self.window, self.in_window) = (window, 0);
        }
        self.in_window = self.in_window.saturating_add(1);
        if self.in_window <= per_window {
            return Ok(());
        }
        let left = Duration::from_secs(WINDOW - now.as_secs() % WINDOW);
        Err(limited("this agent", left))
    }

    fn may_repeat(&self, now: Duration) -> bool {
        self.told_at == 0 || seconds(now).saturating_sub(self.told_at) >= REPEAT
    }

    fn wake(&self) {
        if let Some(bell) = &self.waiting {
            bell.notify_waiters();
        }
    }
}

fn seconds(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

fn resident(agent: &Agent) -> Resident {
    Resident {
        key: agent.key,
        id: agent.id,
        state: agent.state,
        secret: agent.secret,
        secret_before: agent.secret_before,
        machine: agent.machine,
        session: agent.session,
        session_before: agent.session_before,
        acknowledged: agent.acknowledged,
        state_digest: agent.state_digest,
        last_seen: agent.last_seen.unwrap_or(agent.enrolled_at),
        has_open_orders: agent.open_orders > 0,
    }
}

#[cfg(test)]
mod tests {
    use handover_model::IdGen;

    use super::*;

    /// This process's resident memory, in bytes.
    fn resident_bytes() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    #[test]
    fn a_late_look_at_the_database_does_not_undo_what_was_heard_since() {
        let (index, mut ids) = (Index::default(), IdGen::new([6; 32]));
        let born = Timestamp::from_micros(0);
        let session = || handover_model::SessionId::mint(&mut IdGen::new([1; 32]), born);
        let look = Resident {
            key: AgentKey::from_i64(1),
            id: AgentId::mint(&mut ids, born),
            state: AgentState::Present,
            secret: Digest::of(b"secret"),
            secret_before: None,
            machine: Digest::of(b"machine"),
            session: None,
            session_before: None,
            acknowledged: 0,
            state_digest: None,
            last_seen: born,
            has_open_orders: false,
        };
        index.lock().put(&look);
        let now = Now { wall: born, mono: Duration::ZERO };
        let request = SyncRequest {
            session: session(),
            number: 1,
            machine: look.machine,
            agent_version: "1.0.0".parse().unwrap(),
            state: None,
            place: None,
            order_keys: 1,
            ca: 1,
            reports: Vec::new(),
            wait: handover_model::Millis(0),
        };
        let visit = index.visit(&look.secret, &request, now, 100).unwrap().unwrap();
        index.settle(
            &visit,
            &Settled {
                state: AgentState::Present,
                acknowledged: 7,
                state_digest: Some(Digest::of(b"state")),
                is_pending: false,
            },
        );
        index.lock().put(&look);
        let visit = index.visit(&look.secret, &request, now, 100).unwrap().unwrap();
        assert_eq!((visit.acknowledged, visit.is_unsaved), (7, false));
        let cloned = Resident { state: AgentState::Cloned, ..look.clone() };
        index.lock().put(&cloned);
        let visit = index.visit(&look.secret, &request, now, 100).unwrap().unwrap();
        assert_eq!(visit.state, AgentState::Cloned);
        let enrolled = Resident { secret: Digest::of(b"another"), ..look.clone() };
        index.lock().put(&enrolled);
        assert!(!index.knows(&look.secret) && index.knows(&enrolled.secret));
    }

    #[test]
    fn an_agent_that_is_not_connected_costs_less_than_a_kilobyte() {
        const AGENTS: u32 = 100_000;
        let (index, mut ids) = (Index::default(), IdGen::new([5; 32]));
        let born = Timestamp::from_micros(0);
        let before = resident_bytes();
        for number in 0..AGENTS {
            let digest = |what: u8| {
                let mut bytes = [what; 32];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                Digest::from_bytes(bytes)
            };
            index.lock().put(&Resident {
                key: AgentKey::from_i64(number.into()),
                id: AgentId::mint(&mut ids, born),
                state: AgentState::Present,
                secret: digest(1),
                secret_before: None,
                machine: digest(2),
                session: None,
                session_before: None,
                acknowledged: 0,
                state_digest: Some(digest(3)),
                last_seen: born,
                has_open_orders: false,
            });
        }
        let each = resident_bytes().saturating_sub(before) / usize::try_from(AGENTS).unwrap();
        assert_eq!(index.len(), usize::try_from(AGENTS).unwrap());
        assert!((100..1000).contains(&each), "{each} bytes an agent");
    }
}
