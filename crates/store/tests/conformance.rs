//! One suite for both databases: whatever the control plane relies on holds on SQLite and on
//! PostgreSQL alike. What only one of them can do wrong stands in `faults`.

#[path = "conformance/agents.rs"]
mod agents;
#[path = "conformance/leases.rs"]
mod leases;
#[path = "conformance/orders.rs"]
mod orders;
#[path = "conformance/rig.rs"]
mod rig;
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
