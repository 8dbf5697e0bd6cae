//! `explain`: why a component does not move, or where it moves, from what this host knows.

use handover_engine::choose::Choice;
use handover_model::ComponentName;
use serde::Serialize;

use super::control::{OrderSeen, order_words, orders_of};
use super::print::{Printer, field};
use super::status::{ComponentStatus, component_words, look_at, news_words};
use crate::agent::Agent;
use crate::asked::unknown_component;
use crate::attempts::{Attempts, Turn};
use crate::failure::{Exit, Failure, chain};
use crate::news::News;
use crate::outlook::{Ahead, Outlook};
use crate::repository::{Known, Source, code_of, refresh};
use crate::voice::plain;

#[derive(Serialize)]
struct Explained {
    component: ComponentStatus,
    news: News,
    /// `up-to-date`, `update`, `hold` or `unknown`.
    choice: &'static str,
    code: String,
    reason: String,
    notes: Vec<String>,
    offers: Vec<OfferSeen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<AttemptsSeen>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    orders: Vec<OrderSeen>,
}

#[derive(Serialize)]
struct OfferSeen {
    version: String,
    channel: String,
    platform: String,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
}

#[derive(Serialize)]
struct AttemptsSeen {
    version: String,
    count: u32,
    reason: String,
    next: String,
}

/// `explain NAME`.
pub(super) fn explain(
    agent: &Agent,
    printer: Printer,
    name: &ComponentName,
) -> Result<Exit, Failure> {
    let policy = agent.policy()?;
    if policy.components.iter().all(|component| component.name != *name) {
        return Err(unknown_component(&policy, name));
    }
    let names: Vec<_> = policy.components.iter().map(|component| component.name.clone()).collect();
    let known = refresh(&agent.home.trust(), &Source::Memory, &names, &agent.stop, &agent.clock);
    let news = News::load(agent)?;
    let mut explained = Explained {
        component: look_at(agent, name),
        choice: "unknown",
        code: String::new(),
        reason: String::new(),
        notes: Vec::new(),
        offers: Vec::new(),
        attempts: attempts_seen(agent, name)?,
        orders: orders_of(agent, name),
        news,
    };
    match known {
        Ok(Known { refused, .. }) if refused.contains_key(name) => {
            explained.code = code_of(&refused[name]);
            explained.reason = chain(&refused[name]);
        }
        Ok(known) => {
            let outlook = Outlook::read(agent, &policy, explained.news.clock_off)?;
            let all = outlook.ahead(agent, &known.refreshed.catalog, None, Some(name))?;
            if let Some(ahead) = all.iter().find(|ahead| ahead.policy.name == *name) {
                decide(&mut explained, ahead);
            }
        }
        Err(error) => {
            explained.code = error.code();
            explained.reason = chain(&error);
        }
    }
    printer.data(&explained, words)
}

fn decide(explained: &mut Explained, ahead: &Ahead) {
    explained.notes = ahead.decision.notes.iter().map(ToString::to_string).collect();
    explained.offers = ahead
        .offers
        .iter()
        .map(|offer| OfferSeen {
            version: offer.facts.version.to_string(),
            channel: offer.facts.channel.clone(),
            platform: offer.facts.platform.to_string(),
            sequence: offer.facts.sequence,
            revoked: offer.facts.revoked.clone(),
        })
        .collect();
    match &ahead.decision.choice {
        Choice::UpToDate => {
            explained.choice = "up-to-date";
            explained.code = "up-to-date".into();
            explained.reason = "nothing newer is offered that it may run".into();
        }
        Choice::Update { path, .. } => {
            let stops: Vec<_> = path.iter().map(|release| release.version.to_string()).collect();
            explained.choice = "update";
            explained.code = "update".into();
            explained.reason = format!("it goes to {} next", stops.join(", then "));
        }
        Choice::Hold(reason) => {
            explained.choice = "hold";
            explained.code = reason.code().into();
            explained.reason = reason.to_string();
        }
    }
}

fn attempts_seen(agent: &Agent, name: &ComponentName) -> Result<Option<AttemptsSeen>, Failure> {
    let attempts = Attempts::load(&agent.home.attempts(name))?;
    let Some(failed) = attempts.failed.clone() else { return Ok(None) };
    // The agent's own commit happens under another agent's eyes, which clears nothing.
    let current = agent.home.slots(name).ok().and_then(|slots| slots.current);
    if current.is_some_and(|slot| slot.release == failed.release) {
        return Ok(None);
    }
    let next = match attempts.turn(&failed.release, agent.now().wall) {
        Turn::Now => "with the next round".to_owned(),
        Turn::Later(at) => format!("not before {at}"),
        Turn::GivenUp => {
            let version = &failed.release.version;
            format!("not by itself; `handover-agent quarantine clear {name} {version}` allows it")
        }
    };
    Ok(Some(AttemptsSeen {
        version: failed.release.version.to_string(),
        count: failed.count,
        reason: failed.reason,
        next,
    }))
}

fn words(explained: &Explained) -> String {
    let mut text = component_words(&explained.component);
    let mut add = |label: &str, body: &str| text.push_str(&field(label, body));
    add(explained.choice, &format!("{} [{}]", plain(&explained.reason, 600), explained.code));
    for note in &explained.notes {
        add("note", &plain(note, 600));
    }
    if let Some(attempts) = &explained.attempts {
        add(
            "failed",
            &format!(
                "{} failed {} times in a row, the last time because {}; it is tried {}",
                attempts.version,
                attempts.count,
                plain(&attempts.reason, 400),
                attempts.next
            ),
        );
    }
    let offers: Vec<_> = explained
        .offers
        .iter()
        .map(|offer| {
            let revoked = if offer.revoked.is_some() { " (revoked)" } else { "" };
            format!("{}{revoked}", offer.version)
        })
        .collect();
    if !offers.is_empty() {
        add("offered", &offers.join(", "));
    }
    let orders = order_words(&explained.orders);
    add("metadata", &news_words(&explained.news));
    text.push_str(&orders);
    text
}
