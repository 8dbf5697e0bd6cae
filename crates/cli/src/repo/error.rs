//! Why a repository command failed.

use camino::Utf8PathBuf;
use handover_hoststeps::HostError;
use handover_model::ErrorClass;
use handover_trust::VerifyError;
use handover_trust::author::AuthorError;
use handover_trust::keys::KeyError;

/// A repository command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepoError {
    /// A file operation.
    #[error(transparent)]
    Disk(#[from] HostError),
    /// A file operation outside `disk`.
    #[error("could not {act} {path}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What would be published, or is, would be refused by hosts.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A document can't be made as asked.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// A key file.
    #[error("could not use key file {path}")]
    Key {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// A passphrase is needed and nobody is there to type it.
    #[error(
        "{path} is encrypted and there is no terminal to ask at; use --passphrase-file or \
         HANDOVER_PASSPHRASE"
    )]
    NoPassphrase {
        /// The key file.
        path: Utf8PathBuf,
    },
    /// Nothing is there.
    #[error("there is no {path}")]
    NotFound {
        /// Where.
        path: Utf8PathBuf,
    },
    /// Not a repository.
    #[error("{path} is not a repository; `handover repo init {path}` makes one")]
    NotARepository {
        /// Where.
        path: Utf8PathBuf,
    },
    /// Something is there that would be overwritten.
    #[error("{path} exists already and is never overwritten; name another or move it away")]
    Exists {
        /// What.
        path: Utf8PathBuf,
    },
    /// Another command works on the repository.
    #[error("another command works on {path}; wait for it to end")]
    Busy {
        /// The repository.
        path: Utf8PathBuf,
    },
    /// A document that does not parse.
    #[error("{path} is damaged; take it from a backup")]
    Damaged {
        /// The file.
        path: Utf8PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Not enough keyholders have signed.
    #[error("nothing was published, signatures are missing:\n{}", missing.join("\n"))]
    Unsigned {
        /// A line per document.
        missing: Vec<String>,
    },
    /// Asked for something that makes no sense.
    #[error("{what}")]
    Refused {
        /// What, and the way out.
        what: String,
    },
}

impl RepoError {
    /// What the caller may do next.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Disk(error) => error.class(),
            Self::Verify(error) => error.class(),
            Self::Author(error) => error.class(),
            Self::Key { source, .. } => source.class(),
            Self::Io { .. } | Self::NoPassphrase { .. } => ErrorClass::Retry,
            Self::Busy { .. } => ErrorClass::Conflict,
            Self::NotFound { .. }
            | Self::NotARepository { .. }
            | Self::Exists { .. }
            | Self::Damaged { .. }
            | Self::Unsigned { .. }
            | Self::Refused { .. } => ErrorClass::Permanent,
        }
    }

    /// A name for programs that keeps its meaning.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Disk(_) | Self::Io { .. } => "repo.disk",
            Self::Verify(error) => error.code(),
            Self::Author(_) => "repo.document",
            Self::Key { .. } => "repo.key",
            Self::NoPassphrase { .. } => "repo.no-passphrase",
            Self::NotFound { .. } => "repo.not-found",
            Self::NotARepository { .. } => "repo.none",
            Self::Exists { .. } => "repo.exists",
            Self::Busy { .. } => "repo.busy",
            Self::Damaged { .. } => "repo.damaged",
            Self::Unsigned { .. } => "repo.unsigned",
            Self::Refused { .. } => "repo.refused",
        }
    }

    /// The code that docs/exit-codes.md gives it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Disk(HostError::Damaged { .. }) | Self::Damaged { .. } => 6,
            Self::Disk(_) | Self::Io { .. } | Self::Key { .. } | Self::NoPassphrase { .. } => 1,
            Self::NotFound { .. } | Self::NotARepository { .. } => 5,
            Self::Busy { .. } => 7,
            Self::Verify(_)
            | Self::Author(_)
            | Self::Exists { .. }
            | Self::Unsigned { .. }
            | Self::Refused { .. } => match self.class() {
                ErrorClass::Bug => 1,
                ErrorClass::Retry | ErrorClass::Conflict | ErrorClass::Permanent => 3,
            },
        }
    }
}
