//! What PostgreSQL and the way to it can do to us, and the name that each of it has.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use handover_model::ErrorClass;
use handover_store::{Database, Store, StoreError, fleet, meta};
use handover_testkit::Postgres;

use crate::rig::{Rig, agent, at, at_once, enrol, options, read, wait_for, write};

fn url(rig: &Rig) -> String {
    match &rig.database {
        Database::Postgres(url) => url.clone(),
        Database::Sqlite(path) => panic!("{path}"),
    }
}

fn open_error(url: &str) -> StoreError {
    Store::open(&Database::Postgres(url.to_owned()), &options()).unwrap_err()
}

#[test]
fn servers_that_start_at_once_share_one_database() {
    let Some(rig) = Rig::postgres() else { return };
    at_once(4, |thread| {
        let store = rig.open();
        write(&store, move |tx| meta::set(tx, &format!("by-{thread}"), "written")).unwrap();
    });
    let store = rig.open();
    for thread in 0..4 {
        let key = format!("by-{thread}");
        assert!(read(&store, move |tx| meta::get(tx, &key)).unwrap().is_some());
    }
    let migrations = read(&store, |tx| tx.query("SELECT number FROM schema_versions", &[]));
    assert_eq!(migrations.unwrap().len(), 2, "each ran once");
}

#[test]
fn who_stops_the_fleet_waits_for_whoever_hands_out() {
    let Some(rig) = Rig::postgres() else { return };
    let store = rig.open();
    let (held, is_held) = std::sync::mpsc::channel();
    let was_waited_for = std::thread::scope(|scope| {
        let handing_out = scope.spawn(|| {
            write(&store, move |tx| {
                fleet::stop_held(tx)?;
                // Nobody listens any more when it is tried again.
                let _ = held.send(());
                let waiting = "SELECT pid FROM pg_locks \
                     WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
                for _look in 0..100_000 {
                    if !tx.query(waiting, &[])?.is_empty() {
                        return Ok::<bool, StoreError>(true);
                    }
                    std::thread::yield_now();
                }
                Ok(false)
            })
        });
        is_held.recv().unwrap();
        let stop = fleet::Stop { by: "ann".to_owned(), at: at(5), reason: None };
        write(&store, move |tx| fleet::set_stop(tx, true, &stop, 0)).unwrap();
        handing_out.join().unwrap().unwrap()
    });
    assert!(was_waited_for, "the stop was there before the order");
    let info = read(&store, fleet::info).unwrap();
    assert_eq!((info.stopped, info.generation), (true, 1));
}

#[test]
fn a_database_that_is_not_there_is_named() {
    let Some(rig) = Rig::postgres() else { return };
    let error = open_error(&url(&rig).replace("/test_", "/nowhere_"));
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
    assert!(!error.to_string().contains("handover&"), "{error}");
}

#[test]
fn a_server_that_does_not_answer_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let error = open_error(&format!("postgres://ann:geheim@{address}/d"));
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
}

#[test]
fn a_user_without_rights_is_named() {
    let Some(rig) = Rig::postgres() else { return };
    let error = open_error(&url(&rig).replace("user=handover", "user=nobody"));
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
}

#[test]
fn a_database_that_takes_no_writes_is_named_read_only() {
    let Some(rig) = Rig::postgres() else { return };
    drop(rig.open());
    let postgres = Postgres::shared().unwrap();
    let name = url(&rig).split(['/', '?']).nth(3).unwrap().to_owned();
    let sql = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    postgres.psql(&url(&rig), &sql);
    let store = Store::attach(&rig.database, &options()).unwrap();
    let error = write(&store, |tx| meta::set(tx, "key", "value")).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    read(&store, meta::epoch).unwrap();
}

#[test]
fn connections_that_break_are_made_again() {
    let Some(rig) = Rig::postgres() else { return };
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    let break_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let postgres = Postgres::shared().unwrap();
    for round in 1..=3 {
        postgres.psql(&url(&rig), break_all);
        write(&store, move |tx| meta::set(tx, "round", &round.to_string())).unwrap();
        wait_for(store.touch(key, at(round))).unwrap();
        assert_eq!(agent(&store, key).last_seen, Some(at(round)));
    }
}

#[test]
fn a_connection_that_breaks_in_a_transaction_costs_another_run() {
    let Some(rig) = Rig::postgres() else { return };
    let store = rig.open();
    let runs = Arc::new(AtomicU32::new(0));
    let (counted, url) = (Arc::clone(&runs), url(&rig));
    write(&store, move |tx| {
        meta::set(tx, "half", "written")?;
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            let pid: i64 = tx.query_one("SELECT pg_backend_pid()", &[])?.get(0)?;
            let kill = format!("SELECT pg_terminate_backend({pid})");
            Postgres::shared().unwrap().psql(&url, &kill);
        }
        meta::set(tx, "whole", "written")
    })
    .unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(read(&store, |tx| meta::get(tx, "whole")).unwrap().as_deref(), Some("written"));
}

#[test]
fn a_connection_over_tls_needs_a_certificate_that_is_vouched_for() {
    let directory = tempfile::tempdir().unwrap();
    let issuer_key = rcgen::KeyPair::generate().unwrap();
    let mut about = rcgen::CertificateParams::new(Vec::new()).unwrap();
    about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = about.self_signed(&issuer_key).unwrap();
    let issuer = rcgen::Issuer::new(about, issuer_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for (name, text) in
        [("ca.pem", authority.pem()), ("leaf.pem", leaf.pem()), ("leaf.key", key.serialize_pem())]
    {
        crate::rig::put(path(name), text);
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    give_away(&path("leaf.key"), directory.path());
    let configuration = [
        "listen_addresses = '127.0.0.1'".to_owned(),
        format!("port = {port}"),
        "ssl = on".to_owned(),
        format!("ssl_cert_file = '{}'", path("leaf.pem")),
        format!("ssl_key_file = '{}'", path("leaf.key")),
    ];
    let configuration: Vec<&str> = configuration.iter().map(String::as_str).collect();
    let Some(_postgres) = Postgres::start(&configuration) else { return };
    let url = |rest: &str| format!("postgres://handover@localhost:{port}/postgres?{rest}");
    let trusting = url(&format!("sslmode=require&sslrootcert={}", path("ca.pem")));
    let store = Store::open(&Database::Postgres(trusting), &options()).unwrap();
    let is_tls = read(&store, |tx| {
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        tx.query_one(sql, &[])?.get::<bool>(0)
    });
    assert!(is_tls.unwrap());
    let error = open_error(&url("sslmode=require"));
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    let by_address = url(&format!("sslmode=verify-full&sslrootcert={}", path("ca.pem")))
        .replace("localhost", "127.0.0.1");
    let error = open_error(&by_address);
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
}

/// PostgreSQL wants a key that is its own, or root's, and that nobody else can read.
fn give_away(key: &str, directory: &std::path::Path) {
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    if fs::metadata(key).unwrap().uid() == 0 {
        let id = |flag: &str| {
            let done = std::process::Command::new("id").args([flag, "postgres"]).output().unwrap();
            String::from_utf8_lossy(&done.stdout).trim().parse().unwrap_or(65534)
        };
        chown(key, Some(id("-u")), Some(id("-g"))).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
