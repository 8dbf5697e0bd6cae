//! Where the repository is, what is trusted of it, and what was learned from it before.

use std::sync::Arc;

use camino::Utf8PathBuf;
use handover_client::fetch::{Fetcher, Options, Roots};
use handover_client::real_world::{Clock, Stop};
use handover_client::repository::{Source, TrustStore, join, refresh};
use handover_engine::floors::{Floor, Floors};
use handover_hoststeps::disk;
use handover_model::api::ServerInfo;
use handover_model::{ComponentName, Digest, ReleaseFacts, Timestamp};
use handover_trust::{Catalog, Verified};

use super::{SelfUpdateError, component};
use crate::control::{Desk, client_options};

/// The most bytes of a root.
const LARGEST_ROOT: u64 = 512 * 1024;

/// Where this program's releases come from.
#[derive(Debug, clap::Args)]
pub(crate) struct Sources {
    /// The repository's base address, with `metadata/` and `targets/` below it; the control
    /// plane's unless said.
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    /// The repository's first root, in place of the one that was pinned at login. Needed once.
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<Utf8PathBuf>,
}

/// What is known of the repository now.
pub(super) struct Known {
    /// What this program's role offers.
    pub(super) catalog: Verified<Catalog>,
    /// The base address of packages.
    pub(super) targets: String,
    /// How to ask there.
    pub(super) options: Options,
    /// Where downloads lie.
    pub(super) incoming: Utf8PathBuf,
    /// The lowest version that is still accepted.
    pub(super) floors: Floors,
    floors_path: Utf8PathBuf,
}

/// A repository's addresses, and what is believed of it.
struct Address {
    metadata: String,
    targets: String,
    options: Options,
    root: Option<Digest>,
}

impl Known {
    /// Brings what is known up to date.
    pub(super) fn refresh(
        sources: &Sources,
        desk: &Desk<'_>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SelfUpdateError> {
        let address = Address::find(sources, desk)?;
        let fetcher = Fetcher::with(&address.metadata, &address.options, Arc::clone(clock))?;
        let given = sources.trusted_root.as_ref().map(|path| crate::secret::read(path));
        let given = given.transpose().map_err(crate::control::ControlError::from)?;
        let pinned = given.as_ref().map(|root| Digest::of(root)).or(address.root);
        let home = Desk::files()?.join("self-update");
        let dir = match pinned {
            Some(pinned) => home.join(pinned.short()),
            None => return Err(SelfUpdateError::NoRoot),
        };
        let store = TrustStore::new(dir.join("trust"));
        if let (false, Some(pinned)) = (store.root_path().exists(), pinned) {
            let root = match given {
                Some(root) => root,
                None => fetch_root(&fetcher, &address.metadata, pinned)?,
            };
            disk::make_dir_mode(&dir, 0o700)?;
            store.set_up(&root, clock.now().wall)?;
        }
        let source = Source::Server(&fetcher, &address.metadata);
        let known = refresh(&store, &source, &[component()?], &Stop::never(), clock)?;
        let incoming = dir.join("incoming");
        disk::make_dir_mode(&incoming, 0o700)?;
        let floors_path = dir.join("floors.json");
        let floors = match disk::read(&floors_path)? {
            Some(bytes) => Floors::open(&bytes).map_err(|source| SelfUpdateError::Floors {
                path: floors_path.clone(),
                source: Box::new(source),
            })?,
            None => Floors::default(),
        };
        Ok(Self {
            catalog: known.refreshed.catalog,
            targets: address.targets,
            options: address.options,
            incoming,
            floors,
            floors_path,
        })
    }

    /// From now on nothing older is accepted. Said before the new one takes its place: a floor
    /// without its program is harmless, the other way round is not.
    pub(super) fn raise_floor(
        &self,
        component: &ComponentName,
        facts: &ReleaseFacts,
        now: Timestamp,
    ) -> Result<(), SelfUpdateError> {
        let mut floors = self.floors.clone();
        let floor =
            Floor { version: facts.version.clone(), sequence: facts.sequence, raised_at: now };
        floors.components.insert(component.clone(), floor);
        let bytes = floors.seal().map_err(|source| SelfUpdateError::Floors {
            path: self.floors_path.clone(),
            source: Box::new(source),
        })?;
        disk::write(&self.floors_path, &bytes, 0o600)?;
        Ok(())
    }
}

impl Address {
    fn find(sources: &Sources, desk: &Desk<'_>) -> Result<Self, SelfUpdateError> {
        if let Some(base) = &sources.repository {
            return Ok(Self {
                metadata: join(base, "metadata"),
                targets: join(base, "targets"),
                options: client_options(Roots::System),
                root: None,
            });
        }
        let (_, api) = desk.open().map_err(|_not_logged_in| SelfUpdateError::NoRepository)?;
        let server: ServerInfo = api.get("ask where the repository is", crate::control::SERVER)?;
        let repository = server.repository;
        // The control plane's own certificate authorities speak for its own addresses alone.
        let ours = |url: &str| api.context().addresses.iter().any(|base| is_below(url, base));
        let roots = if ours(&repository.metadata) && ours(&repository.targets) {
            crate::control::roots_of(api.context())
        } else {
            Roots::System
        };
        Ok(Self {
            metadata: repository.metadata,
            targets: repository.targets,
            options: client_options(roots),
            root: api.context().trusted_root,
        })
    }
}

fn is_below(url: &str, base: &str) -> bool {
    url.strip_prefix(base.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

fn fetch_root(
    fetcher: &Fetcher,
    metadata: &str,
    pinned: Digest,
) -> Result<Vec<u8>, SelfUpdateError> {
    let url = join(metadata, "1.root.json");
    let root = fetcher.small(&url, LARGEST_ROOT)?;
    let found = Digest::of(&root);
    if found == pinned { Ok(root) } else { Err(SelfUpdateError::OtherRoot { url, found, pinned }) }
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn a_control_plane_s_authorities_do_not_speak_for_its_neighbours() {
        let base = "https://control.example.com:8443";
        assert!(is_below("https://control.example.com:8443/repository/metadata", base));
        assert!(!is_below("https://control.example.com:84430/repository", base));
        assert!(!is_below("https://releases.example.com/metadata", base));
    }
}
