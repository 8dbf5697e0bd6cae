//! First light.
use handover_model::Timestamp;
use handover_store::{Database, Options, Store, StoreError, params};

#[test]
fn what_was_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("handover.db");
    let database = Database::Sqlite(camino::Utf8PathBuf::try_from(path).unwrap());
    let options = Options::new("0.1.0".parse().unwrap(), Timestamp::from_micros(1));
    let store = Store::open(&database, &options).unwrap();
    store
        .write_blocking(|tx| {
            tx.execute("INSERT INTO meta (key, value) VALUES ($2, $1)", params!["v", "k"])
        })
        .unwrap();
    let read = store.read_blocking(|tx| {
        tx.query_one("SELECT value FROM meta WHERE key = $1", params!["k"])?.get::<String>(0)
    });
    assert_eq!(read.unwrap(), "v");
    assert!(matches!(Store::open(&database, &options), Err(StoreError::Locked { .. })));
}
