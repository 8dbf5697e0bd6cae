//! What a check-in costs in the database: `touch_cost DATABASE [AGENTS] [BATCH] [ROUNDS]`, on a
//! database of its own. Prints processor time (of this process: with PostgreSQL the server's own
//! comes on top) and wall time for each check-in, every one of them durable when it is counted.

use std::time::Instant;

use anyhow::{Context as _, bail};
use handover_model::{AgentId, Digest, IdGen, Labels, SessionId, Timestamp, Version};
use handover_store::agents::{self, NewAgent};
use handover_store::{AgentKey, Options, Store, StoreError};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(database) = arguments.first() else { bail!("touch_cost DATABASE") };
    let number = |place: usize, otherwise: i64| -> anyhow::Result<i64> {
        arguments.get(place).map_or(Ok(otherwise), |text| Ok(text.parse()?))
    };
    let (count, batch, rounds) = (number(1, 100_000)?, number(2, 1_000)?, number(3, 1_000)?);
    let options = Options::new("0.1.0".parse()?, at(0));
    let store = Store::open(&database.parse()?, &options)?;
    let keys = enrol(&store, count)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (cpu, clock) = (cpu_seconds()?, now());
    let mut dice = 1_u64;
    for round in 1..=rounds {
        let answers: Vec<_> = (0..batch)
            .map(|_| {
                // Agents come in no order (Knuth, MMIX).
                dice = dice
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let place = usize::try_from(dice >> 33).unwrap_or(0) % keys.len();
                store.touch(keys[place], at(round))
            })
            .collect();
        runtime.block_on(async {
            for answer in answers {
                answer.await?;
            }
            Ok::<(), StoreError>(())
        })?;
    }
    let (cpu, wall) = (cpu_seconds()? - cpu, now().duration_since(clock).as_secs_f64());
    let total = f64::from(u32::try_from(batch * rounds)?);
    say(&format!(
        "{count} agents, {rounds} batches of {batch}: {:.2} µs of CPU and {:.2} µs of wall time \
         for each check-in",
        cpu / total * 1e6,
        wall / total * 1e6
    ))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
}

fn enrol(store: &Store, count: i64) -> anyhow::Result<Vec<AgentKey>> {
    let labels = Labels::parse(["site=a"])?;
    let mut ids = IdGen::new([7; 32]);
    let mut keys = Vec::new();
    for first in (0..count).step_by(1000) {
        let new: Vec<NewAgent> = (first..count.min(first + 1000))
            .map(|number| {
                Ok(NewAgent {
                    id: AgentId::mint(&mut ids, at(0)),
                    name: format!("host-{number}").parse()?,
                    public_key: serde_json::json!({ "keytype": "ed25519" }),
                    key_digest: Digest::of(&number.to_be_bytes()),
                    secret: Digest::of(&number.to_le_bytes()),
                    machine: Digest::of(b"machine"),
                    session: SessionId::mint(&mut ids, at(0)),
                    platform: handover_model::Platform::of_this_build(),
                    agent_version: Version::new(1, 0, 0),
                    labels: labels.clone(),
                    ephemeral_after: None,
                    token: None,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        let enrolled: Result<Vec<AgentKey>, StoreError> = store.write_blocking(move |tx| {
            new.iter().map(|new| agents::insert(tx, new, at(0))).collect()
        });
        keys.extend(enrolled?);
    }
    Ok(keys)
}

/// User and system time of this process, from `/proc/self/stat` (proc(5), fields 14 and 15, in
/// hundredths of a second).
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
    let mut ticks = 0.0;
    for field in rest.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks / 100.0)
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn say(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
