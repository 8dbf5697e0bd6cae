//! Who calls the API: bearer tokens, known by the digest of their secret alone.

use std::collections::BTreeSet;

use handover_model::api::{Permission, TokenState};
use handover_model::wire::secret_digest;
use handover_model::{Digest, Timestamp, TokenId};
use handover_store::api_tokens;
use http::{HeaderMap, header};

use crate::problem::Code;
use crate::{AppState, Problem};

/// The holder of an API token that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token.
    pub token: TokenId,
    /// Who or what it is for.
    pub name: String,
    /// What it may.
    pub permissions: BTreeSet<Permission>,
    /// When its time is over; it can make no token that lives longer.
    pub expires: Option<Timestamp>,
}

impl Principal {
    /// Whether it may do what asks for `permission`.
    pub fn may(&self, permission: Permission) -> bool {
        permission.is_granted_by(&self.permissions)
    }

    /// As the audit trail names it.
    pub fn who(&self) -> String {
        format!("{} ({})", self.token, self.name)
    }
}

/// The secret of a `Authorization: Bearer` header, if there is one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// Who calls, by the headers.
///
/// # Errors
/// [`Problem`]: `unauthenticated`, `rate-limited`, or the database's.
pub(crate) async fn authenticate(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Principal, Problem> {
    let now = state.now();
    let secret = bearer(headers).ok_or_else(|| {
        Problem::new(
            Code::Unauthenticated,
            "give an API token: `handover login` keeps one, programs send `Authorization: Bearer`",
        )
    })?;
    let digest = secret_digest(secret);
    let Some(principal) = find(state, digest).await? else {
        state.limiter.stranger(now.mono)?;
        return Err(Problem::new(
            Code::Unauthenticated,
            "this token is not known here, or it has expired or was revoked: ask for another one",
        ));
    };
    state.limiter.caller(digest, now.mono)?;
    Ok(principal)
}

async fn find(state: &AppState, digest: Digest) -> Result<Option<Principal>, Problem> {
    let now = state.now().wall;
    let found = state
        .store
        .read(move |tx| api_tokens::by_secret(tx, &digest, now).map_err(Problem::from))
        .await?;
    let open = found.filter(|info| info.state == TokenState::Open);
    Ok(open.map(|info| Principal {
        token: info.id,
        name: info.name,
        permissions: info.permissions,
        expires: info.expires,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_header_carries_a_secret() {
        let headers = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            headers
        };
        assert_eq!(bearer(&headers("Bearer abc")), Some("abc"));
        assert_eq!(bearer(&headers("bearer abc")), Some("abc"));
        assert_eq!(bearer(&headers("Basic abc")), None);
        assert_eq!(bearer(&headers("abc")), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
