//! Values and documents that every part of Handover shares: ids, versions, times, and the wire
//! and disk documents. Nothing here reads a clock, a file, dice or the network.
//!
//! Invariant: text from outside becomes a checked type at this edge, once; nothing further in
//! checks it again.

pub mod api;
mod class;
mod digest;
mod framed;
mod ids;
mod labels;
mod launches;
mod layout;
mod millis;
#[cfg(feature = "openapi")]
mod openapi;
mod order;
mod outcome;
mod permit;
mod platform;
mod policy;
mod progress;
mod release;
mod slots;
mod time;
mod version;
pub mod wire;

pub use class::ErrorClass;
pub use digest::{Digest, DigestError, Hasher};
pub use framed::{FramedError, open_framed, seal_framed};
pub use ids::{
    AgentId, AgentName, ComponentName, DeliveryId, EventId, GroupName, IdGen, NameError, OrderId,
    ReleaseId, RolloutId, RolloutName, RunId, SessionId, TokenId, UnknownId, WebhookId,
};
pub use labels::{LabelError, Labels};
pub use launches::{LaunchEvent, LaunchRecord};
pub use layout::Layout;
pub use millis::{Millis, MillisError};
pub use order::{CONTRACT_VERSION, Order};
pub use outcome::{OUTCOME_FORMAT, Outcome, RunResult};
pub use permit::Permit;
pub use platform::{Platform, PlatformError};
pub use policy::{
    ComponentPolicy, HostPolicy, Mode, OpenPgpDemand, Pin, PinError, RepositoryPolicy, Window,
};
pub use progress::{ExitCode, Progress, Stage};
pub use release::{
    Check, CheckKind, ConfigFile, Edits, Health, MANIFEST_FORMAT, Manifest, Migration, OnRevert,
    OutsideFile, Parameter, Readiness, ReleaseFacts, Service, SocketSpec, StateSpec, StopSpec,
    TrialSpec,
};
pub use slots::{
    Guard, LAUNCHER_PROTOCOL, Pause, Quarantined, Recipe, SLOTS_FORMAT, Slot, Slots, Trial,
};
pub use time::{Now, Timestamp};
pub use version::{Version, VersionError, VersionRange};
