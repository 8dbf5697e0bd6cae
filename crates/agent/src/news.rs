//! What came of the last look at the repository: for `status` and `explain`, and decides nothing
//! but whether this host's clock can be believed.

use camino::Utf8PathBuf;
use handover_hoststeps::disk;
use handover_model::{Millis, Timestamp, open_framed, seal_framed};
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::failure::{Failure, chain};
use crate::repository::{Known, RepositoryError, code_of};

const FORMAT: u32 = 1;
const KIND: &str = "news";

/// `trust/news.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct News {
    /// When the repository was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Timestamp>,
    /// When that last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed_at: Option<Timestamp>,
    /// When what was accepted then expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Why the last look failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// How far this host's clock is from the server's, if that is too far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_off: Option<Millis>,
}

/// A look that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// A name for programs.
    pub code: String,
    /// Why, for people.
    pub reason: String,
}

fn path(agent: &Agent) -> Utf8PathBuf {
    agent.home.root().join("trust/news.json")
}

impl News {
    /// What is known; nothing where the repository was never looked at. A damaged file is no
    /// news either: it is only for people, and the next look replaces it.
    ///
    /// # Errors
    /// [`Failure::Host`] when the disk fails.
    pub fn load(agent: &Agent) -> Result<Self, Failure> {
        let read = disk::read(&path(agent))?;
        Ok(read.and_then(|bytes| open_framed(KIND, FORMAT, &bytes).ok()).unwrap_or_default())
    }

    /// Keeps what came of a look. What can't be kept is logged: it decides nothing.
    pub fn keep(
        agent: &Agent,
        outcome: &Result<Known, RepositoryError>,
        clock_off: Option<Millis>,
    ) {
        let now = agent.now().wall;
        let before = Self::load(agent).unwrap_or_default();
        let next = match outcome {
            Ok(known) => Self {
                looked_at: Some(now),
                refreshed_at: Some(now),
                expires: Some(known.refreshed.expires),
                refused: known.refused.iter().next().map(|(component, error)| Refused {
                    code: code_of(error),
                    reason: format!("{component}: {}", chain(error)),
                }),
                clock_off,
            },
            Err(error) => Self {
                looked_at: Some(now),
                refused: Some(Refused { code: error.code(), reason: chain(error) }),
                clock_off: clock_off.or(before.clock_off),
                ..before
            },
        };
        let saved =
            seal_framed(KIND, FORMAT, &next).map_err(|error| error.to_string()).and_then(|bytes| {
                disk::write(&path(agent), &bytes, 0o600).map_err(|error| error.to_string())
            });
        if let Err(error) = saved {
            tracing::warn!(error, "what came of the last look could not be kept");
        }
    }
}
