//! The host upgrade: a release's manifest, an order and what was found on the host, compiled into
//! a plan for the runner (DESIGN 5.4). Pure: whoever calls it has looked already, and whoever runs
//! the plan finds every choice in the steps' inputs.
//!
//! Order of the steps: preflight, install, configuration, (pause, state,) trial, swap, watch,
//! commit, outside files, launcher, retention, guard. Invariant: nothing that the running version
//! could notice comes before the pause, or without one the trial, so that a run which fails
//! earlier is refused, not reverted.

mod compile;
mod facts;
mod fill;
mod health;
mod inputs;
mod recipe;

pub use compile::{BRINGS_LAUNCHER, LAUNCHER_IN_PACKAGE, Step, compile, party, steps};
pub use facts::{HostFacts, Refused};
pub use fill::{FillError, Places};
pub use health::{Ill, Process, Sight, Vigil};
pub use inputs::{
    Command, CommitSlots, ConfigCopy, CopyConfig, GuardHealth, Install, KeepFew, MigrateDown,
    OutsideCopy, PauseSlots, Preflight, PrepareState, ReplaceLauncher, SetTrial, Space, SwapSlots,
    WatchHealth, Watched,
};
pub use recipe::recipe;
