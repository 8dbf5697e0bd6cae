//! What can go wrong with a database, each with its way out.

use std::sync::Arc;

use handover_model::{ErrorClass, Version};

/// What a driver said. Shared, because one failed commit answers many writers.
pub(crate) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why the database did not do what it was asked to do.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another program holds the database.
    #[error(
        "database {database} is locked by another program: stop the other `handover server` or \
         SQLite tool that uses it, then try again"
    )]
    Locked {
        /// Which database.
        database: String,
    },
    /// There is no room to write.
    #[error(
        "database {database} can't grow, because its disk (or its limit) is full: nothing of this \
         change was written; free some space, then try again"
    )]
    Full {
        /// Which database.
        database: String,
    },
    /// The database can be read but not written.
    #[error(
        "database {database} is read-only: make the file, its directory and its `-wal` and `-shm` \
         files writable to this user (on PostgreSQL: connect to the primary)"
    )]
    ReadOnly {
        /// Which database.
        database: String,
    },
    /// The database's schema is too new for this program.
    #[error(
        "database {database} needs handover {needs} or newer; this is {program}: install a newer \
         handover, or restore a backup that {program} made"
    )]
    ProgramTooOld {
        /// Which database.
        database: String,
        /// The oldest program that its schema still serves.
        needs: Version,
        /// This program.
        program: Version,
    },
    /// What stands at the place is not a database of ours.
    #[error("{database} is not a handover database: {why}; give another `--database`")]
    Foreign {
        /// Which database.
        database: String,
        /// What was found there.
        why: &'static str,
    },
    /// The database's own structure is damaged.
    #[error(
        "database {database} is damaged: stop the server, keep a copy of the file, then restore \
         the latest backup with `handover server restore`"
    )]
    Corrupt {
        /// Which database.
        database: String,
        /// What the driver said.
        source: Cause,
    },
    /// A row holds a value that can't be what it should be.
    #[error(
        "a stored value is damaged: column {column} of `{sql}` is {found}, not {expected}; run \
         `handover server check`"
    )]
    CorruptRow {
        /// The statement, shortened.
        sql: String,
        /// The column's place, from 0.
        column: usize,
        /// What it should be.
        expected: &'static str,
        /// What it is, shortened.
        found: String,
    },
    /// The database can't be opened or created.
    #[error(
        "database {database} can't be opened: check that the path exists and that this user may \
         use it"
    )]
    Open {
        /// Which database.
        database: String,
        /// What the driver said.
        source: Cause,
    },
    /// Nobody answers, or the connection broke before anything was decided.
    #[error("database {database} can't be reached: check its address and that it is running")]
    Unreachable {
        /// Which database.
        database: String,
        /// What the driver said.
        source: Cause,
    },
    /// The database's server refuses this user.
    #[error(
        "database {database} refuses this user: check the user, the password and the rights in \
         its URL"
    )]
    Denied {
        /// Which database.
        database: String,
        /// What the driver said.
        source: Cause,
    },
    /// The connection, or the disk, failed during the commit.
    #[error(
        "database {database} failed during a commit: whether this change was written is unknown; \
         look, or ask again with the same idempotency key"
    )]
    Unknown {
        /// Which database.
        database: String,
        /// What the driver said.
        source: Cause,
    },
    /// Other transactions kept winning.
    #[error("database {database} is contended: {tries} tries of one transaction lost; try again")]
    Contended {
        /// Which database.
        database: String,
        /// How often it was tried.
        tries: u32,
    },
    /// A row with the same unique value, or a row that others refer to, stands in the way.
    #[error("the change contradicts what is stored ({constraint})")]
    Constraint {
        /// The constraint, as the database names it.
        constraint: String,
    },
    /// The row has changed since the one who asks has seen it.
    #[error("{what} {id} has changed since: its generation is {found}, not {expected}; look again")]
    Stale {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        id: String,
        /// The generation that was expected.
        expected: u64,
        /// The generation that is stored.
        found: u64,
    },
    /// A text that is not a place in this list.
    #[error("{text:?} is not a place in this list: send what the page before gave as `next`")]
    Cursor {
        /// What was offered, cut to 80 characters.
        text: String,
    },
    /// There is no such row.
    #[error("there is no {what} {id}")]
    Absent {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        id: String,
    },
    /// Another holder took the lease over.
    #[error("lease {lease} was taken over: its fence is {found}, this holder's is {held}")]
    Fenced {
        /// The lease's name.
        lease: String,
        /// The fence that this holder has.
        held: i64,
        /// The fence that counts now; 0 when nobody holds the lease.
        found: i64,
    },
    /// The statement is wrong.
    #[error("a statement failed: `{sql}`")]
    Statement {
        /// The statement, shortened.
        sql: String,
        /// What the driver said.
        source: Cause,
    },
    /// The closure panicked; its changes were taken back.
    #[error("a transaction panicked and was taken back")]
    Panicked,
    /// Too much waits to be written already.
    #[error("{waiting} changes wait to be written already: try again later")]
    Overloaded {
        /// How many wait.
        waiting: usize,
    },
    /// The disk failed, or refused, a read or a write.
    #[error("the disk of database {database} failed: see the system's log; nothing was written")]
    Disk {
        /// Which database.
        database: String,
        /// What the driver said.
        source: Cause,
    },
    /// The store was closed.
    #[error("the database was closed: the server is stopping")]
    Closed,
    /// A file beside the database can't be written or read.
    #[error("{act} {path} failed")]
    File {
        /// What was tried.
        act: &'static str,
        /// Which file.
        path: String,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// A place that must be empty is not.
    #[error("{subject} is not empty: {way_out}")]
    Occupied {
        /// What is occupied.
        subject: String,
        /// What to do.
        way_out: &'static str,
    },
}

impl StoreError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Locked { .. }
            | Self::Full { .. }
            | Self::Unreachable { .. }
            | Self::Unknown { .. }
            | Self::Contended { .. }
            | Self::Overloaded { .. }
            | Self::Disk { .. }
            | Self::Closed => ErrorClass::Retry,
            Self::Constraint { .. } | Self::Stale { .. } | Self::Fenced { .. } => {
                ErrorClass::Conflict
            }
            Self::ReadOnly { .. }
            | Self::ProgramTooOld { .. }
            | Self::Foreign { .. }
            | Self::Corrupt { .. }
            | Self::CorruptRow { .. }
            | Self::Open { .. }
            | Self::Denied { .. }
            | Self::Absent { .. }
            | Self::Cursor { .. }
            | Self::File { .. }
            | Self::Occupied { .. } => ErrorClass::Permanent,
            Self::Statement { .. } | Self::Panicked => ErrorClass::Bug,
        }
    }
}

/// `sql` on one line and short enough for an error.
pub(crate) fn shortened(sql: &str) -> String {
    let mut line = String::new();
    for word in sql.split_whitespace() {
        if line.len() + word.len() > 120 {
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}
