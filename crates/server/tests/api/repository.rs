//! A signed repository, made here.

use std::collections::BTreeMap;
use std::time::Duration;

use handover_model::{ComponentName, Digest, ReleaseFacts, Timestamp};
use handover_trust::Envelope;
use handover_trust::author::{Expiry, Online, OnlineKeys, Published, RootDoc, TargetsDoc};
use handover_trust::keys::SigningKey;
use serde::Serialize;

use crate::site::{Files, Site};

/// One keyholder's desk.
pub(crate) struct Repository {
    key: SigningKey,
    pub(crate) published: Published,
    now: Timestamp,
    packages: Files,
}

impl Repository {
    pub(crate) fn new(seed: u8, now: Timestamp) -> Self {
        let key = SigningKey::from_seed([seed; 32].into()).unwrap();
        let online = OnlineKeys { snapshot: key.public(), timestamp: key.public() };
        let root = RootDoc::first(&[key.public()], 1, &online, expiry(now)).unwrap();
        let mut this = Self { key, published: Published::default(), now, packages: Files::new() };
        let root = this.signed(&root);
        this.published.put_root(root).unwrap();
        let targets = this.signed(&TargetsDoc::empty(1, expiry(now)));
        this.published.roles.insert("targets".to_owned(), targets);
        this.renew();
        this
    }

    /// SHA-256 of the first root.
    pub(crate) fn root(&self) -> Digest {
        Digest::of(&self.published.roots[&1])
    }

    /// Offers a release; `change` makes it a special one.
    pub(crate) fn offer(
        &mut self,
        component: &str,
        version: &str,
        sequence: u64,
        change: impl FnOnce(&mut ReleaseFacts),
    ) {
        let name: ComponentName = component.parse().unwrap();
        let mut facts: ReleaseFacts = serde_json::from_value(serde_json::json!({
            "format": 1, "component": component, "version": version, "sequence": sequence,
            "platform": "any", "channel": "stable", "upgrades_from": "*", "launcher": 1,
            "manifest": Digest::of(b"manifest"), "unpacked_bytes": 1, "entries": 1,
        }))
        .unwrap();
        change(&mut facts);
        let mut targets = self.published.targets().unwrap();
        let role = TargetsDoc::role_of(&name);
        let mut document = match self.published.component(&name) {
            Ok(document) => document.next(expiry(self.now)),
            Err(_none) => {
                targets = targets.next(expiry(self.now));
                targets.change_component(&name, &[self.key.public()], &[], Some(1)).unwrap();
                self.published.roles.insert("targets".to_owned(), self.signed(&targets));
                TargetsDoc::empty(1, expiry(self.now))
            }
        };
        let package = format!("{component} {version}").into_bytes();
        let digest = Digest::of(&package);
        let length = u64::try_from(package.len()).unwrap();
        document.add_package(&facts, length, digest).unwrap();
        let path = TargetsDoc::path_of(&facts);
        let (directory, file) = path.rsplit_once('/').unwrap();
        self.packages.insert(format!("{directory}/{digest}.{file}"), package);
        self.published.roles.insert(role, self.signed(&document));
        self.renew();
    }

    fn renew(&mut self) {
        let mut published = std::mem::take(&mut self.published);
        published
            .renew(&Online {
                snapshot: vec![&self.key],
                timestamp: vec![&self.key],
                snapshot_expires: expiry(self.now),
                timestamp_expires: expiry(self.now),
            })
            .unwrap();
        self.published = published;
    }

    fn signed<T: Serialize>(&self, document: &T) -> Vec<u8> {
        let mut envelope = Envelope::unsigned(document).unwrap();
        envelope.sign(&self.key).unwrap();
        envelope.to_bytes().unwrap()
    }

    /// Every file, by its path in staging.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let metadata = self.published.files().unwrap();
        let metadata =
            metadata.into_iter().map(|(name, bytes)| (format!("metadata/{name}"), bytes));
        let packages = self.packages.iter();
        let packages = packages.map(|(path, bytes)| (format!("targets/{path}"), bytes.clone()));
        metadata.chain(packages).collect()
    }

    /// Brings every file into a server's staging.
    pub(crate) async fn stage(&self, site: &Site) {
        for (path, bytes) in self.files() {
            let staged = format!("/api/v1/repository/staging/{path}");
            let reply = site.admin.send("PUT", &staged, &[], &bytes).await.good();
            assert_eq!(reply["digest"], Digest::of(&bytes).to_string());
        }
    }

    /// Stages and publishes for the first time.
    pub(crate) async fn publish(&self, site: &Site) {
        self.stage(site).await;
        let trusted = serde_json::json!({ "trusted_root": self.root() });
        site.admin.post("/api/v1/repository/publish", &trusted).await.good();
    }
}

fn expiry(now: Timestamp) -> Expiry {
    Expiry(now.after(Duration::from_hours(24)))
}
