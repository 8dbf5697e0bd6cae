//! What a repository offers, read from verified roles: packages with their facts, sidecars, and
//! the keys that may sign permits.

use std::collections::{BTreeMap, BTreeSet};

use handover_model::{ComponentName, Digest, MANIFEST_FORMAT, Platform, ReleaseFacts, Version};
use serde::Deserialize;
use sigstore_tuf::{DelegatedRole, Delegations, Key, TargetFile, Targets};

use crate::VerifyError;

/// A target's name, length and digest, as signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// Its path in the repository.
    pub path: String,
    /// The path that a file server has it under, relative to the targets' base address: with
    /// consistent snapshots `DIR/HASH.FILE` (TUF 1.0.34, 6.2).
    pub served_as: String,
    /// Length in bytes, exactly.
    pub length: u64,
    /// SHA-256.
    pub digest: Digest,
}

/// A detached OpenPGP signature of a package, itself a signed target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// The armoured signature file.
    pub target: TargetFacts,
}

/// One release for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The archive.
    pub target: TargetFacts,
    /// What is signed about it.
    pub facts: ReleaseFacts,
    /// Its OpenPGP signature, where there is one.
    pub openpgp: Option<Sidecar>,
}

/// A target that this program is too old to understand; newer ones may well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its path.
    pub path: String,
    /// Why it was passed over.
    pub why: String,
}

/// The keys that speak for a component, and how many of them it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleaseKeys {
    /// Keys by id.
    pub(crate) keys: BTreeMap<String, Key>,
    /// How many must sign.
    pub(crate) threshold: usize,
}

/// Everything that one component's role says.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentReleases {
    /// Packages, ordered by path.
    pub packages: Vec<Package>,
    /// What this program is too old for.
    pub skipped: Vec<Skipped>,
    /// Who may sign permits.
    pub keys: ReleaseKeys,
}

/// What the asked-for components offer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    /// By component.
    pub components: BTreeMap<ComponentName, ComponentReleases>,
}

impl Catalog {
    /// All packages of one component; empty when it was not asked for.
    pub fn packages(&self, component: &ComponentName) -> &[Package] {
        self.components.get(component).map_or(&[], |releases| releases.packages.as_slice())
    }

    /// The package of `version` that runs on `host`: the exact platform's before `any`.
    ///
    /// # Errors
    /// [`VerifyError::UnknownTarget`] when there is no such release,
    /// [`VerifyError::PlatformMissing`] when it exists for other platforms only, and
    /// [`VerifyError::Revoked`].
    pub fn package_for(
        &self,
        component: &ComponentName,
        version: &Version,
        host: &Platform,
    ) -> Result<&Package, VerifyError> {
        let of_version: Vec<_> = self
            .packages(component)
            .iter()
            .filter(|package| package.facts.version == *version)
            .collect();
        if of_version.is_empty() {
            return Err(VerifyError::UnknownTarget { path: format!("{component}/{version}") });
        }
        let fitting = of_version.iter().find(|package| package.facts.platform == *host);
        let fitting = fitting
            .or_else(|| of_version.iter().find(|package| package.facts.platform.runs_on(host)));
        let Some(package) = fitting else {
            let there: BTreeSet<_> =
                of_version.iter().map(|package| package.facts.platform.as_str()).collect();
            return Err(VerifyError::PlatformMissing {
                component: component.clone(),
                version: version.clone(),
                platform: host.clone(),
                there: there.into_iter().collect::<Vec<_>>().join(", "),
            });
        };
        match &package.facts.revoked {
            Some(reason) => Err(VerifyError::Revoked {
                component: component.clone(),
                version: version.clone(),
                reason: reason.clone(),
            }),
            None => Ok(package),
        }
    }
}

/// The delegated role's name of a component.
pub(crate) fn role_of(component: &ComponentName) -> String {
    format!("component-{component}")
}

/// Reads a component's role, refusing whatever speaks of others or contradicts itself.
pub(crate) fn read_component(
    component: &ComponentName,
    role: &DelegatedRole,
    delegations: &Delegations,
    targets: &Targets,
    consistent: bool,
) -> Result<ComponentReleases, VerifyError> {
    let (mut packages, mut skipped) = (Vec::new(), Vec::new());
    for (path, target) in &targets.targets {
        check_within(component, role, path)?;
        let Some(custom) = target.custom.as_ref().and_then(|custom| custom.get("handover")) else {
            continue; // a sidecar, or something for other programs
        };
        if let Some(why) = beyond_us(custom) {
            skipped.push(Skipped { path: path.clone(), why });
            continue;
        }
        let facts = ReleaseFacts::deserialize(custom).map_err(|source| VerifyError::Malformed {
            subject: format!("the facts of {path}"),
            source: source.into(),
        })?;
        check_facts(component, path, &facts)?;
        let sidecar = format!("{path}.asc");
        let openpgp = match targets.targets.get(&sidecar) {
            Some(signature) => {
                Some(Sidecar { target: target_facts(&sidecar, signature, consistent)? })
            }
            None => None,
        };
        packages.push(Package { target: target_facts(path, target, consistent)?, facts, openpgp });
    }
    Ok(ComponentReleases { packages, skipped, keys: ReleaseKeys::of(role, delegations) })
}

impl ReleaseKeys {
    fn of(role: &DelegatedRole, delegations: &Delegations) -> Self {
        let keys = role
            .keyids
            .iter()
            .filter_map(|id| delegations.keys.get(id).map(|key| (id.clone(), key.clone())))
            .collect();
        Self { keys, threshold: role.threshold }
    }
}

/// A role signs for its own component alone, whatever its delegation's patterns say.
fn check_within(
    component: &ComponentName,
    role: &DelegatedRole,
    path: &str,
) -> Result<(), VerifyError> {
    let delegated = role.matches_path(path).map_err(|source| VerifyError::Malformed {
        subject: format!("the delegation of {}", role.name),
        source: source.into(),
    })?;
    let mut parts = path.split('/');
    let own = parts.next() == Some(component.as_str())
        && parts.clone().count() == 2
        && parts.all(|part| !part.is_empty() && part != "." && part != "..");
    if delegated && own {
        Ok(())
    } else {
        Err(VerifyError::WrongComponent { role: role.name.clone(), path: path.to_owned() })
    }
}

/// Whether facts come from a newer Handover or for a platform that this one has not heard of.
/// They are passed over, so that a new platform can't stop old hosts.
fn beyond_us(custom: &serde_json::Value) -> Option<String> {
    let format = custom.get("format").and_then(serde_json::Value::as_u64);
    if let Some(format) = format.filter(|format| *format > u64::from(MANIFEST_FORMAT)) {
        return Some(format!("its format is {format}; this program reads up to {MANIFEST_FORMAT}"));
    }
    let platform = custom.get("platform").and_then(serde_json::Value::as_str)?;
    platform.parse::<Platform>().err().map(|error| error.to_string())
}

fn check_facts(
    component: &ComponentName,
    path: &str,
    facts: &ReleaseFacts,
) -> Result<(), VerifyError> {
    let wanted = target_path(&facts.component, &facts.version, &facts.platform);
    let what = if facts.component != *component {
        format!("they speak of component {}", facts.component)
    } else if wanted != path {
        format!("by them it should be {wanted}")
    } else if facts.sequence == 0 {
        "sequence counts from 1".to_owned()
    } else {
        return Ok(());
    };
    Err(VerifyError::Contradiction { path: path.to_owned(), what })
}

/// The path of a package in the repository.
pub(crate) fn target_path(
    component: &ComponentName,
    version: &Version,
    platform: &Platform,
) -> String {
    format!("{component}/{version}/{platform}.tar.zst")
}

/// Reads length and SHA-256 of a target.
pub(crate) fn target_facts(
    path: &str,
    target: &TargetFile,
    consistent: bool,
) -> Result<TargetFacts, VerifyError> {
    let listed = target.hashes.get("sha256").map(|text| text.to_ascii_lowercase());
    let digest = listed
        .ok_or_else(|| "no sha256 is listed".to_owned())
        .and_then(|text| text.parse::<Digest>().map_err(|error| error.to_string()))
        .map_err(|what| VerifyError::Malformed {
            subject: format!("the entry of {path}"),
            source: what.into(),
        })?;
    let served_as = match (consistent, path.rsplit_once('/')) {
        (false, _) => path.to_owned(),
        (true, Some((directory, file))) => format!("{directory}/{digest}.{file}"),
        (true, None) => format!("{digest}.{path}"),
    };
    Ok(TargetFacts { path: path.to_owned(), served_as, length: target.length, digest })
}
