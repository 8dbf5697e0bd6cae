//! Why hosts stand where they stand, what they could be updated to, and which versions run where.

use std::collections::BTreeSet;

use axum::response::Response;
use handover_engine::explain::{Beforehand, FleetStop, Known, Membership, explain};
use handover_model::api::{AgentState, Explanation, OrderInfo, UpdatesAvailable};
use handover_model::wire::HostState;
use handover_model::{ComponentName, Timestamp};
use handover_store::agents::Agent;
use handover_store::orders::{self, Filter};
use handover_store::pins::StoredPin;
use handover_store::{Tx, agents, fleet, pins};

use super::call::{AgentRef, Call, Segments};
use super::library::Shelf;
use super::{answer, place};
use crate::{AppState, Problem};

/// The most ended orders that an explanation looks back on.
const LOOK_BACK: u32 = 50;

/// Everything that is known of an agent.
struct Dossier {
    agent: Agent,
    report: Option<(HostState, Timestamp)>,
    pins: Vec<StoredPin>,
    stop: Option<FleetStop>,
    orders: Vec<OrderInfo>,
}

impl Dossier {
    fn read(tx: &mut Tx<'_>, agent: &AgentRef) -> Result<Self, Problem> {
        let agent = agent.find(tx)?;
        let filter = Filter { agent: Some(agent.key), ..Filter::default() };
        let orders = orders::list(tx, &filter, None, LOOK_BACK)?.items;
        Ok(Self {
            report: place::host_state(tx, agent.key)?,
            pins: pins::of_agent(tx, agent.key)?,
            stop: fleet::stop(tx)?.map(|stop| FleetStop {
                by: stop.by,
                at: stop.at,
                reason: stop.reason,
            }),
            orders: orders.into_iter().map(super::orders::info).collect(),
            agent,
        })
    }

    /// Every component that anybody has named.
    fn components(&self) -> BTreeSet<ComponentName> {
        let reported = self.report.iter().flat_map(|(host, _)| &host.components);
        let reported = reported.map(|state| state.component.clone());
        let ordered = self.orders.iter().filter(|order| !order.state.is_final());
        let ordered = ordered.filter_map(|order| order.action.component().cloned());
        reported.chain(ordered).collect()
    }

    fn explain(
        &self,
        state: &AppState,
        component: &ComponentName,
        stock: &Shelf,
        now: Timestamp,
    ) -> Explanation {
        let offers = stock.offers(component);
        let orders: Vec<OrderInfo> = self
            .orders
            .iter()
            .filter(|order| order.action.component() == Some(component))
            .cloned()
            .collect();
        explain(&Known {
            agent: self.agent.id,
            name: &self.agent.name,
            membership: match self.agent.state {
                AgentState::Present | AgentState::Away => Membership::Member,
                AgentState::Cloned => Membership::Cloned,
                AgentState::Retired => Membership::Retired(self.agent.note.as_deref()),
            },
            last_seen: self.agent.last_seen,
            away: self.agent.state == AgentState::Away,
            component,
            beforehand: self.beforehand(component, offers.as_deref(), stock, now),
            reported_at: self.report.as_ref().map(|(_, at)| *at),
            stop: self.stop.as_ref(),
            rollouts: &state.rollouts.explain(self.agent.key, component),
            orders: &orders,
        })
    }

    fn beforehand<'a>(
        &'a self,
        component: &'a ComponentName,
        offers: Option<&'a [handover_engine::graph::Offer]>,
        stock: &'a Shelf,
        now: Timestamp,
    ) -> Beforehand<'a> {
        let host = self.report.as_ref().map(|(host, _)| host);
        let pin = self.pins.iter().find(|pin| pin.component == *component);
        Beforehand {
            agent: &self.agent.name,
            component,
            platform: &self.agent.platform,
            state: host.and_then(|host| place::component_in(host, component)),
            reported: host.is_some(),
            control_pin: pin.and_then(|pin| pin.pin.as_ref()),
            offers,
            skipped: stock.skipped(component),
            now,
        }
    }
}

/// `GET /agents/{agent}/explain`.
pub(super) async fn explain_agent(
    call: Call,
    Segments([agent]): Segments<1>,
) -> Result<Response, Problem> {
    let mut query = call.query();
    let component: Option<ComponentName> = query.parsed("component")?;
    query.done()?;
    let agent = AgentRef::parse(&agent)?;
    let dossier = call.state.store.read(move |tx| Dossier::read(tx, &agent)).await?;
    let shelf = call.state.library.shelf(&call.state).await;
    let asked = match component {
        Some(component) => BTreeSet::from([component]),
        None => dossier.components(),
    };
    let explained: Vec<Explanation> = asked
        .iter()
        .map(|component| dossier.explain(&call.state, component, &shelf, call.now))
        .collect();
    answer::json(&explained)
}

/// `GET /agents/{agent}/updates/available`.
pub(super) async fn updates(
    call: Call,
    Segments([agent]): Segments<1>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let agent = AgentRef::parse(&agent)?;
    let dossier = call.state.store.read(move |tx| Dossier::read(tx, &agent)).await?;
    let shelf = call.state.library.shelf(&call.state).await;
    let reported = dossier.report.iter().flat_map(|(host, _)| &host.components);
    let components = reported.map(|state| {
        let offers = shelf.offers(&state.component);
        dossier.beforehand(&state.component, offers.as_deref(), &shelf, call.now).updates()
    });
    let components = components.collect();
    answer::json(&UpdatesAvailable {
        agent: dossier.agent.id,
        name: dossier.agent.name.clone(),
        reported_at: dossier.report.as_ref().map(|(_, at)| *at),
        components,
    })
}

/// `GET /inventory`.
pub(super) async fn inventory(call: Call) -> Result<Response, Problem> {
    call.query().done()?;
    let now = call.now;
    let inventory =
        call.state.store.read(move |tx| agents::inventory(tx, now).map_err(Problem::from)).await?;
    answer::json(&inventory)
}
