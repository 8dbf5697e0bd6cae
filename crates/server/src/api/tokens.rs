//! Tokens: those that enrol hosts and those that call this API. Only a digest of a secret is
//! ever stored.
//!
//! A repeated call gets the same token again, so its answer has to be kept; the secret in it is
//! kept masked by what only the caller has, its own bearer secret.

use std::time::Duration;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use handover_model::api::{
    ApiTokenCreated, ApiTokenInfo, ApiTokenRequest, Page, TokenCreated, TokenInfo, TokenRequest,
    TokenState,
};
use handover_model::wire::{EnrolToken, LoginToken, secret_digest};
use handover_model::{Hasher, Millis, TokenId};
use handover_store::{Tx, api_tokens, audit, events, tokens};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::body::Body;
use super::call::{Call, Segments, bad_field, check_generation, check_words, listed, path_part};
use super::{answer, once};
use crate::problem::Code;
use crate::{Problem, auth, real_world};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// What is kept of an answer that holds a secret.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<T> {
    info: T,
    masked: String,
}

/// A new secret, and the same masked.
struct Secret {
    text: String,
    masked: String,
}

impl Secret {
    fn draw(call: &Call, id: TokenId) -> Result<Self, Problem> {
        let bytes = real_world::random::<32>().map_err(|error| Problem::internal(&error))?;
        let masked = BASE64.encode(masked(call, id, &bytes)?);
        Ok(Self { text: BASE64.encode(*bytes), masked })
    }
}

/// The same operation masks and unmasks.
fn masked(call: &Call, id: TokenId, secret: &[u8; 32]) -> Result<[u8; 32], Problem> {
    let mut hasher = Hasher::default();
    for part in [
        "handover-masked-secret",
        &id.to_string(),
        auth::bearer(&call.headers).unwrap_or_default(),
        &once::key(call)?.unwrap_or_default(),
    ] {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let mut bytes = *hasher.finish().as_bytes();
    bytes.iter_mut().zip(secret).for_each(|(mask, byte)| *mask ^= byte);
    Ok(bytes)
}

fn unmasked(call: &Call, id: TokenId, text: &str) -> Result<String, Problem> {
    let bytes = BASE64.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let bytes = bytes.ok_or_else(|| Problem::new(Code::Internal, "a kept answer is damaged"))?;
    Ok(BASE64.encode(masked(call, id, &bytes)?))
}

/// `POST /tokens`.
pub(super) async fn create(
    call: Call,
    Body { value: request, digest }: Body<TokenRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    check_words("note", request.note.as_deref(), 200)?;
    let length = bounded("expires_in", request.expires_in, HOUR, 30 * DAY)?;
    if let Some(after) = request.ephemeral_after {
        bounded("ephemeral_after", Some(after), HOUR, 365 * DAY)?;
    }
    let now = call.now;
    let info = TokenInfo {
        id: call.state.mint(TokenId::mint),
        state: TokenState::Open,
        labels: request.labels,
        name: request.name,
        note: request.note,
        ephemeral_after: request.ephemeral_after,
        created_by: call.principal.who(),
        created_at: now,
        expires: now.after(length),
        agent: None,
        used_at: None,
        revoked_at: None,
        generation: 1,
    };
    let secret = Secret::draw(&call, info.id)?;
    let at_rest = secret_digest(&secret.text);
    let done = once::act(&call, digest, StatusCode::CREATED, move |tx| {
        tokens::insert(tx, &info, &at_rest)?;
        record(tx, "token.create", info.id, &info.created_by, now, &json!(info))?;
        Ok(Kept { info: info.clone(), masked: secret.masked.clone() })
    })
    .await?;
    let kept: Kept<TokenInfo> = kept(&done.body)?;
    let shelf = call.state.library.shelf(&call.state).await;
    let (metadata, targets) = call.state.library.addresses(&call.state.public_url);
    let token = EnrolToken {
        urls: vec![call.state.public_url.clone()],
        secret: unmasked(&call, kept.info.id, &kept.masked)?,
        pins: call.state.ca_pins(),
        root: shelf.root(),
        metadata,
        targets,
    };
    created(done.status, &TokenCreated { info: kept.info, token: token.reveal() })
}

/// `GET /tokens`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let slice = query.slice()?;
    query.done()?;
    let now = call.now;
    let page = call
        .state
        .store
        .read(move |tx| tokens::list(tx, slice.after.as_deref(), slice.limit, now).map_err(listed))
        .await?;
    let items = page.items.into_iter().map(|token| token.info).collect::<Vec<_>>();
    answer::json(&Page { items, next: page.next })
}

/// `DELETE /tokens/{token}`.
pub(super) async fn revoke(
    call: Call,
    Segments([token]): Segments<1>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let id: TokenId = path_part("token", &token)?;
    let (seen, who, now) = (call.if_match()?, call.principal.who(), call.now);
    let info = call
        .state
        .store
        .write(move |tx| -> Result<TokenInfo, Problem> {
            let found = tokens::get(tx, id, now)?.ok_or_else(|| absent(id))?.info;
            check_generation(seen, found.generation, "the token")?;
            if found.state == TokenState::Used {
                let agent = found.agent.map_or_else(String::new, |agent| format!(" by {agent}"));
                let detail = format!("{id} was used{agent}; retire the agent in place of that");
                return Err(Problem::new(Code::TokenUsed, detail));
            }
            if found.state == TokenState::Revoked {
                return Ok(found);
            }
            tokens::revoke(tx, id, seen, now)?;
            record(tx, "token.revoke", id, &who, now, &json!({ "was": found.state }))?;
            Ok(tokens::get(tx, id, now)?.ok_or_else(|| absent(id))?.info)
        })
        .await?;
    answer::tagged(&info, info.generation)
}

/// `POST /api-tokens`. Nobody gives away more than they have.
pub(super) async fn create_api(
    call: Call,
    Body { value: request, digest }: Body<ApiTokenRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let is_plain = |c: char| !c.is_control() && c != '(' && c != ')';
    if request.name.trim().is_empty() || !request.name.chars().all(is_plain) {
        return Err(bad_field("name", "it has 1 to 80 characters, and no brackets"));
    }
    check_words("name", Some(&request.name), 80)?;
    if request.permissions.is_empty() {
        return Err(bad_field("permissions", "name at least one"));
    }
    if let Some(more) = request.permissions.iter().find(|one| !call.principal.may(**one)) {
        let detail = format!("you don't have the permission {more} yourself");
        return Err(Problem::new(Code::Forbidden, detail).field("body.permissions", "too much"));
    }
    let length = bounded("expires_in", request.expires_in, 90 * DAY, 3650 * DAY)?;
    let now = call.now;
    let info = ApiTokenInfo {
        id: call.state.mint(TokenId::mint),
        name: request.name,
        state: TokenState::Open,
        permissions: request.permissions,
        created_by: call.principal.who(),
        created_at: now,
        // No token outlives the one that made it.
        expires: Some(
            call.principal.expires.map_or(now.after(length), |most| most.min(now.after(length))),
        ),
        revoked_at: None,
        generation: 1,
    };
    let secret = Secret::draw(&call, info.id)?;
    let at_rest = secret_digest(&secret.text);
    let done = once::act(&call, digest, StatusCode::CREATED, move |tx| {
        api_tokens::insert(tx, &info, &at_rest)?;
        record(tx, "api-token.create", info.id, &info.created_by, now, &json!(info))?;
        Ok(Kept { info: info.clone(), masked: secret.masked.clone() })
    })
    .await?;
    let kept: Kept<ApiTokenInfo> = kept(&done.body)?;
    let token = LoginToken {
        urls: vec![call.state.public_url.clone()],
        secret: unmasked(&call, kept.info.id, &kept.masked)?,
        pins: call.state.ca_pins(),
    };
    created(done.status, &ApiTokenCreated { info: kept.info, token: token.reveal() })
}

/// `GET /api-tokens`.
pub(super) async fn list_api(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let slice = query.slice()?;
    query.done()?;
    let now = call.now;
    let page = call
        .state
        .store
        .read(move |tx| {
            api_tokens::list(tx, slice.after.as_deref(), slice.limit, now).map_err(listed)
        })
        .await?;
    answer::json(&page)
}

/// `DELETE /api-tokens/{token}`. Whoever may more than the caller keeps their token. Tokens that
/// it made go with it, and those that they made: whoever stole it may have made them.
pub(super) async fn revoke_api(
    call: Call,
    Segments([token]): Segments<1>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let id: TokenId = path_part("API token", &token)?;
    let (seen, who, now) = (call.if_match()?, call.principal.who(), call.now);
    let principal = call.principal.clone();
    let info = call
        .state
        .store
        .write(move |tx| -> Result<ApiTokenInfo, Problem> {
            let found = api_tokens::get(tx, id, now)?.ok_or_else(|| absent(id))?;
            if let Some(more) = found.permissions.iter().find(|one| !principal.may(**one)) {
                let detail = format!("{id} has the permission {more}, which you don't have");
                return Err(Problem::new(Code::Forbidden, detail));
            }
            check_generation(seen, found.generation, "the API token")?;
            if found.state == TokenState::Revoked {
                return Ok(found);
            }
            api_tokens::revoke(tx, id, seen, now)?;
            record(tx, "api-token.revoke", id, &who, now, &json!({ "was": found.state }))?;
            revoke_made_by(tx, id, &who, now)?;
            api_tokens::get(tx, id, now)?.ok_or_else(|| absent(id))
        })
        .await?;
    answer::tagged(&info, info.generation)
}

fn revoke_made_by(
    tx: &mut Tx<'_>,
    id: TokenId,
    who: &str,
    now: handover_model::Timestamp,
) -> Result<(), Problem> {
    let mut makers = vec![id];
    while let Some(maker) = makers.pop() {
        // What is revoked is not found again, so that every round finds others.
        loop {
            let made = api_tokens::made_by(tx, maker, 100, now)?;
            if made.is_empty() {
                break;
            }
            for token in made {
                api_tokens::revoke(tx, token.id, None, now)?;
                let data = json!({ "was": token.state, "made_by": maker });
                record(tx, "api-token.revoke", token.id, who, now, &data)?;
                makers.push(token.id);
            }
        }
    }
    Ok(())
}

/// `GET /whoami`: the token that calls.
pub(super) async fn whoami(call: Call) -> Result<Response, Problem> {
    call.query().done()?;
    let (id, now) = (call.principal.token, call.now);
    let info = call
        .state
        .store
        .read(move |tx| -> Result<_, Problem> {
            api_tokens::get(tx, id, now)?.ok_or_else(|| absent(id))
        })
        .await?;
    answer::tagged(&info, info.generation)
}

fn created<T: Serialize>(status: StatusCode, value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_string(value).map_err(|error| Problem::internal(&error))?;
    Ok(answer::text(status, body))
}

fn kept<T: serde::de::DeserializeOwned>(body: &str) -> Result<Kept<T>, Problem> {
    serde_json::from_str(body).map_err(|error| Problem::internal(&error))
}

fn bounded(
    field: &str,
    wanted: Option<Millis>,
    usual: u64,
    most: u64,
) -> Result<Duration, Problem> {
    let length = wanted.unwrap_or(Millis(usual));
    if length < Millis(1000) || length > Millis(most) {
        return Err(bad_field(field, format!("it goes from 1s to {}", Millis(most))));
    }
    Ok(length.duration())
}

fn absent(id: TokenId) -> Problem {
    Problem::new(Code::NotFound, format!("there is no token {id}"))
}

fn record(
    tx: &mut Tx<'_>,
    what: &'static str,
    id: TokenId,
    who: &str,
    at: handover_model::Timestamp,
    data: &serde_json::Value,
) -> Result<(), Problem> {
    let row = audit::NewAudit {
        at,
        who: who.to_owned(),
        what,
        subject: id.to_string(),
        before: None,
        after: Some(data.clone()),
    };
    audit::insert(tx, &row)?;
    let data = json!({ "token": id, "by": who });
    events::insert(
        tx,
        &events::NewEvent { at, kind: what, agent: None, order: None, rollout: None, data },
    )?;
    Ok(())
}
