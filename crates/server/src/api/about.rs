//! The server about itself: for people, for probes and for monitoring.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use handover_model::api::{AgentState, Health, HealthCheck, OrderState, ServerInfo};
use handover_model::wire::PROTOCOL;
use handover_store::{Database, agents, audit, events, meta, orders};
use http::{StatusCode, header};

use super::answer;
use super::call::Call;
use super::library;
use crate::{AppState, Problem};

/// `GET /info`.
pub(super) async fn info(call: Call) -> Result<Response, Problem> {
    call.query().done()?;
    let state = &call.state;
    let (epoch, schema) = state
        .store
        .read(|tx| -> Result<_, Problem> { Ok((meta::epoch(tx)?, meta::schema(tx)?)) })
        .await?;
    let version = env!("CARGO_PKG_VERSION").parse();
    answer::json(&ServerInfo {
        version: version.map_err(|error| Problem::internal(&error))?,
        epoch,
        database: match state.store.database() {
            Database::Sqlite(_) => "sqlite".to_owned(),
            Database::Postgres(_) => "postgresql".to_owned(),
        },
        schema,
        oldest_protocol: PROTOCOL.saturating_sub(2).max(1),
        protocol: PROTOCOL,
        started_at: state.started_at,
        at: call.now,
        ca_pins: state.ca_pins(),
        repository: library::info(state).await,
        checkpoint_key: serde_json::to_value(state.checkpoint_key().public()).unwrap_or_default(),
    })
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> Result<Response, Problem> {
    answer::json(&Health { ok: true, checks: Vec::new() })
}

/// `GET /readyz`: the database answers, and the repository verifies.
pub(super) async fn readyz(State(state): State<AppState>) -> Result<Response, Problem> {
    let database = state.store.read(|tx| meta::epoch(tx).map_err(Problem::from)).await;
    let database = HealthCheck {
        name: "database".to_owned(),
        ok: database.is_ok(),
        detail: database.err().and_then(|problem| problem.document().detail.clone()),
    };
    let shelf = state.library.shelf(&state).await;
    let repository = HealthCheck {
        name: "repository".to_owned(),
        // Without one that verifies nothing new is handed out, and everything else works.
        ok: true,
        detail: shelf.problem.clone(),
    };
    let health = Health { ok: database.ok, checks: vec![database, repository] };
    let mut response = answer::json(&health)?;
    if !health.ok {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

/// `GET /metrics`: Prometheus text.
pub(super) async fn metrics(call: Call) -> Result<Response, Problem> {
    call.query().done()?;
    let (agents, orders, events, audited) = call
        .state
        .store
        .read(|tx| -> Result<_, Problem> {
            Ok((
                agents::count_by_state(tx)?,
                orders::count_by_state(tx)?,
                events::range(tx)?.map_or(0, |(_, newest)| newest),
                audit::head(tx)?.0,
            ))
        })
        .await?;
    let mut text = String::new();
    let mut series = |name: &str, kind: &str, help: &str, values: &[(String, String)]| {
        // Writing to a string can't fail.
        let _done = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _done = writeln!(text, "{name}{labels} {value}");
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    let build = [(format!("{{version=\"{version}\"}}"), "1".to_owned())];
    series("handover_build_info", "gauge", "The server's version.", &build);
    let started = call.state.started_at.as_micros() / 1_000_000;
    let started = [(String::new(), started.to_string())];
    series("handover_start_time_seconds", "gauge", "When the server started.", &started);
    let states = [AgentState::Present, AgentState::Away, AgentState::Cloned, AgentState::Retired];
    let values = states.map(|state| {
        let name = match state {
            AgentState::Present => "present",
            AgentState::Away => "away",
            AgentState::Cloned => "cloned",
            AgentState::Retired => "retired",
        };
        let count = agents.get(&state).copied().unwrap_or(0);
        (format!("{{state=\"{name}\"}}"), count.to_string())
    });
    series("handover_agents", "gauge", "Agents by how they stand.", &values);
    let values = OrderState::ALL.map(|state| {
        let count = orders.iter().find(|(one, _)| *one == state).map_or(0, |(_, count)| *count);
        (format!("{{state=\"{state}\"}}"), count.to_string())
    });
    series("handover_orders", "gauge", "Orders by how far they are.", &values);
    let numbers = [(String::new(), events.to_string())];
    series("handover_events_total", "counter", "The number of the newest event.", &numbers);
    let numbers = [(String::new(), audited.to_string())];
    series("handover_audit_rows_total", "counter", "The number of the newest audit row.", &numbers);
    let expires = call.state.library.shelf(&call.state).await.expires;
    let expires = expires.map(|at| (String::new(), (at.as_micros() / 1_000_000).to_string()));
    let help = "When the repository's metadata expires, the first of it.";
    series("handover_repository_expiry_seconds", "gauge", help, expires.as_slice());
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response())
}
