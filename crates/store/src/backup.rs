//! Backup and restore. A backup is one SQLite file with the same tables, whichever database it
//! was made of, and goes into an empty database of either kind.

use std::fs::File;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::Timestamp;
use rusqlite::{Connection, OpenFlags};

use crate::audit::{self, NewAudit};
use crate::schema::{self, APPLICATION_ID, Dialect, Found};
use crate::sqlite::{self, Session, classify};
use crate::store::Options;
use crate::tables::TABLES;
use crate::tx::Driver;
use crate::{Database, Store, StoreError, Tx, meta, params, postgres, rollouts};

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// The epoch that begins.
    pub epoch: u64,
    /// Rows that were copied.
    pub rows: u64,
    /// Orders that were open and are void now.
    pub orders: u64,
    /// Enrolment tokens that were open and are revoked now.
    pub tokens: u64,
    /// Rollouts that ran and are paused now.
    pub rollouts: u64,
}

impl Store {
    /// Writes the database as it is at one moment to the new file `to`, while others go on
    /// writing. The file is there whole or not at all.
    ///
    /// Blocks until it is durable.
    ///
    /// # Errors
    /// [`StoreError::Occupied`] when there is such a file; [`StoreError::Full`] and others of
    /// the place that it goes to.
    pub fn backup(&self, to: &Utf8Path) -> Result<(), StoreError> {
        if to.exists() {
            let way_out = "give the backup a name of its own";
            return Err(StoreError::Occupied { subject: to.to_string(), way_out });
        }
        let part = Utf8PathBuf::from(format!("{to}.part"));
        let written = match self.database() {
            Database::Sqlite(path) => vacuum_into(path, &part, self.options()),
            Database::Postgres(_) => self.copy_into(&part),
        };
        let finished = written.and_then(|()| publish(&part, to));
        if finished.is_err() {
            // What is left is half a backup; the error says why.
            let _ = std::fs::remove_file(&part);
        }
        finished
    }

    fn copy_into(&self, part: &Utf8Path) -> Result<(), StoreError> {
        let (part, options) = (part.to_owned(), self.options().clone());
        self.read_blocking(move |from| {
            // A try that was cut short left its half.
            let _ = std::fs::remove_file(&part);
            let found = schema::find(from)?;
            if found.number > schema::newest() {
                return Err(StoreError::Foreign {
                    database: from.database().to_owned(),
                    why: "its schema is newer than this program: back it up with the handover \
                          that migrated it",
                });
            }
            let name = format!("sqlite:{part}");
            let connection =
                Connection::open(&part).map_err(|error| classify(&name, "opening", error))?;
            let batch = |sql: &str| {
                connection.execute_batch(sql).map_err(|error| classify(&name, sql, error))
            };
            batch(&format!("PRAGMA application_id = {APPLICATION_ID}; BEGIN"))?;
            let mut to = Tx::new(Driver::Sqlite(Session::new(&connection, &name)));
            copy_all(&found, &options, from, &mut to, Dialect::Sqlite)?;
            batch("COMMIT")
        })
    }
}

/// Fills the empty `database` from a backup, then begins a new life of it: the epoch is raised,
/// open orders and enrolment tokens are void, and every agent is to report its state again.
///
/// It is there whole or not at all. API tokens stay as they were in the backup: see
/// [`crate::api_tokens::revoke_all`].
///
/// # Errors
/// [`StoreError::Occupied`] when the database is not empty; [`StoreError::Foreign`],
/// [`StoreError::Corrupt`] and [`StoreError::ProgramTooOld`] of the backup; and what
/// [`Store::open`] says.
pub fn restore(
    from: &Utf8Path,
    database: &Database,
    options: &Options,
) -> Result<Restored, StoreError> {
    let name = format!("sqlite:{from}");
    let source = open_backup(from, &name)?;
    let mut from = Tx::new(Driver::Sqlite(Session::new(&source, &name)));
    let found = schema::find(&mut from)?;
    schema::check_program(&found, &options.program, &name)?;
    if found.number > schema::newest() {
        let why = "its schema is newer than this program: restore it with the handover that \
                   made it";
        return Err(StoreError::Foreign { database: name, why });
    }
    let mut restored = Restored::default();
    let mut body = |to: &mut Tx<'_>| {
        if schema::find(to)?.number > 0 {
            let way_out = "restore into a new database, or move this one away first";
            return Err(StoreError::Occupied { subject: to.database().to_owned(), way_out });
        }
        let dialect = to.dialect();
        restored.rows = copy_all(&found, options, &mut from, to, dialect)?;
        schema::migrate(to, options)?;
        begin_new_life(to, options.now, &mut restored)
    };
    match database {
        Database::Sqlite(path) => sqlite::set_up(path, options, &mut body).map(|_| ())?,
        Database::Postgres(url) => postgres::set_up(url, options, &mut body)?,
    }
    Ok(restored)
}

/// SQLite's own way: one snapshot, beside those who write.
fn vacuum_into(path: &Utf8Path, part: &Utf8Path, options: &Options) -> Result<(), StoreError> {
    // One that was cut short left its half.
    let _ = std::fs::remove_file(part);
    let connection = sqlite::connect(path, &format!("sqlite:{path}"), options)?;
    let vacuum = connection.execute("VACUUM INTO ?1", [part.as_str()]);
    vacuum.map(|_| ()).map_err(|error| classify(&format!("sqlite:{part}"), "VACUUM INTO", error))
}

fn publish(part: &Utf8Path, to: &Utf8Path) -> Result<(), StoreError> {
    let done = || -> std::io::Result<()> {
        File::open(part)?.sync_all()?;
        std::fs::rename(part, to)?;
        let directory = to.parent().filter(|parent| !parent.as_str().is_empty());
        File::open(directory.unwrap_or(Utf8Path::new(".")))?.sync_all()
    };
    done().map_err(|source| StoreError::File {
        act: "writing",
        path: to.to_string(),
        source: Arc::new(source),
    })
}

/// Opens a backup for reading, from a medium that can't be written if need be.
fn open_backup(path: &Utf8Path, name: &str) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Foreign {
            database: name.to_owned(),
            why: "there is no such file",
        });
    }
    let failed = |error| classify(name, "opening", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    sqlite::check_ours(&connection, name)?;
    let sound: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if sound != "ok" {
        let source = Arc::new(std::io::Error::other(sound));
        return Err(StoreError::Corrupt { database: name.to_owned(), source });
    }
    let mut tx = Tx::new(Driver::Sqlite(Session::new(&connection, name)));
    if schema::find(&mut tx)?.number == 0 {
        let why = "it has no handover tables";
        return Err(StoreError::Foreign { database: name.to_owned(), why });
    }
    Ok(connection)
}

/// Makes the same schema in `to`, and copies every row. One of the two is SQLite, which is asked
/// for the columns.
fn copy_all(
    found: &Found,
    options: &Options,
    from: &mut Tx<'_>,
    to: &mut Tx<'_>,
    dialect: Dialect,
) -> Result<u64, StoreError> {
    schema::migrate(to, &Options { upto: found.number, ..options.clone() })?;
    // What the migration wrote of itself; the copy brings its own.
    to.batch("DELETE FROM schema_versions; DELETE FROM meta")?;
    let mut rows = 0;
    for table in TABLES {
        let columns = match dialect {
            Dialect::Sqlite => table.columns(to)?,
            Dialect::Postgres => table.columns(from)?,
        };
        if columns.is_empty() {
            // A table that came after this backup.
            continue;
        }
        rows += table.copy(&columns, from, to)?;
        if table.draws_keys && dialect == Dialect::Postgres {
            // The next key follows the last one that was copied.
            to.batch(&format!(
                "SELECT setval(pg_get_serial_sequence('{0}', 'key'), coalesce(max(key), 1), \
                 max(key) IS NOT NULL) FROM {0}",
                table.name
            ))?;
        }
    }
    Ok(rows)
}

fn begin_new_life(
    tx: &mut Tx<'_>,
    now: Timestamp,
    restored: &mut Restored,
) -> Result<(), StoreError> {
    restored.epoch = meta::raise_epoch(tx, now)?;
    tx.execute(
        "INSERT INTO order_steps (order_id, at, state, code, words) \
         SELECT id, $1, 'voided', 'restored', 'the control plane''s database was restored' \
         FROM orders WHERE ended_at IS NULL",
        params![now],
    )?;
    restored.orders = tx.execute(
        "UPDATE orders SET state = 'voided', code = 'restored', \
         outcome = 'the control plane''s database was restored', ended_at = $1, \
         changed_at = $1, generation = generation + 1 WHERE ended_at IS NULL",
        params![now],
    )?;
    // A backup of the first schema has no rollouts.
    if meta::schema(tx)? > 1 {
        restored.rollouts = rollouts::pause_all(tx, now)?;
    }
    restored.tokens = tx.execute(
        "UPDATE tokens SET revoked_at = $1, generation = generation + 1 \
         WHERE used_at IS NULL AND revoked_at IS NULL AND expires_at > $1",
        params![now],
    )?;
    let counts = serde_json::json!({
        "epoch": restored.epoch, "orders_voided": restored.orders, "tokens_revoked": restored.tokens,
        "rollouts_paused": restored.rollouts,
    });
    let change = NewAudit {
        at: now,
        who: "server".to_owned(),
        what: "server.restore",
        subject: "database".to_owned(),
        before: None,
        after: Some(counts),
    };
    audit::insert(tx, &change)?;
    tx.execute("UPDATE agents SET state_digest = NULL", &[])?;
    tx.execute("DELETE FROM leases", &[])?;
    Ok(())
}
