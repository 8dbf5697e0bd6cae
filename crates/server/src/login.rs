//! The login tokens that come from the server's own side rather than from its API: the first one,
//! and one for a keeper who has lost all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use handover_model::TokenId;
use handover_model::api::{ApiTokenInfo, Permission, TokenState};
use handover_model::wire::{LoginToken, secret_digest};
use handover_store::{StoreError, api_tokens, audit};
use serde_json::json;

use crate::{AppState, StartError, real_world};

/// An administrator's token, if none was ever made for this database: the one word for
/// `handover login`. It is in no file and in no log.
///
/// # Errors
/// [`StartError`]; no token is made then.
pub(crate) async fn first(state: &AppState) -> Result<Option<String>, StartError> {
    let now = state.now().wall;
    let any = state.store.read(move |tx| api_tokens::list(tx, None, 1, now)).await?;
    if any.items.is_empty() { make(state, "first login").await.map(Some) } else { Ok(None) }
}

/// A token that may everything and does not expire.
///
/// # Errors
/// [`StartError`]; no token is made then.
pub(crate) async fn make(state: &AppState, name: &str) -> Result<String, StartError> {
    let bytes = real_world::random::<32>()
        .map_err(|source| StartError::System { act: "read /dev/urandom", source })?;
    let secret = BASE64.encode(bytes.as_slice());
    let at_rest = secret_digest(&secret);
    let info = ApiTokenInfo {
        id: state.mint(TokenId::mint),
        name: name.to_owned(),
        state: TokenState::Open,
        permissions: [Permission::Admin].into(),
        created_by: "server".to_owned(),
        created_at: state.now().wall,
        expires: None,
        revoked_at: None,
        generation: 1,
    };
    let made = state.store.write(move |tx| -> Result<(), StoreError> {
        api_tokens::insert(tx, &info, &at_rest)?;
        let row = audit::NewAudit {
            at: info.created_at,
            who: info.created_by.clone(),
            what: "api-token.create",
            subject: info.id.to_string(),
            before: None,
            after: Some(json!(info)),
        };
        audit::insert(tx, &row)
    });
    made.await?;
    let token = LoginToken { urls: vec![state.public_url.clone()], secret, pins: state.ca_pins() };
    Ok(token.reveal())
}
