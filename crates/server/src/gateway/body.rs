//! Reading what agents send: bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use handover_model::wire::LARGEST_REQUEST;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;

use crate::Problem;
use crate::problem::Code;

/// The most of an unwanted body that is read for the sake of the answer, in bytes.
const DISCARDED: usize = 4 * LARGEST_REQUEST;

/// The whole body.
pub(super) async fn read(body: Body, within: Duration) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Code::TooLarge,
            format!("an agent's request may have {LARGEST_REQUEST} bytes; send fewer reports"),
        )
    };
    let largest = u64::try_from(LARGEST_REQUEST).unwrap_or(u64::MAX);
    if body.size_hint().lower() > largest {
        // An answer in the middle of a request is lost to many clients.
        let _done_or_too_slow = tokio::time::timeout(within, discard(body)).await;
        return Err(too_large());
    }
    let whole = tokio::time::timeout(within, Limited::new(body, LARGEST_REQUEST).collect());
    match whole.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_cut)) => Err(Problem::new(Code::Malformed, "the request was cut")),
        Err(_elapsed) => Err(Problem::new(
            Code::Slow,
            format!("the body did not arrive within {} s", within.as_secs()),
        )),
    }
}

/// Reads a body that is not wanted, within reason.
async fn discard(mut body: Body) {
    let mut left = DISCARDED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// What a body says.
pub(super) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        // The parser names the place and what it wanted there, and quotes little.
        let words: String = error.to_string().chars().take(200).collect();
        Problem::new(Code::Malformed, format!("the body is not what it should be: {words}"))
    })
}
