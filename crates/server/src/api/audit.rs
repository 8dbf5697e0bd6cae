//! The audit trail, for export and offline verification.

use axum::response::Response;
use handover_model::api::Page;
use handover_model::wire::SignedDoc;
use handover_store::audit;

use super::answer;
use super::call::{Call, bad_query, listed};
use crate::{Problem, files};

/// The most bytes of `checkpoints.jsonl` that are read: some 200,000 checkpoints.
const LARGEST: u64 = 128 << 20;

/// `GET /audit`: rows, the oldest first.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let slice = query.slice()?;
    let subject = query.one("subject")?;
    query.done()?;
    let page = call
        .state
        .store
        .read(move |tx| {
            audit::list(tx, subject.as_deref(), slice.after.as_deref(), slice.limit).map_err(listed)
        })
        .await?;
    answer::json(&page)
}

/// `GET /audit/checkpoints`: signed heads of the trail, the oldest first. They come from a file
/// beside the database, so that a rewritten database does not agree with them.
pub(super) async fn checkpoints(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let slice = query.slice()?;
    query.done()?;
    let after: usize = match &slice.after {
        None => 0,
        Some(text) => text.parse().map_err(|error| bad_query("after", error))?,
    };
    let path = call.state.config.data.join("checkpoints.jsonl");
    let limit = usize::try_from(slice.limit).unwrap_or(usize::MAX);
    let page = tokio::task::spawn_blocking(move || -> Result<Page<SignedDoc>, Problem> {
        let bytes = files::read_up_to(&path, LARGEST).map_err(|error| Problem::internal(&error))?;
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.unwrap_or_default();
        // A torn last line is of a checkpoint that was never finished.
        let whole = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let mut items: Vec<SignedDoc> = whole.skip(after).take(limit.saturating_add(1)).collect();
        let next = (items.len() > limit).then(|| after.saturating_add(limit).to_string());
        items.truncate(limit);
        Ok(Page { items, next })
    })
    .await
    .map_err(|panicked| Problem::internal(&panicked))??;
    answer::json(&page)
}
