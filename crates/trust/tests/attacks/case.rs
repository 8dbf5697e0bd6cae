//! An attack as a value, as a directory, and its run against this crate.

use std::collections::BTreeMap;
use std::path::Path;

use handover_model::{AgentName, ComponentName, Platform, Timestamp, Version};
use handover_trust::{Memory, TargetCheck, VerifyError, VersionFloors, verify_permit};
use serde::{Deserialize, Serialize};

use crate::world::{Files, follow, web};

/// What the host is about to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub(crate) enum Case {
    /// Refresh its metadata, component `web`.
    Follow,
    /// Then also install a release.
    Install { component: ComponentName, version: Version, platform: Platform },
    /// Then also use `permit.json`.
    Permit { component: ComponentName, agent: AgentName },
    /// Unpack `package.tar.zst`, whose signed facts are given.
    Unpack { facts: serde_json::Value },
}

/// What became of the floors file.
#[derive(Debug, Clone)]
pub(crate) enum FloorsFile {
    AsItWas,
    Replaced(Vec<u8>),
    Gone,
}

/// One attack.
#[derive(Debug, Clone)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) expect: &'static str,
    pub(crate) attacker: &'static str,
    pub(crate) about: &'static str,
    pub(crate) now: Timestamp,
    pub(crate) case: Case,
    pub(crate) before: Memory,
    pub(crate) floors_file: FloorsFile,
    pub(crate) served: Files,
    pub(crate) permit: Option<Vec<u8>>,
}

/// `attack.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    pub(crate) format: u32,
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) attacker: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) now: Option<Timestamp>,
    pub(crate) host: Case,
    pub(crate) expect: String,
}

impl Attack {
    /// The attack's directory, as bytes by path.
    pub(crate) fn directory(&self) -> Files {
        let description = Description {
            format: 1,
            name: self.name.to_owned(),
            about: self.about.to_owned(),
            attacker: self.attacker.to_owned(),
            now: Some(self.now),
            host: self.case.clone(),
            expect: self.expect.to_owned(),
        };
        let mut files = Files::new();
        files.insert("attack.json".to_owned(), pretty(&description));
        files.insert("before/root.json".to_owned(), self.before.pinned_root.clone());
        for (name, bytes) in &self.before.files {
            files.insert(format!("before/metadata/{name}"), bytes.clone());
        }
        let floors = match &self.floors_file {
            FloorsFile::AsItWas => Some(self.before.floors.seal().unwrap()),
            FloorsFile::Replaced(other) => Some(other.clone()),
            FloorsFile::Gone => None,
        };
        files.extend(floors.map(|bytes| ("before/versions.json".to_owned(), bytes)));
        for (name, bytes) in &self.served {
            files.insert(format!("repository/{name}"), bytes.clone());
        }
        files.extend(self.permit.iter().map(|bytes| ("permit.json".to_owned(), bytes.clone())));
        files
    }
}

pub(crate) fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap();
    bytes.push(b'\n');
    bytes
}

/// Every file below a directory, by its path there.
pub(crate) fn read_tree(root: &Path) -> Files {
    fn collect(root: &Path, at: &Path, files: &mut Files) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut files = Files::new();
    if root.is_dir() {
        collect(root, root, &mut files);
    }
    files
}

fn below(files: &Files, prefix: &str) -> Files {
    files
        .iter()
        .filter_map(|(name, bytes)| {
            name.strip_prefix(prefix).map(|rest| (rest.to_owned(), bytes.clone()))
        })
        .collect()
}

/// Runs an attack's directory; says the code of the refusal, or `accepted`.
pub(crate) fn run(files: &Files, description: &Description) -> String {
    match attempt(files, description) {
        Ok(()) => "accepted".to_owned(),
        Err(refused) => refused.code().to_owned(),
    }
}

fn attempt(files: &Files, description: &Description) -> Result<(), VerifyError> {
    let floors = VersionFloors::open(files.get("before/versions.json").map(Vec::as_slice))?;
    let mut memory = Memory {
        pinned_root: files["before/root.json"].clone(),
        files: below(files, "before/metadata/"),
        floors,
    };
    let served = below(files, "repository/");
    let now = description.now.unwrap();
    let refreshed = follow(&served, &mut memory, web(), now)?;
    match &description.host {
        Case::Follow => Ok(()),
        Case::Install { component, version, platform } => {
            let package = refreshed.catalog.package_for(component, version, platform)?;
            let bytes = &served[&format!("targets/{}", package.target.served_as)];
            let mut check = TargetCheck::new(package.target.clone());
            for piece in bytes.chunks(7) {
                check.update(piece)?;
            }
            check.finish()
        }
        Case::Permit { component, agent } => {
            let permit = &files["permit.json"];
            verify_permit(permit, &refreshed.catalog, component, agent, now).map(|_permit| ())
        }
        Case::Unpack { .. } => unreachable!("packages are unpacked by the agent's tests"),
    }
}

/// Directories by attack.
pub(crate) type Shelf = BTreeMap<String, Files>;
