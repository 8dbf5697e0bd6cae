//! The threads that do a database's work, and what they wait for.

use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::StoreError;
use crate::job::Queue;

/// A database's threads and their queues.
#[derive(Debug)]
pub(crate) struct Threads {
    /// Closures that write.
    pub(crate) changes: Arc<Queue>,
    /// Closures that read.
    pub(crate) looks: Arc<Queue>,
    /// Check-ins; on SQLite they join the groups of those who write.
    pub(crate) touches: Arc<Queue>,
    handles: Vec<JoinHandle<()>>,
    // Held until the last thread has ended.
    lock: Option<File>,
}

impl Threads {
    /// No threads yet; `lock` is held until [`Threads::close`].
    pub(crate) fn new(touches_apart: bool, lock: Option<File>) -> Self {
        let changes = Arc::new(Queue::new());
        let touches = if touches_apart { Arc::new(Queue::new()) } else { Arc::clone(&changes) };
        Self { changes, looks: Arc::new(Queue::new()), touches, handles: Vec::new(), lock }
    }

    /// Starts one more.
    pub(crate) fn start(
        &mut self,
        name: &str,
        database: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), StoreError> {
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(body);
        let failed =
            |source| StoreError::Open { database: database.to_owned(), source: Arc::new(source) };
        self.handles.push(started.map_err(failed)?);
        Ok(())
    }

    /// Finishes what waits and ends.
    pub(crate) fn close(&mut self) {
        for queue in [&self.changes, &self.looks, &self.touches] {
            queue.close();
        }
        let here = std::thread::current().id();
        for thread in self.handles.drain(..).filter(|thread| thread.thread().id() != here) {
            // A thread that panicked has nothing left to finish.
            let _ = thread.join();
        }
        self.lock = None;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
    }
}
