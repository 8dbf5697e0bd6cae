//! Virtual agents: everything about one follows from its number, so that the process that
//! prepares the database and the one that makes the load agree without a word.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use handover_model::wire::{
    HostState, PROTOCOL, PROTOCOL_HEADER, Place, SignedDoc, SyncRequest, machine_digest,
};
use handover_model::{AgentId, Digest, IdGen, Millis, ReleaseId, SessionId, Timestamp};
use handover_trust::keys::{KeyError, SigningKey};
use serde_json::json;
use zeroize::Zeroizing;

/// The path of check-ins.
const SYNC: &str = "/agent/v1/sync";
/// The first request's number: as long in digits as the last one's, so that it is patched in.
const FIRST: u64 = 1_000_000;
/// When virtual agents were made.
const MADE: i64 = 1_800_000_000_000_000;

/// The key that all virtual agents sign their reports with.
pub(crate) fn key() -> Result<SigningKey, KeyError> {
    SigningKey::from_seed(Zeroizing::new([7; 32]))
}

/// One virtual agent.
#[derive(Debug, Clone)]
pub(crate) struct Virtual {
    /// Its id.
    pub(crate) id: AgentId,
    /// Its bearer secret, as long as a real one.
    pub(crate) secret: String,
    /// The life of its process.
    pub(crate) session: SessionId,
    /// Its machine.
    pub(crate) machine: Digest,
}

impl Virtual {
    /// The agent of that number.
    pub(crate) fn of(number: u32) -> Self {
        let seed = |what: &str| Digest::of(format!("virtual {what} {number}").as_bytes());
        let made = Timestamp::from_micros(MADE);
        Self {
            id: AgentId::mint(&mut IdGen::new(*seed("id").as_bytes()), made),
            secret: BASE64.encode(seed("secret").as_bytes()),
            session: SessionId::mint(&mut IdGen::new(*seed("session").as_bytes()), made),
            machine: machine_digest(&seed("machine").to_string()),
        }
    }
}

/// The agents with numbers below `count` in an order that has nothing to do with their place in
/// the database, as agents come in life; the same each time.
pub(crate) fn shuffled(count: u32) -> Vec<u32> {
    // splitmix64 (Steele, Lea, Flood 2014).
    let mixed = |number: &u32| {
        let mut mixed = u64::from(*number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut all: Vec<u32> = (0..count).collect();
    all.sort_by_key(mixed);
    all
}

/// How every virtual host stands: two components, as a host has them after its first updates.
pub(crate) fn state() -> anyhow::Result<HostState> {
    state_at(&release("1.0.0")?)
}

/// A release that nobody published.
fn release(version: &str) -> anyhow::Result<ReleaseId> {
    Ok(ReleaseId { version: version.parse()?, digest: Digest::of(version.as_bytes()) })
}

/// The same with another release of `web`.
pub(crate) fn state_at(web: &ReleaseId) -> anyhow::Result<HostState> {
    let component = |name: &str, release: &ReleaseId| {
        json!({
            "component": name, "current": release, "sequence": 7,
            "proof": {
                "release": release, "executable": Digest::of(name.as_bytes()),
                "proved": true, "pid": 4242, "ready": true, "boot": "boot",
            },
            "mode": "automatic", "channel": "stable",
        })
    };
    Ok(serde_json::from_value(json!({
        "name": "host", "platform": "linux-x86_64", "agent_version": "0.1.0", "boot": "boot",
        "facts": { "os": "debian 13" },
        "components": [component("handover-agent", &release("0.1.0")?), component("web", web)],
    }))?)
}

/// A check-in as it stands on the wire, made once and numbered anew for each use.
#[derive(Debug)]
pub(crate) struct CheckIn {
    bytes: Vec<u8>,
    number_at: usize,
    number: u64,
}

impl CheckIn {
    /// What the agent of that number sends when it has nothing to report and holds the state
    /// report `state` for sent.
    pub(crate) fn of(number: u32, state: Digest, wait: Millis) -> anyhow::Result<Self> {
        Self::saying(&Virtual::of(number), (state, None), Vec::new(), wait)
    }

    /// What `agent` sends to say something, when it holds the state report `state` for sent and
    /// has an order of that place.
    pub(crate) fn saying(
        agent: &Virtual,
        (state, place): (Digest, Option<Place>),
        reports: Vec<SignedDoc>,
        wait: Millis,
    ) -> anyhow::Result<Self> {
        let body = serde_json::to_string(&SyncRequest {
            session: agent.session,
            number: FIRST,
            machine: agent.machine,
            agent_version: "0.1.0".parse()?,
            state: Some(state),
            place,
            order_keys: 1,
            ca: 1,
            reports,
            wait,
        })?;
        let text = format!(
            "POST {SYNC} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\
             user-agent: handover-agent/0.1.0\r\nauthorization: Bearer {}\r\n\
             {PROTOCOL_HEADER}: {PROTOCOL}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            agent.secret,
            body.len()
        );
        let mark = format!("\"number\":{FIRST}");
        // The request's own number stands before those of its reports.
        let number_at = text.find(&mark).map_or(0, |at| at + "\"number\":".len());
        Ok(Self { bytes: text.into_bytes(), number_at, number: FIRST })
    }

    /// The next request after those of another one.
    pub(crate) fn after(self, other: &Self) -> Self {
        Self { number: other.number, ..self }
    }

    /// The bytes, under the next number.
    pub(crate) fn next(&mut self) -> &[u8] {
        let mut rest = self.number;
        let digits = self.bytes.iter_mut().skip(self.number_at).take(7);
        for digit in digits.rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        self.number += 1;
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_in_is_numbered_anew_and_stays_what_the_protocol_has() {
        let mut check_in = CheckIn::of(3, Digest::of(b"state"), Millis(0)).unwrap();
        for number in [FIRST, FIRST + 1] {
            let text = String::from_utf8(check_in.next().to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("content-length: {}", body.len())));
            let request: SyncRequest = serde_json::from_str(body).unwrap();
            assert_eq!(request.number, number);
            assert_eq!(request.session, Virtual::of(3).session);
        }
    }

    #[test]
    fn the_state_of_a_virtual_host_is_one_that_the_protocol_has() {
        assert_eq!(state().unwrap().components.len(), 2);
    }
}
