//! The agents' side of the server: `/agent/v1`, the channel that is called `legacy`
//! (docs/adr/0011-the-legacy-channel.md).

mod enrolment;

use handover_model::wire::{PROTOCOL, PROTOCOL_HEADER};
use http::{HeaderMap, Method};

use crate::Problem;
use crate::problem::Code;
use crate::routes::Routes;

/// How many protocol versions before the newest are accepted.
const KEPT: u32 = 2;

/// Mounts what agents ask.
pub(crate) fn mount(routes: Routes) -> Routes {
    routes.mount(Method::GET, "/agent/v1/ca", enrolment::ca).mount(
        Method::POST,
        "/agent/v1/enroll",
        enrolment::enrol,
    )
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
