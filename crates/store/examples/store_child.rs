//! A process that tests may kill, or run as a user with fewer rights: `store_child count URL`
//! writes and checks in without end and prints what was acknowledged; `store_child write URL`
//! opens, writes once, and prints how that ended.

use std::io::Write as _;
use std::sync::Mutex;

use anyhow::{Context as _, bail};
use handover_model::Timestamp;
use handover_store::{AgentKey, Database, Options, Store, StoreError, meta};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, act, database] = arguments.as_slice() else { bail!("count|write URL") };
    let database: Database = database.parse()?;
    let options = Options::new("0.1.0".parse()?, Timestamp::from_micros(0));
    match act.as_str() {
        "count" => count(&Store::open(&database, &options)?),
        "write" => {
            let opened = Store::open(&database, &options);
            let written = opened
                .and_then(|store| store.write_blocking(|tx| meta::set(tx, "by-child", "written")));
            say(&written.map_or_else(|error| format!("{error}"), |()| "written".to_owned()))
        }
        other => bail!("{other}?"),
    }
}

/// Four threads write and check in; each line that is printed was acknowledged before.
fn count(store: &Store) -> anyhow::Result<()> {
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for thread in 0..4_i64 {
            let failed = &failed;
            scope.spawn(move || {
                if let Err(error) = count_in(store, thread) {
                    *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                }
            });
        }
    });
    failed.into_inner().ok().flatten().map_or(Ok(()), Err)
}

fn count_in(store: &Store, thread: i64) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for round in 1.. {
        let key = format!("count-{thread}");
        let written: Result<(), StoreError> =
            store.write_blocking(move |tx| meta::set(tx, &key, &round.to_string()));
        written.context("write")?;
        let at = Timestamp::from_micros(round);
        runtime.block_on(store.touch(AgentKey::from_i64(thread + 1), at)).context("touch")?;
        say(&format!("{thread} {round}"))?;
    }
    Ok(())
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
