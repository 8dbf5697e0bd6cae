//! Whoever was answered may pull the plug.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use camino::Utf8PathBuf;
use handover_model::Timestamp;
use handover_store::Database;

use crate::rig::{Rig, agent, counter, enrol, on_both_databases, read};

on_both_databases! {
    what_was_acknowledged_outlives_a_kill,
}

/// The example program beside this test.
pub(crate) fn child() -> Utf8PathBuf {
    let mut path = Utf8PathBuf::try_from(std::env::current_exe().unwrap()).unwrap();
    path.pop();
    path.set_file_name("examples/store_child");
    assert!(path.exists(), "{path} is missing: cargo build -p handover-store --examples");
    path
}

/// The database as the child's argument.
pub(crate) fn url(rig: &Rig) -> String {
    match &rig.database {
        Database::Sqlite(path) => format!("sqlite:{path}"),
        Database::Postgres(url) => url.clone(),
    }
}

fn what_was_acknowledged_outlives_a_kill(rig: &Rig) {
    let store = rig.open();
    let keys: Vec<_> = (0..4).map(|number| enrol(&store, number, &format!("a-{number}"))).collect();
    write_low_times(&store);
    drop(store);
    for kill_after in [1, 40, 150] {
        let mut process = Command::new(child())
            .args(["count", &url(rig)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut acknowledged: BTreeMap<usize, i64> = BTreeMap::new();
        for (count, line) in lines.enumerate() {
            let line = line.unwrap();
            let (thread, round) = line.split_once(' ').unwrap();
            acknowledged.insert(thread.parse().unwrap(), round.parse().unwrap());
            if count == kill_after {
                // SIGKILL: nothing of it runs any more.
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        let store = rig.open();
        for (thread, round) in acknowledged {
            let key = format!("count-{thread}");
            let kept = read(&store, move |tx| counter(tx, &key)).unwrap();
            assert!(kept >= round, "thread {thread}: {kept} of {round}");
            let seen = agent(&store, keys[thread]).last_seen.unwrap();
            assert!(seen >= Timestamp::from_micros(round), "thread {thread}: {seen}");
        }
        assert_eq!(store.check(&[]).unwrap().problems, Vec::<String>::new());
        // The next child begins at 1 again.
        write_low_times(&store);
    }
}

fn write_low_times(store: &handover_store::Store) {
    crate::rig::write(store, |tx| tx.execute("UPDATE presence SET last_seen = 0", &[])).unwrap();
}
