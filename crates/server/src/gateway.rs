//! The agents' side of the server: `/agent/v1`, the channel that is called `legacy`
//! (docs/adr/0011-the-legacy-channel.md, docs/agent-protocol.md).
//!
//! Invariant: a heartbeat that has nothing to say reads nothing from the database and writes one
//! batched row. What is pending for an agent comes from memory, which is rebuilt from the database
//! at the start and follows the event stream afterwards.

mod body;
mod channel;
mod enrolment;
mod exchange;
mod handout;
mod index;
mod reports;
mod sync;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use handover_model::wire::{PROTOCOL, PROTOCOL_HEADER};
use http::{HeaderMap, HeaderValue, Method, header};

use crate::problem::Code;
use crate::routes::{Bounds, Routes};
use crate::{AppState, Problem};

pub(crate) use handout::known;
pub(crate) use index::Index;
pub(crate) use reports::{leave, write as write_order};

/// Where heartbeats go; they are answered ahead of the router.
pub(crate) const SYNC: &str = "/agent/v1/sync";

/// How many protocol versions before the newest are accepted.
const KEPT: u32 = 2;

/// Mounts what agents ask.
pub(crate) fn mount(routes: Routes) -> Routes {
    routes
        .mount(Method::GET, "/agent/v1/ca", enrolment::ca)
        .mount(Method::POST, "/agent/v1/enroll", enrolment::enrol)
        .mount_with(Bounds::Upload, Method::POST, SYNC, sync_route)
}

async fn sync_route(State(state): State<AppState>, request: Request) -> Response {
    sync(&state, request).await
}

/// Answers one sync. It bounds its body and its time by itself: a long poll lasts.
pub(crate) async fn sync(state: &AppState, request: Request) -> Response {
    match sync::sync(state, &channel::Bearer, request).await {
        Ok(body) => {
            let mut response = Response::new(body.into());
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// Refuses an agent that speaks a version which this server does not.
///
/// # Errors
/// [`Problem`] `protocol.unsupported`.
pub(crate) fn check_protocol(headers: &HeaderMap) -> Result<(), Problem> {
    let oldest = PROTOCOL.saturating_sub(KEPT).max(1);
    let spoken = headers
        .get(PROTOCOL_HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse::<u32>().ok());
    match spoken {
        Some(spoken) if (oldest..=PROTOCOL).contains(&spoken) => Ok(()),
        Some(spoken) => Err(Problem::new(
            Code::Protocol,
            format!(
                "this server speaks agent protocol {oldest} to {PROTOCOL}, not {spoken}: update \
                 the {}",
                if spoken > PROTOCOL { "server" } else { "agent" }
            ),
        )),
        None => Err(Problem::new(
            Code::Protocol,
            format!("agents say in the header {PROTOCOL_HEADER} which protocol they speak"),
        )),
    }
}
