//! `POST /repository/publish`: what is in staging takes effect, whole, once it is verified
//! exactly as a host would verify it; or nothing changes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;

use axum::response::Response;
use camino::{Utf8Path, Utf8PathBuf};
use handover_model::api::{PublishRequest, Published};
use handover_model::{Digest, Timestamp};
use handover_store::{audit, events};
use handover_trust::{Catalog, Limits, TargetCheck, TargetFacts};
use http::StatusCode;
use serde_json::json;

use super::super::body::OrNothing;
use super::super::call::Call;
use super::super::{answer, once};
use super::read::{self, Layers, ReadError, Reading};
use super::stage::elsewhere;
use crate::problem::{Chain, Code};
use crate::{Problem, files};

/// Staging's number among the layers: it hides what is live.
const STAGED: usize = 0;

/// Publishes what was staged.
pub(in super::super) async fn publish(
    call: Call,
    OrNothing { value: request, digest }: OrNothing<PublishRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    // A caller who hangs up, or is not waited for any more, takes nothing of it away.
    let tasks = call.state.tasks.clone();
    let published = tasks.spawn(async move { publish_whole(&call, &request, digest).await });
    published.await.map_err(|panicked| Problem::internal(&panicked))?
}

/// Everything that a publication is: files, floors, audit row, event and the answer that is kept.
async fn publish_whole(
    call: &Call,
    request: &PublishRequest,
    digest: Digest,
) -> Result<Response, Problem> {
    let library = &call.state.library;
    let directory = library.directory().ok_or_else(elsewhere)?.to_owned();
    let turn = library.busy.lock().await;
    if let Some(done) = once::before(call, digest).await? {
        return Ok(answer::text(done.status, done.body));
    }
    let (data, now) = (call.state.config.data.clone(), call.now);
    let published = tokio::task::spawn_blocking({
        let (directory, request) = (directory.clone(), request.clone());
        move || swap_in(&directory, &data, &request, now)
    });
    let published = published.await.map_err(|panicked| Problem::internal(&panicked))??;
    library.reload(&directory, now).await;
    let who = call.principal.who();
    let done = once::act(call, digest, StatusCode::OK, move |tx| {
        let data = json!({
            "root": published.root, "timestamp": published.timestamp, "files": published.files,
        });
        let row = audit::NewAudit {
            at: now,
            who: who.clone(),
            what: "repository.publish",
            subject: "repository".to_owned(),
            before: None,
            after: Some(data.clone()),
        };
        audit::insert(tx, &row)?;
        let kind = "repository.published";
        let event =
            events::NewEvent { at: now, kind, agent: None, order: None, rollout: None, data };
        events::insert(tx, &event)?;
        Ok(published.clone())
    })
    .await?;
    // Who repeats it waits until there is an answer to repeat.
    drop(turn);
    Ok(answer::text(done.status, done.body))
}

fn swap_in(
    live: &Utf8Path,
    data: &Utf8Path,
    request: &PublishRequest,
    now: Timestamp,
) -> Result<Published, Problem> {
    let staging = data.join("staging");
    if !staging.join("metadata").is_dir() {
        let detail = "nothing is staged: PUT the repository's files to /repository/staging first";
        return Err(Problem::new(Code::NothingStaged, detail));
    }
    let root = root_to_trust(live, data, &staging, request)?;
    let floors = read::floors(data).map_err(|error| refused(&error))?;
    let layers = Layers(&[&staging, live]);
    let verified = read::verify(&layers, &root, &floors, now);
    let reading = verified.map_err(|error| refused(&error))?;
    if let Some(error) = reading.refused.first() {
        return Err(refused(error));
    }
    let names = verified_names(&staging, &root, &reading)?;
    let refreshed = &reading.refreshed;
    check_targets(&refreshed.catalog, &staging, live)?;
    let moved = move_in(&refreshed.catalog, names, &staging, live);
    let files = moved.map_err(|error| Problem::internal(&error))?;
    if files::read(&read::root_path(data)).ok().flatten().is_none() {
        files::write(&read::root_path(data), &root, 0o644)
            .map_err(|error| Problem::internal(&error))?;
    }
    read::keep_floors(data, &refreshed.floors).map_err(|error| Problem::internal(&error))?;
    // What is still on its way into staging lies beside these two.
    for part in ["metadata", "targets"] {
        let _emptied = std::fs::remove_dir_all(staging.join(part));
    }
    Ok(Published {
        root: version_of(live, "root"),
        timestamp: version_of(live, "timestamp"),
        expires: refreshed.expires,
        components: refreshed.catalog.components.keys().cloned().collect(),
        files,
    })
}

/// The root to verify from: the pinned one; on the first publication, the staged one, if the
/// caller names its digest.
fn root_to_trust(
    live: &Utf8Path,
    data: &Utf8Path,
    staging: &Utf8Path,
    request: &PublishRequest,
) -> Result<Vec<u8>, Problem> {
    let directory = Some(live).filter(|live| live.join("metadata/1.root.json").exists());
    let pinned = read::pinned_root(data, directory).map_err(|error| refused(&error))?;
    let (root, is_first) = if let Some(root) = pinned {
        (root, false)
    } else {
        let path = staging.join("metadata/1.root.json");
        let root = files::read_up_to(&path, Limits::default().root)
            .map_err(|error| Problem::internal(&error))?;
        let detail = "the first publication needs metadata/1.root.json in staging";
        (root.ok_or_else(|| Problem::new(Code::RootNeeded, detail))?, true)
    };
    let found = Digest::of(&root);
    match request.trusted_root {
        Some(wanted) if wanted != found => Err(Problem::new(
            Code::OtherRoot,
            format!("the first root has digest {found}, and {wanted} was to be trusted"),
        )
        .field("body.trusted_root", "another root")),
        None if is_first => Err(Problem::new(
            Code::RootNeeded,
            format!(
                "this server trusts no repository yet: check that {found} is the digest of your \
                 1.root.json and say so with `trusted_root`"
            ),
        )
        .field("body.trusted_root", "missing")),
        Some(_) | None => Ok(root),
    }
}

/// Every package that is offered has to be there, whole.
fn check_targets(catalog: &Catalog, staging: &Utf8Path, live: &Utf8Path) -> Result<(), Problem> {
    for target in offered(catalog) {
        let path = Utf8PathBuf::from("targets").join(&target.served_as);
        let staged = staging.join(&path);
        if staged.is_file() {
            check_content(&staged, target)?;
            continue;
        }
        let there = std::fs::metadata(live.join(&path)).is_ok_and(|f| f.len() == target.length);
        if !there {
            let detail = format!(
                "{} is offered and not there: PUT it to /repository/staging/{path}",
                target.path
            );
            return Err(Problem::new(Code::TargetMissing, detail));
        }
    }
    Ok(())
}

fn offered(catalog: &Catalog) -> impl Iterator<Item = &TargetFacts> {
    let packages = catalog.components.values().flat_map(|releases| &releases.packages);
    packages.flat_map(|package| {
        let sidecar = package.openpgp.as_ref().map(|sidecar| &sidecar.target);
        std::iter::once(&package.target).chain(sidecar)
    })
}

fn check_content(path: &Utf8Path, wanted: &TargetFacts) -> Result<(), Problem> {
    let mut file = File::open(path).map_err(|error| Problem::internal(&error))?;
    let mut check = TargetCheck::new(wanted.clone());
    let mut piece = vec![0; 1 << 16];
    let is_other = |error: &handover_trust::VerifyError| {
        let detail = format!("{} is not what was signed: {error}; send it again", wanted.path);
        Problem::new(Code::RepositoryRefused, detail)
    };
    loop {
        let count = file.read(&mut piece).map_err(|error| Problem::internal(&error))?;
        if count == 0 {
            return check.finish().map_err(|error| is_other(&error));
        }
        let read = piece.get(..count).unwrap_or_default();
        check.update(read).map_err(|error| is_other(&error))?;
    }
}

/// The staged metadata that verification read, which alone may go live. What a newer version took
/// the place of, and roles that nothing delegates to, stay out; any other name is refused and
/// taken out of staging: a host could meet it later, when nobody checks it any more.
fn verified_names(
    staging: &Utf8Path,
    root: &[u8],
    reading: &Reading,
) -> Result<Vec<String>, Problem> {
    let metadata = staging.join("metadata");
    let entries = metadata.read_dir_utf8().map_err(|error| Problem::internal(&error))?;
    let (mut names, mut strange) = (Vec::new(), Vec::new());
    for entry in entries {
        let name = entry.map_err(|error| Problem::internal(&error))?.file_name().to_owned();
        // The walk begins behind the first root, so that it is never asked for.
        let is_root = || {
            let read = || files::read_up_to(&metadata.join(&name), Limits::default().root);
            name == "1.root.json" && read().is_ok_and(|found| found.as_deref() == Some(root))
        };
        if reading.read.get(&name) == Some(&STAGED) || is_root() {
            names.push(name);
        } else if !is_history(&name, reading) {
            strange.push(name);
        }
    }
    if strange.is_empty() {
        return Ok(names);
    }
    for name in &strange {
        files::remove(&metadata.join(name)).map_err(|error| Problem::internal(&error))?;
    }
    strange.sort();
    let detail = format!(
        "nothing was published: no host that is up to date would read metadata/{} now; taken out \
         of staging: publish without, or stage again together with what leads there",
        strange.join(", metadata/")
    );
    Err(Problem::new(Code::RepositoryRefused, detail))
}

/// Whether a file that verification did not read is of a role's older version, or of a role that
/// is not delegated any more.
fn is_history(name: &str, reading: &Reading) -> bool {
    let Some((version, role)) = versioned(name) else { return false };
    let component = role.strip_prefix("component-").and_then(|name| name.parse().ok());
    let is_older = || {
        let mut read = reading.read.keys().filter_map(|name| versioned(name));
        role != "root" && read.any(|(newer, other)| other == role && newer > version)
    };
    component.is_some_and(|component| reading.unspoken.contains(&component)) || is_older()
}

/// `7.targets.json` as version and role.
fn versioned(name: &str) -> Option<(u64, &str)> {
    let (version, role) = name.strip_suffix(".json")?.split_once('.')?;
    Some((version.parse().ok()?, role))
}

/// Moves files in: packages, then metadata, the timestamp last. Each is named by its content or
/// its version, so that nobody sees a mixture.
fn move_in(
    catalog: &Catalog,
    mut names: Vec<String>,
    staging: &Utf8Path,
    live: &Utf8Path,
) -> Result<u32, files::FileError> {
    let mut moved = 0;
    let targets: BTreeSet<_> = offered(catalog).map(|target| target.served_as.clone()).collect();
    for served_as in targets {
        let path = Utf8PathBuf::from("targets").join(served_as);
        if staging.join(&path).is_file() {
            files::move_file(&staging.join(&path), &live.join(&path))?;
            moved += 1;
        }
    }
    let rank = |name: &str| match name {
        "timestamp.json" => 2,
        _ if name.ends_with(".root.json") => 1,
        _ => 0,
    };
    names.sort_by_key(|name| (rank(name), name.clone()));
    for name in names {
        let path = Utf8PathBuf::from("metadata").join(name);
        files::move_file(&staging.join(&path), &live.join(&path))?;
        moved += 1;
    }
    Ok(moved)
}

/// The version of a role as it is served, for people.
fn version_of(live: &Utf8Path, role: &str) -> u64 {
    let metadata = live.join("metadata");
    if role == "root" {
        let Ok(entries) = metadata.read_dir_utf8() else { return 0 };
        let versions = entries.flatten().filter_map(|entry| {
            entry.file_name().strip_suffix(".root.json").and_then(|number| number.parse().ok())
        });
        return versions.max().unwrap_or(0);
    }
    let bytes = files::read_up_to(&metadata.join(format!("{role}.json")), 1 << 20);
    let document = bytes.ok().flatten().and_then(|bytes| {
        serde_json::from_slice::<serde_json::Value>(&bytes).ok()?["signed"]["version"].as_u64()
    });
    document.unwrap_or(0)
}

fn refused(error: &ReadError) -> Problem {
    match error {
        ReadError::File(_) => Problem::internal(error),
        ReadError::Verify { component, .. } => {
            let whose = component.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
            let detail = format!(
                "nothing was published: what is staged{whose} would be refused by every host: {}",
                Chain(error)
            );
            Problem::new(Code::RepositoryRefused, detail)
        }
    }
}
