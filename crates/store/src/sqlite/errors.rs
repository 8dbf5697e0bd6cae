//! What SQLite's codes mean to us.

use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::StoreError;
use crate::error::shortened;

/// The named error behind what SQLite said of `sql`.
pub(crate) fn classify(database: &str, sql: &str, error: rusqlite::Error) -> StoreError {
    let database = database.to_owned();
    let code = error.sqlite_error_code();
    let constraint = error.to_string();
    let source = Arc::new(error);
    let statement = |source| StoreError::Statement { sql: shortened(sql), source };
    let Some(code) = code else { return statement(source) };
    #[expect(clippy::wildcard_enum_match_arm, reason = "SQLite's enum, which grows")]
    match code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => StoreError::Locked { database },
        ErrorCode::DiskFull => StoreError::Full { database },
        ErrorCode::ReadOnly => StoreError::ReadOnly { database },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            StoreError::Corrupt { database, source }
        }
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            StoreError::Open { database, source }
        }
        ErrorCode::SystemIoFailure => StoreError::Disk { database, source },
        ErrorCode::ConstraintViolation => StoreError::Constraint { constraint },
        // Everything else is a statement of ours that SQLite can't run.
        _ => statement(source),
    }
}
