//! Who may sign what: every change makes a document that waits for its keyholders.

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;
use handover_model::{ComponentName, Millis};
use handover_trust::author::{OnlineKeys, RootChange, RootDoc, TargetsDoc};
use handover_trust::keys::PublicKey;

use super::shelf::Lifetimes;
use super::{RepoError, Shelf};
use crate::output::Out;
use crate::real_world::now;
use crate::secret::{self, PassphraseArgs};

/// Makes a key pair.
pub(super) fn new_key(
    file: &Utf8Path,
    owner: Option<String>,
    protect: Option<&PassphraseArgs>,
    out: &Out,
) -> Result<(), RepoError> {
    let beside = file.with_extension("pub");
    if disk::read(&beside)?.is_some() {
        return Err(RepoError::Exists { path: beside });
    }
    if let Some(parent) = file.parent().filter(|parent| !parent.as_str().is_empty()) {
        disk::make_dir(parent)?;
    }
    let public = secret::create_key(file, protect)?.public().owned_by(owner);
    let text = serde_json::to_vec_pretty(&public)
        .map_err(|source| RepoError::Damaged { path: beside.clone(), source })?;
    disk::write(&beside, &text, 0o644)?;
    out.say(&format!("{file}: private, keep it. {beside}: give it to the repository."));
    let shown = serde_json::json!({ "id": public.id(), "public": beside });
    out.result(&shown, |_| public.id());
    Ok(())
}

/// A change of who may sign what.
pub(super) struct Ceremony<'a> {
    pub(super) directory: &'a Utf8Path,
    pub(super) protect: Option<&'a PassphraseArgs>,
    pub(super) out: &'a Out,
}

impl Ceremony<'_> {
    /// The first root and targets role.
    pub(super) fn init(
        &self,
        root_keys: &[Utf8PathBuf],
        threshold: u32,
        lifetimes: &[(String, Millis)],
    ) -> Result<(), RepoError> {
        let offline = load_public(root_keys)?;
        let mut lengths = Lifetimes::default();
        for (role, length) in lifetimes {
            match role.as_str() {
                "root" => lengths.root = *length,
                "targets" => lengths.targets = *length,
                "snapshot" => lengths.snapshot = *length,
                "timestamp" => lengths.timestamp = *length,
                _component => lengths.component = *length,
            }
        }
        if usize::try_from(threshold).is_ok_and(|threshold| threshold > offline.len()) {
            let what = format!("a threshold of {threshold} needs as many --root-key files");
            return Err(RepoError::Refused { what });
        }
        let opened = Shelf::create(self.directory, &lengths)?;
        let online = self.new_online(&opened, 1)?;
        let root = RootDoc::first(&offline, threshold, &online, opened.expiry("root", now()))?;
        self.staged(&opened.stage("root", &root)?, threshold);
        let mut targets = TargetsDoc::empty(1, opened.expiry("targets", now()));
        targets.delegations = Some(handover_trust::author::DelegationsDoc::default());
        self.staged(&opened.stage("targets", &targets)?, threshold);
        Ok(())
    }

    fn new_online(&self, opened: &Shelf, tag: u64) -> Result<OnlineKeys, RepoError> {
        Ok(OnlineKeys {
            snapshot: opened.new_online_key("snapshot", tag, self.protect)?.public(),
            timestamp: opened.new_online_key("timestamp", tag, self.protect)?.public(),
        })
    }

    /// Another set of keys for a component.
    pub(super) fn change_component(
        &self,
        component: &ComponentName,
        add: &[Utf8PathBuf],
        remove: &[String],
        threshold: Option<u32>,
    ) -> Result<(), RepoError> {
        let opened = Shelf::open(self.directory)?;
        let mut targets = opened.draft_targets(now())?;
        targets.change_component(component, &load_public(add)?, remove, threshold)?;
        let needed = opened.coming_root()?.threshold_of("targets");
        self.staged(&opened.stage("targets", &targets)?, needed);
        let role = TargetsDoc::role_of(component);
        if opened.published.roles.contains_key(&role) || opened.staged(&role)?.is_some() {
            // What its old keys signed may fall short of the new threshold.
            let draft = opened.draft_component(component, now())?;
            self.staged(&opened.stage(&role, &draft)?, targets.threshold_of(component));
        }
        Ok(())
    }

    /// Takes a component's role away.
    pub(super) fn remove_component(&self, component: &ComponentName) -> Result<(), RepoError> {
        let opened = Shelf::open(self.directory)?;
        let mut targets = opened.draft_targets(now())?;
        targets.remove_component(component)?;
        opened.unstage(&TargetsDoc::role_of(component))?;
        let needed = opened.coming_root()?.threshold_of("targets");
        self.staged(&opened.stage("targets", &targets)?, needed);
        Ok(())
    }

    /// The next root.
    pub(super) fn rotate_root(
        &self,
        add: &[Utf8PathBuf],
        remove: Vec<String>,
        threshold: Option<u32>,
        online: bool,
    ) -> Result<(), RepoError> {
        let opened = Shelf::open(self.directory)?;
        let before = opened.published.root()?;
        let next = before.version.saturating_add(1);
        let online = if online { Some(self.new_online(&opened, next)?) } else { None };
        let offline_changes = !add.is_empty() || !remove.is_empty() || threshold.is_some();
        let change = RootChange { add: load_public(add)?, remove, threshold, online };
        let root = before.next(&change, opened.expiry("root", now()))?;
        let needed = before.threshold_of("root").max(root.threshold_of("root"));
        self.staged(&opened.stage("root", &root)?, needed);
        if offline_changes {
            // The same keys sign targets, and the old ones' signatures may fall short.
            let targets = opened.draft_targets(now())?;
            self.staged(&opened.stage("targets", &targets)?, root.threshold_of("targets"));
        }
        Ok(())
    }

    fn staged(&self, path: &Utf8Path, threshold: u32) {
        self.out.say(&format!(
            "{path} waits for {threshold} signature{}: give it to its keyholders, who run\n  \
             handover release sign --key KEY.pem {}\nand bring it back; then `handover release \
             publish {}`",
            if threshold == 1 { "" } else { "s" },
            path.file_name().unwrap_or_default(),
            self.directory,
        ));
    }
}

fn load_public(paths: &[Utf8PathBuf]) -> Result<Vec<PublicKey>, RepoError> {
    let load = |path: &Utf8PathBuf| {
        PublicKey::parse(&secret::read(path)?)
            .map_err(|source| RepoError::Key { path: path.clone(), source })
    };
    paths.iter().map(load).collect()
}
