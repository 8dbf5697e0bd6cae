//! Why a package is not unpacked.

use camino::Utf8PathBuf;
use handover_model::{Digest, ErrorClass};

/// What makes an entry unsafe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsafe {
    /// Its path begins at the root.
    Absolute,
    /// Its path climbs with `..`.
    Climbs,
    /// Its name is not UTF-8, is empty or too long, or holds control characters.
    Name,
    /// Another entry has the same path.
    Duplicate,
    /// Another entry's path differs in case alone.
    CaseClash,
    /// It lies below something that is not a directory.
    ThroughLink,
    /// It is a link that leads out of the package, or through another link.
    LinkOut,
    /// It is a hard link.
    HardLink,
    /// It is a device, a pipe, a socket or something else that is no file.
    Special,
    /// It has a set-uid, set-gid or sticky bit.
    SetId,
}

impl Unsafe {
    fn words(self) -> &'static str {
        match self {
            Self::Absolute => "an absolute path",
            Self::Climbs => "a path with `..`",
            Self::Name => "a name that is not plain UTF-8 text of a sensible length",
            Self::Duplicate => "a path that another entry has too",
            Self::CaseClash => "a path that differs from another one in case alone",
            Self::ThroughLink => "a path below something that is not a directory",
            Self::LinkOut => "a link that leads out of the package",
            Self::HardLink => "a hard link",
            Self::Special => "neither file, directory nor symbolic link",
            Self::SetId => "a set-uid, set-gid or sticky bit",
        }
    }

    /// A name for programs, stable over releases.
    pub fn code(self) -> &'static str {
        match self {
            Self::Absolute => "unpack.absolute-path",
            Self::Climbs => "unpack.parent-path",
            Self::Name => "unpack.name",
            Self::Duplicate => "unpack.duplicate",
            Self::CaseClash => "unpack.case-clash",
            Self::ThroughLink => "unpack.through-link",
            Self::LinkOut => "unpack.link-out",
            Self::HardLink => "unpack.hard-link",
            Self::Special => "unpack.special-file",
            Self::SetId => "unpack.set-id",
        }
    }
}

/// A package that was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// An entry could reach outside, or hide something.
    #[error("the package holds {path:?}, which is {}", reason.words())]
    Unsafe {
        /// The entry's path, lossily.
        path: Utf8PathBuf,
        /// What is wrong with it.
        reason: Unsafe,
    },
    /// The archive does not decode; also a zstd window over 8 MiB.
    #[error("the package is not a zstd-compressed tar archive within this host's bounds")]
    Archive {
        /// What the decoder said.
        source: std::io::Error,
    },
    /// Something follows the end of the archive.
    #[error("the package goes on behind the end of its archive")]
    Trailing,
    /// More entries than signed.
    #[error("the package has more than the {declared} entries that its signed metadata declares")]
    TooManyEntries {
        /// The signed bound.
        declared: u64,
    },
    /// More bytes than signed.
    #[error("the package unpacks to more bytes than its signed metadata declares, at {at:?}")]
    TooManyBytes {
        /// The entry at which the bound was passed.
        at: Utf8PathBuf,
    },
    /// A file that every package has is not there, or not a program.
    #[error("the package has no usable {what}")]
    Missing {
        /// Its path.
        what: &'static str,
    },
    /// The manifest is not the signed one.
    #[error("the package's manifest is {found}, signed metadata lists {signed}")]
    ManifestDigest {
        /// What the package holds.
        found: Digest,
        /// What is signed.
        signed: Digest,
    },
    /// The manifest does not parse.
    #[error("the package's manifest does not parse")]
    Manifest {
        /// The parser's complaint.
        source: serde_json::Error,
    },
    /// The manifest is of a newer format.
    #[error(
        "the package's manifest is of format {found}; this agent reads up to 1: update the agent \
         first"
    )]
    ManifestTooNew {
        /// What it says.
        found: u32,
    },
    /// Manifest and signed facts contradict each other.
    #[error("the package's manifest and its signed metadata contradict each other")]
    Disagree,
    /// There is no space for it.
    #[error("the disk that holds {path} is full: free some space, then run it again")]
    DiskFull {
        /// The file that did not fit.
        path: Utf8PathBuf,
    },
    /// The disk failed us.
    #[error("could not {act} {path}")]
    Disk {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl UnpackError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::DiskFull { .. } | Self::Disk { .. } => ErrorClass::Retry,
            Self::Unsafe { .. }
            | Self::Archive { .. }
            | Self::Trailing
            | Self::TooManyEntries { .. }
            | Self::TooManyBytes { .. }
            | Self::Missing { .. }
            | Self::ManifestDigest { .. }
            | Self::Manifest { .. }
            | Self::ManifestTooNew { .. }
            | Self::Disagree => ErrorClass::Permanent,
        }
    }

    /// A name for programs, stable over releases.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsafe { reason, .. } => reason.code(),
            Self::Archive { .. } => "unpack.archive",
            Self::Trailing => "unpack.trailing",
            Self::TooManyEntries { .. } => "unpack.too-many-entries",
            Self::TooManyBytes { .. } => "unpack.too-many-bytes",
            Self::Missing { .. } => "unpack.missing",
            Self::ManifestDigest { .. } => "unpack.manifest-digest",
            Self::Manifest { .. } => "unpack.manifest",
            Self::ManifestTooNew { .. } => "unpack.manifest-too-new",
            Self::Disagree => "unpack.disagree",
            Self::DiskFull { .. } => "unpack.disk-full",
            Self::Disk { .. } => "unpack.disk",
        }
    }
}
