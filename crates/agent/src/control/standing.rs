//! How this host stands with its control plane, for people: `control/standing.json`. Decides
//! nothing; a damaged one is none.

use handover_model::wire::Notice;
use handover_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use super::identity::ControlFiles;
use crate::agent::Agent;

const FORMAT: u32 = 1;
const KIND: &str = "standing";
/// How many refused messages are shown.
const REFUSALS: usize = 10;
/// How many notices are shown.
const NOTICES: usize = 10;

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Since when every exchange went well; absent while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_since: Option<Timestamp>,
    /// When the control plane last answered, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// Why it is silent, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<Silence>,
    /// What it wants people here to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// What came from it and was not believed, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// How far its clock is from this host's, where that is hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_off: Option<Millis>,
    /// Why no order begins at present, if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
}

/// A control plane that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Since when.
    pub since: Timestamp,
    /// How often it was tried since.
    pub attempts: u32,
    /// A name for programs.
    pub code: String,
    /// Why, for people.
    pub reason: String,
    /// When it is tried next.
    pub next: Timestamp,
}

/// Something that was not believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// What: `order`, `cancel`, `order keys`, `channel CA`.
    pub what: String,
    /// A name for programs.
    pub code: String,
    /// Why, for people.
    pub reason: String,
}

impl Standing {
    /// What is known; nothing where nothing was kept.
    pub fn load(agent: &Agent) -> Self {
        ControlFiles::of(&agent.home)
            .load("standing.json", KIND, FORMAT)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// Keeps it. What can't be kept is logged.
    pub fn keep(&self, files: &ControlFiles) {
        if let Err(error) = files.save("standing.json", KIND, FORMAT, self) {
            tracing::warn!(%error, "how this host stands with its control plane was not kept");
        }
    }

    /// Whether the control plane says that it knows this host no more: then the host may enrol
    /// with a new token, as the agent that it was.
    pub fn is_forgotten(&self) -> bool {
        let codes = ["unauthenticated", "agent.retired", "agent-retired"];
        self.silent.as_ref().is_some_and(|silence| codes.contains(&silence.code.as_str()))
    }

    /// Notes something that was not believed; the same again replaces itself.
    pub fn refuse(&mut self, refusal: Refusal) {
        let same = |old: &Refusal| {
            (&old.what, &old.code, &old.reason) == (&refusal.what, &refusal.code, &refusal.reason)
        };
        self.refused.retain(|old| !same(old));
        self.refused.push(refusal);
        let surplus = self.refused.len().saturating_sub(REFUSALS);
        self.refused.drain(..surplus);
    }

    /// Shows what the control plane says now, made safe to print.
    pub fn show(&mut self, notices: &[Notice]) {
        self.notices = notices
            .iter()
            .take(NOTICES)
            .map(|notice| Notice {
                code: crate::voice::plain(&notice.code, 60),
                text: crate::voice::plain(&notice.text, 300),
            })
            .collect();
    }
}
