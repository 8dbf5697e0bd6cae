//! What enrolling hosts costs.

use std::time::Duration;

use handover_model::api::{TokenInfo, TokenState};
use handover_model::wire::{EnrolProof, EnrolRequest, EnrolToken, secret_digest};
use handover_model::{Digest, IdGen, Labels, Millis, TokenId};
use handover_store::tokens;
use handover_trust::control::sign;
use handover_trust::keys::SigningKey;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::peer::Load;
use super::{Ground, Peer, Premises};
use crate::fleet::{self, Virtual};
use crate::load::Task;
use crate::real_world::wall;
use crate::table::{Row, ms, ratio};

/// Hosts that enrol at once.
const AT_ONCE: usize = 8;
/// Numbers of virtual agents that are in no fleet.
const STRANGERS: u32 = 1_000_000;

/// Enrols hosts, beside as many pairs of TLS handshakes.
pub(super) fn measure(ground: &Ground, few: &Premises) -> anyhow::Result<Row> {
    let count = ground.sizes.enrolments;
    let pins = pins(few)?;
    let mut bodies = Vec::new();
    for number in 0..count {
        let secret = format!("bench-token-{number}");
        let name = format!("newcomer-{number}");
        store_token(few, &secret)?;
        bodies.push(body(STRANGERS + number, &secret, &name, &pins)?);
    }
    let plane = few.start()?;
    let peer = Peer::start("{}")?;
    let handshakes = Task::Handshakes { count: 2 * count, is_resumed: false };
    let theirs = Load::run(peer.target(), &[peer.pid()], handshakes)?;
    let enrolments = Task::Enrolments { bodies, at_once: AT_ONCE };
    let ours = Load::run(plane.target(), &[plane.pid()], enrolments)?;
    Ok(Row {
        what: "100 enrolments, 8 at once: until the last was answered, server's processor time",
        found: format!(
            "{} and {} for {}; {} each (median)",
            ms(ours.elapsed),
            ms(ours.cpu),
            ours.done,
            ms(ours.median)
        ),
        aim: "",
        is_met: None,
        beside: format!(
            "the two handshakes of each with the bare TLS server: {} of processor; {}",
            ms(theirs.cpu),
            ratio(ours.cpu, theirs.cpu)
        ),
    })
}

/// What tokens pin: the digests of the channel's authorities.
pub(super) fn pins(premises: &Premises) -> anyhow::Result<Vec<Digest>> {
    let digest = |pem: &String| Ok(Digest::of(&CertificateDer::from_pem_slice(pem.as_bytes())?));
    premises.roots()?.iter().map(digest).collect()
}

/// Stores an open enrolment token, as the API does.
pub(super) fn store_token(premises: &Premises, secret: &str) -> anyhow::Result<()> {
    let (now, digest) = (wall(), secret_digest(secret));
    let info = TokenInfo {
        id: TokenId::mint(&mut IdGen::new(*digest.as_bytes()), now),
        state: TokenState::Open,
        labels: Labels::parse(["site=bench"])?,
        name: None,
        note: None,
        ephemeral_after: Some(Millis::of(Duration::from_hours(24))),
        created_by: "bench".to_owned(),
        created_at: now,
        expires: now.after(Duration::from_hours(1)),
        agent: None,
        used_at: None,
        revoked_at: None,
        generation: 1,
    };
    premises.store()?.write_blocking(move |tx| tokens::insert(tx, &info, &digest))?;
    Ok(())
}

/// A token as a person carries it.
pub(super) fn token_text(secret: &str, url: &str, pins: Vec<Digest>, root: Digest) -> String {
    let token = EnrolToken {
        urls: vec![url.to_owned()],
        secret: secret.to_owned(),
        pins,
        root: Some(root),
        metadata: format!("{url}/repository/metadata"),
        targets: format!("{url}/repository/targets"),
    };
    token.reveal()
}

fn body(number: u32, secret: &str, name: &str, pins: &[Digest]) -> anyhow::Result<String> {
    let one = Virtual::of(number);
    let seed = Digest::of(name.as_bytes());
    let key = SigningKey::from_seed(Zeroizing::new(*seed.as_bytes()))?;
    let proof = EnrolProof {
        type_: EnrolProof::TYPE.to_owned(),
        token: secret_digest(secret),
        name: name.parse()?,
        pins: pins.to_vec(),
    };
    let state = fleet::state()?;
    let request = EnrolRequest {
        secret: secret.to_owned(),
        name: name.parse()?,
        public_key: serde_json::to_value(key.public())?,
        proof: sign(&proof, &key)?,
        platform: state.platform,
        machine: one.machine,
        session: one.session,
        agent_version: state.agent_version,
    };
    Ok(serde_json::to_string(&request)?)
}
