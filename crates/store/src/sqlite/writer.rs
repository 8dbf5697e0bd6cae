//! The thread that writes: everything that came in during the last commit goes into the next one.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::Notify;

use super::{Session, classify};
use crate::job::{Job, Queue, Work};
use crate::touch::Batch;
use crate::tx::Driver;
use crate::{StoreError, Tx};

/// Closures in one group, at most: enough to share an fsync, few enough to bound the wait.
const GROUP: usize = 512;

/// Changes nothing for an agent that is not there, and never turns a time back.
const TOUCH: &str = "UPDATE presence SET last_seen = ?2 WHERE agent = ?1 AND last_seen < ?2";

/// Owns the connection that writes.
pub(crate) struct Writer {
    connection: Connection,
    database: String,
    news: Arc<Notify>,
}

/// Why a group was not committed.
struct Lost {
    error: StoreError,
    /// Nothing is written for sure, so that each member may be tried alone.
    is_certain: bool,
}

impl Writer {
    pub(crate) fn new(connection: Connection, database: String, news: Arc<Notify>) -> Self {
        Self { connection, database, news }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(&self, queue: &Queue) {
        while let Some(work) = queue.take(GROUP) {
            let Work { jobs, touches } = work;
            self.commit_together(jobs, touches);
        }
    }

    /// Commits all of them at once, and each alone when that fails: one that can't be written
    /// shall not fail its neighbours.
    pub(crate) fn commit_together(&self, mut jobs: VecDeque<Box<dyn Job>>, mut touches: Batch) {
        touches.sort();
        let outcome = self.try_group(&mut jobs, &touches);
        let members = jobs.len() + usize::from(touches.len() > 0);
        match outcome {
            Err(lost) if lost.is_certain && members > 1 => {
                if touches.len() > 0 {
                    self.commit_together(VecDeque::new(), touches);
                } else {
                    touches.settle(Ok(()));
                }
                for job in jobs {
                    self.commit_together(VecDeque::from([job]), Batch::default());
                }
            }
            outcome => {
                let verdict = outcome.map_err(|lost| lost.error);
                touches.settle(verdict.clone());
                for job in jobs {
                    job.settle(verdict.clone());
                }
            }
        }
    }

    /// Runs a closure that reads.
    #[cfg(feature = "simulation")]
    pub(crate) fn look(&self, job: Box<dyn Job>) {
        look(&self.connection, &self.database, job);
    }

    fn try_group(&self, jobs: &mut VecDeque<Box<dyn Job>>, touches: &Batch) -> Result<(), Lost> {
        let outcome =
            self.begin_and_run(jobs, touches).map_err(|error| Lost { error, is_certain: true });
        let outcome = outcome.and_then(|has_news| {
            self.statement("COMMIT").map_err(|error| {
                if let StoreError::Disk { database, source } = error {
                    // A failed fsync: the frames may be on the disk, or not.
                    let error = StoreError::Unknown { database, source };
                    return Lost { error, is_certain: false };
                }
                Lost { error, is_certain: true }
            })?;
            if has_news {
                self.news.notify_one();
            }
            Ok(())
        });
        if !self.connection.is_autocommit() {
            // The error that led here is the one to report.
            let _ = self.statement("ROLLBACK");
        }
        outcome
    }

    /// Runs all of it inside one transaction; whether the sequencer has something to number.
    fn begin_and_run(
        &self,
        jobs: &mut VecDeque<Box<dyn Job>>,
        touches: &Batch,
    ) -> Result<bool, StoreError> {
        self.statement("BEGIN IMMEDIATE")?;
        self.touch(touches).map_err(|error| classify(&self.database, TOUCH, error))?;
        let mut has_news = false;
        for job in jobs {
            self.statement("SAVEPOINT one")?;
            let mut tx = Tx::new(Driver::Sqlite(Session::new(&self.connection, &self.database)));
            let wants_commit = job.run(&mut tx);
            if self.connection.is_autocommit() {
                // SQLite took back the whole group, not this member alone.
                let error = tx.failure().cloned();
                return Err(error.unwrap_or(StoreError::Locked { database: self.database.clone() }));
            }
            if wants_commit {
                has_news |= tx.has_news();
            } else {
                self.statement("ROLLBACK TO one")?;
            }
            self.statement("RELEASE one")?;
        }
        Ok(has_news)
    }

    fn touch(&self, touches: &Batch) -> rusqlite::Result<()> {
        if touches.len() == 0 {
            return Ok(());
        }
        let mut statement = self.connection.prepare_cached(TOUCH)?;
        for (agent, at) in touches.rows() {
            statement.execute((agent, at))?;
        }
        Ok(())
    }

    fn statement(&self, sql: &str) -> Result<(), StoreError> {
        let run = || self.connection.prepare_cached(sql)?.raw_execute();
        run().map(|_| ()).map_err(|error| classify(&self.database, sql, error))
    }
}

/// A thread that reads: each closure sees one snapshot.
pub(super) fn read(connection: &Connection, database: &str, queue: &Queue) {
    while let Some(work) = queue.take(1) {
        for job in work.jobs {
            look(connection, database, job);
        }
    }
}

fn look(connection: &Connection, database: &str, mut job: Box<dyn Job>) {
    let begun =
        connection.execute_batch("BEGIN").map_err(|error| classify(database, "BEGIN", error));
    if let Err(error) = begun {
        return job.settle(Err(error));
    }
    job.run(&mut Tx::new(Driver::Sqlite(Session::new(connection, database))));
    if !connection.is_autocommit() {
        // There is nothing to keep, and a snapshot that can't be let go of fails the next `BEGIN`
        // with its own error.
        let _ = connection.execute_batch("ROLLBACK");
    }
    job.settle(Ok(()));
}
