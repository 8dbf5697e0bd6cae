//! The API of a real server, over TLS, on both databases where that can make a difference.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is their failure")]

#[path = "api/agents.rs"]
mod agents;
#[path = "api/checks.rs"]
mod checks;
#[path = "api/client.rs"]
mod client;
#[path = "api/events.rs"]
mod events;
#[path = "api/fuzz.rs"]
mod fuzz;
#[path = "api/groups.rs"]
mod groups;
#[path = "api/orders.rs"]
mod orders;
#[path = "api/problems.rs"]
mod problems;
#[path = "api/publishing.rs"]
mod publishing;
#[path = "api/receiver.rs"]
mod receiver;
#[path = "api/repository.rs"]
mod repository;
#[path = "api/rollouts.rs"]
mod rollouts;
#[path = "api/site.rs"]
mod site;
#[path = "api/stop.rs"]
mod stop;
#[path = "api/tokens.rs"]
mod tokens;
#[path = "api/webhooks.rs"]
mod webhooks;
