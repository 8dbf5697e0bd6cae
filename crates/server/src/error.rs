//! Why a server does not start, each with its way out.

use camino::Utf8PathBuf;
use handover_model::{ErrorClass, Timestamp};

use crate::files::FileError;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address can't be listened on.
    #[error(
        "{address} is in use: stop the program that listens there (`ss -ltnp` names it), or give \
         another `--listen`"
    )]
    AddressInUse {
        /// The address.
        address: std::net::SocketAddr,
    },
    /// The address can't be listened on for another reason.
    #[error("can't listen on {address}: give an address of this machine with `--listen`")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data directory, or a file in it, can't be used.
    #[error("the data directory can't be used")]
    Data {
        /// What failed.
        source: FileError,
    },
    /// Another server runs on the data directory.
    #[error("another server runs on {data}: stop it first, or give another `--data`")]
    InUse {
        /// The data directory.
        data: Utf8PathBuf,
    },
    /// A key is missing beside a database that was made with it.
    #[error(
        "{path} is missing, and agents trust that key: put it back from a backup of the data \
         directory; a new one would lose every agent"
    )]
    KeyMissing {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The key of webhooks is missing beside a database that was used with it.
    #[error(
        "{path} is missing, and the secret of every webhook follows from it: put it back from a \
         backup of the data directory; if it is lost, leave an empty file of mode 0600 in its \
         place, and make every webhook anew"
    )]
    WebhookKeyMissing {
        /// The file.
        path: Utf8PathBuf,
    },
    /// A key can be read by others.
    #[error(
        "{path} has mode {mode:04o}, so that others can read it: run `chmod 600 {path}`, and \
         rotate the key if anyone may have"
    )]
    KeyMode {
        /// The file.
        path: Utf8PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A key file is damaged.
    #[error("{path} is damaged ({why}): put it back from a backup of the data directory")]
    KeyDamaged {
        /// The file.
        path: Utf8PathBuf,
        /// In which way.
        why: String,
    },
    /// The keys are not those that the database was made with.
    #[error(
        "{path} holds other keys than those that {database} was made with, and that its agents \
         trust: put the right directory back from a backup, or give another `--database`"
    )]
    KeysForeign {
        /// The keys' directory.
        path: Utf8PathBuf,
        /// The database.
        database: String,
    },
    /// The channel's CA has expired.
    #[error(
        "the channel CA {path} expired at {expired}: if the clock is right, run `handover server \
         rotate-ca --now`; agents that hold the standby stay, others enrol again"
    )]
    CaExpired {
        /// The certificate's file.
        path: Utf8PathBuf,
        /// When it expired.
        expired: Timestamp,
    },
    /// The clock is before the CA's birth.
    #[error("the clock says {now}, but {path} was made at {made}: set the clock, then start again")]
    ClockBehind {
        /// The certificate's file.
        path: Utf8PathBuf,
        /// What the clock says.
        now: Timestamp,
        /// When the certificate begins.
        made: Timestamp,
    },
    /// A name can't stand in a certificate.
    #[error("{name:?} can't stand in a certificate: give host names or addresses with `--name`")]
    Name {
        /// The name.
        name: String,
    },
    /// The cryptographic library refused.
    #[error("can't {act}")]
    Crypto {
        /// What was tried.
        act: &'static str,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A route stands in no table: a defect of ours.
    #[error("route {method} {path} declares no permission")]
    Undeclared {
        /// The route's method.
        method: String,
        /// The route's path.
        path: String,
    },
    /// A route of the table is not mounted: a defect of ours.
    #[error("route {method} {path} is declared but not there")]
    Unmounted {
        /// The route's method.
        method: String,
        /// The route's path.
        path: String,
    },
    /// `--database` names no database.
    #[error("`--database` can't be used")]
    DatabaseName {
        /// What is wrong with it.
        source: handover_store::DatabaseError,
    },
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] handover_store::StoreError),
    /// The system has no dice, threads or signals for us.
    #[error("can't {act}")]
    System {
        /// What was tried.
        act: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StartError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::AddressInUse { .. } | Self::InUse { .. } | Self::System { .. } => {
                ErrorClass::Retry
            }
            Self::Listen { .. }
            | Self::Data { .. }
            | Self::KeyMissing { .. }
            | Self::WebhookKeyMissing { .. }
            | Self::KeyMode { .. }
            | Self::KeyDamaged { .. }
            | Self::KeysForeign { .. }
            | Self::CaExpired { .. }
            | Self::ClockBehind { .. }
            | Self::DatabaseName { .. }
            | Self::Name { .. } => ErrorClass::Permanent,
            Self::Crypto { .. } | Self::Undeclared { .. } | Self::Unmounted { .. } => {
                ErrorClass::Bug
            }
            Self::Database(error) => error.class(),
        }
    }

    /// A name that keeps its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AddressInUse { .. } => "server.port-in-use",
            Self::Listen { .. } => "server.listen",
            Self::Data { .. } => "server.data",
            Self::InUse { .. } => "server.running",
            Self::KeyMissing { .. } | Self::WebhookKeyMissing { .. } => "server.key-missing",
            Self::KeyMode { .. } => "server.key-mode",
            Self::KeyDamaged { .. } => "server.key-damaged",
            Self::KeysForeign { .. } => "server.keys-foreign",
            Self::CaExpired { .. } => "server.ca-expired",
            Self::ClockBehind { .. } => "server.clock",
            Self::Name { .. } => "server.name",
            Self::Crypto { .. } | Self::Undeclared { .. } | Self::Unmounted { .. } => "server.bug",
            Self::DatabaseName { .. } | Self::Database(_) => "server.database",
            Self::System { .. } => "server.system",
        }
    }

    /// The exit code, as docs/exit-codes.md has it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::AddressInUse { .. } | Self::InUse { .. } => 7,
            Self::KeyMissing { .. }
            | Self::WebhookKeyMissing { .. }
            | Self::KeyDamaged { .. }
            | Self::KeysForeign { .. } => 6,
            Self::DatabaseName { .. } => 2,
            Self::Database(error) => database_exit(error),
            Self::KeyMode { .. }
            | Self::CaExpired { .. }
            | Self::ClockBehind { .. }
            | Self::Name { .. } => 3,
            Self::Listen { .. }
            | Self::Data { .. }
            | Self::Crypto { .. }
            | Self::Undeclared { .. }
            | Self::Unmounted { .. }
            | Self::System { .. } => 1,
        }
    }
}

impl From<FileError> for StartError {
    fn from(source: FileError) -> Self {
        Self::Data { source }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the store's enum is open, and 1 is `failed`")]
/// A database that others use is busy, one that can't be read is damaged.
fn database_exit(error: &handover_store::StoreError) -> u8 {
    use handover_store::StoreError as Store;
    match error {
        Store::Locked { .. } => 7,
        Store::Corrupt { .. } | Store::CorruptRow { .. } => 6,
        Store::ProgramTooOld { .. }
        | Store::Foreign { .. }
        | Store::ReadOnly { .. }
        | Store::Denied { .. } => 3,
        _ => 1,
    }
}
