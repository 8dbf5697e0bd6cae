//! PostgreSQL: several threads, each with a connection; every closure is a serializable
//! transaction that is tried again when another one won.

mod errors;
mod link;
mod tls;
mod worker;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::store::Options;
use crate::threads::Threads;
use crate::tx::Driver;
use crate::{Database, StoreError, Tx, schema};

pub(crate) use link::{Link, Session};

/// How many threads write, and how many closures are in transactions at once.
const WRITERS: usize = 8;
/// How many threads read.
const READERS: usize = 4;

/// Which server migrates when several start at once: a lock on "hndo".
const SET_UP_LOCK: &str = "SELECT pg_advisory_xact_lock(1752065135)";

/// Opens the database for a server: migrates it, unless `beside` says that another program does,
/// and starts the threads.
pub(crate) fn open(
    url: &str,
    options: &Options,
    beside: bool,
    news: &Arc<Notify>,
) -> Result<Threads, StoreError> {
    let database = Database::Postgres(url.to_owned()).to_string();
    let target = Arc::new(tls::target(url, &database, options)?);
    let mut link = Link::connect(Arc::clone(&target))?;
    if beside {
        let mut tx = Tx::new(Driver::Postgres(Session::new(&mut link)));
        let found = schema::find(&mut tx)?;
        if found.number == 0 {
            return Err(StoreError::Foreign { database, why: "it has no handover tables" });
        }
        schema::check_program(&found, &options.program, &database)?;
    } else {
        in_first_transaction(&mut link, &mut |tx| schema::migrate(tx, options))?;
    }
    let mut threads = Threads::new(true, None);
    let mut first = Some(link);
    for _ in 0..WRITERS {
        let mut worker = worker::Worker::new(Arc::clone(&target), first.take(), Arc::clone(news));
        let queue = Arc::clone(&threads.changes);
        threads.start_writer(&database, move || worker.write(&queue))?;
    }
    for _ in 0..READERS {
        let mut worker = worker::Worker::new(Arc::clone(&target), None, Arc::clone(news));
        let queue = Arc::clone(&threads.looks);
        threads.start_reader(&database, move || worker.read(&queue))?;
    }
    let mut worker = worker::Worker::new(target, None, Arc::clone(news));
    let queue = Arc::clone(&threads.touches);
    threads.start_writer(&database, move || worker.touch(&queue))?;
    Ok(threads)
}

/// Runs `body` in a transaction that no other server's set-up runs beside: what it writes is
/// there whole or not at all.
pub(crate) fn set_up(
    url: &str,
    options: &Options,
    body: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let database = Database::Postgres(url.to_owned()).to_string();
    let mut link = Link::connect(Arc::new(tls::target(url, &database, options)?))?;
    in_first_transaction(&mut link, body)
}

fn in_first_transaction(
    link: &mut Link,
    body: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    link.batch("BEGIN")?;
    let mut tx = Tx::new(Driver::Postgres(Session::new(link)));
    match tx.batch(SET_UP_LOCK).and_then(|()| body(&mut tx)) {
        Ok(()) => link.batch("COMMIT"),
        Err(error) => {
            // The error that led here is the one to report.
            let _ = link.batch("ROLLBACK");
            Err(error)
        }
    }
}
