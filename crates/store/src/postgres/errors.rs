//! What PostgreSQL's codes mean to us (appendix A of its manual).

use std::sync::Arc;

use crate::StoreError;
use crate::error::shortened;

/// The named error behind what the server or the connection said of `sql`.
pub(crate) fn classify(database: &str, sql: &str, error: postgres::Error) -> StoreError {
    let database = database.to_owned();
    let Some(answer) = error.as_db_error() else {
        // Without a code it is either the connection, or a value that does not fit its
        // parameter, which is ours.
        let is_connection = error.is_closed() || is_of_io(&error);
        let source = Arc::new(error);
        return if is_connection {
            StoreError::Unreachable { database, source }
        } else {
            StoreError::Statement { sql: shortened(sql), source }
        };
    };
    let constraint = answer.constraint().unwrap_or_else(|| answer.message()).to_owned();
    let code = answer.code().code().to_owned();
    let source = Arc::new(error);
    match code.as_str() {
        "40001" | "40P01" => StoreError::Contended { database, tries: 1 },
        "25006" => StoreError::ReadOnly { database },
        // A standby refuses serializable transactions as a feature that it does not have.
        "0A000" if sql.starts_with("BEGIN") => StoreError::ReadOnly { database },
        "53100" => StoreError::Full { database },
        "55P03" | "57014" => StoreError::Locked { database },
        "58030" => StoreError::Disk { database, source },
        "3D000" => StoreError::Open { database, source },
        "42501" => StoreError::Denied { database, source },
        "XX001" | "XX002" => StoreError::Corrupt { database, source },
        // Classes: constraints, authorization, connection, resources, operator's intervention.
        code if code.starts_with("23") => StoreError::Constraint { constraint },
        code if code.starts_with("28") => StoreError::Denied { database, source },
        code if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => {
            StoreError::Unreachable { database, source }
        }
        _ => StoreError::Statement { sql: shortened(sql), source },
    }
}

/// The named error behind a connection that could not be made.
pub(crate) fn classify_connect(database: &str, error: postgres::Error) -> StoreError {
    if error.as_db_error().is_some() {
        return classify(database, "connecting", error);
    }
    StoreError::Unreachable { database: database.to_owned(), source: Arc::new(error) }
}

fn is_of_io(error: &postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}
