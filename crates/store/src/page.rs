//! Lists come in pages: places in them, and how a page ends.

use handover_model::api::Page;

use crate::StoreError;

/// A page of at most `limit` items, made of one more if there is one more.
pub(crate) fn page<T>(mut items: Vec<T>, limit: u32, place: impl Fn(&T) -> String) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| has_more).map(place);
    Page { items, next }
}

/// How many rows to ask for: one more than the page has.
pub(crate) fn rows_for(limit: u32) -> i64 {
    i64::from(limit) + 1
}

/// The number in a place of a list that is ordered by one.
pub(crate) fn number(after: Option<&str>, start: i64) -> Result<i64, StoreError> {
    after.map_or(Ok(start), |text| text.parse().map_err(|_source| bad(text)))
}

/// The name and key in a place of a list that is ordered by them.
pub(crate) fn name_and_key(after: Option<&str>) -> Result<(&str, i64), StoreError> {
    let Some(text) = after else { return Ok(("", 0)) };
    let (name, key) = text.rsplit_once('/').ok_or_else(|| bad(text))?;
    Ok((name, key.parse().map_err(|_source| bad(text))?))
}

fn bad(text: &str) -> StoreError {
    StoreError::Cursor { text: text.chars().take(80).collect() }
}
