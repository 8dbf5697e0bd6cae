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
    readers: Vec<JoinHandle<()>>,
    writers: Vec<JoinHandle<()>>,
    // Held until the last thread has ended.
    lock: Option<Lock>,
}

/// The lock on a database's file. It is given back by word, not by closing the file: a process
/// that another thread is just starting may have a copy of the open file for a moment.
#[derive(Debug)]
pub(crate) struct Lock(pub(crate) File);

impl Drop for Lock {
    fn drop(&mut self) {
        // One that can't be given back ends with the file.
        let _ = self.0.unlock();
    }
}

impl Threads {
    /// No threads yet; `lock` is held until they have ended.
    pub(crate) fn new(touches_apart: bool, lock: Option<Lock>) -> Self {
        let changes = Arc::new(Queue::new());
        let touches = if touches_apart { Arc::new(Queue::new()) } else { Arc::clone(&changes) };
        Self {
            changes,
            looks: Arc::new(Queue::new()),
            touches,
            readers: Vec::new(),
            writers: Vec::new(),
            lock,
        }
    }

    /// Starts one more that reads.
    pub(crate) fn start_reader(
        &mut self,
        database: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), StoreError> {
        self.readers.push(start("store-read", database, body)?);
        Ok(())
    }

    /// Starts one more that writes.
    pub(crate) fn start_writer(
        &mut self,
        database: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), StoreError> {
        self.writers.push(start("store-write", database, body)?);
        Ok(())
    }

    /// Finishes what waits and ends: readers first, so that SQLite's last connection is one that
    /// may tidy up its log.
    fn close(&mut self) {
        self.looks.close();
        join(&mut self.readers);
        self.changes.close();
        self.touches.close();
        join(&mut self.writers);
        self.lock = None;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
    }
}

fn start(
    name: &str,
    database: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|source| {
        StoreError::Open { database: database.to_owned(), source: Arc::new(source) }
    })
}

fn join(threads: &mut Vec<JoinHandle<()>>) {
    // A closure may hold the last clone of its own store.
    let here = std::thread::current().id();
    for thread in threads.drain(..).filter(|thread| thread.thread().id() != here) {
        // A thread that panicked has nothing left to finish.
        let _ = thread.join();
    }
}
