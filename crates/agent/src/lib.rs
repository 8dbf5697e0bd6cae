//! `handover-agent`, `handover-launch` and `handover-upgrade`: what runs on a host.

pub mod attempts;
pub mod backoff;
pub mod bandwidth;
pub mod dice;
pub mod download;
pub mod entrypoint;
pub mod fetch;
pub mod home;
pub mod policy;
pub mod real_world;
pub mod repository;
pub mod unpack;
