//! The one file of a package that this program is. Its bytes are proved by the package's digest;
//! what is bounded here is what they may unfold to.

use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};

use camino::Utf8Path;
use handover_model::ReleaseFacts;
use tempfile::TempPath;

use super::SelfUpdateError;
use super::executable::aside;

/// Where the program lies in its package.
const PROGRAM: &str = "bin/handover";
/// The largest window that is taken, as a power of two (128 MiB).
const WINDOW_LOG: u32 = 27;
/// What an archive has beside its content, for each entry.
const OVERHEAD: u64 = 4096;

/// Takes the program out of `archive`, into a file in `directory`.
pub(super) fn take_out(
    archive: &Utf8Path,
    facts: &ReleaseFacts,
    directory: &Utf8Path,
) -> Result<TempPath, SelfUpdateError> {
    let wrong = |what: &str| SelfUpdateError::Package {
        version: facts.version.clone(),
        what: what.to_owned(),
    };
    let unreadable = |_source: std::io::Error| wrong("is no readable archive");
    let file = File::open(archive).map_err(SelfUpdateError::io("open", archive))?;
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(BufReader::new(file)).map_err(unreadable)?;
    decoder.window_log_max(WINDOW_LOG).map_err(unreadable)?;
    let overhead = facts.entries.saturating_add(4).saturating_mul(OVERHEAD);
    let most = facts.unpacked_bytes.saturating_add(overhead);
    let mut tar = tar::Archive::new(decoder.take(most));
    for entry in tar.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        if entry.path_bytes().as_ref() != PROGRAM.as_bytes() {
            continue;
        }
        let size = entry.header().size().map_err(unreadable)?;
        if !entry.header().entry_type().is_file() || size > facts.unpacked_bytes {
            return Err(wrong("holds a bin/handover that is no file of the size it declares"));
        }
        let mut fresh = aside(directory)?;
        let copied = std::io::copy(&mut entry, fresh.as_file_mut())
            .map_err(SelfUpdateError::io("write", directory))?;
        if copied != size {
            return Err(wrong("is cut"));
        }
        fresh.flush().map_err(SelfUpdateError::io("write", directory))?;
        fresh.as_file().sync_all().map_err(SelfUpdateError::io("sync", directory))?;
        return Ok(fresh.into_temp_path());
    }
    Err(wrong("has no bin/handover"))
}
