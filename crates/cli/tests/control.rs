//! The command line against a real server, as a child process, with real agents.

#![expect(clippy::unwrap_used, reason = "tests")]

mod control {
    pub(super) mod agents;
    pub(super) mod desk;
    pub(super) mod login;
    pub(super) mod orders;
    pub(super) mod releases;
    pub(super) mod rollouts;
    pub(super) mod server;
    pub(super) mod site;
    pub(super) mod tokens;
    pub(super) mod watch;
}
