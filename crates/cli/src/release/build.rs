//! From description and payload to a package, and a facts file beside it for `release stage`.

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;
use handover_model::{Digest, Manifest, Platform, ReleaseFacts};
use serde::{Deserialize, Serialize};

use super::archive::{self, Content, Entry, Written};
use super::check::{Problem, load_manifest, refuse};
use super::{ReleaseError, locate};
use crate::output::Out;
use crate::secret;

/// What is to be built.
pub(super) struct BuildOrder<'a> {
    pub(super) file: &'a Utf8Path,
    pub(super) platform: Platform,
    pub(super) payload: &'a Utf8Path,
    pub(super) entrypoint: Option<&'a Utf8Path>,
    pub(super) goal: &'a Utf8Path,
}

/// `<package>.facts.json`: what goes into signed metadata.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackageFacts {
    /// The package's length in bytes.
    pub(super) length: u64,
    /// The package's SHA-256.
    pub(super) sha256: Digest,
    /// The signed facts.
    pub(super) facts: ReleaseFacts,
}

/// Builds it.
pub(super) fn build(order: &BuildOrder<'_>, out: &Out) -> Result<(), ReleaseError> {
    let manifest = load_manifest(order.file)?;
    let payload = archive::read_payload(order.payload, &order.platform)?;
    check_payload(order, &manifest, &payload)?;
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|source| malformed(order.file, &source.to_string()))?;
    let manifest_digest = Digest::of(&text);
    let mut entries = vec![
        Entry {
            path: "handover/release.json".into(),
            size: u64::try_from(text.len()).unwrap_or(u64::MAX),
            content: Content::Bytes(text),
            executable: false,
        },
        entrypoint(order)?,
    ];
    entries.extend(payload);

    let bytes = entries.iter().map(|entry| entry.size).sum();
    let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    let facts = manifest.facts(order.platform.clone(), manifest_digest, bytes, count);
    let name = format!("{}-{}-{}.tar.zst", manifest.component, manifest.version, order.platform);
    let path = order.goal.join(name);
    let written = write_package(&path, &entries, bytes, out)?;
    let package = PackageFacts { length: written.length, sha256: written.digest, facts };
    let json = serde_json::to_vec_pretty(&package)
        .map_err(|source| malformed(order.file, &source.to_string()))?;
    disk::write(&facts_path(&path), &json, 0o644)?;
    let shown = serde_json::json!({ "package": path, "length": written.length,
        "sha256": written.digest, "facts": package.facts });
    out.result(&shown, |_| format!("{path}  {} bytes  sha256 {}", written.length, written.digest));
    Ok(())
}

/// Where a package's facts lie.
pub(super) fn facts_path(package: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{package}.facts.json"))
}

/// Writes aside, and renames once it is whole: a cut leaves no half package under its name.
fn write_package(
    path: &Utf8Path,
    entries: &[Entry],
    bytes: u64,
    out: &Out,
) -> Result<Written, ReleaseError> {
    let directory = path.parent().unwrap_or(Utf8Path::new("."));
    disk::make_dir(directory)?;
    let mut aside = tempfile::Builder::new()
        .prefix(disk::ASIDE_PREFIX)
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(ReleaseError::io("write into", directory))?;
    let bar = out.bar("packing", bytes);
    let written = archive::write(entries, aside.as_file_mut(), &bar)
        .map_err(ReleaseError::io("write", path))?;
    bar.finish_and_clear();
    aside.as_file().sync_all().map_err(ReleaseError::io("write", path))?;
    aside.persist(path).map_err(|error| ReleaseError::io("replace", path)(error.error))?;
    disk::sync_parent(path)?;
    Ok(written)
}

/// The author's entrypoint, or the stock one from beside this program.
fn entrypoint(order: &BuildOrder<'_>) -> Result<Entry, ReleaseError> {
    let path = match order.entrypoint {
        Some(path) => path.to_owned(),
        None => stock_entrypoint(order.file)?,
    };
    let size = path.metadata().map_err(ReleaseError::io("read the entrypoint", &path))?.len();
    archive::check_platform(&path, true, &order.platform).map_err(|error| match error {
        ReleaseError::Payload { path, what } => ReleaseError::Payload {
            path,
            what: format!("{what}, or bring an entrypoint with --entrypoint"),
        },
        other @ (ReleaseError::Repo(_)
        | ReleaseError::Malformed { .. }
        | ReleaseError::Problems { .. }
        | ReleaseError::OpenPgp { .. }
        | ReleaseError::NotPublished { .. }) => other,
    })?;
    Ok(Entry {
        path: "handover/upgrade".into(),
        content: Content::File(path),
        executable: true,
        size,
    })
}

fn stock_entrypoint(subject: &Utf8Path) -> Result<Utf8PathBuf, ReleaseError> {
    let own =
        std::env::current_exe().map_err(ReleaseError::io("find this program for", subject))?;
    let own = Utf8PathBuf::try_from(own).map_err(|error| malformed(subject, &error.to_string()))?;
    let path = own.with_file_name("handover-upgrade");
    if path.is_file() {
        return Ok(path);
    }
    let what = "the stock entrypoint is not there; name one with --entrypoint".to_owned();
    Err(ReleaseError::Payload { path, what })
}

/// Everything that the description names must be in the payload.
fn check_payload(
    order: &BuildOrder<'_>,
    manifest: &Manifest,
    payload: &[Entry],
) -> Result<(), ReleaseError> {
    let text = String::from_utf8_lossy(&secret::read(order.file)?).into_owned();
    let mut problems = Vec::new();
    let mut need = |field: String, path: &Utf8Path, runs: bool| {
        let wanted: Utf8PathBuf = path.components().filter(|part| part.as_str() != ".").collect();
        let found = payload.iter().find(|entry| entry.path == wanted);
        let (what, way_out) = match found {
            None => (
                format!("{path} is not in {}", order.payload),
                "put it there, or correct the field",
            ),
            Some(entry)
                if runs && !entry.executable && !matches!(entry.content, Content::Link(_)) =>
            {
                (format!("{path} is not executable"), "`chmod +x` it")
            }
            Some(_) => return,
        };
        let line = locate::line_of(&text, &field);
        problems.push(Problem { field, line, what, way_out: way_out.to_owned() });
    };
    need("service.executable".to_owned(), &manifest.service.executable, true);
    if let Some(program) = manifest.service.self_test.first() {
        need("service.self_test".to_owned(), Utf8Path::new(program), true);
    }
    for (at, migration) in manifest.state.iter().flat_map(|state| &state.migrations).enumerate() {
        for (part, command) in [("up", &migration.up), ("down", &migration.down)] {
            if let Some(program) = command.first() {
                need(format!("state.migrations[{at}].{part}"), Utf8Path::new(program), true);
            }
        }
    }
    for (at, check) in manifest.health.checks.iter().enumerate() {
        if let handover_model::CheckKind::Exec { command, .. } = &check.kind
            && let Some(program) = command.first()
        {
            need(format!("health.checks[{at}]"), Utf8Path::new(program), true);
        }
    }
    for (at, file) in manifest.configuration.iter().enumerate() {
        need(format!("configuration[{at}].source"), &file.source, false);
    }
    for (at, file) in manifest.outside.iter().enumerate() {
        need(format!("outside[{at}].source"), &file.source, false);
    }
    refuse(order.file, problems)
}

fn malformed(path: &Utf8Path, what: &str) -> ReleaseError {
    ReleaseError::Malformed { path: path.to_owned(), at: String::new(), what: what.to_owned() }
}
