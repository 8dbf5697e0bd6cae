//! Enrolment: a token makes a host an agent, once; the same host may ask again and gets the same
//! agent.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use handover_model::api::{AgentState, TokenState};
use handover_model::wire::{ChannelCa, EnrolAnswer, EnrolProof, EnrolRequest, secret_digest};
use handover_model::{AgentId, Digest, LabelError, Labels, Timestamp};
use handover_store::tokens::Token;
use handover_store::{StoreError, Tx, agents, audit, events, meta, tokens};
use handover_trust::control::verify_enrolment;
use handover_trust::keys::PublicKey;
use http::HeaderMap;
use serde_json::json;

use super::check_protocol;
use crate::problem::Code;
use crate::{AppState, Problem, real_world};

/// `GET /agent/v1/ca`: what the channel's certificates can be checked with. Whoever asks trusts
/// what fits the pins that came with a token, and nothing else of the answer.
pub(crate) async fn ca(State(state): State<AppState>) -> Json<ChannelCa> {
    Json(state.keys.channel.authorities().document())
}

/// `POST /agent/v1/enroll`.
pub(crate) async fn enrol(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<EnrolAnswer>, Problem> {
    check_protocol(&headers)?;
    let now = state.now();
    state.limiter.enrolment(now.mono)?;
    let request: EnrolRequest = serde_json::from_slice(&body).map_err(|source| {
        Problem::new(Code::Malformed, format!("the enrolment can't be read: {source}"))
    })?;
    let wish = check(&state, request)?;
    let secret = fresh_secret()?;
    let applicant = Applicant {
        wish,
        id: state.mint(AgentId::mint),
        secret: secret_digest(&secret),
        now: now.wall,
    };
    let ring = state.keys.orders.ring();
    let (agent, epoch, labels) = state.store.write(move |tx| applicant.admit(tx)).await?;
    state.follow(agent).await?;
    tracing::info!(agent.id = %agent, "agent enrolled");
    Ok(Json(EnrolAnswer {
        agent,
        secret,
        order_keys: ring.documents().to_vec(),
        epoch,
        labels,
        next: state.config.next,
    }))
}

/// A request whose proofs hold.
#[derive(Debug)]
struct Wish {
    request: EnrolRequest,
    token: Digest,
    key_digest: Digest,
}

/// Checks everything that needs no database: the host has the private half of its key, wants this
/// control plane, this token and this name.
fn check(state: &AppState, request: EnrolRequest) -> Result<Wish, Problem> {
    let unproved = |detail: &str| Problem::new(Code::Unproved, detail);
    let bytes = serde_json::to_vec(&request.public_key).map_err(|e| Problem::internal(&e))?;
    let key = PublicKey::parse(&bytes).map_err(|_source| {
        Problem::new(Code::Malformed, "the public key is not an Ed25519 key as key files have it")
    })?;
    let proof = verify_enrolment(&request.proof, &key)
        .map_err(|_refused| unproved("the proof is not signed by the key that came with it"))?;
    let token = secret_digest(&request.secret);
    let EnrolProof { token: proved, name, pins, .. } = proof.into_inner();
    if proved != token || name != request.name {
        return Err(unproved("the proof is for another token or another name"));
    }
    let ours = state.ca_pins();
    if !pins.iter().any(|pin| ours.contains(pin)) {
        return Err(unproved("the proof is for another control plane: its CA pins are not ours"));
    }
    let key_digest = Digest::of(key.id().as_bytes());
    Ok(Wish { request, token, key_digest })
}

fn fresh_secret() -> Result<String, Problem> {
    let bytes = real_world::random::<32>().map_err(|e| Problem::internal(&e))?;
    Ok(BASE64.encode(bytes.as_slice()))
}

/// Why a host is not admitted.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the labels of the token do not fit beside those that the agent has")]
    Labels(#[from] LabelError),
    #[error("{1}")]
    Said(Code, String),
}

impl Refusal {
    fn say(code: Code, words: impl Into<String>) -> Self {
        Self::Said(code, words.into())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(source) => source.into(),
            Refusal::Labels(source) => {
                Self::new(Code::Invalid, format!("the token's labels do not fit: {source}"))
            }
            Refusal::Said(code, words) => Self::new(code, words),
        }
    }
}

/// A host before the database: everything that a retried transaction needs, as values.
#[derive(Debug)]
struct Applicant {
    wish: Wish,
    id: AgentId,
    secret: Digest,
    now: Timestamp,
}

impl Applicant {
    fn admit(&self, tx: &mut Tx<'_>) -> Result<(AgentId, u64, Labels), Refusal> {
        let token = tokens::by_secret(tx, &self.wish.token, self.now)?.ok_or_else(|| {
            Refusal::say(
                Code::TokenUnknown,
                "this token is of another control plane, or was copied in part: make one with \
                 `handover token create`",
            )
        })?;
        let (agent, labels) = match token.info.state {
            TokenState::Revoked => {
                let words = "this token was revoked: make another with `handover token create`";
                return Err(Refusal::say(Code::TokenRevoked, words));
            }
            TokenState::Used => self.again(tx, &token)?,
            TokenState::Expired => {
                let words = format!(
                    "this token expired at {}: make another with `handover token create`",
                    token.info.expires
                );
                return Err(Refusal::say(Code::TokenExpired, words));
            }
            TokenState::Open => self.first(tx, &token)?,
        };
        Ok((agent, meta::epoch(tx)?, labels))
    }

    /// The answer was lost, or the host lost what it was told: the same key gets the same agent.
    fn again(&self, tx: &mut Tx<'_>, token: &Token) -> Result<(AgentId, Labels), Refusal> {
        let used = || {
            Refusal::say(
                Code::TokenUsed,
                "this token was used by another host: each token enrols one; make another with \
                 `handover token create`",
            )
        };
        let ours = token.used_by == Some(self.wish.key_digest);
        let id = token.info.agent.filter(|_| ours).ok_or_else(used)?;
        let mut agent = agents::get(tx, id)?.ok_or_else(used)?;
        if agent.retired_at.is_some() {
            let words = format!("agent {id} was retired: make a new token to enrol it again");
            return Err(Refusal::say(Code::AgentRetired, words));
        }
        // The one before goes on counting until this one was used: this answer may be lost, too.
        agent.secret_before = Some(agent.secret);
        agent.secret = self.secret;
        agents::save(tx, &agent, self.now)?;
        // Other replicas hear of the secret by it.
        let data = json!({ "token": token.info.id });
        crate::news::agent(tx, self.now, "agent.returned", &agent, data)?;
        Ok((agent.id, agent.labels))
    }

    fn first(&self, tx: &mut Tx<'_>, token: &Token) -> Result<(AgentId, Labels), Refusal> {
        let request = &self.wish.request;
        if let Some(only) = token.info.name.as_ref().filter(|only| **only != request.name) {
            let words = format!("this token enrols a host named {only} alone");
            return Err(Refusal::say(Code::Forbidden, words));
        }
        let known = agents::by_public_key(tx, &self.wish.key_digest)?;
        if let Some(other) = agents::by_name(tx, &request.name)?
            && known.as_ref().is_none_or(|known| known.id != other.id)
        {
            let words = format!(
                "an agent named {} is enrolled: give this host another name with `--name`, or \
                 retire that agent with `handover agent retire {}`",
                request.name, request.name
            );
            return Err(Refusal::say(Code::NameTaken, words));
        }
        let (agent, labels) = match known {
            Some(known) => self.recognise(tx, known, token)?,
            None => self.insert(tx, token)?,
        };
        if !tokens::consume(tx, token.info.id, &self.wish.key_digest, agent, self.now)? {
            return Err(Refusal::say(Code::TokenUsed, "this token was used a moment ago"));
        }
        self.record(tx, token, agent)?;
        Ok((agent, labels))
    }

    fn insert(&self, tx: &mut Tx<'_>, token: &Token) -> Result<(AgentId, Labels), Refusal> {
        let request = &self.wish.request;
        let new = agents::NewAgent {
            id: self.id,
            name: request.name.clone(),
            public_key: request.public_key.clone(),
            key_digest: self.wish.key_digest,
            secret: self.secret,
            machine: request.machine,
            session: request.session,
            platform: request.platform.clone(),
            agent_version: request.agent_version.clone(),
            labels: token.info.labels.clone(),
            ephemeral_after: token.info.ephemeral_after,
            token: Some(token.info.id),
        };
        agents::insert(tx, &new, self.now)?;
        Ok((self.id, new.labels))
    }

    /// A host that was here before, retired or not, comes with a new token: it is the same agent.
    fn recognise(
        &self,
        tx: &mut Tx<'_>,
        mut agent: agents::Agent,
        token: &Token,
    ) -> Result<(AgentId, Labels), Refusal> {
        let request = &self.wish.request;
        agent.name = request.name.clone();
        agent.state = AgentState::Present;
        agent.note = None;
        agent.retired_at = None;
        agent.secret = self.secret;
        agent.secret_before = None;
        agent.machine = request.machine;
        agent.session = Some(request.session);
        agent.session_before = None;
        agent.platform = request.platform.clone();
        agent.agent_version = request.agent_version.clone();
        agent.labels = agent.labels.overlaid(&token.info.labels)?;
        agent.ephemeral_after = token.info.ephemeral_after;
        agent.token = Some(token.info.id);
        agents::save(tx, &agent, self.now)?;
        Ok((agent.id, agent.labels))
    }

    fn record(&self, tx: &mut Tx<'_>, token: &Token, agent: AgentId) -> Result<(), Refusal> {
        let request = &self.wish.request;
        let particulars = json!({
            "name": request.name,
            "platform": request.platform,
            "agent_version": request.agent_version,
            "token": token.info.id,
        });
        events::insert(
            tx,
            &events::NewEvent {
                at: self.now,
                kind: "agent.enrolled",
                agent: Some(agent),
                order: None,
                rollout: None,
                data: particulars.clone(),
            },
        )?;
        let row = audit::NewAudit {
            at: self.now,
            who: token.info.id.to_string(),
            what: "agent.enrol",
            subject: agent.to_string(),
            before: None,
            after: Some(particulars),
        };
        Ok(audit::insert(tx, &row)?)
    }
}
