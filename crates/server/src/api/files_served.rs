//! `/repository/metadata/…` and `/repository/targets/…`: the signed files, for anybody. What
//! they say is proved by their signatures, so the transport proves nothing and hides nothing.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use camino::Utf8Path;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::call::{Segments, cut};
use super::piped::piped;
use crate::problem::Code;
use crate::{AppState, Problem};

/// How much is read at once.
const PIECE: usize = 1 << 16;
/// How many pieces are read ahead.
const AHEAD: usize = 4;
/// How long a taker may take nothing. On a slow line a piece is long under way.
const STALL: Duration = Duration::from_mins(1);
/// When those who found no place come again, in seconds.
const COME_AGAIN: u32 = 30;

/// `GET /repository/metadata/{name}`.
pub(super) async fn metadata(
    State(state): State<AppState>,
    Segments([path]): Segments<1>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    serve(&state, "metadata", path, headers).await
}

/// `GET /repository/targets/{path}`.
pub(super) async fn targets(
    State(state): State<AppState>,
    Segments([path]): Segments<1>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    serve(&state, "targets", path, headers).await
}

/// A file that may be served.
struct Found {
    file: File,
    length: u64,
    tag: String,
}

async fn serve(
    state: &AppState,
    part: &'static str,
    path: String,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let absent = || Problem::new(Code::NotFound, format!("there is no {part}/{}", cut(&path)));
    let directory = state.library.directory().ok_or_else(absent)?.join(part);
    let wanted = path.clone();
    let found = tokio::task::spawn_blocking(move || open(&directory, &wanted));
    let found = found.await.map_err(|panicked| Problem::internal(&panicked))?;
    let Found { file, length, tag } = found.ok_or_else(absent)?;
    let mut response = Response::new(Body::empty());
    let set = response.headers_mut();
    set.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        set.insert(header::ETAG, tag);
    }
    // Everything but the timestamp is named by its version or its content.
    let caching = if path == "timestamp.json" { "no-cache" } else { "max-age=31536000, immutable" };
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if names(&headers, header::IF_NONE_MATCH, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let kind = if part == "metadata" { "application/json" } else { "application/octet-stream" };
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let range = match range(&headers, length, &tag) {
        Ranged::Whole => None,
        Ranged::Part(range) => Some(range),
        Ranged::Beyond => {
            let detail = format!("{part}/{path} has {length} bytes");
            let problem = Problem::new(Code::Range, detail);
            let mut response = axum::response::IntoResponse::into_response(problem);
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            return Ok(response);
        }
    };
    let (start, count) = match &range {
        None => (0, length),
        Some(range) => (*range.start(), range.end().saturating_sub(*range.start()) + 1),
    };
    // Metadata is small, and hosts can't decide anything without it.
    let place = if part == "targets" {
        Some(state.library.download().ok_or_else(|| {
            let detail = "as many packages as may be are being downloaded; come again";
            Problem::new(Code::Unavailable, detail).retry_after(COME_AGAIN)
        })?)
    } else {
        None
    };
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {}-{}/{length}", range.start(), range.end());
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, count.into());
    *response.body_mut() = send(state, file, start, count, place);
    Ok(response)
}

/// Opens a file below `directory`, and nothing else, wherever links lead.
fn open(directory: &Utf8Path, path: &str) -> Option<Found> {
    let is_plain =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    if path.len() > 1000 || !path.split('/').all(is_plain) {
        return None;
    }
    let root = directory.canonicalize_utf8().ok()?;
    let real = directory.join(path).canonicalize_utf8().ok()?;
    if !real.starts_with(&root) {
        return None;
    }
    let file = File::open(&real).ok()?;
    let facts = file.metadata().ok()?;
    if !facts.is_file() {
        return None;
    }
    let length = facts.len();
    let tag = format!("\"{length:x}-{:x}-{:x}\"", facts.mtime(), facts.mtime_nsec());
    Some(Found { file, length, tag })
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Ranged {
    Whole,
    Part(RangeInclusive<u64>),
    Beyond,
}

/// One range of bytes (RFC 9110, 14.2); whatever is not understood is the whole.
fn range(headers: &HeaderMap, length: u64, tag: &str) -> Ranged {
    if headers.contains_key(header::IF_RANGE) && !names(headers, header::IF_RANGE, tag) {
        return Ranged::Whole;
    }
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some(text) = text.and_then(|text| text.strip_prefix("bytes=")) else {
        return Ranged::Whole;
    };
    let Some((first, last)) = text.split_once('-') else { return Ranged::Whole };
    let last_byte = length.saturating_sub(1);
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..=last.min(last_byte),
        (Ok(first), Err(_)) if last.is_empty() => first..=last_byte,
        (Err(_), Ok(count)) if first.is_empty() && count > 0 => {
            length.saturating_sub(count)..=last_byte
        }
        (Err(_), Ok(0)) if first.is_empty() => return Ranged::Beyond,
        _ => return Ranged::Whole,
    };
    if length == 0 || *range.start() >= length {
        return Ranged::Beyond;
    }
    Ranged::Part(range)
}

fn names(headers: &HeaderMap, header: header::HeaderName, tag: &str) -> bool {
    headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|text| text.split(',').map(str::trim).any(|one| one == tag || one == "*"))
}

/// Reads a few pieces ahead of the one who takes them; no thread waits for the taker. The place is
/// held until the last piece is on its way, or the taker is gone or has stalled.
fn send(
    state: &AppState,
    file: File,
    start: u64,
    count: u64,
    place: Option<OwnedSemaphorePermit>,
) -> Body {
    let (out, body) = piped(AHEAD + 1);
    state.tasks.spawn(async move {
        // Room for the last word: an error breaks the connection, so that nobody takes a part for
        // the whole.
        let Ok(last_word) = out.clone().reserve_owned().await else { return };
        if let Err(error) = copy(file, start, count, &out).await {
            last_word.send(Err(error));
        }
        drop(place);
    });
    body
}

async fn copy(
    file: File,
    start: u64,
    count: u64,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let file = Arc::new(file);
    let end = start.saturating_add(count);
    let mut at = start;
    while at < end {
        let Ok(room) = tokio::time::timeout(STALL, out.reserve()).await else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        // A taker who is gone needs no more.
        let Ok(room) = room else { return Ok(()) };
        let size = usize::try_from(end.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
        let file = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; size];
            file.read_exact_at(&mut piece, at).map(|()| piece)
        });
        let piece = read.await.map_err(io::Error::other)??;
        at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        room.send(Ok(Bytes::from(piece)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(range).unwrap())])
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let of = |text: &str| range(&asked(text), 10, "\"t\"");
        assert_eq!(of("bytes=0-3"), Ranged::Part(0..=3));
        assert_eq!(of("bytes=4-"), Ranged::Part(4..=9));
        assert_eq!(of("bytes=-3"), Ranged::Part(7..=9));
        assert_eq!(of("bytes=5-99"), Ranged::Part(5..=9));
        assert_eq!(of("bytes=10-"), Ranged::Beyond);
        assert_eq!(of("bytes=-0"), Ranged::Beyond);
        assert_eq!(of("bytes=0-1,4-5"), Ranged::Whole);
        assert_eq!(of("lines=1-2"), Ranged::Whole);
        assert_eq!(range(&HeaderMap::new(), 10, "\"t\""), Ranged::Whole);
    }

    #[test]
    fn a_resumed_download_of_a_file_that_changed_starts_over() {
        let mut headers = asked("bytes=4-");
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"old\""));
        assert_eq!(range(&headers, 10, "\"new\""), Ranged::Whole);
        assert_eq!(range(&headers, 10, "\"old\""), Ranged::Part(4..=9));
    }

    #[test]
    fn no_path_leads_out_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let served = root.join("targets");
        std::fs::create_dir_all(served.join("a")).unwrap();
        crate::files::write(&root.join("secret"), b"x", 0o600).unwrap();
        crate::files::write(&served.join("a/file"), b"y", 0o600).unwrap();
        std::os::unix::fs::symlink(root.join("secret"), served.join("link")).unwrap();
        assert!(open(&served, "a/file").is_some());
        for bad in
            ["../secret", "a/../../secret", "link", "a", "", "/etc/passwd", "a//file", "./a/file"]
        {
            assert!(open(&served, bad).is_none(), "{bad:?}");
        }
    }
}
