//! Who this host is to its control plane, on disk under `control/`: directory 0700, files 0600,
//! each in a sealed frame, so that damage is never taken for "not enrolled".

use std::fmt;

use camino::Utf8PathBuf;
use handover_hoststeps::{HostError, disk};
use handover_model::wire::{CA_FORMAT, ChannelCa};
use handover_model::{AgentId, AgentName, Digest, Millis, Timestamp, open_framed, seal_framed};
use handover_trust::control::OrderKeys;
use handover_trust::keys::SigningKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::agent::Agent;
use crate::fetch::{Roots, certificate_of_pem};
use crate::home::Home;

/// How often a lock that another holds for a moment is tried.
const GLANCE: std::time::Duration = std::time::Duration::from_millis(20);
/// The newest format of these files that this program reads and the one that it writes.
pub const IDENTITY_FORMAT: u32 = 1;

/// A text that no one but its owner sees: wiped when dropped, `[secret]` when printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What enrolment gave this host.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Its id.
    pub agent: AgentId,
    /// Its name.
    pub name: AgentName,
    /// Base addresses of the control plane, the first one tried first.
    pub urls: Vec<String>,
    /// What authenticates its requests; gone once it has left.
    pub secret: Option<Secret>,
    /// The private key that signs its reports, PEM.
    pub key: Secret,
    /// The digest of the token that it enrolled with.
    pub token: Digest,
    /// The epoch of the control plane's database when it enrolled.
    pub epoch: u64,
    /// When.
    pub enrolled_at: Timestamp,
    /// How often to come, give or take a tenth.
    pub next: Millis,
    /// When it left, by an order.
    pub left_at: Option<Timestamp>,
}

/// An enrolment that was begun: its key is used again by the next try with the same token, so
/// that a try that was cut after the control plane took it leads to the same agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// The digest of the token.
    pub token: Digest,
    /// The key, PEM.
    pub key: Secret,
}

/// `control/identity.json`: the only form in which the secrets are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    agent: AgentId,
    name: AgentName,
    urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    key: String,
    token: Digest,
    epoch: u64,
    enrolled_at: Timestamp,
    next: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_at: Option<Timestamp>,
}

/// `control/enrolling.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BegunFile {
    token: Digest,
    key: String,
}

/// The files under `control/`.
#[derive(Debug, Clone)]
pub struct ControlFiles {
    dir: Utf8PathBuf,
}

impl ControlFiles {
    /// The files of `home`.
    pub fn of(home: &Home) -> Self {
        Self { dir: home.root().join("control") }
    }

    /// The directory.
    pub fn dir(&self) -> &Utf8PathBuf {
        &self.dir
    }

    /// A file or directory in it.
    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.dir.join(name)
    }

    /// Waits until nobody else changes what these files say together, and holds them; `None` when
    /// the end was asked for.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn writing(&self, agent: &Agent) -> Result<Option<disk::Lock>, HostError> {
        disk::make_dir_mode(&self.dir, 0o700)?;
        loop {
            if let Some(lock) = disk::Lock::try_take(&self.path("writing.lock"))? {
                return Ok(Some(lock));
            }
            if agent.wait(GLANCE) {
                return Ok(None);
            }
        }
    }

    /// Who this host is; `None` where it never enrolled.
    ///
    /// # Errors
    /// [`HostError::Damaged`] and [`HostError::Io`].
    pub fn identity(&self) -> Result<Option<Identity>, HostError> {
        let read: Option<IdentityFile> = self.load("identity.json", "identity", IDENTITY_FORMAT)?;
        Ok(read.map(|file| Identity {
            agent: file.agent,
            name: file.name,
            urls: file.urls,
            secret: file.secret.map(Secret::new),
            key: Secret::new(file.key),
            token: file.token,
            epoch: file.epoch,
            enrolled_at: file.enrolled_at,
            next: file.next,
            left_at: file.left_at,
        }))
    }

    /// Writes who this host is.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn save_identity(&self, identity: &Identity) -> Result<(), HostError> {
        let file = IdentityFile {
            agent: identity.agent,
            name: identity.name.clone(),
            urls: identity.urls.clone(),
            secret: identity.secret.as_ref().map(|secret| secret.reveal().to_owned()),
            key: identity.key.reveal().to_owned(),
            token: identity.token,
            epoch: identity.epoch,
            enrolled_at: identity.enrolled_at,
            next: identity.next,
            left_at: identity.left_at,
        };
        self.save("identity.json", "identity", IDENTITY_FORMAT, &file)
    }

    /// The enrolment that was begun last, if it did not end.
    ///
    /// # Errors
    /// [`HostError::Damaged`] and [`HostError::Io`].
    pub fn begun(&self) -> Result<Option<Begun>, HostError> {
        let read: Option<BegunFile> = self.load("enrolling.json", "enrolling", IDENTITY_FORMAT)?;
        Ok(read.map(|file| Begun { token: file.token, key: Secret::new(file.key) }))
    }

    /// Writes that an enrolment begins.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn save_begun(&self, begun: &Begun) -> Result<(), HostError> {
        let file = BegunFile { token: begun.token, key: begun.key.reveal().to_owned() };
        self.save("enrolling.json", "enrolling", IDENTITY_FORMAT, &file)
    }

    /// Forgets that an enrolment was begun.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn clear_begun(&self) -> Result<(), HostError> {
        disk::remove_tree(&self.path("enrolling.json"))
    }

    /// The channel's certificate authorities.
    ///
    /// # Errors
    /// [`HostError::Damaged`] and [`HostError::Io`].
    pub fn ca(&self) -> Result<Option<ChannelCa>, HostError> {
        self.load("ca.json", "channel-ca", CA_FORMAT)
    }

    /// Replaces them.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn save_ca(&self, ca: &ChannelCa) -> Result<(), HostError> {
        self.save("ca.json", "channel-ca", CA_FORMAT, ca)
    }

    /// The keys that orders are believed from.
    ///
    /// # Errors
    /// [`HostError::Damaged`] and [`HostError::Io`].
    pub fn order_keys(&self) -> Result<Option<OrderKeys>, HostError> {
        self.load("order-keys.json", "order-keys", IDENTITY_FORMAT)
    }

    /// Replaces them; the caller has verified the step.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn save_order_keys(&self, keys: &OrderKeys) -> Result<(), HostError> {
        self.save("order-keys.json", "order-keys", IDENTITY_FORMAT, keys)
    }

    /// Opens a file of this directory.
    pub(super) fn load<T: DeserializeOwned>(
        &self,
        name: &str,
        kind: &'static str,
        newest: u32,
    ) -> Result<Option<T>, HostError> {
        let path = self.path(name);
        match disk::read(&path)? {
            None => Ok(None),
            Some(bytes) => open_framed(kind, newest, &bytes)
                .map(Some)
                .map_err(|source| HostError::Damaged { path, source }),
        }
    }

    /// Writes a file of this directory.
    pub(super) fn save<T: Serialize>(
        &self,
        name: &str,
        kind: &'static str,
        format: u32,
        body: &T,
    ) -> Result<(), HostError> {
        let path = self.path(name);
        disk::make_dir_mode(&self.dir, 0o700)?;
        let bytes = seal_framed(kind, format, body)
            .map_err(|source| HostError::Damaged { path: path.clone(), source })?;
        disk::write(&path, &bytes, 0o600)
    }
}

/// Trust in exactly the certificates of `ca`.
pub fn roots_of(ca: &ChannelCa) -> Roots {
    Roots::Only(ca.certificates.iter().filter_map(|pem| certificate_of_pem(pem)).collect())
}

impl Identity {
    /// The key that signs this host's reports; `None` where the file holds none that can.
    pub fn signing_key(&self) -> Option<SigningKey> {
        SigningKey::from_pem(self.key.reveal(), None).ok()
    }

    /// Whether `base` lies on one of the control plane's own addresses, and therefore behind the
    /// channel's certificate authorities.
    pub fn serves(&self, base: &str) -> bool {
        let theirs = origin(base);
        theirs.is_some() && self.urls.iter().any(|url| origin(url) == theirs)
    }
}

/// Scheme, host and port of an address.
pub(super) fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri = crate::fetch::parse_address(url).ok()?;
    let scheme = uri.scheme_str()?.to_owned();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_on_the_control_plane_is_told_from_any_other() {
        let same = |a, b| origin(a).is_some() && origin(a) == origin(b);
        assert!(same("https://c.example.com", "https://C.example.com:443/repository/metadata"));
        assert!(!same("https://c.example.com", "https://c.example.com.evil.example/"));
        assert!(!same("https://c.example.com", "http://c.example.com:443/"));
        assert!(!same("nonsense", "nonsense"));
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hush".into())), "[secret]");
    }
}
