//! The signed repository that a fleet follows, and the server's data directory: made once per
//! process, since nothing in a story changes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8PathBuf;
use handover_engine::graph::{Offer, offers};
use handover_model::{ComponentName, Digest, ReleaseFacts, ReleaseId, Timestamp, Version};
use handover_server::simulation::make_keys;
use handover_server::{Config, Repository};
use handover_trust::author::{Expiry, Online, OnlineKeys, Published, RootDoc, TargetsDoc};
use handover_trust::keys::SigningKey;
use handover_trust::{Catalog, Envelope, Verified};
use serde::Serialize;

/// When every story begins.
pub fn beginning() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000)
}
/// How long metadata is good: longer than any story.
const GOOD_FOR: Duration = Duration::from_hours(24 * 365);

/// What the repository offers, as (version, whether hosts may return to what they left).
pub const RELEASES: [(&str, bool); 5] =
    [("1.0.0", true), ("1.1.0", true), ("1.2.0", true), ("1.3.0", false), ("2.0.0", true)];

/// The repository and the place of the server.
#[derive(Debug)]
pub struct Shelf {
    _directory: tempfile::TempDir,
    /// What a server is started with.
    pub config: Config,
    /// The component.
    pub component: ComponentName,
    /// What is offered, verified as a host verifies it.
    pub catalog: Verified<Catalog>,
    /// The same, of the component.
    pub offers: Vec<Offer>,
}

impl Shelf {
    /// Makes both.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn make() -> anyhow::Result<Arc<Self>> {
        let directory = tempfile::tempdir().context("make a directory")?;
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned())
            .map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))?;
        let component: ComponentName = "web".parse().context("name the component")?;
        let (published, packages) = publish(&component)?;
        let repository = root.join("repository");
        let metadata = published.files()?.into_iter();
        let files = metadata.map(|(name, bytes)| (format!("metadata/{name}"), bytes));
        for (path, bytes) in files.chain(packages) {
            let path = repository.join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(&repository))?;
            std::fs::File::create(&path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
                .with_context(|| format!("write {path}"))?;
        }
        let data = root.join("data");
        std::fs::create_dir_all(&data).context("make the data directory")?;
        make_keys(&data, beginning())?;
        let mut config = Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)));
        config.repository = Some(Repository::Directory(repository));
        config.limits.requests_per_second = 1_000_000;
        config.limits.agent_requests_per_10s = 1_000_000;
        // A simulated agent does not hang on the line: it is answered at once, and comes again.
        config.limits.wait = Duration::ZERO;
        let catalog = published.prove(beginning())?;
        let offers = offers(&catalog, &component);
        Ok(Arc::new(Self { _directory: directory, config, component, catalog, offers }))
    }

    /// One release by its version.
    pub fn offer(&self, version: &Version) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.facts.version == *version)
    }

    /// Whether a release is signed.
    pub fn is_signed(&self, release: &ReleaseId) -> bool {
        self.offers.iter().any(|offer| offer.id() == *release)
    }
}

type Packages = Vec<(String, Vec<u8>)>;

fn publish(component: &ComponentName) -> anyhow::Result<(Published, Packages)> {
    let key = SigningKey::from_seed([7; 32].into())?;
    let expiry = || Expiry(beginning().after(GOOD_FOR));
    let online = OnlineKeys { snapshot: key.public(), timestamp: key.public() };
    let mut published = Published::default();
    let root = RootDoc::first(&[key.public()], 1, &online, expiry())?;
    published.put_root(signed(&root, &key)?)?;
    let mut targets = TargetsDoc::empty(1, expiry());
    targets.change_component(component, &[key.public()], &[], Some(1))?;
    published.roles.insert("targets".to_owned(), signed(&targets, &key)?);
    let mut document = TargetsDoc::empty(1, expiry());
    let mut packages = Packages::new();
    for (sequence, (version, may_return)) in (1_u64..).zip(RELEASES) {
        let mut facts: ReleaseFacts = serde_json::from_value(serde_json::json!({
            "format": 1, "component": component, "version": version, "sequence": sequence,
            "platform": "any", "channel": "stable", "upgrades_from": "*", "launcher": 1,
            "manifest": Digest::of(b"manifest"), "unpacked_bytes": 1, "entries": 1,
            "floor": version == "1.2.0",
        }))?;
        facts.return_within = may_return.then_some(handover_model::Millis(7 * 24 * 3_600_000));
        let package = format!("{component} {version}").into_bytes();
        let digest = Digest::of(&package);
        document.add_package(&facts, u64::try_from(package.len())?, digest)?;
        let path = TargetsDoc::path_of(&facts);
        let (directory, file) = path.rsplit_once('/').context("a path has a directory")?;
        packages.push((format!("targets/{directory}/{digest}.{file}"), package));
    }
    published.roles.insert(TargetsDoc::role_of(component), signed(&document, &key)?);
    published.renew(&Online {
        snapshot: vec![&key],
        timestamp: vec![&key],
        snapshot_expires: expiry(),
        timestamp_expires: expiry(),
    })?;
    Ok((published, packages))
}

fn signed<T: Serialize>(document: &T, key: &SigningKey) -> anyhow::Result<Vec<u8>> {
    let mut envelope = Envelope::unsigned(document)?;
    envelope.sign(key)?;
    Ok(envelope.to_bytes()?)
}
