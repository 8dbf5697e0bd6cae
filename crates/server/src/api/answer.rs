//! Answers.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::Problem;

/// JSON of `value`.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_string(value).map_err(|error| Problem::internal(&error))?;
    Ok(text(StatusCode::OK, body))
}

/// JSON of something that has an entity tag, made of its generation. The tag is for `If-Match`:
/// it follows changes by people, and not what hosts report.
pub(super) fn tagged<T: Serialize>(value: &T, generation: u64) -> Result<Response, Problem> {
    let mut response = json(value)?;
    if let Ok(tag) = HeaderValue::from_str(&format!("\"g{generation}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// JSON that is text already.
pub(super) fn text(status: StatusCode, body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

/// Nothing: it is done.
pub(super) fn nothing() -> Response {
    (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()
}
