//! Statements on one connection.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql};

use super::classify;
use crate::{Cell, StoreError, Value};

/// A connection inside a transaction.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    connection: &'c Connection,
    database: &'c str,
}

impl<'c> Session<'c> {
    /// Speaks to `connection`, which has begun a transaction.
    pub(crate) fn new(connection: &'c Connection, database: &'c str) -> Self {
        Self { connection, database }
    }

    /// How the database is called in errors.
    pub(crate) fn database(&self) -> &str {
        self.database
    }

    /// See [`crate::Tx::execute`].
    pub(crate) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let run = || {
            let mut statement = self.bound(sql, values)?;
            statement.raw_execute()
        };
        let changed = run().map_err(|error| classify(self.database, sql, error))?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    /// See [`crate::Tx::query`].
    pub(crate) fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Vec<Cell>>, StoreError> {
        let run = || {
            let mut statement = self.bound(sql, values)?;
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let cells = (0..columns).map(|column| row.get_ref(column).map(cell));
                all.push(cells.collect::<Result<Vec<_>, _>>()?);
            }
            Ok(all)
        };
        run().map_err(|error| classify(self.database, sql, error))
    }

    /// See [`crate::Tx::batch`].
    pub(crate) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(|error| classify(self.database, sql, error))
    }

    /// The prepared statement with its parameters. SQLite takes `$1` for a name and numbers names
    /// as they come, so each is bound by the number that its name says.
    fn bound(&self, sql: &str, values: &[Value<'_>]) -> rusqlite::Result<CachedStatement<'c>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        for place in 1..=statement.parameter_count() {
            let number =
                statement.parameter_name(place).and_then(|name| name.get(1..)?.parse().ok());
            let value = number.and_then(|number: usize| values.get(number.checked_sub(1)?));
            let Some(value) = value else {
                return Err(rusqlite::Error::InvalidParameterCount(values.len(), place));
            };
            statement.raw_bind_parameter(place, value)?;
        }
        Ok(statement)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(int) => ValueRef::Integer(*int),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A real number or text that is not UTF-8 comes back as bytes, which no typed getter takes for
/// what it wanted.
fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(int) => Cell::Int(int),
        ValueRef::Real(real) => Cell::Blob(real.to_be_bytes().to_vec()),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cell::Text(text.to_owned()),
            Err(_) => Cell::Blob(bytes.to_vec()),
        },
        ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
    }
}
