//! Schemas: every one that was ever committed can be brought to now, and this program runs on the
//! next one.
//!
//! `tests/schemas/NNNN.sql` holds a database of that schema with something in every table, as
//! SQLite's own SQL. It is recorded once, when the schema is released, and never changes:
//! `HANDOVER_RECORD_SCHEMA=1 cargo test -p handover-store --test conformance schema`.

use std::fs;
use std::process::Command;

use camino::Utf8PathBuf;
use handover_store::backup::restore;
use handover_store::{Cell, Database, Store, StoreError, meta};
use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use crate::backup::fill;
use crate::rig::{Rig, agent_id, options, read, write};

fn schemas() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/schemas")
}

/// Number and SQL of each committed schema, oldest first.
fn committed() -> Vec<(u32, String)> {
    let mut all: Vec<_> = schemas()
        .read_dir_utf8()
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().into_path();
            let number = path.file_stem().unwrap().parse().unwrap();
            (number, fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

/// The database as SQL: tables and rows, then what refers to them.
fn as_sql(connection: &Connection) -> String {
    let mut sql = String::from("PRAGMA application_id = 1752065135;\n");
    let list = |kinds: &str| {
        let query = format!(
            "SELECT name, sql FROM sqlite_schema WHERE type {kinds} AND sql IS NOT NULL \
             AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        );
        let mut statement = connection.prepare(&query).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<Vec<(String, String)>, _>>().unwrap()
    };
    for (name, create) in list("= 'table'") {
        sql += &(create + ";\n");
        let mut statement = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<_> = (0..columns)
                .map(|column| match row.get::<_, Sql>(column).unwrap() {
                    Sql::Null => "NULL".to_owned(),
                    Sql::Integer(int) => int.to_string(),
                    Sql::Text(text) => format!("'{}'", text.replace('\'', "''")),
                    other @ (Sql::Real(_) | Sql::Blob(_)) => panic!("{other:?}"),
                })
                .collect();
            let insert = format!("INSERT INTO {name} VALUES ({});\n", values.join(", "));
            sql += &insert;
        }
    }
    for (_, create) in list("<> 'table'") {
        sql += &(create + ";\n");
    }
    sql
}

/// A database made of a committed schema.
fn made_of(sql: &str) -> Rig {
    let rig = Rig::sqlite();
    let connection = Connection::open(rig.path("handover.db")).unwrap();
    connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; BEGIN; {sql} COMMIT;")).unwrap();
    rig
}

/// Tables, columns and indexes, in an order of their own.
fn shape(store: &Store) -> Vec<Vec<Cell>> {
    let sql = match store.database() {
        Database::Sqlite(_) => {
            "SELECT m.name, p.name, p.type, p.\"notnull\", p.pk, m.sql FROM sqlite_schema m \
             LEFT JOIN pragma_table_info(m.name) p ORDER BY m.name, p.name"
        }
        Database::Postgres(_) => {
            "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text, \
             collation_name::text FROM information_schema.columns \
             WHERE table_schema = current_schema() \
             UNION ALL SELECT tablename::text, indexname::text, indexdef, '', '' FROM pg_indexes \
             WHERE schemaname = current_schema() ORDER BY 1, 2"
        }
    };
    let rows = read(store, move |tx| tx.query(sql, &[])).unwrap();
    rows.iter().map(|row| row.cells().to_vec()).collect()
}

#[test]
fn the_newest_schema_is_recorded_as_it_is() {
    let rig = Rig::sqlite();
    let store = rig.open();
    fill(&store);
    let newest = read(&store, meta::schema).unwrap();
    drop(store);
    let path = schemas().join(format!("{newest:04}.sql"));
    if std::env::var_os("HANDOVER_RECORD_SCHEMA").is_some() {
        let sql = as_sql(&Connection::open(rig.path("handover.db")).unwrap());
        fs::create_dir_all(schemas()).unwrap();
        crate::rig::put(&path, sql);
    }
    assert!(path.exists(), "{path} is missing: see this file's head");
}

#[test]
fn every_committed_schema_comes_to_be_the_fresh_one() {
    for fresh in [Some(Rig::sqlite()), Rig::postgres()].into_iter().flatten() {
        let expected = shape(&fresh.open());
        for (number, sql) in committed() {
            let old = made_of(&sql);
            let upgraded = match &fresh.database {
                Database::Sqlite(_) => old,
                Database::Postgres(_) => {
                    // A PostgreSQL of that schema is made of the same rows.
                    let Some(target) = Rig::postgres() else { return };
                    restore(&old.path("handover.db"), &target.database, &options()).unwrap();
                    target
                }
            };
            let store = upgraded.open();
            assert_eq!(shape(&store), expected, "schema {number}");
            let found = read(&store, |tx| handover_store::agents::get(tx, agent_id(1))).unwrap();
            assert_eq!(found.unwrap().name.as_str(), "web-1", "schema {number}");
            assert_eq!(store.check(&[]).unwrap().problems, Vec::<String>::new());
        }
    }
}

/// What a next version may do to a schema: more columns, more tables, more indexes.
pub(crate) fn expand(store: &Store) {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' \
        AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let pg_tables =
        "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1";
    let list = match store.database() {
        Database::Sqlite(_) => tables,
        Database::Postgres(_) => pg_tables,
    };
    write(store, move |tx| {
        for row in tx.query(list, &[])? {
            let table: String = row.get(0)?;
            tx.execute(&format!("ALTER TABLE {table} ADD COLUMN of_the_next TEXT"), &[])?;
        }
        tx.execute("CREATE TABLE things_of_the_next (key BIGINT PRIMARY KEY)", &[])?;
        tx.execute("CREATE INDEX of_the_next ON agents (of_the_next)", &[])?;
        tx.execute(
            "INSERT INTO schema_versions (number, name, program, applied_at) \
             SELECT max(number) + 1, 'next', '9.9.9', 0 FROM schema_versions",
            &[],
        )
    })
    .unwrap();
}

#[test]
fn this_program_runs_on_the_next_schema() {
    for rig in [Some(Rig::sqlite()), Rig::postgres()].into_iter().flatten() {
        let store = rig.open();
        let own = read(&store, meta::schema).unwrap();
        expand(&store);
        drop(store);
        let store = rig.open();
        fill(&store);
        assert_eq!(read(&store, meta::schema).unwrap(), own + 1);
        assert_eq!(store.check(&[]).unwrap().problems, Vec::<String>::new());
    }
}

/// The whole suite again, on databases that the next version has expanded.
#[test]
fn this_programs_suite_holds_on_the_next_schema() {
    let rerun = Command::new(std::env::current_exe().unwrap())
        .args(["sqlite::", "--skip", "backup::", "--skip", "durability::"])
        .args(["--skip", "a_database_begins_in_epoch_one"])
        // What a newer program backed up is refused, as it should be.
        .args(["--skip", "a_rollout_that_ran_is_paused_by_a_restore"])
        .env("HANDOVER_TEST_NEXT_SCHEMA", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&rerun.stdout);
    assert!(rerun.status.success(), "{said}");
    let passed = said.lines().filter(|line| line.ends_with("... ok")).count();
    assert!(passed > 40, "{said}");
}

#[test]
fn a_schema_that_left_this_program_behind_is_refused_by_name() {
    for rig in [Some(Rig::sqlite()), Rig::postgres()].into_iter().flatten() {
        let store = rig.open();
        expand(&store);
        write(&store, |tx| meta::set(tx, "oldest_program", "9.9.9")).unwrap();
        drop(store);
        for error in [rig.try_open(), Store::attach(&rig.database, &options())] {
            let error = error.unwrap_err();
            assert!(matches!(error, StoreError::ProgramTooOld { .. }), "{error}");
            assert!(error.to_string().contains("needs handover 9.9.9 or newer; this is 0.1.0"));
        }
    }
}
