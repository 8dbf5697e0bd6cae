//! The control plane: one HTTPS port with the agent gateway (`/agent/v1`), the API (`/api/v1`)
//! and the repository (`/repository`), over one [`handover_store`] database.
//!
//! Invariant: nothing is answered before it is durable, and nothing durable depends on a clean
//! stop: the process may be killed at any instant.
//!
//! Invariant: every route declares its permission in one table ([`ROUTES`]); what is not
//! there can't be mounted, and the default is no.
#![forbid(unsafe_code)]

mod api;
mod auth;
mod ca;
mod checks;
mod config;
mod error;
mod files;
mod gateway;
mod groups;
mod keys;
mod limits;
mod listen;
mod login;
mod news;
mod permissions;
mod problem;
mod process;
mod real_world;
mod reconcile;
mod rollouts;
mod rotation;
mod routes;
mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
mod state;
mod tls;
mod webhooks;

pub use auth::Principal;
pub use config::{Config, Limits, LogFormat, Repository};
pub use error::StartError;
pub use permissions::{Access, ROUTES, Route};
pub use problem::{Chain, Code, Problem};
pub use process::{run, start_log};
pub use real_world::{Clock, RealClock};
pub use rotation::{Rotated, Rotation, rotate};
pub use server::{Running, Server};
pub use state::{AppState, Shared};
