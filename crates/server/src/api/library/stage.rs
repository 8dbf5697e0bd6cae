//! `PUT /repository/staging/{path}`: files on their way into the repository. They are streamed to
//! disk, bounded, and hashed; nothing of them is believed before a publication.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use handover_model::api::Staged;
use handover_model::{Hasher, OrderId};
use http::header;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::super::answer;
use super::super::call::{Call, Segments, cut};
use crate::problem::Code;
use crate::{Problem, files};

/// The largest package, in bytes.
const LARGEST_TARGET: u64 = 20 << 30;
/// The largest metadata file, in bytes.
const LARGEST_METADATA: u64 = 5 << 20;

/// Takes one file.
pub(in super::super) async fn stage(
    call: Call,
    Segments([path]): Segments<1>,
    body: Body,
) -> Result<Response, Problem> {
    call.query().done()?;
    if call.state.library.directory().is_none() {
        return Err(elsewhere());
    }
    let limit = check_path(&path)?;
    check_length(&call, limit)?;
    let staging = call.state.config.data.join("staging");
    let target = staging.join(&path);
    let aside = staging.join(format!(".{}", call.state.mint(OrderId::mint)));
    let (pieces, taken) = mpsc::channel::<Bytes>(4);
    let writing = tokio::task::spawn_blocking(move || write(taken, Aside(aside), &path, limit));
    let sent = forward(&call, body, pieces).await;
    let written = writing.await.map_err(|panicked| Problem::internal(&panicked))?;
    let (staged, aside) = match (sent, written) {
        (Ok(()), Ok(written)) => written,
        (Err(problem), _) | (Ok(()), Err(problem)) => return Err(problem),
    };
    // A publication under way neither takes it in unverified nor clears it away.
    let _turn = call.state.library.busy.lock().await;
    finish(&aside.0, &target).map_err(|error| Problem::internal(&error))?;
    answer::json(&staged)
}

/// The problem of a repository that is not kept here.
pub(super) fn elsewhere() -> Problem {
    let detail = "this server's repository is on another file server; publish there";
    Problem::new(Code::RepositoryElsewhere, detail)
}

/// The most bytes that a file of that path may have.
fn check_path(path: &str) -> Result<u64, Problem> {
    let refused = |why: &str| {
        let detail = format!("{:?} can't be a file of the repository: {why}", cut(path));
        Problem::new(Code::Invalid, detail).field("path.path", why)
    };
    let parts: Vec<&str> = path.split('/').collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    if parts.iter().any(|part| {
        part.is_empty() || part.starts_with('.') || part.len() > 200 || !part.chars().all(plain)
    }) {
        return Err(refused("its parts have letters, digits and `._-+`, and start with no dot"));
    }
    match parts.as_slice() {
        ["metadata", name] if Utf8Path::new(name).extension() == Some("json") => {
            Ok(LARGEST_METADATA)
        }
        ["targets", rest @ ..] if (1..=6).contains(&rest.len()) => Ok(LARGEST_TARGET),
        _ => Err(refused("it is metadata/NAME.json or targets/…")),
    }
}

fn check_length(call: &Call, limit: u64) -> Result<(), Problem> {
    let length = call.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) if length > limit => Err(too_large(limit)),
        Some(_) | None => Ok(()),
    }
}

fn too_large(limit: u64) -> Problem {
    Problem::new(Code::TooLarge, format!("such a file may have {limit} bytes"))
}

/// Passes the body on to the writer, piece by piece; a sender who falls silent is not waited for.
async fn forward(call: &Call, mut body: Body, pieces: mpsc::Sender<Bytes>) -> Result<(), Problem> {
    let patience = call.state.config.limits.body;
    loop {
        let next = tokio::time::timeout(patience, body.frame()).await.map_err(|_elapsed| {
            Problem::new(Code::Slow, "the file stopped arriving; send it again")
        })?;
        let frame = match next {
            None => return Ok(()),
            Some(Ok(frame)) => frame,
            Some(Err(_cut)) => {
                let detail = "the file did not arrive whole; send it again";
                return Err(Problem::new(Code::Malformed, detail));
            }
        };
        // A writer that is gone has said why.
        if let Ok(piece) = frame.into_data()
            && pieces.send(piece).await.is_err()
        {
            return Ok(());
        }
    }
}

/// Takes away what was on its way when the server was last cut off.
pub(super) fn forget_cut_off(data: &Utf8Path) {
    let Ok(entries) = data.join("staging").read_dir_utf8() else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().starts_with('.')) {
        let _gone = std::fs::remove_file(entry.path());
    }
}

/// A file on its way. It goes with whoever waits for it, unless it was renamed.
struct Aside(Utf8PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn write(
    mut taken: mpsc::Receiver<Bytes>,
    aside: Aside,
    path: &str,
    limit: u64,
) -> Result<(Staged, Aside), Problem> {
    let failed = |error: std::io::Error| full_or(&error);
    if let Some(parent) = aside.0.parent() {
        files::make_private_dir(parent).map_err(|error| Problem::internal(&error))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&aside.0);
    let mut file = file.map_err(failed)?;
    let (mut hasher, mut length, mut head) = (Hasher::default(), 0_u64, Vec::new());
    while let Some(piece) = taken.blocking_recv() {
        length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if length > limit {
            return Err(too_large(limit));
        }
        if head.len() < 256 {
            head.extend(piece.iter().take(256));
        }
        hasher.update(&piece);
        file.write_all(&piece).map_err(failed)?;
    }
    refuse_private_key(&head)?;
    file.sync_all().map_err(failed)?;
    Ok((Staged { path: path.to_owned(), length, digest: hasher.finish() }, aside))
}

/// A signing key has no business here: whoever holds this server must not be able to sign.
fn refuse_private_key(head: &[u8]) -> Result<(), Problem> {
    let text = String::from_utf8_lossy(head);
    if !(text.trim_start().starts_with("-----BEGIN") && text.contains("PRIVATE KEY")) {
        return Ok(());
    }
    Err(Problem::new(
        Code::PrivateKey,
        "this is a private key: keep it away from the control plane; it was not kept here, but \
         treat it as seen and replace it",
    ))
}

fn full_or(error: &std::io::Error) -> Problem {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return Problem::new(Code::Unavailable, "the disk of the server is full");
    }
    Problem::internal(error)
}

fn finish(aside: &Utf8Path, target: &Utf8Path) -> Result<(), files::FileError> {
    let parent: Utf8PathBuf = target.parent().map(Utf8Path::to_owned).unwrap_or_default();
    files::make_dirs(&parent)?;
    files::rename(aside, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_leave_staging_is_refused() {
        for bad in [
            "../x",
            "metadata/../x.json",
            "targets//x",
            "targets/.x",
            "/etc/passwd",
            "targets",
            "metadata/x.txt",
            "metadata/a/b.json",
            "targets/a\\b",
            "targets/a b",
            "other/x",
            "",
            "targets/a/b/c/d/e/f/g",
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_path("metadata/1.root.json").ok(), Some(LARGEST_METADATA));
        let target = "targets/web/1.0.0/abc.linux-x86_64.tar.zst";
        assert_eq!(check_path(target).ok(), Some(LARGEST_TARGET));
    }

    #[test]
    fn a_private_key_is_refused_whatever_it_is_called() {
        assert!(refuse_private_key(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n").is_err());
        assert!(refuse_private_key(b"\n-----BEGIN PRIVATE KEY-----\n").is_err());
        assert!(refuse_private_key(b"{\"signatures\": []}").is_ok());
    }
}
