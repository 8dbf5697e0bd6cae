//! Sends what waits for webhooks: one replica at a time, one delivery of a webhook at a time, all
//! webhooks beside each other, so that one that hangs is in nobody's way.
//!
//! Invariant: a delivery is over only once that is written. A server that is killed between the
//! receiver's answer and that sends it again, with the same id.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use handover_model::Timestamp;
use handover_store::webhooks::{self, Due, Webhook, WebhookKey};
use handover_store::{Lease, StoreError};
use http::{Method, StatusCode, header};
use tokio::task::{Id, JoinSet};

use super::{Post, note};
use crate::real_world::random;
use crate::webhooks::{Attempt, Came, Destination, HEADER, Outgoing, came_to, sign};
use crate::{AppState, Chain};

/// The longest time between two looks.
const RHYTHM: Duration = Duration::from_secs(1);
/// Deliveries of one webhook that are sent before others are looked at again.
const BATCH: u32 = 20;
/// How much of an error is kept, in characters.
const ERROR: usize = 300;

/// What is under way, and what waits.
#[derive(Default)]
struct Desk {
    senders: JoinSet<Option<Timestamp>>,
    /// Whose sender is which.
    under_way: HashMap<Id, WebhookKey>,
    /// Until when webhooks wait whose receiver is not well.
    held: BTreeMap<WebhookKey, Timestamp>,
}

/// One webhook's deliveries, for its sender.
struct Bundle {
    lease: Lease,
    webhook: Webhook,
    key: WebhookKey,
    due: Vec<Due>,
}

/// Sends until the server stops.
pub(super) async fn run(state: AppState) {
    let mut post = Post::new("webhooks");
    let mut desk = Desk::default();
    let mut events = state.events.subscribe();
    loop {
        if let Some(Some(lease)) = note("webhooks", post.hold(&state).await) {
            note("webhooks", desk.turn(&state, &lease).await);
        }
        tokio::select! {
            () = state.stop.cancelled() => break,
            () = tokio::time::sleep(RHYTHM) => {}
            // The sender that ends with this server's state is this task itself.
            _seen = events.changed() => {}
            Some(ended) = desk.senders.join_next_with_id() => desk.settle(ended),
        }
    }
    // What is under way is cut off here, and sent again by whoever comes next.
    drop(desk);
    post.leave(&state).await;
}

impl Desk {
    /// Gives every webhook that has something due, and nothing under way, a sender.
    async fn turn(&mut self, state: &AppState, lease: &Lease) -> Result<(), StoreError> {
        let now = state.now().wall;
        self.held.retain(|_webhook, until| *until > now);
        let busy: Vec<WebhookKey> =
            self.under_way.values().chain(self.held.keys()).copied().collect();
        let found = state.store.read(move |tx| -> Result<Vec<_>, StoreError> {
            if webhooks::next_due(tx)?.is_none_or(|due| due > now) {
                return Ok(Vec::new());
            }
            let mut found = Vec::new();
            for (key, webhook) in webhooks::living(tx)? {
                if !busy.contains(&key) {
                    found.push((key, webhook, webhooks::due(tx, key, now, BATCH)?));
                }
            }
            Ok(found)
        });
        for (key, webhook, due) in found.await? {
            if due.is_empty() {
                continue;
            }
            let bundle = Bundle { lease: lease.clone(), webhook, key, due };
            let sender = self.senders.spawn(send_all(state.clone(), bundle));
            self.under_way.insert(sender.id(), key);
        }
        Ok(())
    }

    fn settle(&mut self, ended: Result<(Id, Option<Timestamp>), tokio::task::JoinError>) {
        let (id, held) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "a sender of deliveries failed");
                (error.id(), None)
            }
        };
        if let Some(key) = self.under_way.remove(&id)
            && let Some(until) = held
        {
            self.held.insert(key, until);
        }
    }
}

/// Sends a webhook's deliveries, one after the other; until when the rest waits.
async fn send_all(state: AppState, bundle: Bundle) -> Option<Timestamp> {
    for due in &bundle.due {
        let came = send(&state, &bundle.webhook, due).await;
        let now = state.now().wall;
        let dice = random::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let attempt = Attempt { event_at: due.at, number: due.attempts + 1, now, dice };
        let (attempted, held) = came_to(attempt, came);
        let (lease, due, key) = (bundle.lease.clone(), due.clone(), bundle.key);
        let written = state.store.write(move |tx| -> Result<u64, StoreError> {
            tx.check_fence(&lease)?;
            webhooks::attempted(tx, &due, &attempted, now)?;
            webhooks::prune(tx, key)
        });
        match note("webhooks", written.await) {
            // Whoever has the lease now goes on from what is written.
            None => return None,
            Some(0) => {}
            Some(lost) => {
                let webhook = bundle.webhook.id;
                tracing::warn!(webhook.id = %webhook, lost, "too many deliveries wait; the oldest were dropped");
            }
        }
        if held.is_some() {
            return held;
        }
    }
    None
}

/// One attempt.
async fn send(state: &AppState, webhook: &Webhook, due: &Due) -> Came {
    // Addresses are checked when a webhook is made; this one is of another program.
    let to: Destination = match webhook.url.parse() {
        Ok(to) => to,
        Err(error) => return Came::Declined(format!("the address can't be called: {error}")),
    };
    let secret = state.webhook_key.of_webhook(webhook.id);
    let signature = sign(&secret, due.body.as_bytes(), state.now().wall);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        (HEADER, signature),
        ("handover-delivery", due.id.to_string()),
        ("handover-event", due.kind.clone()),
    ];
    let body = Bytes::from(due.body.clone());
    let called = state.outbound.call(Outgoing { method: Method::POST, to, headers, body }).await;
    let came = match called {
        Ok(answer) => judge(answer.status, answer.headers.get(header::RETRY_AFTER)),
        Err(error) => Came::Unwell(cut(&Chain(&error).to_string()), None),
    };
    match &came {
        Came::Taken => tracing::debug!(delivery.id = %due.id, "delivered"),
        Came::Declined(error) | Came::Unwell(error, _) => {
            tracing::info!(delivery.id = %due.id, webhook.id = %webhook.id, error, "not delivered");
        }
    }
    came
}

/// What a status says of the delivery and of the receiver.
fn judge(status: StatusCode, retry_after: Option<&http::HeaderValue>) -> Came {
    if status.is_success() {
        return Came::Taken;
    }
    let words = format!("status {}", status.as_u16());
    if status.is_redirection() {
        return Came::Declined(format!(
            "{words}: redirections are not followed; change the address"
        ));
    }
    let is_passing = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if status.is_client_error() && !is_passing {
        return Came::Declined(words);
    }
    let seconds = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Came::Unwell(words, seconds.map(Duration::from_secs))
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(ERROR).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_a_delivery_that_is_not_wanted_from_a_receiver_that_is_not_well() {
        let judged = |status: u16| judge(StatusCode::from_u16(status).unwrap(), None);
        for good in [200, 202, 204] {
            assert_eq!(judged(good), Came::Taken);
        }
        for declined in [301, 307, 400, 401, 404, 410, 422] {
            assert!(matches!(judged(declined), Came::Declined(_)), "{declined}");
        }
        for unwell in [408, 429, 500, 502, 503] {
            assert!(matches!(judged(unwell), Came::Unwell(_, None)), "{unwell}");
        }
        let later = http::HeaderValue::from_static("90");
        let judged = judge(StatusCode::SERVICE_UNAVAILABLE, Some(&later));
        assert_eq!(judged, Came::Unwell("status 503".to_owned(), Some(Duration::from_secs(90))));
    }
}
