//! `handover-agent`, `handover-launch` and `handover-upgrade`: what runs on a host.

pub mod accepted;
pub mod agent;
pub mod asked;
pub mod attempts;
pub mod cli;
pub mod commands;
pub mod contents;
pub mod control;
pub mod doctor;
pub mod entrypoint;
pub mod failure;
pub mod follow;
pub mod home;
mod incoming;
pub mod install;
pub mod launch;
mod memory;
pub mod news;
pub mod notify;
pub mod openpgp;
pub mod outlook;
pub mod policy;
pub mod rollback;
pub mod runs;
pub mod unpack;
pub mod upgrade;
pub mod voice;

pub use handover_client::{
    backoff, bandwidth, call, dice, download, fetch, real_world, repository,
};
