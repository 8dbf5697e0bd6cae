//! How a sync travels: who sends it, and what its bytes mean. This bearer-token channel is the
//! first; a sealed one can stand beside it without the rest of the gateway noticing.

use bytes::Bytes;
use handover_model::Digest;
use handover_model::wire::{SyncAnswer, SyncRequest, secret_digest};
use http::request::Parts;

use super::body;
use crate::problem::Code;
use crate::{Problem, auth};

/// A way for syncs to travel.
pub(super) trait Channel {
    /// By what its sender is known.
    ///
    /// # Errors
    /// [`Problem`] `unauthenticated` when it shows nothing.
    fn sender(&self, head: &Parts) -> Result<Digest, Problem>;

    /// What it says.
    ///
    /// # Errors
    /// [`Problem`] `malformed`.
    fn open(&self, bytes: &[u8]) -> Result<SyncRequest, Problem>;

    /// The answer's bytes.
    ///
    /// # Errors
    /// [`Problem`] `internal`.
    fn seal(&self, answer: &SyncAnswer) -> Result<Bytes, Problem>;
}

/// JSON over HTTPS; the agent shows its secret.
pub(super) struct Bearer;

impl Channel for Bearer {
    fn sender(&self, head: &Parts) -> Result<Digest, Problem> {
        auth::bearer(&head.headers).map(secret_digest).ok_or_else(|| {
            Problem::new(Code::Unauthenticated, "an agent shows the secret of its enrolment")
        })
    }

    fn open(&self, bytes: &[u8]) -> Result<SyncRequest, Problem> {
        body::parse(bytes)
    }

    fn seal(&self, answer: &SyncAnswer) -> Result<Bytes, Problem> {
        serde_json::to_vec(answer).map(Bytes::from).map_err(|error| Problem::internal(&error))
    }
}
