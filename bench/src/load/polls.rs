//! Long polls, each on a connection of its own, held until standard input ends.

use std::time::Duration;

use anyhow::{Context, ensure};
use handover_model::wire::{LONGEST_WAIT, SyncAnswer};
use handover_model::{Digest, Millis};
use handover_trust::control::state_digest;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::{Connector, Outcome, say};
use crate::fleet::{self, CheckIn};
use crate::real_world::wall;

/// What the holder says while it holds, one line each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// All polls were sent, or all connections made.
    Holding,
    /// An agent got an order, at that time in microseconds since 1970.
    Handed {
        /// The agent.
        agent: u32,
        /// When.
        at: i64,
    },
}

/// What an idle connection has asked once.
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Holds them. An agent that got an order asks no more: what it was told would come again until
/// it reported on it.
pub(super) async fn run(connector: Connector, agents: u32, asks: bool) -> anyhow::Result<Outcome> {
    let state = state_digest(&fleet::state()?)?;
    let mut polls = JoinSet::new();
    let mut idle = Vec::new();
    for agent in 0..agents {
        let mut connection = connector.connect().await?;
        let answer = connection.exchange(HEALTH).await?;
        ensure!(answer.status == 200, "/healthz answers with {}", answer.status);
        if asks {
            polls.spawn(poll(connection, agent, state));
        } else {
            idle.push(connection);
        }
    }
    // Time for the last request to arrive; all others are there already.
    tokio::time::sleep(Duration::from_secs(2)).await;
    say(&Said::Holding)?;
    let mut input = tokio::io::stdin();
    let mut rest = Vec::new();
    let mut ended = std::pin::pin!(input.read_to_end(&mut rest));
    let mut done = 0;
    loop {
        tokio::select! {
            _input = &mut ended => break,
            Some(poll) = polls.join_next() => {
                let agent = poll.context("a poll died")??;
                say(&Said::Handed { agent: agent.0, at: agent.1 })?;
                done += 1;
            }
        }
    }
    Ok(Outcome { done, ..Outcome::default() })
}

/// Asks until an order comes.
async fn poll(mut connection: Connection, agent: u32, state: Digest) -> anyhow::Result<(u32, i64)> {
    let mut check_in = CheckIn::of(agent, state, Millis(LONGEST_WAIT))?;
    loop {
        let answer = connection.exchange(check_in.next()).await?;
        let at = wall().as_micros();
        let body = connection.body(&answer);
        ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(body));
        let said: SyncAnswer = serde_json::from_slice(body)?;
        if !said.orders.is_empty() {
            return Ok((agent, at));
        }
    }
}
