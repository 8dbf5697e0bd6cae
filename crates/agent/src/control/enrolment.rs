//! Enrolment, from a token to files under `control/`. Everything that can be checked is checked
//! before the token is spent, and every part may be cut and done again.

use handover_model::wire::{
    ChannelCa, EnrolAnswer, EnrolProof, EnrolRequest, EnrolToken, machine_digest,
};
use handover_model::{AgentName, Digest, SessionId};
use handover_trust::control::{OrderKeys, first_order_keys, next_order_keys, sign};
use handover_trust::keys::{Protection, SigningKey};
use zeroize::Zeroizing;

use super::channel;
use super::identity::{Begun, ControlFiles, Identity, Secret};
use crate::agent::Agent;
use crate::call::CallError;
use crate::failure::{Failure, chain};
use crate::fetch::{Fetcher, Limits, Options, Roots, certificate_of_pem};
use crate::real_world::draw_seed;
use crate::repository::{RepositoryError, join};

/// The largest first root of a repository.
const LARGEST_ROOT: u64 = 512 * 1024;

/// A control plane that proved to be the one that the token names.
#[derive(Debug)]
pub struct Found {
    /// The address at which it answered.
    pub url: String,
    /// Its certificate authorities, as far as the token names them.
    pub ca: ChannelCa,
}

/// Which key an enrolment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The key that this host has, so that it comes back as the agent that it was.
    Same,
    /// A new key: this host is to be another agent than the one whose files it has.
    Another,
}

/// Finds the control plane: the first of the token's addresses that answers with a certificate
/// authority that the token names.
///
/// # Errors
/// [`Failure::Refused`] with code `enrolment.pins` when servers answer and none is the one;
/// [`Failure::Call`] when none answers.
pub fn find(agent: &Agent, token: &EnrolToken) -> Result<Found, Failure> {
    let (mut foreign, mut silent) = (None, None);
    for url in &token.urls {
        match channel::fetch_ca(url, &agent.clock) {
            Ok(offered) => match named_by(&offered, &token.pins) {
                Some(ca) => return Ok(Found { url: url.clone(), ca }),
                None => foreign = foreign.or(Some(url.clone())),
            },
            Err(error) => silent = silent.or(Some(error)),
        }
    }
    match (foreign, silent) {
        (Some(url), _) => {
            let reason = format!(
                "the server at {url} shows other certificate authorities than the token names: \
                 the token is for another server, or somebody answers in its place; nothing was \
                 sent to it"
            );
            Err(Failure::Refused { code: "enrolment.pins", reason })
        }
        (None, Some(error)) => Err(error.into()),
        (None, None) => Err(Failure::Refused {
            code: "enrolment.token",
            reason: "the token names no server; say --server URL".to_owned(),
        }),
    }
}

/// The offered certificates that are pinned. Their number is unproved and taken for 0: the first
/// sync brings what is newer, signed.
fn named_by(offered: &ChannelCa, pins: &[Digest]) -> Option<ChannelCa> {
    let is_pinned =
        |pem: &&String| certificate_of_pem(pem).is_some_and(|der| pins.contains(&Digest::of(&der)));
    let certificates: Vec<_> =
        offered.certificates.iter().take(4).filter(is_pinned).cloned().collect();
    let type_ = ChannelCa::TYPE.to_owned();
    (!certificates.is_empty()).then_some(ChannelCa { type_, number: 0, certificates })
}

/// The repository's first root, whose digest the token names.
///
/// # Errors
/// [`Failure::Refused`] with code `enrolment.no-root` when the token names none, or
/// `enrolment.root` when another one is served; [`Failure::Repository`] when none comes.
pub fn fetch_root(agent: &Agent, token: &EnrolToken, found: &Found) -> Result<Vec<u8>, Failure> {
    let Some(wanted) = token.root else {
        let reason = "the token names no repository root: bring the repository's first root.json \
                      here and give it with --trusted-root";
        return Err(Failure::Refused { code: "enrolment.no-root", reason: reason.to_owned() });
    };
    let theirs = super::identity::origin(&token.metadata);
    let inside = super::identity::origin(&found.url) == theirs
        || token.urls.iter().any(|url| super::identity::origin(url) == theirs);
    let roots = if inside { super::identity::roots_of(&found.ca) } else { Roots::System };
    let options = Options { limits: Limits::default(), roots, ..Options::default() };
    let fetcher = Fetcher::with(&token.metadata, &options, std::sync::Arc::clone(&agent.clock))
        .map_err(RepositoryError::Fetch)?;
    let url = join(&token.metadata, "1.root.json");
    let bytes = fetcher.small(&url, LARGEST_ROOT).map_err(RepositoryError::Fetch)?;
    if Digest::of(&bytes) == wanted {
        return Ok(bytes);
    }
    let reason = format!("{url} is not the root that the token names: ask for a new token");
    Err(Failure::Refused { code: "enrolment.root", reason })
}

/// The key to enrol with, durable before the control plane hears of it.
///
/// # Errors
/// [`Failure`] when the disk or the dice fail.
pub fn prepare_key(agent: &Agent, token: Digest, which: Which) -> Result<Begun, Failure> {
    let files = ControlFiles::of(&agent.home);
    if let Some(begun) = files.begun()?.filter(|begun| begun.token == token) {
        return Ok(begun);
    }
    let held = match which {
        Which::Same => files.identity()?.map(|identity| identity.key),
        Which::Another => None,
    };
    let key = match held {
        Some(key) => key,
        None => fresh_key()?,
    };
    let begun = Begun { token, key };
    files.save_begun(&begun)?;
    Ok(begun)
}

fn fresh_key() -> Result<Secret, Failure> {
    let seed = draw_seed()
        .map_err(|source| Failure::Stream { act: "read random bytes", source })
        .map(Zeroizing::new)?;
    let made = SigningKey::from_seed(seed).and_then(|key| key.to_pem(Protection::FileMode));
    let pem = made.map_err(|error| key_failure(&error))?;
    Ok(Secret::new(pem.to_string()))
}

fn key_failure(error: &handover_trust::keys::KeyError) -> Failure {
    let reason = format!("this host's key can't be used: {}", chain(error));
    Failure::Refused { code: "enrolment.key", reason }
}

/// Asks the control plane to take this host, and writes what it answers. The identity comes last:
/// its presence says that the host is enrolled.
///
/// # Errors
/// [`Failure::Call`] with the control plane's own words when it refuses; [`Failure::Verify`] when
/// its order keys make no chain.
pub fn enrol(
    agent: &mut Agent,
    token: &EnrolToken,
    found: &Found,
    name: &AgentName,
    begun: &Begun,
) -> Result<Identity, Failure> {
    let key = SigningKey::from_pem(begun.key.reveal(), None).map_err(|e| key_failure(&e))?;
    let now = agent.now().wall;
    let proof = EnrolProof {
        type_: EnrolProof::TYPE.to_owned(),
        token: begun.token,
        name: name.clone(),
        pins: token.pins.clone(),
    };
    let public_key = serde_json::to_value(key.public()).map_err(|source| Failure::Stream {
        act: "write this host's public key",
        source: source.into(),
    })?;
    let request = EnrolRequest {
        secret: token.secret.clone(),
        name: name.clone(),
        public_key,
        proof: sign(&proof, &key)?,
        platform: agent.platform.clone(),
        machine: machine(),
        session: SessionId::mint(&mut agent.ids, now),
        agent_version: own_version(),
    };
    let answer = channel::enrol(&found.url, &found.ca, &request, &agent.clock)?;
    let keys = walk(&answer)?;
    let identity = Identity {
        agent: answer.agent,
        name: name.clone(),
        urls: reached_first(token, &found.url),
        secret: Some(Secret::new(answer.secret)),
        key: begun.key.clone(),
        token: begun.token,
        epoch: answer.epoch,
        enrolled_at: now,
        next: answer.next,
        left_at: None,
    };
    let files = ControlFiles::of(&agent.home);
    super::desk::set_up(&agent.home)?;
    // Kept together: an agent that runs may be about to write what another control plane said.
    let alone = files.writing(agent)?.ok_or(Failure::Stopped)?;
    files.save_ca(&found.ca)?;
    files.save_order_keys(&keys)?;
    files.save_identity(&identity)?;
    drop(alone);
    files.clear_begun()?;
    // What was said of the one before says nothing of this one.
    super::standing::Standing::default().keep(&files);
    tracing::info!(agent.id = %identity.agent, agent.name = %name, "host enrolled");
    Ok(identity)
}

/// The newest order keys, every step of the way from the first verified.
fn walk(answer: &EnrolAnswer) -> Result<OrderKeys, Failure> {
    let mut docs = answer.order_keys.iter();
    let Some(first) = docs.next() else {
        let what = "it brings no order keys".to_owned();
        return Err(CallError::Meaningless { url: "the enrolment".to_owned(), what }.into());
    };
    let mut held = first_order_keys(first)?;
    for doc in docs {
        held = next_order_keys(&held, doc)?;
    }
    Ok(held.into_inner())
}

/// The token's addresses, the one that answered first.
fn reached_first(token: &EnrolToken, reached: &str) -> Vec<String> {
    let others = token.urls.iter().filter(|url| *url != reached).cloned();
    std::iter::once(reached.to_owned()).chain(others).collect()
}

/// The digest of this machine's id. One without an id is the same machine as any other without:
/// then only sessions tell clones apart.
pub fn machine() -> Digest {
    machine_digest(&std::fs::read_to_string("/etc/machine-id").unwrap_or_default())
}

/// The version of this program.
pub(crate) fn own_version() -> handover_model::Version {
    env!("CARGO_PKG_VERSION").parse().expect("the crate's version is one")
}

/// A name for this host, from its host name.
pub fn name_of_host() -> Option<AgentName> {
    let system = rustix::system::uname();
    let host = system.nodename().to_str().ok()?;
    let first = host.split('.').next()?.to_ascii_lowercase();
    let fitting: String =
        first.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    fitting.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_that_the_token_names_are_kept_and_their_number_is_not_believed() {
        let pem = |byte: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{byte}\n-----END CERTIFICATE-----\n")
        };
        // Any bytes are a certificate here: what counts is their digest.
        let (known, stranger) = (pem("AAEC"), pem("BAUG"));
        let pins = [Digest::of(&[0, 1, 2])];
        let offered = |certificates: &[&String]| ChannelCa {
            type_: ChannelCa::TYPE.to_owned(),
            number: u64::MAX,
            certificates: certificates.iter().map(|&pem| pem.clone()).collect(),
        };
        let kept = named_by(&offered(&[&stranger, &known]), &pins).expect("one is pinned");
        assert_eq!((kept.number, kept.certificates), (0, vec![known.clone()]));
        assert_eq!(named_by(&offered(&[&stranger]), &pins), None);
        let both = format!("{known}{stranger}");
        assert_eq!(named_by(&offered(&[&both]), &pins), None, "two in one text are none");
        assert_eq!(named_by(&offered(&[]), &pins), None);
    }
}
