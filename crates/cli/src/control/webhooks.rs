//! `handover webhook`: who else is told what happens.

use handover_client::call::Method;
use handover_model::WebhookId;
use handover_model::api::{DeliveryInfo, Page, WebhookCreated, WebhookInfo, WebhookRequest};

use super::api::Api;
use super::{ControlError, Desk, routes, words};
use crate::output::{fields, table};
use crate::real_world::now;

/// What `webhook` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum WebhookCommand {
    /// Tell an address what happens. The key of the signatures is shown this once.
    #[command(after_help = "Example: handover webhook add https://example.com/hooks/handover \
                            --kind rollout.halted --kind rollout.needs_approval")]
    Add {
        /// Where to; https, or http on this machine.
        url: String,
        /// Of which kind of events; repeat it for several; all of rollouts unless said.
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// What it is for.
        #[arg(long)]
        note: Option<String>,
    },
    /// List webhooks, and what waits for delivery.
    List,
    /// Show one webhook and its newest deliveries.
    Show {
        /// The webhook's id.
        webhook: WebhookId,
    },
    /// Tell an address nothing more. What waits for it is dropped.
    Remove {
        /// The webhook's id.
        webhook: WebhookId,
    },
}

/// Runs one.
pub(super) fn run(command: WebhookCommand, desk: &Desk<'_>) -> Result<(), ControlError> {
    let (_, api) = desk.open()?;
    match command {
        WebhookCommand::Add { url, kinds, note } => {
            let request = WebhookRequest { url, kinds, note };
            let made: WebhookCreated = api.post("make a webhook", routes::WEBHOOKS, &request)?;
            desk.out.result(&made, |made| {
                fields(&[
                    ("webhook", made.webhook.id.to_string()),
                    ("address", made.webhook.url.clone()),
                    ("secret", made.secret.clone()),
                ])
            });
            desk.out.say("the secret is not shown again");
        }
        WebhookCommand::List => {
            let webhooks = all(&api)?;
            desk.out.result(&webhooks, |webhooks| table(&rows(webhooks)));
        }
        WebhookCommand::Show { webhook } => {
            let found = all(&api)?.into_iter().find(|one| one.id == webhook);
            let found = found.ok_or_else(|| ControlError::Unknown {
                what: "webhook",
                name: webhook.to_string(),
                nearest: Vec::new(),
            })?;
            desk.out.result(&found, describe);
        }
        WebhookCommand::Remove { webhook } => {
            let path = routes::one(routes::WEBHOOKS, webhook);
            let gone: serde_json::Value =
                api.change("remove it", (Method::Delete, &path), None::<&()>, None)?;
            desk.out.result(&gone, |_| format!("{webhook} is removed"));
        }
    }
    Ok(())
}

/// All of them; there are never so many that they would not fit one page.
fn all(api: &Api) -> Result<Vec<WebhookInfo>, ControlError> {
    let page: Page<WebhookInfo> = api.get("list webhooks", routes::WEBHOOKS)?;
    Ok(page.items)
}

fn kinds(webhook: &WebhookInfo) -> String {
    if webhook.kinds.is_empty() { "rollout.*".to_owned() } else { webhook.kinds.join(", ") }
}

fn rows(webhooks: &[WebhookInfo]) -> Vec<Vec<String>> {
    let head = ["WEBHOOK", "ADDRESS", "KINDS", "WAITING", "LAST", "NOTE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(webhooks.iter().map(|webhook| {
        vec![
            webhook.id.to_string(),
            webhook.url.clone(),
            kinds(webhook),
            webhook.waiting.to_string(),
            webhook.deliveries.first().map_or_else(String::new, outcome),
            webhook.note.clone().unwrap_or_default(),
        ]
    }));
    rows
}

fn outcome(delivery: &DeliveryInfo) -> String {
    match (delivery.delivered_at, delivery.next_at, &delivery.error) {
        (Some(at), _, _) => format!("taken {}", words::ago(at, now())),
        (None, Some(next), Some(error)) => format!("{error}; again {}", words::until(next, now())),
        (None, Some(next), None) => format!("sent {}", words::until(next, now())),
        (None, None, error) => {
            format!("given up: {}", error.as_deref().unwrap_or("nobody took it"))
        }
    }
}

fn describe(webhook: &WebhookInfo) -> String {
    let mut pairs = vec![
        ("webhook", webhook.id.to_string()),
        ("address", webhook.url.clone()),
        ("kinds", kinds(webhook)),
        ("note", webhook.note.clone().unwrap_or_default()),
        ("made", format!("{} by {}", words::ago(webhook.created_at, now()), webhook.by)),
        ("waiting", webhook.waiting.to_string()),
    ];
    pairs.retain(|(_, value)| !value.is_empty());
    let mut rows = vec![["DELIVERY", "KIND", "AT", "TRIED", ""].map(str::to_owned).to_vec()];
    rows.extend(webhook.deliveries.iter().map(|delivery| {
        vec![
            delivery.id.to_string(),
            delivery.kind.clone(),
            words::ago(delivery.at, now()),
            delivery.attempts.to_string(),
            outcome(delivery),
        ]
    }));
    format!("{}\n\n{}", fields(&pairs), table(&rows))
}
