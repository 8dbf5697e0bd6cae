//! Bodies: JSON of a known shape, read whole, with the field that is at fault when it is not.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use handover_model::Digest;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::problem::Code;
use crate::{AppState, Problem};

/// A body that must be there.
#[derive(Debug)]
pub(super) struct Body<T> {
    pub(super) value: T,
    /// Of its bytes.
    pub(super) digest: Digest,
}

/// A body that may be left out.
#[derive(Debug)]
pub(super) struct OrNothing<T> {
    pub(super) value: T,
    /// Of its bytes.
    pub(super) digest: Digest,
}

impl<T: DeserializeOwned> FromRequest<AppState> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let (bytes, is_json) = read(request, state).await?;
        if !is_json {
            return Err(no_json());
        }
        Ok(Self { value: parse(&bytes)?, digest: Digest::of(&bytes) })
    }
}

impl<T: DeserializeOwned + Default> FromRequest<AppState> for OrNothing<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let (bytes, is_json) = read(request, state).await?;
        let digest = Digest::of(&bytes);
        if bytes.is_empty() {
            return Ok(Self { value: T::default(), digest });
        }
        if !is_json {
            return Err(no_json());
        }
        Ok(Self { value: parse(&bytes)?, digest })
    }
}

async fn read(request: Request, state: &AppState) -> Result<(Bytes, bool), Problem> {
    let is_json = is_json(request.headers());
    let limit = state.config.limits.body_bytes;
    let patience = state.config.limits.body;
    let bytes = tokio::time::timeout(patience, Bytes::from_request(request, state));
    let bytes = bytes
        .await
        .map_err(|_elapsed| Problem::new(Code::Slow, "the body stopped arriving; send it again"))?;
    let bytes = bytes.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let detail = format!("a body may have {limit} bytes; packages go to the repository");
            return Problem::new(Code::TooLarge, detail);
        }
        Problem::new(Code::Malformed, "the body did not arrive whole").field("body", "cut off")
    })?;
    Ok((bytes, is_json))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
        || (kind.to_ascii_lowercase().starts_with("application/")
            && kind.to_ascii_lowercase().ends_with("+json"))
}

fn no_json() -> Problem {
    Problem::new(Code::MediaType, "bodies are JSON: send `Content-Type: application/json`")
        .field("header.content-type", "it is not application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "body".to_owned() } else { format!("body.{path}") };
        refused(field, &error.into_inner())
    })?;
    reader.end().map_err(|error| refused("body".to_owned(), &error))?;
    Ok(value)
}

fn refused(field: String, error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    // What the caller sent may stand in the message; it is shown cut.
    let message: String = error.to_string().chars().take(300).collect();
    match error.classify() {
        Category::Data => Problem::new(Code::Invalid, format!("{field} can't be taken: {message}"))
            .field(field, message),
        Category::Io | Category::Syntax | Category::Eof => {
            Problem::new(Code::Malformed, format!("the body is not JSON: {message}"))
                .field(field, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use handover_model::api::LabelsChange;

    use super::*;

    #[test]
    fn a_bad_field_is_named_by_its_path() {
        let problem = parse::<LabelsChange>(br#"{"set": {"Site": "x"}}"#).unwrap_err();
        assert_eq!(problem.code(), Code::Invalid);
        assert!(problem.document().fields[0].field.starts_with("body.set"), "{problem:?}");
        let problem = parse::<LabelsChange>(br#"{"remove": ["a", 7]}"#).unwrap_err();
        assert_eq!(problem.document().fields[0].field, "body.remove[1]");
        let problem = parse::<LabelsChange>(br#"{"sett": {}}"#).unwrap_err();
        assert_eq!(problem.document().fields[0].field, "body.sett");
    }

    #[test]
    fn a_body_that_is_no_json_or_goes_on_after_it_is_told_apart_from_a_bad_field() {
        for bad in [&b"{"[..], b"", b"nonsense", b"{} {}", b"\xff"] {
            let problem = parse::<LabelsChange>(bad).unwrap_err();
            assert_eq!(problem.code(), Code::Malformed, "{bad:?}");
        }
    }
}
