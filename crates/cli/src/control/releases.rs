//! Releases as the control plane knows them, and bringing a signed repository to it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;
use handover_model::api::{
    ComponentReleases, Page, PublishRequest, Published, ReleaseDetail, ReleaseGraph, ReleaseInfo,
    Staged,
};
use handover_model::{ComponentName, Digest, Version};

use super::api::{Api, encoded};
use super::{ControlError, Desk, routes};
use crate::output::{fields, table};
use crate::repo::RepoError;

/// What is asked of the control plane about releases.
#[derive(Debug)]
pub(crate) enum Question {
    /// What there is, of one component or of all.
    List(Option<ComponentName>),
    /// One release.
    Show(ComponentName, Version),
    /// Which release takes over from which.
    Graph(ComponentName),
}

/// Answers it.
pub(crate) fn answer(question: Question, desk: &Desk<'_>) -> Result<(), ControlError> {
    let (_, api) = desk.open()?;
    match question {
        Question::List(None) => list(&api, desk),
        Question::List(Some(component)) => {
            let detail = detail(&api, &component)?;
            desk.out.result(&detail, |detail| table(&rows(&detail.releases)));
            Ok(())
        }
        Question::Show(component, version) => show(&api, &component, &version, desk),
        Question::Graph(component) => graph(&api, &component, desk),
    }
}

fn list(api: &Api, desk: &Desk<'_>) -> Result<(), ControlError> {
    let all: Page<ComponentReleases> = api.get("list releases", routes::RELEASES)?;
    let all = all.items;
    desk.out.result(&all, |all| {
        let head = ["COMPONENT", "NEWEST", "VERSIONS", "AGENTS"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(all.iter().map(|one| {
            let newest = one.newest.iter().map(|(channel, version)| format!("{version} {channel}"));
            vec![
                one.component.to_string(),
                newest.collect::<Vec<_>>().join(", "),
                one.versions.to_string(),
                one.agents.to_string(),
            ]
        }));
        table(&rows)
    });
    Ok(())
}

fn detail(api: &Api, component: &ComponentName) -> Result<ReleaseDetail, ControlError> {
    api.get("look at its releases", &routes::one(routes::RELEASES, component))
}

fn rows(releases: &[ReleaseInfo]) -> Vec<Vec<String>> {
    let head = ["VERSION", "PLATFORM", "SEQUENCE", "CHANNEL", "AGENTS", "STATE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(releases.iter().map(|one| {
        let revoked = one.revoked.as_ref().map(|why| format!("revoked: {why}"));
        vec![
            one.version.to_string(),
            one.platform.to_string(),
            one.sequence.to_string(),
            one.channel.clone(),
            one.agents.to_string(),
            revoked.unwrap_or_default(),
        ]
    }));
    rows
}

fn show(
    api: &Api,
    component: &ComponentName,
    version: &Version,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let mut releases = detail(api, component)?.releases;
    let known: Vec<_> = releases.iter().map(|one| one.version.to_string()).collect();
    releases.retain(|one| one.version == *version);
    if releases.is_empty() {
        return Err(ControlError::Unknown {
            what: "release",
            name: format!("{component} {version}"),
            nearest: known.into_iter().take(3).collect(),
        });
    }
    desk.out.result(&releases, |releases| {
        releases.iter().map(describe).collect::<Vec<_>>().join("\n\n")
    });
    Ok(())
}

fn describe(release: &ReleaseInfo) -> String {
    let also: Vec<_> = release.also_from.iter().map(ToString::to_string).collect();
    let returns = release
        .return_within
        .map_or_else(|| "during trial alone".to_owned(), |length| format!("within {length}"));
    let mut pairs = vec![
        ("path", release.path.clone()),
        ("sequence", release.sequence.to_string()),
        ("channel", release.channel.clone()),
        ("upgrades from", release.upgrades_from.to_string()),
        ("also from", also.join(", ")),
        ("floor", if release.floor { "yes" } else { "no" }.to_owned()),
        ("returns", returns),
        ("package", format!("{} bytes, sha256 {}", release.length, release.digest)),
        ("agents", release.agents.to_string()),
        ("notes", release.notes.clone().unwrap_or_default()),
        ("REVOKED", release.revoked.clone().unwrap_or_default()),
    ];
    pairs.retain(|(_, value)| !value.is_empty());
    fields(&pairs)
}

fn graph(api: &Api, component: &ComponentName, desk: &Desk<'_>) -> Result<(), ControlError> {
    let path = format!("{}/graph", routes::one(routes::RELEASES, component));
    let graph: ReleaseGraph = api.get("look at its graph", &path)?;
    desk.out.result(&graph, |graph| {
        let line = |version: &Version| {
            let before = graph.edges.iter().filter(|edge| edge.to == *version);
            let before: Vec<_> = before.map(|edge| edge.from.to_string()).collect();
            let from = if before.is_empty() { "nothing".to_owned() } else { before.join(", ") };
            let floor = if graph.floors.contains(version) { " (floor)" } else { "" };
            format!("{version}{floor}  from {from}")
        };
        let mut lines: Vec<_> = graph.versions.iter().map(line).collect();
        lines.extend(
            graph.revoked.iter().map(|(version, why)| format!("{version}  revoked: {why}")),
        );
        lines.join("\n")
    });
    Ok(())
}

/// Brings what is published in a directory to the control plane: uploads the files that it lacks,
/// then asks it to swap them in at once, which it does only if a host would accept them.
pub(crate) fn publish(directory: &Utf8Path, desk: &Desk<'_>) -> Result<(), ControlError> {
    let public = directory.join("public");
    let local = files(&public)?;
    let Some((root, _)) = local.get("metadata/1.root.json") else {
        return Err(RepoError::NotARepository { path: directory.to_owned() }.into());
    };
    let (_, api) = desk.open()?;
    let (mut sent, mut bytes) = (0_u32, 0_u64);
    for (path, (digest, length)) in &local {
        if api.has_file(path, digest)? {
            continue;
        }
        let parts: Vec<_> = path.split('/').map(encoded).collect();
        let to = format!("{}/{}", routes::STAGING, parts.join("/"));
        let file = public.join(path);
        let taken: Staged =
            api.upload(&format!("upload {path}"), &to, || std::fs::File::open(&file))?;
        if taken.digest != *digest {
            let what = format!("{file} changed while it was uploaded; publish it again");
            return Err(ControlError::Declined { what });
        }
        (sent, bytes) = (sent.saturating_add(1), bytes.saturating_add(*length));
    }
    let request = PublishRequest { trusted_root: Some(*root) };
    let published: Published = api.post("publish it", routes::PUBLISH, &request)?;
    desk.out.say(&format!("uploaded {sent} files, {bytes} bytes, to {}", api.address()));
    desk.out.result(&published, |published| {
        let names: Vec<_> = published.components.iter().map(ToString::to_string).collect();
        fields(&[
            ("root", format!("version {}", published.root)),
            ("timestamp", format!("version {}", published.timestamp)),
            ("expires", published.expires.to_string()),
            ("components", names.join(", ")),
            ("changed", format!("{} files", published.files)),
        ])
    });
    Ok(())
}

/// Every public file of a repository: path, digest and length. Metadata comes after packages, and
/// the timestamp is the last of it.
fn files(public: &Utf8Path) -> Result<BTreeMap<String, (Digest, u64)>, ControlError> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<Utf8PathBuf> = vec![public.join("metadata"), public.join("targets")];
    while let Some(directory) = waiting.pop() {
        let io = |source| RepoError::Io { act: "list", path: directory.clone(), source };
        if !directory.is_dir() {
            continue;
        }
        for entry in directory.read_dir_utf8().map_err(io)? {
            let entry = entry.map_err(io)?;
            let path = entry.path();
            if entry.file_name().starts_with(disk::ASIDE_PREFIX) {
                continue;
            }
            if path.is_dir() {
                waiting.push(path.to_owned());
                continue;
            }
            let hidden = indicatif::ProgressBar::hidden();
            let (length, digest) = crate::release::digest_file(path, &hidden)
                .map_err(|error| ControlError::Declined { what: error.to_string() })?;
            if let Ok(name) = path.strip_prefix(public) {
                found.insert(name.to_string(), (digest, length));
            }
        }
    }
    Ok(found)
}
