//! A closure that waits for its transaction, and the queue in which it waits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::touch::{Batch, Done};
use crate::{StoreError, Tx};

/// A closure with a caller who waits.
pub(crate) trait Job: Send {
    /// Runs the closure; whether it wants to be committed. May be called again, after a rollback.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;

    /// Answers the caller: with what the last run returned, or with the database's own error.
    fn settle(self: Box<Self>, verdict: Result<(), StoreError>);
}

/// A [`Job`] and the place where its answer arrives.
pub(crate) fn job<T, E, F>(closure: F) -> (Box<dyn Job>, oneshot::Receiver<Result<T, E>>)
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Waiting { closure, outcome: None, reply }), answer)
}

struct Waiting<F, T, E> {
    closure: F,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Waiting<F, T, E>
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        self.outcome = None;
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.closure)(tx)));
        let outcome = outcome.unwrap_or_else(|_panic| Err(StoreError::Panicked.into()));
        let outcome = match (outcome, tx.failure()) {
            (Ok(_), Some(error)) => Err(error.clone().into()),
            (outcome, _) => outcome,
        };
        let wants_commit = outcome.is_ok();
        self.outcome = Some(outcome);
        wants_commit
    }

    fn settle(self: Box<Self>, verdict: Result<(), StoreError>) {
        let outcome = match verdict {
            Ok(()) => self.outcome.unwrap_or_else(|| Err(StoreError::Closed.into())),
            Err(error) => Err(error.into()),
        };
        // A caller who went away has no use for the answer.
        let _ = self.reply.send(outcome);
    }
}

/// Jobs that may wait at once; more are refused, so that a stalled disk can't eat the memory.
const LONGEST: usize = 65_536;

/// What waits for the threads of a database.
pub(crate) struct Queue {
    waiting: Mutex<Waiters>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiters {
    jobs: VecDeque<Box<dyn Job>>,
    touches: Batch,
    idle: usize,
    is_closed: bool,
}

/// What a thread took to do next.
pub(crate) struct Work {
    /// Closures, oldest first.
    pub(crate) jobs: VecDeque<Box<dyn Job>>,
    /// Check-ins.
    pub(crate) touches: Batch,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), wake: Condvar::new() }
    }

    /// Adds a job; one that can't be taken is answered at once.
    pub(crate) fn push(&self, job: Box<dyn Job>) {
        let mut waiting = self.lock();
        let refusal = if waiting.is_closed {
            Some(StoreError::Closed)
        } else if waiting.jobs.len() >= LONGEST {
            Some(StoreError::Overloaded { waiting: LONGEST })
        } else {
            None
        };
        if let Some(error) = refusal {
            drop(waiting);
            return job.settle(Err(error));
        }
        waiting.jobs.push_back(job);
        self.wake_one(&waiting);
    }

    /// Adds a check-in; returns what says when it is durable.
    pub(crate) fn touch(&self, agent: i64, at: i64) -> Result<std::sync::Arc<Done>, StoreError> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(StoreError::Closed);
        }
        let done = waiting.touches.add(agent, at);
        if waiting.touches.len() == 1 {
            self.wake_one(&waiting);
        }
        Ok(done)
    }

    /// Waits for work and takes up to `most` jobs and every check-in; `None` once the queue is
    /// closed and empty.
    pub(crate) fn take(&self, most: usize) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            if !waiting.jobs.is_empty() || waiting.touches.len() > 0 {
                let count = waiting.jobs.len().min(most);
                let jobs = waiting.jobs.drain(..count).collect();
                return Some(Work { jobs, touches: std::mem::take(&mut waiting.touches) });
            }
            if waiting.is_closed {
                return None;
            }
            waiting.idle += 1;
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }

    /// Takes no more; what waits is still done.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_all();
    }

    fn wake_one(&self, waiting: &MutexGuard<'_, Waiters>) {
        // Waking costs a system call, which a busy thread has no use for.
        if waiting.idle > 0 {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // Nothing that can panic runs under this lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.lock().jobs.len()).finish_non_exhaustive()
    }
}
