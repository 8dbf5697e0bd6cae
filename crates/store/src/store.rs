//! The database as the rest of the control plane sees it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use handover_model::{Timestamp, Version};
use tokio::sync::Notify;

use crate::job::{Job, job};
use crate::threads::Threads;
use crate::touch::{AgentKey, Done};
use crate::{Database, StoreError, Tx, postgres, schema, sqlite};

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// This program's version: a database whose schema left it behind is refused.
    pub program: Version,
    /// Now, for the record of migrations.
    pub now: Timestamp,
    /// How long to wait for another program's lock before saying `Locked`.
    pub busy: Duration,
    /// The most bytes that a SQLite file may grow to; `None`: what its disk has.
    pub most_bytes: Option<u64>,
    /// The newest migration to run.
    pub(crate) upto: i64,
}

impl Options {
    /// The usual: five seconds of patience, and the newest schema.
    pub fn new(program: Version, now: Timestamp) -> Self {
        Self {
            program,
            now,
            busy: Duration::from_secs(5),
            most_bytes: None,
            upto: schema::newest(),
        }
    }
}

/// An open database. Clones share it; the last one that is dropped closes it, after what waits
/// was written.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    threads: Threads,
    news: Arc<Notify>,
    database: Database,
    options: Options,
    #[cfg(feature = "simulation")]
    inline: Option<Arc<crate::Inline>>,
}

impl Inner {
    fn new(threads: Threads, news: Arc<Notify>, database: Database, options: Options) -> Self {
        Self {
            threads,
            news,
            database,
            options,
            #[cfg(feature = "simulation")]
            inline: None,
        }
    }

    fn change(&self, job: Box<dyn Job>) {
        #[cfg(feature = "simulation")]
        if let Some(inline) = &self.inline {
            return inline.write(job);
        }
        self.threads.changes.push(job);
    }

    fn look(&self, job: Box<dyn Job>) {
        #[cfg(feature = "simulation")]
        if let Some(inline) = &self.inline {
            return inline.read(job);
        }
        self.threads.looks.push(job);
    }

    fn touch(&self, agent: i64, at: i64) -> Result<Arc<Done>, StoreError> {
        #[cfg(feature = "simulation")]
        if let Some(inline) = &self.inline {
            return inline.touch(agent, at);
        }
        self.threads.touches.touch(agent, at)
    }
}

impl Store {
    /// A database in memory, for a process of a simulation.
    #[cfg(feature = "simulation")]
    pub fn simulated(inline: &Arc<crate::Inline>, options: &Options) -> Self {
        let threads = Threads::new(false, None);
        let database = crate::Inline::database();
        let inner = Inner::new(threads, inline.news(), database, options.clone());
        Self { inner: Arc::new(Inner { inline: Some(Arc::clone(inline)), ..inner }) }
    }

    /// Opens `database` for a server: creates and migrates its schema when that is needed. A
    /// SQLite file is locked against a second server.
    ///
    /// Blocks: a migration may take as long as it takes.
    ///
    /// # Errors
    /// [`StoreError`], by name: locked, full, read-only, too new, corrupt, foreign, unreachable.
    pub fn open(database: &Database, options: &Options) -> Result<Self, StoreError> {
        let news = Arc::new(Notify::new());
        let threads = match database {
            Database::Sqlite(path) => sqlite::open(path, options, &news)?,
            Database::Postgres(url) => postgres::open(url, options, false, &news)?,
        };
        let (database, options) = (database.clone(), options.clone());
        Ok(Self { inner: Arc::new(Inner::new(threads, news, database, options)) })
    }

    /// Opens `database` beside a server that may be using it, for tools: no lock, no migration.
    ///
    /// # Errors
    /// [`StoreError`], by name; [`StoreError::Foreign`] when there is no such database.
    pub fn attach(database: &Database, options: &Options) -> Result<Self, StoreError> {
        let news = Arc::new(Notify::new());
        let threads = match database {
            Database::Sqlite(path) => sqlite::attach(path, options, &news)?,
            Database::Postgres(url) => postgres::open(url, options, true, &news)?,
        };
        let (database, options) = (database.clone(), options.clone());
        Ok(Self { inner: Arc::new(Inner::new(threads, news, database, options)) })
    }

    /// How it was opened.
    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Which database it is.
    pub fn database(&self) -> &Database {
        &self.inner.database
    }

    /// Runs `closure` in a transaction and answers after the durable commit. When it answers
    /// `Err`, or panics, nothing that it did is kept.
    ///
    /// The closure may run more than once: with others in a group and then alone, or again after
    /// a conflict. Only the last run counts, so it has no effect but on its [`Tx`]. It blocks a
    /// thread that others wait for: no network, no long computation.
    ///
    /// The work is queued at the call, not at the first poll; dropping the future does not take
    /// it back.
    ///
    /// # Errors
    /// What the closure answers; [`StoreError`], as an `E`, when the database failed.
    pub fn write<T, E, F>(
        &self,
        closure: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = job(closure);
        self.inner.change(job);
        async move { answer.await.unwrap_or_else(|_gone| Err(StoreError::Closed.into())) }
    }

    /// Runs `closure` on one consistent snapshot; it can't write.
    ///
    /// # Errors
    /// What the closure answers; [`StoreError`], as an `E`, when the database failed.
    pub fn read<T, E, F>(
        &self,
        closure: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = job(closure);
        self.inner.look(job);
        async move { answer.await.unwrap_or_else(|_gone| Err(StoreError::Closed.into())) }
    }

    /// [`Store::write`] for a thread outside any runtime: it blocks until the answer is there.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_blocking<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = job(closure);
        self.inner.change(job);
        answer.blocking_recv().unwrap_or_else(|_gone| Err(StoreError::Closed.into()))
    }

    /// [`Store::read`] for a thread outside any runtime: it blocks until the answer is there.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = job(closure);
        self.inner.look(job);
        answer.blocking_recv().unwrap_or_else(|_gone| Err(StoreError::Closed.into()))
    }

    /// Records that `agent` was heard at `at`, and answers after the durable commit. The latest
    /// time is kept; an agent that is not there is passed over.
    ///
    /// Everything that comes in during one flush goes into the next, with no allocation and no
    /// savepoint of its own. It is queued at the call, not at the first poll.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub fn touch(
        &self,
        agent: AgentKey,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let done = self.inner.touch(agent.0, at.as_micros());
        async move { done?.wait().await }
    }

    /// Rings after every commit of this program that the sequencer has to number. It keeps one
    /// ring for a listener who is not there yet.
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.news)
    }
}
