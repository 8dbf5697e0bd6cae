//! Webhooks: what is told to somebody outside, and what somebody outside tells, both signed with
//! secrets that stand in no database.

mod destination;
mod key;
mod outbound;
mod schedule;
mod signature;

pub(crate) use destination::Destination;
pub(crate) use key::WebhookKey;
pub(crate) use outbound::{Outbound, Outgoing};
pub(crate) use schedule::{Attempt, Came, came_to};
pub(crate) use signature::{HEADER, Refused, sign, verify};
