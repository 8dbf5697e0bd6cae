//! The control plane's database. One transaction type, [`Tx`], over SQLite and PostgreSQL; what
//! stands in it is read and written by the typed modules only.
//!
//! Invariant: an answer follows its durable commit. Whoever holds an `Ok` of [`Store::write`] or
//! [`Store::touch`] may pull the plug.
//!
//! Invariant: a closure that is given to [`Store::write`] may run more than once, and only one run
//! is kept. So it takes ids and times as values, and has no effect but on its [`Tx`].
//!
//! Invariant: SQL never reads a clock and never makes an id (STYLE section 10).

pub mod agents;
pub mod api_tokens;
pub mod audit;
pub mod backup;
pub mod check;
pub mod checks;
mod database;
pub mod documents;
mod error;
pub mod events;
pub mod fleet;
pub mod groups;
pub mod idempotency;
#[cfg(feature = "simulation")]
mod inline;
mod job;
pub mod leases;
pub mod meta;
pub mod orders;
mod page;
pub mod pins;
#[cfg(test)]
mod plans;
mod postgres;
mod real_world;
pub mod reports;
pub mod rollouts;
mod schema;
pub mod sequencer;
pub mod settings;
mod sqlite;
mod store;
mod tables;
mod threads;
pub mod tokens;
mod touch;
mod tx;
mod value;
pub mod webhooks;

pub use database::{Database, DatabaseError};
pub use error::StoreError;
#[cfg(feature = "simulation")]
pub use inline::{Fate, Fates, Inline};
pub use leases::Lease;
pub use store::{Options, Store};
pub use touch::AgentKey;
pub use tx::Tx;
pub use value::{Cell, FromCell, Row, Value};
