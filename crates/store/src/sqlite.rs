//! SQLite: one thread writes, in groups that share a commit; a few threads read.

mod errors;
mod session;
mod writer;

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Notify;

use crate::schema::{self, APPLICATION_ID};
use crate::store::Options;
use crate::threads::{Lock, Threads};
use crate::tx::Driver;
use crate::{StoreError, Tx};

pub(crate) use errors::classify;
pub(crate) use session::Session;
#[cfg(feature = "simulation")]
pub(crate) use writer::Writer;

/// How many threads read.
const READERS: usize = 2;

/// Opens `path` for the one server that uses it: locks it, migrates it, starts the threads.
pub(crate) fn open(
    path: &Utf8Path,
    options: &Options,
    news: &Arc<Notify>,
) -> Result<Threads, StoreError> {
    let (writer, lock) = set_up(path, options, &mut |tx| schema::migrate(tx, options))?;
    start(path, &format!("sqlite:{path}"), options, news, writer, Some(lock))
}

/// Locks `path`, makes sure that it is ours or empty, and runs `body` in its first transaction:
/// what it writes is there whole or not at all.
pub(crate) fn set_up(
    path: &Utf8Path,
    options: &Options,
    body: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), StoreError>,
) -> Result<(Connection, Lock), StoreError> {
    let database = format!("sqlite:{path}");
    let lock = lock(path, &database)?;
    let connection = connect(path, &database, options)?;
    check_ours(&connection, &database)?;
    begin(connection, &database, body).map(|connection| (connection, lock))
}

/// Runs `body` in the first transaction of a database that is ours or empty.
pub(crate) fn begin(
    connection: Connection,
    database: &str,
    body: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), StoreError>,
) -> Result<Connection, StoreError> {
    let failed = |error| classify(database, "setting up", error);
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let done = body(&mut Tx::new(Driver::Sqlite(Session::new(&connection, database))));
    let done = done.and_then(|()| {
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .and_then(|()| connection.execute_batch("COMMIT"))
            .map_err(failed)
    });
    if !connection.is_autocommit() {
        // The error that led here is the one to report.
        let _ = connection.execute_batch("ROLLBACK");
    }
    done.map(|()| connection)
}

/// Opens `path` beside a server that may be running: no lock, no migration.
pub(crate) fn attach(
    path: &Utf8Path,
    options: &Options,
    news: &Arc<Notify>,
) -> Result<Threads, StoreError> {
    let database = format!("sqlite:{path}");
    if !path.exists() {
        return Err(StoreError::Foreign { database, why: "there is no such file" });
    }
    let writer = connect(path, &database, options)?;
    let mut tx = Tx::new(Driver::Sqlite(Session::new(&writer, &database)));
    let found = schema::find(&mut tx)?;
    if found.number == 0 {
        return Err(StoreError::Foreign { database, why: "it has no handover tables" });
    }
    schema::check_program(&found, &options.program, &database)?;
    start(path, &database, options, news, writer, None)
}

fn start(
    path: &Utf8Path,
    database: &str,
    options: &Options,
    news: &Arc<Notify>,
    writer: Connection,
    lock: Option<Lock>,
) -> Result<Threads, StoreError> {
    let mut threads = Threads::new(false, lock);
    for _ in 0..READERS {
        let connection = connect(path, database, options)?;
        connection
            .pragma_update(None, "query_only", true)
            .map_err(|error| classify(database, "PRAGMA query_only", error))?;
        let (queue, name) = (Arc::clone(&threads.looks), database.to_owned());
        let read = move || writer::read(&connection, &name, &queue);
        threads.start_reader(database, read)?;
    }
    let (queue, news) = (Arc::clone(&threads.changes), Arc::clone(news));
    let writer = writer::Writer::new(writer, database.to_owned(), news);
    threads.start_writer(database, move || writer.run(&queue))?;
    Ok(threads)
}

/// Takes the lock that keeps a second server off the same file.
fn lock(path: &Utf8Path, database: &str) -> Result<Lock, StoreError> {
    let lock_path = Utf8PathBuf::from(format!("{path}.lock"));
    let failed = |source: std::io::Error| {
        let database = database.to_owned();
        let kind = source.kind();
        if matches!(kind, ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) {
            StoreError::ReadOnly { database }
        } else if kind == ErrorKind::StorageFull {
            StoreError::Full { database }
        } else {
            StoreError::Open { database, source: Arc::new(source) }
        }
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { database: database.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A connection with our settings.
pub(crate) fn connect(
    path: &Utf8Path,
    database: &str,
    options: &Options,
) -> Result<Connection, StoreError> {
    let failed = |error| classify(database, "opening", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(options.busy).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(256);
    // FULL: a commit is answered after its fsync. The log is moved into the file every 32 MiB: a
    // group of check-ins touches pages all over it, and many groups touch the same ones.
    for (name, value) in [
        ("journal_mode", "WAL"),
        ("synchronous", "FULL"),
        ("foreign_keys", "ON"),
        ("temp_store", "MEMORY"),
        ("wal_autocheckpoint", "8192"),
        ("cache_size", "-32768"),
        ("journal_size_limit", "67108864"),
    ] {
        connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| {
            if matches!(error, rusqlite::Error::QueryReturnedNoRows) {
                Ok(())
            } else {
                Err(failed(error))
            }
        })?;
    }
    if let Some(most) = options.most_bytes {
        let size: i64 =
            connection.query_row("PRAGMA page_size", [], |row| row.get(0)).map_err(failed)?;
        let pages = i64::try_from(most).unwrap_or(i64::MAX) / size.max(1);
        connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .map_err(failed)?;
    }
    Ok(connection)
}

/// Refuses another program's file.
pub(crate) fn check_ours(connection: &Connection, database: &str) -> Result<(), StoreError> {
    let failed = |error| classify(database, "looking at the schema", error);
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(failed);
    let id = number("PRAGMA application_id")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if id != APPLICATION_ID && (id != 0 || tables > 0) {
        return Err(StoreError::Foreign {
            database: database.to_owned(),
            why: "it is another program's SQLite file",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_back_though_a_copy_of_its_file_is_still_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(directory.path().join("handover.db")).unwrap();
        let held = lock(&path, "it").unwrap();
        // What a process has that was forked and not yet executed.
        let copy = held.0.try_clone().unwrap();
        assert!(matches!(lock(&path, "it"), Err(StoreError::Locked { .. })));
        drop(held);
        lock(&path, "it").unwrap();
        drop(copy);
    }
}
