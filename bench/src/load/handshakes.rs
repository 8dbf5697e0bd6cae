//! Handshakes: a connection for each request, one after the other.

use anyhow::ensure;

use super::{Connector, Meter, Outcome, percentiles};
use crate::real_world::Stopwatch;

/// What the servers answer with least work.
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Connects, asks once, and closes, `count` times.
pub(super) async fn run(
    connector: &Connector,
    meter: &Meter,
    count: u32,
    is_resumed: bool,
) -> anyhow::Result<Outcome> {
    let connector = if is_resumed { connector.resuming() } else { connector.clone() };
    for _ in 0..10 {
        connector.connect().await?.exchange(REQUEST).await?;
    }
    let begun = meter.begin()?;
    let mut micros = Vec::new();
    for _ in 0..count {
        let watch = Stopwatch::start();
        let mut connection = connector.connect().await?;
        ensure!(connection.is_resumed() == is_resumed, "the other kind of handshake was made");
        let answer = connection.exchange(REQUEST).await?;
        ensure!(answer.status == 200, "/healthz answers with {}", answer.status);
        micros.push(u32::try_from(watch.elapsed().as_micros())?);
    }
    let (elapsed, cpu) = meter.end(&begun)?;
    let (median, p99) = percentiles(micros);
    Ok(Outcome { done: count, elapsed, cpu, median, p99, ..Outcome::default() })
}
