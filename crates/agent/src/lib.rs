//! `handover-agent`, `handover-launch` and `handover-upgrade`: what runs on a host.

pub mod accepted;
pub mod agent;
pub mod attempts;
pub mod backoff;
pub mod bandwidth;
pub mod dice;
pub mod download;
pub mod entrypoint;
pub mod failure;
pub mod fetch;
pub mod follow;
pub mod home;
pub mod install;
pub mod launch;
pub mod news;
pub mod notify;
pub mod openpgp;
pub mod outlook;
pub mod policy;
pub mod real_world;
pub mod repository;
pub mod runs;
pub mod unpack;
pub mod voice;
