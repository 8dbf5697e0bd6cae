//! Why a release command failed.

use camino::Utf8PathBuf;
use handover_hoststeps::HostError;
use handover_trust::VerifyError;
use handover_trust::author::AuthorError;

use super::check::Problem;
use crate::repo::RepoError;

/// A release command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    /// What it shares with repository commands.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The description does not parse.
    #[error("{path}{at}: {what}")]
    Malformed {
        /// The file.
        path: Utf8PathBuf,
        /// `:line:column`, or empty.
        at: String,
        /// What the parser said.
        what: String,
    },
    /// The description contradicts itself, its payload or the repository.
    #[error("{path} can't be released:\n{}", lines(path, problems))]
    Problems {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong.
        problems: Vec<Problem>,
    },
    /// The payload can't become a package.
    #[error("{path}: {what}")]
    Payload {
        /// The file in question.
        path: Utf8PathBuf,
        /// What is wrong, and the way out.
        what: String,
    },
    /// `gpg` failed.
    #[error("gpg could not sign {path}: {said}")]
    OpenPgp {
        /// The package.
        path: Utf8PathBuf,
        /// What gpg said.
        said: String,
    },
    /// Nothing of that name is published.
    #[error("{subject} is not published; `handover release list` shows what is")]
    NotPublished {
        /// The component, or component and version.
        subject: String,
    },
}

impl ReleaseError {
    /// A file operation that failed.
    pub(crate) fn io(
        act: &'static str,
        path: impl Into<Utf8PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Repo(RepoError::Io { act, path, source })
    }

    /// A name for programs that keeps its meaning.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Repo(error) => error.code(),
            Self::Malformed { .. } => "release.malformed",
            Self::Problems { .. } => "release.contradiction",
            Self::Payload { .. } => "release.payload",
            Self::OpenPgp { .. } => "release.openpgp",
            Self::NotPublished { .. } => "release.not-published",
        }
    }

    /// The code that docs/exit-codes.md gives it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Repo(error) => error.exit_code(),
            Self::Malformed { .. } | Self::Problems { .. } | Self::Payload { .. } => 3,
            Self::OpenPgp { .. } => 1,
            Self::NotPublished { .. } => 5,
        }
    }
}

impl From<HostError> for ReleaseError {
    fn from(error: HostError) -> Self {
        Self::Repo(error.into())
    }
}

impl From<VerifyError> for ReleaseError {
    fn from(error: VerifyError) -> Self {
        Self::Repo(error.into())
    }
}

impl From<AuthorError> for ReleaseError {
    fn from(error: AuthorError) -> Self {
        Self::Repo(error.into())
    }
}

fn lines(path: &Utf8PathBuf, problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let at = problem.line.map_or_else(String::new, |line| format!(":{line}"));
        format!("  {path}{at}: {}: {}; {}", problem.field, problem.what, problem.way_out)
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
