//! Webhooks: made, listed, removed. A webhook's secret follows from its id and the server's key,
//! and is shown once.

use axum::response::Response;
use handover_model::WebhookId;
use handover_model::api::{Page, WebhookCreated, WebhookInfo, WebhookRequest};
use handover_store::webhooks::{self, KINDS, MOST, Webhook};
use handover_store::{Tx, audit};
use http::StatusCode;
use serde_json::{Value, json};

use super::body::Body;
use super::call::{Call, Segments, bad_field, check_words, path_part};
use super::{answer, once};
use crate::Problem;
use crate::problem::Code;
use crate::webhooks::Destination;

/// The most kinds that one webhook may name.
const MOST_KINDS: usize = 32;

/// `GET /webhooks`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    call.query().done()?;
    let items = call.state.store.read(|tx| -> Result<Vec<WebhookInfo>, Problem> {
        let living = webhooks::living(tx)?;
        living.into_iter().map(|(key, one)| Ok(webhooks::info(tx, key, one)?)).collect()
    });
    answer::json(&Page { items: items.await?, next: None })
}

/// `POST /webhooks`.
pub(super) async fn create(
    call: Call,
    Body { value: request, digest }: Body<WebhookRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    check(&request)?;
    let webhook = Webhook {
        id: call.state.mint(WebhookId::mint),
        url: request.url,
        kinds: request.kinds,
        note: request.note,
        by: call.principal.who(),
        created_at: call.now,
    };
    let done = once::act(&call, digest, StatusCode::CREATED, move |tx| {
        if !webhooks::insert(tx, &webhook)? {
            let detail =
                format!("there are {MOST} webhooks already, and no more can be: remove one");
            return Err(Problem::new(Code::Conflict, detail));
        }
        let after = json!({ "url": webhook.url, "kinds": webhook.kinds, "note": webhook.note });
        record(
            tx,
            "webhook.create",
            &webhook,
            (webhook.by.clone(), webhook.created_at),
            (None, Some(after)),
        )?;
        let (key, webhook) = webhooks::get(tx, webhook.id)?.ok_or_else(|| absent(webhook.id))?;
        Ok(webhooks::info(tx, key, webhook)?)
    })
    .await?;
    let webhook: WebhookInfo =
        serde_json::from_str(&done.body).map_err(|error| Problem::internal(&error))?;
    let secret = call.state.webhook_key.of_webhook(webhook.id).to_string();
    let created = WebhookCreated { webhook, secret };
    let body = serde_json::to_string(&created).map_err(|error| Problem::internal(&error))?;
    Ok(answer::text(done.status, body))
}

/// `GET /webhooks/{webhook}`.
pub(super) async fn show(
    call: Call,
    Segments([webhook]): Segments<1>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let id: WebhookId = path_part("webhook", &webhook)?;
    let found = call.state.store.read(move |tx| -> Result<WebhookInfo, Problem> {
        let (key, webhook) = webhooks::get(tx, id)?.ok_or_else(|| absent(id))?;
        Ok(webhooks::info(tx, key, webhook)?)
    });
    answer::json(&found.await?)
}

/// `DELETE /webhooks/{webhook}`. What waits for it is not sent any more.
pub(super) async fn remove(
    call: Call,
    Segments([webhook]): Segments<1>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let id: WebhookId = path_part("webhook", &webhook)?;
    let (who, now) = (call.principal.who(), call.now);
    let removed = call.state.store.write(move |tx| -> Result<WebhookInfo, Problem> {
        let (key, webhook) = webhooks::get(tx, id)?.ok_or_else(|| absent(id))?;
        let info = webhooks::info(tx, key, webhook.clone())?;
        webhooks::remove(tx, id, now)?;
        let before = json!({ "url": webhook.url, "kinds": webhook.kinds, "note": webhook.note });
        record(tx, "webhook.remove", &webhook, (who.clone(), now), (Some(before), None))?;
        Ok(info)
    });
    answer::json(&removed.await?)
}

fn check(request: &WebhookRequest) -> Result<(), Problem> {
    check_words("note", request.note.as_deref(), 200)?;
    request.url.parse::<Destination>().map_err(|error| bad_field("url", error))?;
    if request.kinds.len() > MOST_KINDS {
        return Err(bad_field("kinds", format!("it has more than {MOST_KINDS}")));
    }
    for (number, kind) in request.kinds.iter().enumerate() {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_');
        let is_told = KINDS.iter().any(|told| kind.starts_with(told));
        if !is_told || kind.len() > 60 || !kind.bytes().all(is_plain) {
            let why = "it is a kind such as rollout.halted, or rollout. or fleet. for all of those";
            return Err(bad_field(&format!("kinds[{number}]"), why));
        }
    }
    Ok(())
}

fn record(
    tx: &mut Tx<'_>,
    what: &'static str,
    webhook: &Webhook,
    (who, at): (String, handover_model::Timestamp),
    (before, after): (Option<Value>, Option<Value>),
) -> Result<(), Problem> {
    let subject = webhook.id.to_string();
    audit::insert(tx, &audit::NewAudit { at, who, what, subject, before, after })?;
    Ok(())
}

fn absent(id: WebhookId) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("there is no webhook {id}; `handover webhook list` has all"),
    )
}
