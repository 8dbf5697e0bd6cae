//! `handover watch`: what happens, as it happens, a line each.

use std::process::ExitCode;

use handover_model::api::{EventInfo, OrderInfo};
use handover_model::{AgentId, OrderId, Timestamp};
use serde_json::Value;

use super::api::Api;
use super::stream::{Happening, Stream};
use super::{ControlError, Desk, agents, follow, routes};

/// What `watch` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  handover watch\n  handover watch web-1\n  handover watch \
                        --output json --after 1200")]
pub(crate) struct WatchArgs {
    /// An agent, by name or id, or an order; everything unless said. An order is watched until
    /// nothing more becomes of it, and decides the exit code as for `agent update`.
    what: Option<String>,
    /// Begin with the event after this number, in place of the next one to happen.
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
}

/// Watches until it is interrupted, or the order has ended.
pub(super) fn watch(args: &WatchArgs, desk: &Desk<'_>) -> Result<ExitCode, ControlError> {
    let (_, api) = desk.open()?;
    let agent = match &args.what {
        None => None,
        Some(what) => match what.parse::<OrderId>() {
            Ok(order) => return watch_order(&api, order, desk),
            Err(_no_order) => Some(agents::find(&api, what)?.agent.id),
        },
    };
    let parameters = [("agent", agent.map(|agent: AgentId| agent.to_string()))];
    let path = routes::query(routes::STREAM, &parameters);
    let mut stream = Stream::new(&api, path, args.after);
    loop {
        match stream.next()? {
            Happening::Connected => {}
            Happening::Lost(why) => desk.out.say(&format!("connection lost ({why}); resuming")),
            Happening::Event(event) => {
                if agent.is_some() && event.agent != agent {
                    continue;
                }
                if !desk.out.record(&event, |event| line(event)) {
                    // Whoever read is gone, as with `| head`.
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
    }
}

fn watch_order(api: &Api, order: OrderId, desk: &Desk<'_>) -> Result<ExitCode, ControlError> {
    let order: OrderInfo = api.get("look at the order", &routes::one(routes::ORDERS, order))?;
    follow::follow(api, vec![order], true, desk)
}

fn line(event: &EventInfo) -> String {
    let about = match (event.order, event.agent) {
        (Some(order), _) => order.to_string(),
        (None, Some(agent)) => agent.to_string(),
        (None, None) => String::new(),
    };
    let text = format!(
        "{}  {:<6} {:<18} {about}  {}",
        clock_time(event.at),
        event.seq,
        event.kind,
        particulars(&event.data)
    );
    text.trim_end().to_owned()
}

/// The particulars of an event on one line: `name=web-1 to=1.1.0`. What an order is and who gave
/// it stands in the order; what a whole host reported, in the agent.
pub(super) fn particulars(data: &Value) -> String {
    let Value::Object(fields) = data else {
        return if data.is_null() { String::new() } else { short(data) };
    };
    let words = fields.iter().filter_map(|(key, value)| match (key.as_str(), value) {
        (_, Value::Null) | ("action" | "by" | "components", Value::Object(_) | Value::Array(_)) => {
            None
        }
        ("progress", Value::Object(progress)) => {
            let part = |key: &str| progress.get(key).map(short).unwrap_or_default();
            Some(format!("{} {}", part("stage"), part("detail")))
        }
        ("release", Value::Object(release)) => release.get("version").map(short),
        (key, value) => Some(format!("{key}={}", short(value))),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// `2026-03-01 12:00:05`, UTC.
pub(super) fn clock_time(at: Timestamp) -> String {
    at.as_jiff().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::particulars;

    #[test]
    fn an_event_s_particulars_fit_a_line() {
        let data = json!({
            "action": { "do": "update" }, "code": null, "name": "web-1",
            "progress": { "stage": "update_install", "step": "x", "detail": "copying" },
            "release": { "version": "1.1.0", "digest": "ab" },
        });
        assert_eq!(particulars(&data), "name=web-1 update_install copying 1.1.0");
        assert_eq!(particulars(&json!(null)), "");
    }
}
