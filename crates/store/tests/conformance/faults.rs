//! What SQLite and its file can do to us, and the name that each of it has.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use handover_model::{ErrorClass, Version};
use handover_store::{Database, Store, StoreError, meta};
use rusqlite::Connection;

use crate::durability::{child, url};
use crate::rig::{Rig, at_once, enrol, options, read, write};

/// Opens, and reads all that there is.
fn open_and_check(rig: &Rig) -> Result<Vec<String>, StoreError> {
    Ok(rig.try_open()?.check(&[])?.problems)
}

fn file(rig: &Rig) -> camino::Utf8PathBuf {
    rig.path("handover.db")
}

/// Many agents, so that the file has many pages, all of them in it.
fn filled() -> Rig {
    let rig = Rig::sqlite();
    let store = rig.open();
    for number in 0..200 {
        enrol(&store, number, &format!("host-{number}"));
    }
    drop(store);
    rig
}

#[test]
fn a_second_server_is_told_that_the_database_is_locked() {
    let rig = Rig::sqlite();
    let store = rig.open();
    let error = rig.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(error.to_string().contains("stop the other"), "{error}");
    write(&store, |tx| meta::set(tx, "still", "here")).unwrap();
    drop(store);
    rig.open();
}

#[test]
fn a_tool_may_look_beside_the_server() {
    let rig = Rig::sqlite();
    let store = rig.open();
    let tool = Store::attach(&rig.database, &options()).unwrap();
    write(&store, |tx| meta::set(tx, "by", "server")).unwrap();
    assert_eq!(read(&tool, |tx| meta::get(tx, "by")).unwrap().as_deref(), Some("server"));
}

#[test]
fn a_tool_that_finds_no_database_makes_none() {
    let rig = Rig::sqlite();
    let error = Store::attach(&rig.database, &options()).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert!(!file(&rig).exists());
}

#[test]
fn a_lock_of_another_program_is_named_and_nothing_is_lost_when_it_goes() {
    let rig = Rig::sqlite();
    let mut options = options();
    options.busy = Duration::from_millis(20);
    let store = Store::open(&rig.database, &options).unwrap();
    let other = Connection::open(file(&rig)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    at_once(3, |_| {
        let error = write(&store, |tx| meta::set(tx, "key", "value")).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    });
    other.execute_batch("ROLLBACK").unwrap();
    write(&store, |tx| meta::set(tx, "key", "value")).unwrap();
}

#[test]
fn a_full_database_says_so_keeps_what_it_has_and_takes_what_fits() {
    let rig = Rig::sqlite();
    let mut options = options();
    options.most_bytes = Some(1024 * 1024);
    let store = Store::open(&rig.database, &options).unwrap();
    let large = "x".repeat(100_000);
    let mut written = 0;
    let error = loop {
        let (key, value) = (format!("large-{written}"), large.clone());
        match write(&store, move |tx| meta::set(tx, &key, &value)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(written > 2, "{written}");
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Retry);
    // One that is too large fails alone, though others share its group.
    at_once(4, |thread| {
        let (key, value) = (format!("mixed-{thread}"), large.clone());
        let is_large = thread % 2 == 0;
        let outcome =
            write(&store, move |tx| meta::set(tx, &key, if is_large { &value } else { "small" }));
        assert_eq!(outcome.is_err(), is_large, "{outcome:?}");
    });
    let kept = read(&store, |tx| {
        tx.query_one("SELECT count(*) FROM meta WHERE key >= 'large' AND key < 'largf'", &[])
    });
    assert_eq!(kept.unwrap().get::<i64>(0).unwrap(), written);
    write(&store, |tx| tx.execute("DELETE FROM meta WHERE key = 'large-0'", &[])).unwrap();
    write(&store, move |tx| meta::set(tx, "again", &large)).unwrap();
    assert_eq!(store.check(&[]).unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_file_that_may_not_be_written_is_named_read_only() {
    let rig = Rig::sqlite();
    drop(rig.open());
    let directory = rig.directory.path();
    let mut command;
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| {
        use std::os::unix::fs::MetadataExt as _;
        me.uid() == 0
    });
    if is_root {
        // Permissions don't bind root: the child is nobody, with a copy that nobody can reach.
        let program = directory.join("store_child");
        fs::copy(child(), &program).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        command = Command::new(program);
        command.uid(65534).gid(65534);
        chown(file(&rig).with_extension("db.lock"), Some(65534), Some(65534)).unwrap();
        fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
    } else {
        command = Command::new(child());
    }
    fs::set_permissions(file(&rig), Permissions::from_mode(0o444)).unwrap();
    let done = command.args(["write", &url(&rig)]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("is read-only: make the file"), "{said}{done:?}");
    fs::set_permissions(file(&rig), Permissions::from_mode(0o644)).unwrap();
    assert_eq!(read(&rig.open(), |tx| meta::get(tx, "by-child")).unwrap(), None);
}

#[test]
fn a_damaged_page_is_named_corrupt_and_not_taken_for_nothing() {
    let rig = filled();
    let size = fs::metadata(file(&rig)).unwrap().len();
    let mut damaged = OpenOptions::new().write(true).open(file(&rig)).unwrap();
    damaged.seek(SeekFrom::Start(size / 4 / 4096 * 4096)).unwrap();
    damaged.write_all(&vec![0xa5; usize::try_from(size / 2).unwrap()]).unwrap();
    drop(damaged);
    match open_and_check(&rig) {
        Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error}"),
        Ok(problems) => assert!(!problems.is_empty()),
    }
    let error = rig.try_open().and_then(|store| {
        write(&store, |tx| tx.execute("UPDATE agents SET note = 'x', name = name || 'y'", &[]))
    });
    assert!(matches!(error, Err(StoreError::Corrupt { .. })), "{error:?}");
}

#[test]
fn a_damaged_head_is_named_corrupt() {
    let rig = filled();
    let mut damaged = OpenOptions::new().write(true).open(file(&rig)).unwrap();
    damaged.write_all(&[0xa5; 64]).unwrap();
    drop(damaged);
    let error = open_and_check(&rig).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("handover server restore"), "{error}");
}

#[test]
fn a_cut_file_is_named_corrupt() {
    let rig = filled();
    let size = fs::metadata(file(&rig)).unwrap().len();
    File::options().write(true).open(file(&rig)).unwrap().set_len(size / 2).unwrap();
    match open_and_check(&rig) {
        Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error}"),
        Ok(problems) => assert!(!problems.is_empty()),
    }
}

#[test]
fn another_programs_file_is_left_alone() {
    let rig = Rig::sqlite();
    let other = Connection::open(file(&rig)).unwrap();
    other.execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    drop(other);
    let error = rig.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    let other = Connection::open(file(&rig)).unwrap();
    let tables: i64 =
        other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let rig = Rig::sqlite();
    let database = Database::Sqlite(rig.path("missing/handover.db"));
    let error = Store::open(&database, &options()).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn an_older_program_is_told_which_one_is_needed() {
    let rig = Rig::sqlite();
    let store = rig.open();
    write(&store, |tx| meta::set(tx, "oldest_program", "3.4.0")).unwrap();
    drop(store);
    let error = rig.try_open().unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, StoreError::ProgramTooOld { .. }), "{message}");
    assert!(message.contains("needs handover 3.4.0 or newer; this is 0.1.0"), "{message}");
    let mut newer = options();
    newer.program = Version::new(3, 4, 0);
    Store::open(&rig.database, &newer).unwrap();
}
