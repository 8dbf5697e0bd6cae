//! A thread with a connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::tls::Target;
use super::{Link, Session};
use crate::job::{Job, Queue};
use crate::real_world::pause_about;
use crate::touch::Batch;
use crate::tx::Driver;
use crate::{StoreError, Tx};

/// How often a transaction that lost is tried.
const TRIES: u32 = 30;
/// How often a connection that broke is made again for one transaction.
const RECONNECTS: u32 = 3;
/// The first pause after a loss; it doubles up to the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// One statement is one transaction. Sorted rows and a retry, since two servers may write the
/// same agents in other orders.
const TOUCH: &str = "UPDATE presence SET last_seen = t.at \
    FROM unnest($1::bigint[], $2::bigint[]) AS t (agent, at) \
    WHERE presence.agent = t.agent AND presence.last_seen < t.at";

/// A thread's connection, made again when it breaks.
pub(super) struct Worker {
    target: Arc<Target>,
    link: Option<Link>,
    news: Arc<Notify>,
}

/// How one try of a transaction ended.
enum Ended {
    /// The caller can be answered.
    Settled(Result<(), StoreError>),
    /// Another transaction won.
    Lost,
    /// The connection broke before the commit.
    Broke(StoreError),
}

impl Worker {
    pub(super) fn new(target: Arc<Target>, link: Option<Link>, news: Arc<Notify>) -> Self {
        Self { target, link, news }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn write(&mut self, queue: &Queue) {
        self.work(queue, "BEGIN ISOLATION LEVEL SERIALIZABLE");
    }

    /// Reads until the queue is closed and empty: each closure sees one snapshot.
    pub(super) fn read(&mut self, queue: &Queue) {
        self.work(queue, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    }

    /// Makes check-ins durable until the queue is closed and empty.
    pub(super) fn touch(&mut self, queue: &Queue) {
        while let Some(work) = queue.take(0) {
            let mut touches = work.touches;
            touches.sort();
            let verdict = self.until_settled(|worker| worker.try_touch(&touches));
            touches.settle(verdict);
        }
    }

    fn work(&mut self, queue: &Queue, begin: &str) {
        while let Some(work) = queue.take(1) {
            for mut job in work.jobs {
                let mut duplicates = 0;
                let verdict = self
                    .until_settled(|worker| worker.try_job(begin, job.as_mut(), &mut duplicates));
                job.settle(verdict);
            }
        }
    }

    /// Tries until the caller can be answered.
    fn until_settled(
        &mut self,
        mut one_try: impl FnMut(&mut Self) -> Ended,
    ) -> Result<(), StoreError> {
        let (mut losses, mut breaks, mut pause) = (0, 0, FIRST_PAUSE);
        loop {
            match one_try(self) {
                Ended::Settled(verdict) => return verdict,
                Ended::Lost => losses += 1,
                Ended::Broke(error) => {
                    self.link = None;
                    breaks += 1;
                    if breaks > RECONNECTS {
                        return Err(error);
                    }
                }
            }
            if losses >= TRIES {
                let database = self.target.database.clone();
                return Err(StoreError::Contended { database, tries: losses });
            }
            pause_about(pause);
            pause = LAST_PAUSE.min(pause * 2);
        }
    }

    fn try_job(&mut self, begin: &str, job: &mut dyn Job, duplicates: &mut u32) -> Ended {
        let link = match self.link() {
            Ok(link) => link,
            Err(error) => return ended(error),
        };
        if let Err(error) = link.batch(begin) {
            return ended(error);
        }
        let mut tx = Tx::new(Driver::Postgres(Session::new(link)));
        let wants_commit = job.run(&mut tx);
        let (failure, has_news) = (tx.failure().cloned(), tx.has_news());
        if wants_commit {
            let ended = commit(link);
            if has_news && matches!(ended, Ended::Settled(Ok(()))) {
                self.news.notify_one();
            }
            return ended;
        }
        let rolled_back = link.batch("ROLLBACK");
        if link.is_closed() || rolled_back.is_err() {
            self.link = None;
        }
        match failure {
            Some(StoreError::Contended { .. }) => Ended::Lost,
            Some(error @ StoreError::Unreachable { .. }) => Ended::Broke(error),
            // The row that stands in the way may be newer than this snapshot: look once more
            // before the caller hears of it.
            Some(StoreError::Constraint { .. }) if *duplicates == 0 => {
                *duplicates += 1;
                Ended::Lost
            }
            Some(_) | None => Ended::Settled(Ok(())),
        }
    }

    fn try_touch(&mut self, touches: &Batch) -> Ended {
        let link = match self.link() {
            Ok(link) => link,
            Err(error) => return ended(error),
        };
        let (agents, times): (Vec<i64>, Vec<i64>) = touches.rows().iter().copied().unzip();
        match link.execute(TOUCH, &[&agents, &times]) {
            Ok(_) => Ended::Settled(Ok(())),
            // It may be done twice, so a connection that breaks in its commit is no matter.
            Err(error) => ended(error),
        }
    }

    fn link(&mut self) -> Result<&mut Link, StoreError> {
        let link = match self.link.take().filter(|link| !link.is_closed()) {
            Some(link) => link,
            None => Link::connect(Arc::clone(&self.target))?,
        };
        Ok(self.link.insert(link))
    }
}

/// How a try ended whose statement failed with nothing written.
fn ended(error: StoreError) -> Ended {
    if matches!(error, StoreError::Contended { .. }) {
        Ended::Lost
    } else if matches!(error, StoreError::Unreachable { .. }) {
        Ended::Broke(error)
    } else {
        Ended::Settled(Err(error))
    }
}

fn commit(link: &mut Link) -> Ended {
    match link.batch("COMMIT") {
        Ok(()) => Ended::Settled(Ok(())),
        Err(StoreError::Contended { .. }) => Ended::Lost,
        // It may have been written before the connection broke.
        Err(StoreError::Unreachable { database, source }) => {
            Ended::Settled(Err(StoreError::Unknown { database, source }))
        }
        Err(error) => {
            // The error that led here is the one to report.
            let _ = link.batch("ROLLBACK");
            Ended::Settled(Err(error))
        }
    }
}
