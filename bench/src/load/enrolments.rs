//! Enrolments, each as a host does it: one connection for the authorities, one to enrol.

use anyhow::ensure;
use handover_model::wire::{PROTOCOL, PROTOCOL_HEADER};
use tokio::task::JoinSet;

use super::{Connector, Meter, Outcome, percentiles};
use crate::real_world::Stopwatch;

/// Sends them, `at_once` at a time.
pub(super) async fn run(
    connector: Connector,
    meter: &Meter,
    bodies: Vec<String>,
    at_once: usize,
) -> anyhow::Result<Outcome> {
    let begun = meter.begin()?;
    let mut outcome = Outcome::default();
    let (mut micros, mut under_way) = (Vec::new(), JoinSet::new());
    let mut bodies = bodies.into_iter();
    loop {
        while under_way.len() < at_once
            && let Some(body) = bodies.next()
        {
            under_way.spawn(enrol(connector.clone(), body));
        }
        let Some(ended) = under_way.join_next().await else { break };
        micros.push(ended??);
        outcome.done += 1;
    }
    (outcome.elapsed, outcome.cpu) = meter.end(&begun)?;
    (outcome.median, outcome.p99) = percentiles(micros);
    Ok(outcome)
}

async fn enrol(connector: Connector, body: String) -> anyhow::Result<u32> {
    let watch = Stopwatch::start();
    let head = format!("host: localhost\r\n{PROTOCOL_HEADER}: {PROTOCOL}\r\n");
    let ask = format!("GET /agent/v1/ca HTTP/1.1\r\n{head}\r\n");
    let answer = connector.connect().await?.exchange(ask.as_bytes()).await?;
    ensure!(answer.status == 200, "/agent/v1/ca answers with {}", answer.status);
    let mut connection = connector.connect().await?;
    let request = format!(
        "POST /agent/v1/enroll HTTP/1.1\r\n{head}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = connection.exchange(request.as_bytes()).await?;
    let said = String::from_utf8_lossy(connection.body(&answer));
    ensure!((200..300).contains(&answer.status), "enrolment: {}: {said}", answer.status);
    Ok(u32::try_from(watch.elapsed().as_micros())?)
}
