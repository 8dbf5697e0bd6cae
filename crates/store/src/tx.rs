//! One transaction, whatever database it runs on.

use std::sync::Arc;

use crate::schema::Dialect;
use crate::{Row, StoreError, Value};
use crate::{postgres, sqlite};

/// A transaction in progress. It is committed when the closure that got it answers `Ok`, and
/// leaves nothing behind when it answers `Err` or panics.
///
/// A statement that fails, fails the transaction: every later one answers the same error and
/// nothing is written, on both databases alike. To insert what may be there, say `ON CONFLICT`.
#[derive(Debug)]
pub struct Tx<'c> {
    driver: Driver<'c>,
    failed: Option<StoreError>,
    has_news: bool,
    /// What was asked, for tests of plans.
    #[cfg(test)]
    pub(crate) asked: Vec<(String, Vec<Value<'static>>)>,
}

/// The two databases.
#[derive(Debug)]
pub(crate) enum Driver<'c> {
    /// A savepoint, or the whole of a group's transaction.
    Sqlite(sqlite::Session<'c>),
    /// A serializable transaction.
    Postgres(postgres::Session<'c>),
}

impl<'c> Tx<'c> {
    /// A transaction that `driver` has begun.
    pub(crate) fn new(driver: Driver<'c>) -> Self {
        Self {
            driver,
            failed: None,
            has_news: false,
            #[cfg(test)]
            asked: Vec::new(),
        }
    }

    /// Runs a statement that answers nothing; returns how many rows it changed.
    ///
    /// SQL is the subset that both databases read alike; parameters are `$1`, `$2`, ….
    ///
    /// # Errors
    /// [`StoreError`], by name; it fails the whole transaction.
    pub fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        self.unless_failed()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(session) => session.execute(sql, values),
            Driver::Postgres(session) => session.execute(sql, values),
        };
        self.remember(outcome)
    }

    /// Runs a statement and returns all rows that it answers. Every list is bounded by a `LIMIT`.
    ///
    /// # Errors
    /// [`StoreError`], by name; it fails the whole transaction.
    pub fn query(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        self.unless_failed()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(session) => session.query(sql, values),
            Driver::Postgres(session) => session.query(sql, values),
        };
        #[cfg(test)]
        self.asked.push((sql.to_owned(), values.iter().map(Value::to_owned_value).collect()));
        let rows = self.remember(outcome)?;
        let sql: Arc<str> = sql.into();
        Ok(rows.into_iter().map(|cells| Row::new(cells, Arc::clone(&sql))).collect())
    }

    /// Runs a statement and returns its first row, if it answers one.
    ///
    /// # Errors
    /// [`StoreError`], by name; it fails the whole transaction.
    pub fn query_opt(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, values)?.into_iter().next())
    }

    /// Runs a statement that always answers a row: `count(*)`, `RETURNING`.
    ///
    /// # Errors
    /// [`StoreError`], by name; [`StoreError::CorruptRow`] when there is no row after all.
    pub fn query_one(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Row, StoreError> {
        self.query_opt(sql, values)?.ok_or_else(|| StoreError::CorruptRow {
            sql: crate::error::shortened(sql),
            column: 0,
            expected: "a row",
            found: "no row".to_owned(),
        })
    }

    /// Runs several statements without parameters: a migration.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.unless_failed()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(session) => session.batch(sql),
            Driver::Postgres(session) => session.batch(sql),
        };
        self.remember(outcome)
    }

    /// Which of the two it is.
    pub(crate) fn dialect(&self) -> Dialect {
        match &self.driver {
            Driver::Sqlite(_) => Dialect::Sqlite,
            Driver::Postgres(_) => Dialect::Postgres,
        }
    }

    /// How the database is called in errors.
    pub(crate) fn database(&self) -> &str {
        match &self.driver {
            Driver::Sqlite(session) => session.database(),
            Driver::Postgres(session) => session.database(),
        }
    }

    /// The error that failed the transaction, if one did.
    pub(crate) fn failure(&self) -> Option<&StoreError> {
        self.failed.as_ref()
    }

    /// Notes that the transaction wrote what the sequencer has to number.
    pub(crate) fn note_news(&mut self) {
        self.has_news = true;
    }

    /// Whether the sequencer has something to number when this is committed.
    pub(crate) fn has_news(&self) -> bool {
        self.has_news
    }

    fn unless_failed(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn remember<T>(&mut self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
        }
        outcome
    }
}
