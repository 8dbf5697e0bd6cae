//! Why a host is at a version, what it could be updated to, what happened to it, and which
//! versions run where.

use handover_model::ComponentName;
use handover_model::api::{
    ComponentUpdates, EventInfo, Explanation, Inventory, Layer, Lifter, UpdatesAvailable,
};

use super::api::Api;
use super::{ControlError, Desk, agents, routes, watch, words};
use crate::output::table;
use crate::real_world::now;

/// Says why.
pub(super) fn explain(
    api: &Api,
    agent: &str,
    component: Option<&ComponentName>,
    whole: bool,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let agent = agents::find(api, agent)?.agent;
    let path = routes::query(
        &routes::of_agent(agent.id, "explain"),
        &[("component", component.map(ToString::to_string))],
    );
    let mut explained: Vec<Explanation> = api.get("ask why", &path)?;
    if let Some(wanted) = component {
        explained.retain(|one| one.component == *wanted);
    }
    if explained.is_empty() {
        let what = match component {
            Some(component) => format!("{} has no component {component}", agent.name),
            None => format!("{} has not reported any component yet", agent.name),
        };
        return Err(ControlError::Declined { what });
    }
    desk.out.result(&explained, |explained| {
        let parts: Vec<_> = explained.iter().map(|one| in_words(one, whole)).collect();
        parts.join("\n\n")
    });
    Ok(())
}

fn in_words(explained: &Explanation, whole: bool) -> String {
    let mut lines = vec![explained.sentence.clone()];
    let shown = explained.layers.iter().filter(|layer| whole || layer.holds);
    for layer in shown {
        lines.extend(layer_in_words(layer, whole));
    }
    if let Some(at) = explained.reported_at {
        lines.push(format!("  (as the host reported {})", words::ago(at, now())));
    }
    lines.join("\n")
}

fn layer_in_words(layer: &Layer, whole: bool) -> Vec<String> {
    let mark = if layer.holds { "holds" } else { "fine" };
    let mut lines = Vec::new();
    if whole || layer.holds {
        lines.push(format!("  {mark:5}  {} ({})", layer.sentence, layer.code));
    }
    if let (true, Some(lift)) = (layer.holds, &layer.lift) {
        lines.push(format!("         {}: {}", lifter(lift.who), lift.how));
    }
    lines
}

fn lifter(who: Lifter) -> &'static str {
    match who {
        Lifter::Operator => "an operator can",
        Lifter::HostOwner => "on the host",
        Lifter::Keyholders => "the release keys' holders can",
        Lifter::Publisher => "the publisher can",
        Lifter::Time => "time does",
    }
}

/// What an agent could be updated to.
pub(super) fn updates(api: &Api, agent: &str, desk: &Desk<'_>) -> Result<(), ControlError> {
    let agent = agents::find(api, agent)?.agent;
    let path = routes::of_agent(agent.id, "updates/available");
    let available: UpdatesAvailable = api.get("ask for updates", &path)?;
    desk.out.result(&available, |available| {
        let mut rows =
            vec![["COMPONENT", "CURRENT", "NEWEST", "WAY", ""].map(str::to_owned).to_vec()];
        rows.extend(available.components.iter().map(update_row));
        let mut lines = vec![table(&rows)];
        for one in &available.components {
            lines.extend(one.blocked.iter().map(|blocked| {
                let (version, why) = (&blocked.version, &blocked.sentence);
                format!("{} {version}: {why} ({})", one.component, blocked.code)
            }));
        }
        lines.join("\n")
    });
    Ok(())
}

fn update_row(component: &ComponentUpdates) -> Vec<String> {
    let path: Vec<_> = component.path.iter().map(ToString::to_string).collect();
    let version = |version: &Option<handover_model::Version>| {
        version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    vec![
        component.component.to_string(),
        version(&component.current),
        version(&component.newest),
        if path.len() > 1 { path.join(" → ") } else { String::new() },
        component.sentence.clone(),
    ]
}

/// What happened to an agent.
pub(super) fn timeline(
    api: &Api,
    agent: &str,
    most: usize,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let agent = agents::find(api, agent)?.agent;
    let path = routes::of_agent(agent.id, "timeline");
    let mut events: Vec<EventInfo> = api.list("list what happened", &path, Some(most))?;
    events.sort_by_key(|event| event.seq);
    desk.out.result(&events, |events| {
        let mut rows = vec![["WHEN", "WHAT", "", ""].map(str::to_owned).to_vec()];
        rows.extend(events.iter().map(|event| {
            vec![
                watch::clock_time(event.at),
                event.kind.clone(),
                event.order.map_or_else(String::new, |order| order.to_string()),
                watch::particulars(&event.data),
            ]
        }));
        table(&rows)
    });
    Ok(())
}

/// Which versions run where.
pub(super) fn inventory(
    component: Option<&ComponentName>,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let (_, api) = desk.open()?;
    let mut inventory: Inventory = api.get("count versions", routes::INVENTORY)?;
    if let Some(wanted) = component {
        inventory.components.retain(|one| one.component == *wanted);
        if inventory.components.is_empty() {
            return Err(ControlError::Unknown {
                what: "component",
                name: wanted.to_string(),
                nearest: Vec::new(),
            });
        }
    }
    desk.out.result(&inventory, |inventory| {
        let head = ["COMPONENT", "VERSION", "AGENTS", "PROVED", "ON TRIAL", "QUARANTINED"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for component in &inventory.components {
            rows.extend(component.versions.iter().map(|one| {
                vec![
                    component.component.to_string(),
                    one.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                    one.agents.to_string(),
                    one.proved.to_string(),
                    one.on_trial.to_string(),
                    one.quarantined.to_string(),
                ]
            }));
        }
        let silent = match inventory.unreported {
            0 => String::new(),
            count => format!(", {count} of which never reported"),
        };
        format!("{}\n\n{} agents{silent}", table(&rows), inventory.agents)
    });
    Ok(())
}
