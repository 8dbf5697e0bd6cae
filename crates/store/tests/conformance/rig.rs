//! A fresh database of either kind, and what tests put into it.

use std::collections::BTreeMap;
use std::str::FromStr;

use camino::Utf8PathBuf;
use handover_model::{
    AgentId, Digest, IdGen, Labels, OrderId, Platform, SessionId, Timestamp, TokenId, Version,
};
use handover_store::agents::{self, Agent, NewAgent};
use handover_store::{AgentKey, Database, Options, Store, StoreError, Tx};
use handover_testkit::Postgres;
use tempfile::TempDir;

/// A fresh database.
pub(crate) struct Rig {
    pub(crate) database: Database,
    pub(crate) directory: TempDir,
}

impl Rig {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(directory.path().join("handover.db")).unwrap();
        let rig = Self { database: Database::Sqlite(path), directory };
        if std::env::var_os("HANDOVER_TEST_NEXT_SCHEMA").is_some() {
            crate::schema::expand(&rig.open());
        }
        rig
    }

    /// `None` where PostgreSQL is not installed.
    pub(crate) fn postgres() -> Option<Self> {
        let url = Postgres::shared()?.fresh_database();
        let directory = tempfile::tempdir().unwrap();
        Some(Self { database: Database::Postgres(url), directory })
    }

    pub(crate) fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Store, StoreError> {
        Store::open(&self.database, &options())
    }

    /// A path in a directory of the test's own.
    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::try_from(self.directory.path().join(name)).unwrap()
    }
}

/// Makes a test of each function, on either database.
macro_rules! on_both_databases {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(&crate::rig::Rig::sqlite()); })+
        }
        mod postgres {
            $(#[test] fn $name() {
                if let Some(rig) = crate::rig::Rig::postgres() { super::$name(&rig); }
            })+
        }
    };
}
pub(crate) use on_both_databases;

pub(crate) fn options() -> Options {
    Options::new(Version::new(0, 1, 0), at(0))
}

/// A time, in seconds from some beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
}

pub(crate) fn parsed<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn seed(number: u64) -> IdGen {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    IdGen::new(seed)
}

pub(crate) fn agent_id(number: u64) -> AgentId {
    AgentId::mint(&mut seed(number), at(0))
}

pub(crate) fn order_id(number: u64) -> OrderId {
    OrderId::mint(&mut seed(number), at(0))
}

pub(crate) fn token_id(number: u64) -> TokenId {
    TokenId::mint(&mut seed(number), at(0))
}

pub(crate) fn session_id(number: u64) -> SessionId {
    SessionId::mint(&mut seed(number), at(0))
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Labels::new(pairs.collect::<BTreeMap<_, _>>()).unwrap()
}

pub(crate) fn new_agent(number: u64, name: &str, labels: Labels) -> NewAgent {
    NewAgent {
        id: agent_id(number),
        name: parsed(name),
        public_key: serde_json::json!({ "keytype": "ed25519", "number": number }),
        key_digest: Digest::of(&number.to_be_bytes()),
        secret: Digest::of(format!("secret {number}").as_bytes()),
        machine: Digest::of(b"machine"),
        session: session_id(number),
        platform: Platform::of_this_build(),
        agent_version: Version::new(1, 0, 0),
        labels,
        ephemeral_after: None,
        token: None,
    }
}

/// Enrols one at second 0.
pub(crate) fn enrol(store: &Store, number: u64, name: &str) -> AgentKey {
    enrol_with(store, number, name, labels(&[]))
}

pub(crate) fn enrol_with(store: &Store, number: u64, name: &str, labels: Labels) -> AgentKey {
    let new = new_agent(number, name, labels);
    write(store, move |tx| agents::insert(tx, &new, at(0))).unwrap()
}

pub(crate) fn agent(store: &Store, key: AgentKey) -> Agent {
    read(store, move |tx| agents::by_key(tx, key)).unwrap().unwrap()
}

pub(crate) fn write<T: Send + 'static>(
    store: &Store,
    closure: impl Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    store.write_blocking(closure)
}

pub(crate) fn read<T: Send + 'static>(
    store: &Store,
    closure: impl Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    store.read_blocking(closure)
}

/// A row of `meta` as a counter.
pub(crate) fn counter(tx: &mut Tx<'_>, key: &str) -> Result<i64, StoreError> {
    Ok(handover_store::meta::get(tx, key)?.map_or(0, |text| text.parse().unwrap()))
}

/// Runs a future of the store to its end.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Runs `body` in `count` threads at once, with the thread's number.
pub(crate) fn at_once(count: u64, body: impl Fn(u64) + Sync) {
    let start = std::sync::Barrier::new(usize::try_from(count).unwrap());
    std::thread::scope(|scope| {
        for number in 0..count {
            let (start, body) = (&start, &body);
            scope.spawn(move || {
                start.wait();
                body(number);
            });
        }
    });
}

/// Writes a file of the test's own.
pub(crate) fn put(path: impl AsRef<std::path::Path>, content: impl AsRef<[u8]>) {
    use std::io::Write as _;
    std::fs::File::create(path).unwrap().write_all(content.as_ref()).unwrap();
}
