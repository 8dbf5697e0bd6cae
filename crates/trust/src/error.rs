//! Every reason for which metadata, a package or a permit is refused, each with a stable code.

use handover_model::{
    AgentId, AgentName, ComponentName, Digest, ErrorClass, FramedError, Platform,
};
use handover_model::{Timestamp, Version};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A refusal. [`VerifyError::code`] is stable and is what attack files name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Not JSON, or not of the shape that the specification gives it.
    #[error(
        "{subject} is malformed; fetch it again, and tell the repository's keepers if it stays"
    )]
    Malformed {
        /// Which file or document.
        subject: String,
        /// What the parser said.
        source: Source,
    },
    /// No valid signature by a key of the role.
    #[error("{subject} carries no valid signature of role {role}")]
    Unsigned {
        /// Which file.
        subject: String,
        /// Whose signatures were wanted.
        role: String,
    },
    /// Fewer valid signatures than the role's threshold.
    #[error("{subject} needs {need} signatures of role {role}, found {found}")]
    UnderThreshold {
        /// Which file.
        subject: String,
        /// Whose signatures were wanted.
        role: String,
        /// The threshold.
        need: usize,
        /// How many distinct keys signed validly.
        found: usize,
    },
    /// One key signed twice (TUF 1.0.34, 4.2.1: one signature per key id).
    #[error("{subject} carries two signatures of key {key}")]
    DuplicateSignature {
        /// Which file.
        subject: String,
        /// The key's id.
        key: String,
    },
    /// Root, snapshot, targets or a component's role is out of date.
    #[error(
        "{subject} expired at {expired_at} and this host's clock says {now}; if the clock is \
         right, the repository needs `handover repo refresh` or new signatures"
    )]
    Expired {
        /// Which file.
        subject: String,
        /// Its expiry.
        expired_at: Timestamp,
        /// When the update began, by this host's clock.
        now: Timestamp,
    },
    /// The timestamp is out of date: what is offered may be frozen.
    #[error(
        "{subject} expired at {expired_at} and this host's clock says {now}: the repository may \
         be held back on its way here; check the clock, then whether `handover repo refresh` runs"
    )]
    Freeze {
        /// Which file.
        subject: String,
        /// Its expiry.
        expired_at: Timestamp,
        /// When the update began, by this host's clock.
        now: Timestamp,
    },
    /// An older version than one that this host accepted before.
    #[error(
        "{subject} is version {offered}, older than {trusted}, which this host already accepted"
    )]
    Rollback {
        /// Which file.
        subject: String,
        /// The version offered.
        offered: u64,
        /// The version that is the floor.
        trusted: u64,
    },
    /// The same version as before with other content.
    #[error(
        "{subject} has version {version} again but other content than this host accepted before"
    )]
    Equivocation {
        /// Which file.
        subject: String,
        /// The version that both claim.
        version: u64,
    },
    /// Files that don't belong together.
    #[error("{subject} is not the file that {by} lists: {what}")]
    MixAndMatch {
        /// Which file.
        subject: String,
        /// The file that pins it.
        by: String,
        /// What differs.
        what: String,
    },
    /// A role's file that was listed before is listed no more (TUF 1.0.34, 5.5.5).
    #[error("the snapshot no longer lists {subject}, which this host has seen listed")]
    Vanished {
        /// Which file.
        subject: String,
    },
    /// The chain of roots does not go up by one.
    #[error("{subject} holds root version {offered}; only {wanted} may follow the trusted root")]
    RootGap {
        /// Which file.
        subject: String,
        /// The version inside.
        offered: u64,
        /// The version that may follow.
        wanted: u64,
    },
    /// More roots in a row than one update walks.
    #[error(
        "the repository has more than {walked} new roots; those are kept, update again for more"
    )]
    EndlessRoots {
        /// How many were walked.
        walked: u64,
    },
    /// More bytes than the bound.
    #[error("{subject} is longer than the {limit} bytes that it may have")]
    Endless {
        /// Which file.
        subject: String,
        /// The bound.
        limit: u64,
    },
    /// The repository does not have a file that it must have.
    #[error("the repository has no {subject}")]
    Missing {
        /// Which file.
        subject: String,
    },
    /// A kept file that is to prove a version floor does not.
    #[error("the kept {subject} is gone, or its signatures don't hold")]
    Unproved {
        /// Which file.
        subject: String,
    },
    /// The version floors are damaged; nothing may be accepted until a person mends that.
    #[error(
        "the record of accepted versions is damaged; `handover-agent doctor` says how to mend it"
    )]
    DamagedFloors {
        /// What is wrong.
        source: FramedError,
    },
    /// The version floors are gone although this host was set up before.
    #[error("the record of accepted versions is gone; `handover-agent doctor` says how to mend it")]
    MissingFloors,
    /// Nobody delegated the role, or it is not a role at all.
    #[error(
        "the repository has nothing signed by role {role}; a component needs \
         `handover repo add-key`, then a release"
    )]
    UnknownRole {
        /// The role.
        role: String,
    },
    /// A component's role speaks of what is not its own.
    #[error("role {role} lists {path}, which is outside its component")]
    WrongComponent {
        /// The role.
        role: String,
        /// The target's path.
        path: String,
    },
    /// What a target's facts say contradicts its path or each other.
    #[error("the facts of {path} contradict its path: {what}")]
    Contradiction {
        /// The target's path.
        path: String,
        /// What contradicts what.
        what: String,
    },
    /// A target that is not listed.
    #[error("no trusted role lists {path}")]
    UnknownTarget {
        /// The path asked for.
        path: String,
    },
    /// The release exists, but not for this platform.
    #[error("{component} {version} has no package for {platform}; there are: {there}")]
    PlatformMissing {
        /// The component.
        component: ComponentName,
        /// The version.
        version: Version,
        /// The host's platform.
        platform: Platform,
        /// The platforms that there are.
        there: String,
    },
    /// The release's keyholders took it back.
    #[error("{component} {version} was revoked: {reason}")]
    Revoked {
        /// The component.
        component: ComponentName,
        /// The version.
        version: Version,
        /// Why, in the keyholders' words.
        reason: String,
    },
    /// A package with other content than signed.
    #[error("{path} has digest {found}, signed was {wanted}")]
    WrongHash {
        /// The target's path.
        path: String,
        /// The signed digest.
        wanted: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A package with more or fewer bytes than signed.
    #[error("{path} has {found} bytes or more, signed were {wanted}")]
    WrongLength {
        /// The target's path.
        path: String,
        /// The signed length.
        wanted: u64,
        /// How many bytes came before it was given up.
        found: u64,
    },
    /// A permit for other agents.
    #[error("the permit is not for agent {agent}")]
    ForeignAgent {
        /// This host's agent.
        agent: AgentName,
    },
    /// An order or report of another agent.
    #[error("{subject} is of {found}, not of {wanted}")]
    OtherAgent {
        /// Which document.
        subject: String,
        /// The agent at hand.
        wanted: AgentId,
        /// The document's.
        found: AgentId,
    },
    /// An order past its time.
    #[error("the order expired at {expired_at} and this host's clock says {now}; order it again")]
    OrderExpired {
        /// Its expiry.
        expired_at: Timestamp,
        /// The time, by this host's clock.
        now: Timestamp,
    },
    /// A permit for another component.
    #[error("the permit is for {found}, not for {wanted}")]
    ForeignComponent {
        /// The component asked about.
        wanted: ComponentName,
        /// The permit's.
        found: ComponentName,
    },
    /// The caller asked for a result before the update was through.
    #[error("the update of repository metadata is not finished")]
    Unfinished,
}

impl VerifyError {
    /// A code that never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::Unsigned { .. } => "unsigned",
            Self::UnderThreshold { .. } => "under_threshold",
            Self::DuplicateSignature { .. } => "duplicate_signature",
            Self::Expired { .. } => "expired",
            Self::Freeze { .. } => "freeze",
            Self::Rollback { .. } => "rollback",
            Self::Equivocation { .. } => "equivocation",
            Self::MixAndMatch { .. } => "mix_and_match",
            Self::Vanished { .. } => "vanished",
            Self::RootGap { .. } => "root_gap",
            Self::EndlessRoots { .. } => "endless_roots",
            Self::Endless { .. } => "endless",
            Self::Missing { .. } => "missing",
            Self::Unproved { .. } => "unproved",
            Self::DamagedFloors { .. } => "damaged_floors",
            Self::MissingFloors => "missing_floors",
            Self::UnknownRole { .. } => "unknown_role",
            Self::WrongComponent { .. } => "wrong_component",
            Self::Contradiction { .. } => "contradiction",
            Self::UnknownTarget { .. } => "unknown_target",
            Self::PlatformMissing { .. } => "platform_missing",
            Self::Revoked { .. } => "revoked",
            Self::WrongHash { .. } => "wrong_hash",
            Self::WrongLength { .. } => "wrong_length",
            Self::ForeignAgent { .. } => "foreign_agent",
            Self::ForeignComponent { .. } => "foreign_component",
            Self::OtherAgent { .. } => "other_agent",
            Self::OrderExpired { .. } => "order_expired",
            Self::Unfinished => "unfinished",
        }
    }

    /// What the caller may do next. What a repository's keepers or a better mirror can mend is
    /// [`ErrorClass::Retry`].
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Expired { .. }
            | Self::Freeze { .. }
            | Self::MixAndMatch { .. }
            | Self::EndlessRoots { .. }
            | Self::Missing { .. }
            | Self::PlatformMissing { .. }
            | Self::UnknownTarget { .. }
            | Self::UnknownRole { .. } => ErrorClass::Retry,
            Self::Malformed { .. }
            | Self::Unsigned { .. }
            | Self::UnderThreshold { .. }
            | Self::DuplicateSignature { .. }
            | Self::Rollback { .. }
            | Self::Equivocation { .. }
            | Self::Vanished { .. }
            | Self::RootGap { .. }
            | Self::Endless { .. }
            | Self::Unproved { .. }
            | Self::DamagedFloors { .. }
            | Self::MissingFloors
            | Self::WrongComponent { .. }
            | Self::Contradiction { .. }
            | Self::Revoked { .. }
            | Self::WrongHash { .. }
            | Self::WrongLength { .. }
            | Self::ForeignAgent { .. }
            | Self::OtherAgent { .. }
            | Self::OrderExpired { .. }
            | Self::ForeignComponent { .. } => ErrorClass::Permanent,
            Self::Unfinished => ErrorClass::Bug,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the core's enum is not ours and may grow; whatever is new is a refusal too"
    )]
    /// Reads what the verifying core said of `subject`, at `now`.
    pub(crate) fn of_core(
        source: sigstore_tuf::Error,
        subject: &str,
        now: jiff::Timestamp,
    ) -> Self {
        use sigstore_tuf::Error as Core;
        let subject = subject.to_owned();
        match source {
            Core::ThresholdNotMet { role, found: 0, .. } => Self::Unsigned { subject, role },
            Core::ThresholdNotMet { role, found, threshold } => {
                Self::UnderThreshold { subject, role, need: threshold, found }
            }
            Core::DuplicateSignature { key_id, .. } => {
                Self::DuplicateSignature { subject, key: key_id }
            }
            Core::Rollback { trusted, new, .. } => {
                Self::Rollback { subject, offered: new, trusted }
            }
            Core::BadRootVersion { trusted, new } if new <= trusted => {
                Self::Rollback { subject, offered: new, trusted }
            }
            Core::BadRootVersion { trusted, new } => {
                Self::RootGap { subject, offered: new, wanted: trusted.saturating_add(1) }
            }
            Core::Expired { role, expires } => expired(&role, subject, expires, now),
            Core::UnknownRole(role) => Self::UnknownRole { role },
            Core::IntegrityMismatch(what) => {
                Self::MixAndMatch { subject, by: "its parent".to_owned(), what }
            }
            other => Self::Malformed { subject, source: Box::new(other) },
        }
    }
}

fn expired(
    role: &str,
    subject: String,
    expires: jiff::Timestamp,
    now: jiff::Timestamp,
) -> VerifyError {
    let (expired_at, now) = (expires.into(), now.into());
    if role == "timestamp" {
        VerifyError::Freeze { subject: "timestamp.json".to_owned(), expired_at, now }
    } else {
        VerifyError::Expired { subject, expired_at, now }
    }
}
