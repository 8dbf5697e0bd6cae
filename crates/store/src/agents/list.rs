//! Lists of agents: every filter walks an index in the order of names, so that a page costs what
//! it shows and not what there is.

use handover_model::api::{AgentState, Page};
use handover_model::{ComponentName, Version};

use super::{Agent, COLUMNS, read, state_name};
use crate::page::{name_and_key, page, rows_for};
use crate::{StoreError, Tx, Value};

/// Which agents. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Retired ones too; left out otherwise, unless `state` asks for them.
    pub with_retired: bool,
    /// How it stands.
    pub state: Option<AgentState>,
    /// Labels with their values; the first should be the rarest.
    pub labels: Vec<(String, String)>,
    /// A component that it has, and in which version.
    pub component: Option<(ComponentName, Option<Version>)>,
    /// How its name begins.
    pub name_prefix: Option<String>,
}

/// Conditions with their parameters.
#[derive(Default)]
struct Where<'a> {
    text: String,
    values: Vec<Value<'a>>,
}

impl<'a> Where<'a> {
    /// Adds a condition; each `?` in it stands for one of `values`.
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value<'a>>) {
        let mut values = values.into_iter();
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        for letter in condition.chars() {
            if letter == '?' {
                self.values.extend(values.next());
                self.text.push('$');
                self.text.push_str(&self.values.len().to_string());
            } else {
                self.text.push(letter);
            }
        }
    }
}

/// A page of agents in the order of their names, after a place.
///
/// # Errors
/// [`StoreError::Cursor`] for a place that is none.
pub fn list(
    tx: &mut Tx<'_>,
    filter: &Filter,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<Agent>, StoreError> {
    let (after_name, after_key) = name_and_key(after)?;
    let mut conditions = Where::default();
    let mut labels = filter.labels.iter();
    // The table whose index is walked, and what it calls name and key.
    let (tables, name, key) = if let Some((label, value)) = labels.next() {
        let values = [label.as_str().into(), value.as_str().into()];
        conditions.and("w.label = ? AND w.value = ? AND a.key = w.agent", values);
        ("agent_labels w CROSS JOIN agents a", "w.name", "w.agent")
    } else if let Some((component, Some(version))) = &filter.component {
        let values = [component.as_str().into(), version.to_string().into()];
        conditions.and("w.component = ? AND w.version = ? AND a.key = w.agent", values);
        ("agent_components w CROSS JOIN agents a", "w.name", "w.agent")
    } else {
        ("agents a", "a.name", "a.key")
    };
    for (label, value) in labels {
        conditions.and(
            "EXISTS (SELECT 1 FROM agent_labels l WHERE l.agent = a.key AND l.label = ? \
             AND l.value = ?)",
            [label.as_str().into(), value.as_str().into()],
        );
    }
    if let Some((component, version)) = &filter.component {
        and_component(&mut conditions, component, version.as_ref());
    }
    match filter.state {
        Some(state) => conditions.and("a.state = ?", [state_name(state).into()]),
        None if !filter.with_retired => conditions.and("a.retired_at IS NULL", []),
        None => {}
    }
    if let Some(prefix) = &filter.name_prefix {
        // Names hold no byte above `z`, so this is where the prefix ends.
        let end = format!("{prefix}~");
        let condition = format!("{name} >= ? AND {name} < ?");
        conditions.and(&condition, [prefix.as_str().into(), end.into()]);
    }
    conditions.and(&format!("({name}, {key}) > (?, ?)"), [after_name.into(), after_key.into()]);
    conditions.values.push(rows_for(limit).into());
    let sql = format!(
        "SELECT {COLUMNS} FROM {tables}{} ORDER BY {name}, {key} LIMIT ${}",
        conditions.text,
        conditions.values.len()
    );
    let rows = tx.query(&sql, &conditions.values)?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(page(items, limit, place))
}

/// Agents that are looked at in one go.
const AT_ONCE: u32 = 1000;
/// How many times that is done for a page.
const GOES: usize = 5;

/// A page of those agents that also fit what no index knows. It looks at 5,000 agents at most, so
/// a page may have fewer than `limit`, or none, and still be followed by another.
///
/// # Errors
/// As [`list`].
pub fn list_fitting(
    tx: &mut Tx<'_>,
    filter: &Filter,
    after: Option<&str>,
    limit: u32,
    fits: impl Fn(&Agent) -> bool,
) -> Result<Page<Agent>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut items = Vec::new();
    let mut after = after.map(str::to_owned);
    for _ in 0..GOES {
        let found = list(tx, filter, after.as_deref(), AT_ONCE)?;
        for agent in found.items.into_iter().filter(&fits) {
            let place = place(&agent);
            items.push(agent);
            if items.len() >= limit {
                return Ok(Page { items, next: Some(place) });
            }
        }
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Page { items, next: after })
}

/// An agent's place in lists.
fn place(agent: &Agent) -> String {
    format!("{}/{}", agent.name, agent.key.0)
}

fn and_component<'a>(
    conditions: &mut Where<'a>,
    component: &'a ComponentName,
    version: Option<&Version>,
) {
    match version {
        None => conditions.and(
            "EXISTS (SELECT 1 FROM agent_components c WHERE c.agent = a.key AND c.component = ?)",
            [component.as_str().into()],
        ),
        Some(version) => conditions.and(
            "EXISTS (SELECT 1 FROM agent_components c WHERE c.agent = a.key AND c.component = ? \
             AND c.version = ?)",
            [component.as_str().into(), version.to_string().into()],
        ),
    }
}
