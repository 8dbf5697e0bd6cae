//! `handover-agent`, `handover-launch` and `handover-upgrade`: what runs on a host.

pub mod backoff;
pub mod bandwidth;
pub mod dice;
pub mod download;
pub mod fetch;
pub mod layout;
pub mod policy;
pub mod real_world;
pub mod unpack;
