//! The event stream: server-sent events, resumed by number.
//!
//! Every event's id is its number; whoever comes back with `Last-Event-ID` gets what came after
//! it, from the database, so that nothing is lost between two connections. The stream ends with
//! the token that it was opened with.

use std::io;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use handover_model::api::{EventInfo, TokenState};
use handover_model::{AgentId, OrderId, TokenId};
use handover_store::api_tokens;
use handover_store::events::{self, Filter};
use http::header;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::call::{AgentRef, Call, bad_query};
use super::piped::piped;
use super::rollouts::RolloutRef;
use crate::problem::Code;
use crate::{AppState, Problem};

/// How often a silent stream says that it is there, and looks whether its token still counts.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events that are read at once.
const PAGE: u32 = 200;

/// What a stream shows.
struct Stream {
    state: AppState,
    token: TokenId,
    filter: Filter,
    kinds: Vec<String>,
    after: u64,
    out: mpsc::Sender<io::Result<Bytes>>,
}

/// `GET /events`.
pub(super) async fn stream(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let agent = query.one("agent")?.map(|text| AgentRef::parse(&text)).transpose()?;
    let order: Option<OrderId> = query.parsed("order")?;
    let rollout = query.one("rollout")?.map(|text| RolloutRef::parse(&text)).transpose()?;
    let kinds = query.many("kind");
    let after: Option<u64> = query.parsed("after")?;
    query.done()?;
    if kinds.len() > 20 || kinds.iter().any(|kind| kind.is_empty() || kind.len() > 60) {
        return Err(bad_query("kind", "give up to 20 kinds, such as `order.done` or `order.`"));
    }
    let after = last_event_id(&call)?.or(after);
    let (filter, newest) = call
        .state
        .store
        .read(move |tx| -> Result<_, Problem> {
            let agent: Option<AgentId> =
                agent.as_ref().map(|agent| agent.find(tx)).transpose()?.map(|agent| agent.id);
            let rollout = rollout.as_ref().map(|rollout| rollout.find(tx)).transpose()?;
            let filter = match (order, rollout, agent) {
                (Some(order), _, _) => Filter::Order(order),
                (None, Some(rollout), _) => Filter::Rollout(rollout.id),
                (None, None, Some(agent)) => Filter::Agent(agent),
                (None, None, None) => Filter::All,
            };
            Ok((filter, events::range(tx)?))
        })
        .await?;
    let (oldest, newest) = newest.unwrap_or((1, 0));
    check_kept(after, oldest, newest)?;
    let (out, body) = piped(16);
    let stream = Stream {
        token: call.principal.token,
        filter,
        kinds,
        after: after.unwrap_or(newest),
        out,
        state: call.state.clone(),
    };
    call.state.tasks.spawn(stream.run());
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

fn last_event_id(call: &Call) -> Result<Option<u64>, Problem> {
    let Some(value) = call.headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        Problem::new(Code::Malformed, "Last-Event-ID is the number of the last event that came")
            .field("header.last-event-id", "it is no number")
    })
}

/// A reader who was away for so long that events were forgotten has to hear of that.
fn check_kept(after: Option<u64>, oldest: u64, newest: u64) -> Result<(), Problem> {
    match after {
        Some(after) if after.saturating_add(1) < oldest => Err(Problem::new(
            Code::EventsGone,
            format!(
                "events up to {} are not kept any more: look at everything anew, then follow from \
                 {newest}",
                oldest.saturating_sub(1)
            ),
        )),
        Some(after) if after > newest => Err(Problem::new(
            Code::EventsGone,
            format!(
                "there is no event {after} yet: this is another database, or an older one; follow \
                 from {newest}"
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

impl Stream {
    async fn run(mut self) {
        let mut numbers = self.state.events.subscribe();
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Tells proxies and clients that the stream is open, before anything happens.
        if self.say(": open\nretry: 2000\n\n".to_owned()).await.is_none() {
            return;
        }
        loop {
            numbers.mark_unchanged();
            if self.catch_up().await.is_none() {
                return;
            }
            tokio::select! {
                () = self.state.stop.cancelled() => return,
                () = self.out.closed() => return,
                changed = numbers.changed() => {
                    // A revocation is an event too, so that it ends the stream at once.
                    if changed.is_err() || !self.goes_on().await {
                        return;
                    }
                }
                _tick = heartbeat.tick() => {
                    if !self.goes_on().await || self.say(": \n\n".to_owned()).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the token still counts; its end is said.
    async fn goes_on(&self) -> bool {
        if self.still_counts().await {
            return true;
        }
        self.say("event: end\ndata: {\"code\":\"token.ended\"}\n\n".to_owned()).await;
        false
    }

    /// Sends everything that came since; `None` when there is nobody to send it to.
    async fn catch_up(&mut self) -> Option<()> {
        loop {
            let (filter, after) = (self.filter.clone(), self.after.to_string());
            let read = self.state.store.read(move |tx| -> Result<_, Problem> {
                Ok((events::list(tx, &filter, Some(&after), PAGE)?, events::range(tx)?))
            });
            let Ok((page, range)) = read.await else {
                // The reader comes back with the last number that it has.
                return None;
            };
            for event in &page.items {
                self.after = event.seq;
                if self.is_wanted(event) {
                    self.say(in_words(event)?).await?;
                }
            }
            if page.next.is_none() {
                // Whatever the filter left out was seen too.
                self.after = self.after.max(range.map_or(0, |(_, newest)| newest));
                return Some(());
            }
        }
    }

    fn is_wanted(&self, event: &EventInfo) -> bool {
        self.kinds.is_empty()
            || self.kinds.iter().any(|kind| match kind.strip_suffix('.') {
                Some(_) => event.kind.starts_with(kind.as_str()),
                None => event.kind == *kind,
            })
    }

    async fn say(&self, text: String) -> Option<()> {
        self.out.send(Ok(Bytes::from(text))).await.ok()
    }

    async fn still_counts(&self) -> bool {
        let (token, now) = (self.token, self.state.now().wall);
        let found = self.state.store.read(move |tx| api_tokens::get(tx, token, now)).await;
        match found {
            Ok(found) => found.is_some_and(|info| info.state == TokenState::Open),
            // A database that is away is no reason to send everybody away.
            Err(_) => true,
        }
    }
}

fn in_words(event: &EventInfo) -> Option<String> {
    let data = serde_json::to_string(event).ok()?;
    Some(format!("id: {}\nevent: {}\ndata: {data}\n\n", event.seq, event.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_missed_forgotten_events_is_told_so_and_not_resumed() {
        assert!(check_kept(None, 100, 200).is_ok());
        assert!(check_kept(Some(99), 100, 200).is_ok());
        assert!(check_kept(Some(98), 100, 200).is_err());
        assert!(check_kept(Some(200), 100, 200).is_ok());
        assert!(check_kept(Some(201), 100, 200).is_err());
        assert!(check_kept(Some(0), 1, 0).is_ok());
    }
}
