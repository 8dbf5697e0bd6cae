//! Why this program could not update itself.

use camino::Utf8PathBuf;
use handover_client::call::CallError;
use handover_client::download::DownloadError;
use handover_client::fetch::FetchError;
use handover_client::repository::{RepositoryError, code_of};
use handover_engine::floors::FloorError;
use handover_engine::graph::NoPath;
use handover_hoststeps::HostError;
use handover_model::Digest;
use handover_trust::VerifyError;

use crate::control::ControlError;

/// A self-update that failed. The program that ran before still runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelfUpdateError {
    /// The package manager looks after the file.
    #[error(
        "{path} belongs to the Debian package {package}; update that one: apt-get install \
         --only-upgrade {package}"
    )]
    Packaged {
        /// The executable.
        path: Utf8PathBuf,
        /// Whose it is.
        package: String,
    },
    /// The file can't be replaced by this user.
    #[error("{directory} is not writable for you; run it as the one who installed {path}")]
    NotWritable {
        /// The executable.
        path: Utf8PathBuf,
        /// Where it lies.
        directory: Utf8PathBuf,
    },
    /// Nobody says what to trust.
    #[error(
        "no root is trusted yet: log in to a control plane whose repository is set up, or give \
         the first root with --trusted-root FILE"
    )]
    NoRoot,
    /// Nobody says where the repository is.
    #[error("no repository is known: log in to a control plane, or name one with --repository URL")]
    NoRepository,
    /// The repository's first root is not the one that was pinned.
    #[error(
        "{url} has digest {found}, and {pinned} was pinned at login: this is another repository; \
         find out why before you log in again"
    )]
    OtherRoot {
        /// Where it was fetched.
        url: String,
        /// What came.
        found: Digest,
        /// What was pinned.
        pinned: Digest,
    },
    /// There is something newer and no way to it.
    #[error("there is a newer version that this one can't go to")]
    NoPath {
        /// Why not.
        why: Box<NoPath>,
    },
    /// The package does not hold the program.
    #[error("the package of handover-cli {version} {what}; tell its publisher")]
    Package {
        /// Which.
        version: handover_model::Version,
        /// What is wrong.
        what: String,
    },
    /// The new program does not work here.
    #[error(
        "the new program failed its own test ({what}), so {path} stays as it is; tell its publisher"
    )]
    SelfTest {
        /// What would have been replaced.
        path: Utf8PathBuf,
        /// What happened.
        what: String,
    },
    /// Something of this program's own can't be read.
    #[error("this build of handover can't read {what}")]
    Unreadable {
        /// What.
        what: &'static str,
    },
    /// A file operation.
    #[error("could not {act} {path}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What it shares with commands that speak to a control plane.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The repository's metadata.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// What the repository offers is refused.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The package could not be brought.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// A file could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] HostError),
    /// The floors.
    #[error("the versions that this program accepts are not known; remove {path} to begin anew")]
    Floors {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong.
        source: Box<FloorError>,
    },
}

impl SelfUpdateError {
    /// A file operation that failed.
    pub(super) fn io(
        act: &'static str,
        path: impl Into<Utf8PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { act, path, source }
    }

    /// A name for programs that keeps its meaning.
    pub(crate) fn code(&self) -> String {
        match self {
            Self::Packaged { .. } => "self-update.packaged".to_owned(),
            Self::NotWritable { .. } => "self-update.not-writable".to_owned(),
            Self::NoRoot => "self-update.no-root".to_owned(),
            Self::NoRepository => "self-update.no-repository".to_owned(),
            Self::OtherRoot { .. } => "self-update.other-root".to_owned(),
            Self::NoPath { .. } => "no-path".to_owned(),
            Self::Package { .. } => "self-update.package".to_owned(),
            Self::SelfTest { .. } => "self-update.self-test".to_owned(),
            Self::Unreadable { .. } => "self-update.build".to_owned(),
            Self::Io { .. } | Self::Disk(_) => "self-update.disk".to_owned(),
            Self::Floors { .. } => "self-update.floors".to_owned(),
            Self::Control(error) => error.code().to_owned(),
            Self::Repository(error) => error.code(),
            Self::Verify(error) => code_of(error),
            Self::Download(error) => error.code().to_owned(),
            Self::Fetch(error) => error.code().to_owned(),
            Self::Call(error) => error.code().to_owned(),
        }
    }

    /// The code that docs/exit-codes.md gives it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Packaged { .. }
            | Self::NotWritable { .. }
            | Self::OtherRoot { .. }
            | Self::NoPath { .. }
            | Self::Package { .. }
            | Self::Verify(_)
            | Self::Repository(RepositoryError::Verify(_) | RepositoryError::OtherRoot { .. })
            | Self::Download(DownloadError::Digest { .. } | DownloadError::Length { .. }) => 3,
            Self::NoRoot | Self::NoRepository => 5,
            // The new one was tried and the old one runs.
            Self::SelfTest { .. } => 4,
            Self::Floors { .. } => 6,
            Self::Control(error) => error.exit_code(),
            Self::Repository(RepositoryError::Busy) => 7,
            Self::Repository(
                RepositoryError::Fetch(_)
                | RepositoryError::Disk(_)
                | RepositoryError::NoRoot { .. },
            )
            | Self::Unreadable { .. }
            | Self::Io { .. }
            | Self::Download(
                DownloadError::Fetch(_)
                | DownloadError::DiskFull { .. }
                | DownloadError::Disk { .. }
                | DownloadError::Stopped,
            )
            | Self::Fetch(_)
            | Self::Call(_)
            | Self::Disk(_) => 1,
        }
    }
}
