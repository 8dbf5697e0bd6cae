//! Why a host holds still, in words and as stable codes.

use std::fmt;

use handover_model::{ComponentName, Millis, Platform, ReleaseId, Timestamp, Version};

use crate::graph::NoPath;

/// Why a host does not do something, or what a person should know. Displays as one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The release that runs was revoked.
    RunningRevoked {
        /// Its version.
        version: Version,
        /// What its keyholders say.
        why: String,
    },
    /// A trial is pending.
    TrialPending {
        /// Of this release.
        release: ReleaseId,
    },
    /// The host's clock can't be right.
    ClockOff {
        /// By at least this much.
        off: Millis,
    },
    /// The repository has no release of the component at all.
    NotOffered {
        /// Which component.
        component: ComponentName,
    },
    /// There are releases, but none for this platform.
    PlatformMissing {
        /// Which component.
        component: ComponentName,
        /// This host's platform.
        platform: Platform,
        /// The platforms that there are.
        there: String,
    },
    /// There are releases, but none in the followed channel.
    ChannelEmpty {
        /// Which component.
        component: ComponentName,
        /// The followed channel.
        channel: String,
        /// The channels that there are.
        there: String,
    },
    /// The version that was asked for is not offered to this host.
    NoSuchRelease {
        /// Which component.
        component: ComponentName,
        /// What was asked for.
        version: Version,
        /// The followed channel.
        channel: String,
        /// This host's platform.
        platform: Platform,
    },
    /// It is offered, and described in a way that this program is too old to read.
    TooNew {
        /// Its path in the repository.
        path: String,
        /// What can't be read.
        why: String,
    },
    /// The policy's pin excludes it.
    Pinned {
        /// What it excludes.
        version: Version,
        /// The pin.
        pin: String,
    },
    /// The control plane's pin excludes it.
    PinnedByControl {
        /// What it excludes.
        version: Version,
        /// The pin.
        pin: String,
    },
    /// It failed on this host before.
    Quarantined {
        /// Which version.
        version: Version,
        /// How it failed.
        why: String,
    },
    /// Its keyholders revoked it.
    Revoked {
        /// Which version.
        version: Version,
        /// What they say.
        why: String,
    },
    /// It is below the host's floor.
    BelowFloor {
        /// Which version.
        version: Version,
        /// The floor.
        floor: Version,
    },
    /// No way leads there.
    NoPath {
        /// What is missing.
        why: Box<NoPath>,
    },
    /// Going back that far needs a permit.
    NeedsPermit {
        /// Which component.
        component: ComponentName,
        /// Where to.
        version: Version,
        /// The host's floor, if it has one.
        floor: Option<Box<Version>>,
        /// Why the permit that the host has doesn't do.
        unusable: Option<String>,
    },
    /// The older version is kept on this host: going back needs no installation.
    KeptHere {
        /// Which component.
        component: ComponentName,
        /// Which version.
        version: Version,
    },
    /// Nothing is kept that the host could go back to.
    NothingKept {
        /// Which component.
        component: ComponentName,
    },
    /// The version to go back to is not kept.
    NotKept {
        /// Which version.
        version: Version,
        /// The versions that are.
        kept: String,
    },
    /// It needs a newer launcher.
    LauncherTooOld {
        /// Which version.
        version: Version,
        /// The protocol that it needs.
        needs: u32,
        /// The protocol that the launcher speaks.
        speaks: u32,
    },
    /// Another component comes first.
    WaitingFor {
        /// Which.
        component: ComponentName,
        /// What it is doing.
        waiting: Waiting,
    },
    /// Updates happen only when a person asks.
    Manual {
        /// Which component.
        component: ComponentName,
        /// What could be installed.
        version: Version,
    },
    /// No maintenance window is open.
    WindowClosed {
        /// When the next one opens.
        until: Option<Timestamp>,
    },
}

/// Why another component is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// It has an update of its own to make.
    Behind(Version),
    /// Its update is under way.
    Moving,
    /// It is held back itself.
    Held(Box<Reason>),
    /// Nothing of it was committed yet.
    NotInstalled,
    /// The policy does not name it.
    NotFollowed,
}

impl Reason {
    /// A stable code, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RunningRevoked { .. } => "running-revoked",
            Self::TrialPending { .. } => "trial-pending",
            Self::ClockOff { .. } => "clock-off",
            Self::NotOffered { .. } => "not-offered",
            Self::PlatformMissing { .. } => "platform-missing",
            Self::ChannelEmpty { .. } => "channel-empty",
            Self::NoSuchRelease { .. } => "no-such-release",
            Self::TooNew { .. } => "too-new",
            Self::Pinned { .. } => "pinned",
            Self::PinnedByControl { .. } => "control-pinned",
            Self::Quarantined { .. } => "quarantined",
            Self::Revoked { .. } => "revoked",
            Self::BelowFloor { .. } => "below-floor",
            Self::NoPath { .. } => "no-path",
            Self::NeedsPermit { .. } => "needs-permit",
            Self::KeptHere { .. } => "kept-here",
            Self::NothingKept { .. } => "nothing-kept",
            Self::NotKept { .. } => "not-kept",
            Self::LauncherTooOld { .. } => "launcher-too-old",
            Self::WaitingFor { .. } => "waiting-for",
            Self::Manual { .. } => "manual",
            Self::WindowClosed { .. } => "window-closed",
        }
    }

    /// Whether a host with nothing better to do is held back by it, rather than up to date: a
    /// release that was revoked, or is older than what the host accepts, is missed by nobody; and
    /// one that only a newer agent can read must not keep the agent's own update waiting.
    pub fn holds_back(&self) -> bool {
        match self {
            Self::Revoked { .. } | Self::BelowFloor { .. } | Self::TooNew { .. } => false,
            Self::RunningRevoked { .. }
            | Self::TrialPending { .. }
            | Self::ClockOff { .. }
            | Self::NotOffered { .. }
            | Self::PlatformMissing { .. }
            | Self::ChannelEmpty { .. }
            | Self::NoSuchRelease { .. }
            | Self::Pinned { .. }
            | Self::PinnedByControl { .. }
            | Self::Quarantined { .. }
            | Self::NoPath { .. }
            | Self::NeedsPermit { .. }
            | Self::KeptHere { .. }
            | Self::NothingKept { .. }
            | Self::NotKept { .. }
            | Self::LauncherTooOld { .. }
            | Self::WaitingFor { .. }
            | Self::Manual { .. }
            | Self::WindowClosed { .. } => true,
        }
    }

    fn write_refusal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PinnedByControl { version, pin } => write!(
                f,
                "the control plane's pin {pin} excludes {version}; it is taken away there"
            ),
            Self::Pinned { version, pin } => {
                write!(f, "the pin {pin} excludes {version}; unpin the component to allow it")
            }
            Self::Quarantined { version, why } => write!(
                f,
                "{version} is in quarantine on this host: {why}; ask for it by version to try again"
            ),
            Self::Revoked { version, why } => write!(f, "{version} was revoked: {why}"),
            Self::TooNew { path, why } => {
                write!(f, "{path} is too new for this program: {why}; update the agent first")
            }
            Self::BelowFloor { version, floor } => {
                write!(f, "{version} is below this host's floor, {floor}; it needs a permit")
            }
            Self::NoPath { why } => write!(f, "{why}"),
            Self::NeedsPermit { component, version, floor, unusable } => {
                write!(
                    f,
                    "going back to {component} {version} needs a permit signed by its release keys"
                )?;
                if let Some(floor) = floor.as_ref().filter(|floor| *version < ***floor) {
                    write!(f, ", since this host's floor is {floor}")?;
                }
                match unusable {
                    Some(why) => write!(f, "; {why}"),
                    None => Ok(()),
                }
            }
            Self::LauncherTooOld { version, needs, speaks } => write!(
                f,
                "{version} needs launcher protocol {needs}, and this host's launcher speaks \
                 {speaks}; update the agent's package first"
            ),
            Self::RunningRevoked { .. }
            | Self::TrialPending { .. }
            | Self::ClockOff { .. }
            | Self::NotOffered { .. }
            | Self::PlatformMissing { .. }
            | Self::ChannelEmpty { .. }
            | Self::NoSuchRelease { .. }
            | Self::KeptHere { .. }
            | Self::NothingKept { .. }
            | Self::NotKept { .. }
            | Self::WaitingFor { .. }
            | Self::Manual { .. }
            | Self::WindowClosed { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunningRevoked { version, why } => write!(
                f,
                "ATTENTION: {version}, which runs here, was revoked: {why}; update, or go back \
                 with `handover-agent rollback`"
            ),
            Self::TrialPending { release } => {
                write!(f, "{release} is on trial; what comes next is decided after it")
            }
            Self::ClockOff { off } => write!(
                f,
                "this host's clock is off by at least {off}, so that no expiry can be trusted; \
                 set it right"
            ),
            Self::NotOffered { component } => {
                write!(f, "the repository offers no release of {component}; check its name")
            }
            Self::PlatformMissing { component, platform, there } => {
                write!(f, "{component} is not offered for {platform}, only for {there}")
            }
            Self::ChannelEmpty { component, channel, there } => write!(
                f,
                "channel {channel} of {component} is empty for this platform; there is {there}"
            ),
            Self::NoSuchRelease { component, version, channel, platform } => write!(
                f,
                "{component} {version} is not offered in channel {channel} for {platform}; \
                 `handover-agent explain` lists what is"
            ),
            Self::KeptHere { component, version } => write!(
                f,
                "{version} is kept on this host; go back to it with `handover-agent rollback \
                 {component} --to {version}`"
            ),
            Self::NothingKept { component } => {
                write!(f, "no earlier good release of {component} is kept on this host")
            }
            Self::NotKept { version, kept } => {
                write!(f, "{version} is not kept on this host; kept are {kept}")
            }
            Self::WaitingFor { component, waiting } => {
                write!(f, "{component} comes first, and {waiting}")
            }
            Self::Manual { component, version } => write!(
                f,
                "{version} is ready, and {component} is updated by hand: `handover-agent update \
                 {component}`"
            ),
            Self::WindowClosed { until: Some(until) } => {
                write!(f, "no maintenance window is open until {until}")
            }
            Self::WindowClosed { until: None } => {
                f.write_str("no maintenance window will ever open; check the policy's days")
            }
            Self::Pinned { .. }
            | Self::PinnedByControl { .. }
            | Self::Quarantined { .. }
            | Self::Revoked { .. }
            | Self::TooNew { .. }
            | Self::BelowFloor { .. }
            | Self::NoPath { .. }
            | Self::NeedsPermit { .. }
            | Self::LauncherTooOld { .. } => self.write_refusal(f),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind(next) => write!(f, "its update to {next} is due"),
            Self::Moving => f.write_str("its update is under way"),
            Self::Held(why) => write!(f, "it is held back itself: {why}"),
            Self::NotInstalled => f.write_str("it is not installed yet"),
            Self::NotFollowed => f.write_str("this host's policy doesn't name it"),
        }
    }
}
