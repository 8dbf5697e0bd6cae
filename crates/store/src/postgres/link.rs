//! One connection: its prepared statements, and statements on it.

use std::collections::HashMap;
use std::sync::Arc;

use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Statement};

use super::errors::{classify, classify_connect};
use super::tls::Target;
use crate::{Cell, StoreError, Value};

/// Prepared statements that a connection keeps.
const MOST_STATEMENTS: usize = 512;

/// A connection.
pub(crate) struct Link {
    client: Client,
    statements: HashMap<String, Statement>,
    target: Arc<Target>,
}

impl Link {
    /// Connects, and sets what we rely on.
    pub(crate) fn connect(target: Arc<Target>) -> Result<Self, StoreError> {
        let client = target.connect().map_err(|error| classify_connect(&target.database, error))?;
        let mut link = Self { client, statements: HashMap::new(), target };
        let patience = link.target.patience_ms;
        link.batch(&format!(
            "SET synchronous_commit = on; SET lock_timeout = {patience}; \
             SET idle_in_transaction_session_timeout = 60000"
        ))?;
        Ok(link)
    }

    /// How the database is called in errors.
    pub(crate) fn database(&self) -> &str {
        &self.target.database
    }

    /// Runs statements without parameters.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.client.batch_execute(sql).map_err(|error| classify(&self.target.database, sql, error))
    }

    /// Whether the other side is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs one statement with the driver's own parameters; returns how many rows it changed.
    pub(crate) fn execute(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, StoreError> {
        let statement = self.prepared(sql)?;
        self.client
            .execute(&statement, values)
            .map_err(|error| classify(&self.target.database, sql, error))
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self
            .client
            .prepare(sql)
            .map_err(|error| classify(&self.target.database, sql, error))?;
        if self.statements.len() >= MOST_STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// A connection inside a transaction.
pub(crate) struct Session<'c> {
    link: &'c mut Link,
}

impl<'c> Session<'c> {
    /// Speaks through `link`, which has begun a transaction.
    pub(crate) fn new(link: &'c mut Link) -> Self {
        Self { link }
    }

    /// How the database is called in errors.
    pub(crate) fn database(&self) -> &str {
        self.link.database()
    }

    /// See [`crate::Tx::execute`].
    pub(crate) fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        self.link.execute(sql, &borrowed(values))
    }

    /// See [`crate::Tx::query`].
    pub(crate) fn query(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Vec<Cell>>, StoreError> {
        let statement = self.link.prepared(sql)?;
        let rows = self.link.client.query(&statement, &borrowed(values));
        rows.and_then(|rows| rows.iter().map(cells).collect())
            .map_err(|error| classify(self.link.database(), sql, error))
    }

    /// See [`crate::Tx::batch`].
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.link.batch(sql)
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("database", &self.database()).finish_non_exhaustive()
    }
}

fn borrowed<'v>(values: &'v [Value<'_>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values.iter().map(|value| -> &'v (dyn ToSql + Sync) { value }).collect()
}

fn cells(row: &postgres::Row) -> Result<Vec<Cell>, postgres::Error> {
    let cell = |(column, about): (usize, &postgres::Column)| {
        let kind = about.type_();
        Ok(if *kind == Type::INT8 {
            row.try_get::<_, Option<i64>>(column)?.map_or(Cell::Null, Cell::Int)
        } else if *kind == Type::INT4 {
            row.try_get::<_, Option<i32>>(column)?.map_or(Cell::Null, |int| Cell::Int(int.into()))
        } else if *kind == Type::BOOL {
            row.try_get::<_, Option<bool>>(column)?
                .map_or(Cell::Null, |truth| Cell::Int(truth.into()))
        } else if *kind == Type::BYTEA {
            row.try_get::<_, Option<Vec<u8>>>(column)?.map_or(Cell::Null, Cell::Blob)
        } else {
            // Whatever is not text either says so itself.
            row.try_get::<_, Option<String>>(column)?.map_or(Cell::Null, Cell::Text)
        })
    };
    row.columns().iter().enumerate().map(cell).collect()
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut postgres::types::private::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(int) if *kind == Type::INT4 => i32::try_from(*int)?.to_sql(kind, out),
            Self::Int(int) if *kind == Type::INT8 => int.to_sql(kind, out),
            Self::Text(text) if <&str>::accepts(kind) => text.as_ref().to_sql(kind, out),
            Self::Blob(bytes) if *kind == Type::BYTEA => bytes.as_ref().to_sql(kind, out),
            Self::Int(_) | Self::Text(_) | Self::Blob(_) => {
                Err(format!("{self:?} is no {kind}").into())
            }
        }
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
