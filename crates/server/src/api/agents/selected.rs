//! Agents that a selection means, page by page: no index knows selections, so agents are looked
//! at in the order of their names, a bounded number for each page.

use std::collections::BTreeMap;

use handover_engine::selection::{Resolved, Selection, Subject};
use handover_model::Timestamp;
use handover_model::api::Page;
use handover_store::agents::{self, Agent, Filter};
use handover_store::{Tx, groups};

use super::super::call::listed;
use crate::Problem;
use crate::problem::Code;

/// A page of agents that fit the filter and the selection's text, after a place.
pub(super) fn list(
    tx: &mut Tx<'_>,
    text: &str,
    filter: &Filter,
    (after, limit): (Option<&str>, u32),
    now: Timestamp,
) -> Result<Page<Agent>, Problem> {
    let selection = resolved(tx, text)?;
    let with_retired = filter.with_retired || selection.names_retired();
    let filter = Filter { with_retired, ..filter.clone() };
    agents::list_fitting(tx, &filter, after, limit, |agent| {
        selection.matches(&Subject {
            id: agent.id,
            name: &agent.name,
            state: agent.state,
            platform: &agent.platform,
            agent_version: &agent.agent_version,
            labels: &agent.labels,
            facts: &agent.facts,
            components: &agent.components,
            last_seen: agent.last_seen,
            now,
        })
    })
    .map_err(listed)
}

fn resolved(tx: &mut Tx<'_>, text: &str) -> Result<Resolved, Problem> {
    let malformed = |error: String| {
        Problem::new(Code::SelectionMalformed, error.clone()).field("query.select", error)
    };
    let selection = Selection::parse(text).map_err(|error| malformed(error.to_string()))?;
    let mut known = BTreeMap::new();
    if !selection.groups().is_empty() {
        for group in groups::all(tx)? {
            // One that a newer program saved, and that this one can't read, is not there.
            if let Ok(selection) = Selection::parse(&group.select) {
                known.insert(group.name, selection);
            }
        }
    }
    selection.resolve(|name| known.get(name)).map_err(|error| {
        Problem::new(Code::SelectionUnknown, error.to_string())
            .field("query.select", error.to_string())
    })
}
