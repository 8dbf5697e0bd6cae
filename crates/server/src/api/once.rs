//! Idempotency keys: a `POST` that is repeated with the same key and body gets the answer of the
//! first one, and has no second effect. The answer is kept in the transaction of the act.

use handover_model::api::IDEMPOTENCY_KEY;
use handover_model::{Digest, Hasher};
use handover_store::Tx;
use handover_store::idempotency::{self, Answer, Known};
use http::StatusCode;
use serde::Serialize;

use super::call::Call;
use crate::Problem;
use crate::problem::Code;

/// How long answers are kept.
const KEPT: std::time::Duration = std::time::Duration::from_hours(24);
/// The longest key, in bytes.
const LONGEST: usize = 200;

/// What an act answered, now or the first time.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) status: StatusCode,
    /// JSON.
    pub(super) body: String,
}

/// Acts in one transaction, unless the call's key says that it was done before.
///
/// # Errors
/// What `act` answers, and `idempotency.other-request`.
pub(super) async fn act<T, F>(
    call: &Call,
    body: Digest,
    status: StatusCode,
    act: F,
) -> Result<Done, Problem>
where
    F: Fn(&mut Tx<'_>) -> Result<T, Problem> + Send + 'static,
    T: Serialize,
{
    let key = key(call)?;
    let owner = call.principal.token.to_string();
    let request = request_digest(call, body);
    let now = call.now;
    call.state
        .store
        .write(move |tx| -> Result<Done, Problem> {
            if let Some(key) = &key {
                match idempotency::find(tx, &owner, key, &request, now)? {
                    Known::New => {}
                    Known::Same(answer) => return Done::again(answer),
                    Known::Other => return Err(other_request(key)),
                }
            }
            let value = act(tx)?;
            let body = serde_json::to_string(&value).map_err(|error| Problem::internal(&error))?;
            if let Some(key) = &key {
                let answer = Answer { status: status.as_u16().into(), body: body.clone() };
                idempotency::keep(tx, &owner, key, &request, &answer, now.after(KEPT))?;
                idempotency::prune(tx, now, 10)?;
            }
            Ok(Done { status, body })
        })
        .await
}

/// What the call's key was answered before, if it was: for acts that are not one transaction.
///
/// # Errors
/// `idempotency.other-request`.
pub(super) async fn before(call: &Call, body: Digest) -> Result<Option<Done>, Problem> {
    let Some(key) = key(call)? else { return Ok(None) };
    let (owner, request) = (call.principal.token.to_string(), request_digest(call, body));
    let now = call.now;
    call.state
        .store
        .read(move |tx| match idempotency::find(tx, &owner, &key, &request, now)? {
            Known::New => Ok(None),
            Known::Same(answer) => Done::again(answer).map(Some),
            Known::Other => Err(other_request(&key)),
        })
        .await
}

impl Done {
    fn again(answer: Answer) -> Result<Self, Problem> {
        let status = u16::try_from(answer.status).ok();
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.ok_or_else(|| {
            Problem::new(Code::Internal, "an answer that was kept can't be read; use another key")
        })?;
        Ok(Self { status, body: answer.body })
    }
}

/// The call's key, if it has one.
///
/// # Errors
/// One that is empty, too long or not plain text.
pub(super) fn key(call: &Call) -> Result<Option<String>, Problem> {
    let mut values = call.headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bad = |why: &str| {
        Problem::new(Code::Malformed, format!("the idempotency key can't be taken: {why}"))
            .field("header.idempotency-key", why)
    };
    if values.next().is_some() {
        return Err(bad("it comes more than once"));
    }
    let text = value.to_str().map_err(|_source| bad("it is not plain ASCII text"))?;
    if text.is_empty() || text.len() > LONGEST || text.bytes().any(|byte| !byte.is_ascii_graphic())
    {
        return Err(bad("it has 1 to 200 visible ASCII characters"));
    }
    Ok(Some(text.to_owned()))
}

fn request_digest(call: &Call, body: Digest) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(call.method.as_str().as_bytes());
    hasher.update(b" ");
    hasher.update(call.uri.to_string().as_bytes());
    hasher.update(b"\n");
    hasher.update(body.as_bytes());
    hasher.finish()
}

fn other_request(key: &str) -> Problem {
    let detail = format!("the idempotency key {key} was used for another request; use a new one");
    Problem::new(Code::KeyReused, detail).field("header.idempotency-key", "used before")
}
