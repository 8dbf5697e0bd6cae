//! A SQLite database in memory, whose closures run on the caller's thread: for simulations, which
//! put a whole fleet on one thread. The same [`Tx`], the same SQL, the same groups; a crash is a
//! commit that does not happen, or whose answer nobody hears.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::job::Job;
use crate::schema;
use crate::sqlite::{self, Writer};
use crate::store::Options;
use crate::touch::{Batch, Done};
use crate::tx::Tx;
use crate::{Database, StoreError};

/// What becomes of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is committed and answered.
    Goes,
    /// The process dies before the commit.
    DiesBefore,
    /// The process dies after the commit and before the answer.
    DiesAfter,
}

/// Says what becomes of the next write.
pub type Fates = Box<dyn FnMut() -> Fate + Send>;

/// A database in memory. It outlives the [`crate::Store`]s that are opened on it, as a file
/// outlives the processes that use it.
pub struct Inline {
    held: Mutex<Held>,
    news: Arc<Notify>,
}

struct Held {
    writer: Writer,
    fates: Option<Fates>,
    is_dead: bool,
}

impl Inline {
    /// An empty database with the newest schema.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite refuses.
    pub fn new(options: &Options) -> Result<Arc<Self>, StoreError> {
        let database = ":memory:";
        let connection = sqlite::connect(database.into(), database, options)?;
        let connection = sqlite::begin(connection, database, &mut |tx: &mut Tx<'_>| {
            schema::migrate(tx, options)
        })?;
        let news = Arc::new(Notify::new());
        let writer = Writer::new(connection, database.to_owned(), Arc::clone(&news));
        let held = Held { writer, fates: None, is_dead: false };
        Ok(Arc::new(Self { held: Mutex::new(held), news }))
    }

    /// Asks `fates` before each write from now on.
    pub fn set_fates(&self, fates: Fates) {
        self.lock().fates = Some(fates);
    }

    /// Whether the process that uses it died: nothing is written or answered any more.
    pub fn is_dead(&self) -> bool {
        self.lock().is_dead
    }

    /// Kills the process that uses it.
    pub fn kill(&self) {
        self.lock().is_dead = true;
    }

    /// Lets another process use it.
    pub fn revive(&self) {
        self.lock().is_dead = false;
    }

    pub(crate) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    pub(crate) fn database() -> Database {
        Database::Sqlite(":memory:".into())
    }

    pub(crate) fn write(&self, job: Box<dyn Job>) {
        let mut held = self.lock();
        match held.fate() {
            // The caller finds that nobody answers.
            Fate::DiesBefore => drop(job),
            Fate::Goes => held.writer.commit_together(VecDeque::from([job]), Batch::default()),
            Fate::DiesAfter => {
                let unheard: Box<dyn Job> = Box::new(Unheard(job));
                held.writer.commit_together(VecDeque::from([unheard]), Batch::default());
            }
        }
    }

    pub(crate) fn touch(&self, agent: i64, at: i64) -> Result<Arc<Done>, StoreError> {
        let mut held = self.lock();
        let fate = held.fate();
        let mut batch = Batch::default();
        let done = batch.add(agent, at);
        if fate != Fate::DiesBefore {
            held.writer.commit_together(VecDeque::new(), batch);
        }
        match fate {
            Fate::Goes => Ok(done),
            Fate::DiesBefore | Fate::DiesAfter => Err(StoreError::Closed),
        }
    }

    pub(crate) fn read(&self, job: Box<dyn Job>) {
        let held = self.lock();
        if !held.is_dead {
            held.writer.look(job);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn fate(&mut self) -> Fate {
        let fate = match (&mut self.fates, self.is_dead) {
            (_, true) => Fate::DiesBefore,
            (Some(fates), false) => fates(),
            (None, false) => Fate::Goes,
        };
        self.is_dead = fate != Fate::Goes;
        fate
    }
}

/// A job whose caller died.
struct Unheard(Box<dyn Job>);

impl Job for Unheard {
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        self.0.run(tx)
    }

    fn settle(self: Box<Self>, _verdict: Result<(), StoreError>) {}
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inline").field("is_dead", &self.is_dead()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use handover_model::Timestamp;

    use super::*;
    use crate::{Store, meta};

    fn now<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn a_commit_outlives_the_one_who_dies_before_hearing_of_it_and_nothing_else_does() {
        let options = Options::new("1.0.0".parse().unwrap(), Timestamp::from_micros(0));
        let inline = Inline::new(&options).unwrap();
        for (fate, found) in [(Fate::DiesBefore, None), (Fate::DiesAfter, Some("yes".to_owned()))] {
            inline.set_fates(Box::new(move || fate));
            let store = Store::simulated(&inline, &options);
            let set = store.write(|tx| meta::set(tx, "it", "yes"));
            assert!(matches!(now(set), Err(StoreError::Closed)));
            let again = store.write(|tx| meta::set(tx, "it", "no"));
            assert!(matches!(now(again), Err(StoreError::Closed)), "the dead write nothing");
            inline.revive();
            inline.set_fates(Box::new(|| Fate::Goes));
            let store = Store::simulated(&inline, &options);
            assert_eq!(now(store.read(|tx| meta::get(tx, "it"))).unwrap(), found);
        }
    }
}
