//! One suite for both databases: whatever the control plane relies on holds on SQLite and on
//! PostgreSQL alike. What only one of them can do wrong stands in `faults`.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is their failure")]

#[path = "conformance/agents.rs"]
mod agents;
#[path = "conformance/backup.rs"]
mod backup;
#[path = "conformance/durability.rs"]
mod durability;
#[path = "conformance/faults.rs"]
mod faults;
#[path = "conformance/leases.rs"]
mod leases;
#[path = "conformance/notify.rs"]
mod notify;
#[path = "conformance/orders.rs"]
mod orders;
#[path = "conformance/postgres.rs"]
mod postgres;
#[path = "conformance/rig.rs"]
mod rig;
#[path = "conformance/rollouts.rs"]
mod rollouts;
#[path = "conformance/schema.rs"]
mod schema;
#[path = "conformance/sequencer.rs"]
mod sequencer;
#[path = "conformance/singles.rs"]
mod singles;
#[path = "conformance/tokens.rs"]
mod tokens;
#[path = "conformance/touch.rs"]
mod touch;
#[path = "conformance/transactions.rs"]
mod transactions;
