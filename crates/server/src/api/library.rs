//! The repository as this server knows it: verified exactly as a host would verify it, from the
//! first root that was pinned here, and never signed here.
//!
//! Invariant: what is served changes only by a publication that was verified whole, and its
//! `timestamp.json` is replaced last: a reader sees the old state or the new one.

mod publish;
mod read;
mod stage;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use handover_engine::graph::{Offer, offers};
use handover_model::api::RepositoryInfo;
use handover_model::{ComponentName, Digest, Timestamp};
use handover_trust::{Catalog, Skipped, Verified};

use crate::{AppState, Config, Repository};

pub(super) use publish::publish;
pub(super) use stage::stage;

/// Where the repository is, and what of it was verified last.
#[derive(Debug)]
pub(crate) struct Library {
    place: Place,
    /// The pinned first root, and version floors: `repository-root.json`, `repository-floors.json`.
    data: Utf8PathBuf,
    shelf: RwLock<Arc<Shelf>>,
    /// One publication or reload at a time.
    busy: tokio::sync::Mutex<()>,
    /// A place for each package that is being downloaded.
    downloads: Arc<tokio::sync::Semaphore>,
}

/// Where the repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Served from here.
    Directory(Utf8PathBuf),
    /// On a file server that agents go to; this server does not read it.
    Elsewhere(String),
}

/// What was verified.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf {
    /// SHA-256 of the pinned first root.
    pub(super) root: Option<Digest>,
    /// What is offered; `None` when nothing could be verified.
    pub(super) catalog: Option<Verified<Catalog>>,
    /// Keys and thresholds of each component, for people.
    pub(super) signers: BTreeMap<ComponentName, (u32, Vec<String>)>,
    /// When the first of the metadata expires.
    pub(super) expires: Option<Timestamp>,
    /// What is wrong.
    pub(super) problem: Option<String>,
    /// Of which `timestamp.json`.
    stamp: Option<Stamp>,
}

impl Library {
    /// For a server with this configuration, which no other one runs with.
    pub(crate) fn new(config: &Config) -> Self {
        let place = match &config.repository {
            None => Place::Directory(config.data.join("repository")),
            Some(Repository::Directory(path)) => Place::Directory(public_of(path)),
            Some(Repository::Url(url)) => Place::Elsewhere(url.trim_end_matches('/').to_owned()),
        };
        stage::forget_cut_off(&config.data);
        Self {
            place,
            data: config.data.clone(),
            shelf: RwLock::default(),
            busy: tokio::sync::Mutex::new(()),
            downloads: Arc::new(tokio::sync::Semaphore::new(config.limits.downloads)),
        }
    }

    /// What is offered now, read again when the directory has changed.
    pub(crate) async fn shelf(&self, state: &AppState) -> Arc<Shelf> {
        let Place::Directory(directory) = &self.place else { return self.held() };
        let stamp = stamp_of(directory);
        if self.held().stamp == stamp {
            return self.held();
        }
        let _turn = self.busy.lock().await;
        if self.held().stamp == stamp_of(directory) {
            return self.held();
        }
        self.reload(directory, state.now().wall).await
    }

    async fn reload(&self, directory: &Utf8Path, now: Timestamp) -> Arc<Shelf> {
        let (directory, data) = (directory.to_owned(), self.data.clone());
        let held = self.held();
        let read = tokio::task::spawn_blocking(move || read::reload(&directory, &data, &held, now));
        let found = match read.await {
            Ok(read) => Arc::new(read),
            Err(panicked) => {
                tracing::error!(error = %panicked, "reading the repository panicked");
                return self.held();
            }
        };
        if let Some(problem) = &found.problem {
            tracing::warn!(repository.problem = %problem, "repository can't be verified");
        }
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&found);
        found
    }

    fn held(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The directory that is served, if it is served from here.
    pub(super) fn directory(&self) -> Option<&Utf8Path> {
        match &self.place {
            Place::Directory(path) => Some(path),
            Place::Elsewhere(_) => None,
        }
    }

    /// A place for one more download; `None` when all are taken.
    pub(super) fn download(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        Arc::clone(&self.downloads).try_acquire_owned().ok()
    }

    /// The addresses that agents get: metadata and targets.
    pub(crate) fn addresses(&self, public_url: &str) -> (String, String) {
        match &self.place {
            Place::Directory(_) => (
                format!("{public_url}/repository/metadata"),
                format!("{public_url}/repository/targets"),
            ),
            Place::Elsewhere(url) => (format!("{url}/metadata"), format!("{url}/targets")),
        }
    }
}

impl Shelf {
    /// What is offered of a component; `None` when the repository is not known here.
    pub(crate) fn offers(&self, component: &ComponentName) -> Option<Vec<Offer>> {
        self.catalog.as_ref().map(|catalog| offers(catalog, component))
    }

    /// What is offered of it to newer programs.
    pub(crate) fn skipped(&self, component: &ComponentName) -> &[Skipped] {
        let releases = self.catalog.as_ref().and_then(|all| all.components.get(component));
        releases.map_or(&[], |releases| releases.skipped.as_slice())
    }

    /// SHA-256 of the pinned first root.
    pub(crate) fn root(&self) -> Option<Digest> {
        self.root
    }

    /// The components that are offered.
    pub(super) fn components(&self) -> Vec<ComponentName> {
        self.catalog.iter().flat_map(|catalog| catalog.components.keys().cloned()).collect()
    }
}

/// The repository, for people.
pub(super) async fn info(state: &AppState) -> RepositoryInfo {
    let shelf = state.library.shelf(state).await;
    let (metadata, targets) = state.library.addresses(&state.public_url);
    RepositoryInfo {
        metadata,
        targets,
        root: shelf.root,
        expires: shelf.expires,
        components: shelf.components(),
        problem: shelf.problem.clone(),
    }
}

/// A repository that `handover release` keeps has its served files in `public`.
fn public_of(path: &Utf8Path) -> Utf8PathBuf {
    let public = path.join("public");
    if public.join("metadata").is_dir() { public } else { path.to_owned() }
}

/// What tells a timestamp.json from the one that was read.
type Stamp = (SystemTime, u64);

fn stamp_of(directory: &Utf8Path) -> Option<Stamp> {
    let facts = std::fs::metadata(directory.join("metadata/timestamp.json")).ok()?;
    Some((facts.modified().ok()?, facts.len()))
}
