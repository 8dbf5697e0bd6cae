//! The key that every webhook's and every check's secret is derived from, so that the database,
//! its backups and whoever reads them hold none.

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{Digest, RolloutId, WebhookId};
use handover_store::{Store, StoreError, meta};
use zeroize::Zeroizing;

use crate::real_world::random;
use crate::{StartError, files, keys};

/// What the database remembers of the key: a digest, so that another one is noticed.
const KNOWN: &str = "webhook_key";
/// What a secret begins with, so that scanners of leaked secrets can know one.
const PREFIX: &str = "hws1_";

/// The key of all secrets.
pub(crate) struct WebhookKey(Zeroizing<[u8; 32]>);

/// What stands in the key's place.
enum Found {
    Key(WebhookKey),
    Empty,
    Nothing,
}

impl WebhookKey {
    /// Reads `webhooks.key` in the directory of keys, or makes it: for a database that knows none,
    /// and where a person left an empty file in its place.
    ///
    /// # Errors
    /// The file can't be used, is missing, or is not the one that the database was used with.
    pub(crate) async fn open(dir: &Utf8Path, store: &Store) -> Result<Self, StartError> {
        let path = dir.join("webhooks.key");
        let known = store.read(|tx| meta::get(tx, KNOWN)).await?;
        match Self::read(&path)? {
            Found::Key(key) if key.is_known(store).await? => return Ok(key),
            Found::Key(_) => {
                let database = store.database().to_string();
                return Err(StartError::KeysForeign { path, database });
            }
            Found::Nothing if known.is_some() => {
                return Err(StartError::WebhookKeyMissing { path });
            }
            Found::Nothing | Found::Empty => {}
        }
        let key = Self::draw()?;
        key.write(&path)?;
        let ours = key.fingerprint();
        store.write(move |tx| -> Result<(), StoreError> { meta::set(tx, KNOWN, &ours) }).await?;
        Ok(key)
    }

    /// Whether the database was used with this key; from now on, if it was used with none.
    async fn is_known(&self, store: &Store) -> Result<bool, StoreError> {
        let ours = self.fingerprint();
        let known = store.write(move |tx| -> Result<bool, StoreError> {
            if let Some(known) = meta::get(tx, KNOWN)? {
                return Ok(known == ours);
            }
            meta::set(tx, KNOWN, &ours)?;
            Ok(true)
        });
        known.await
    }

    /// The secret of a webhook.
    pub(crate) fn of_webhook(&self, webhook: WebhookId) -> Zeroizing<String> {
        self.derive(&format!("handover-webhook {webhook}"))
    }

    /// The secret of a rollout's check.
    pub(crate) fn of_check(&self, rollout: RolloutId, check: &str) -> Zeroizing<String> {
        self.derive(&format!("handover-check {rollout} {check}"))
    }

    fn derive(&self, of: &str) -> Zeroizing<String> {
        let mut secret = Zeroizing::new([0; 32]);
        let key = Salt::new(HKDF_SHA256, b"handover-webhooks").extract(self.0.as_slice());
        key.expand(&[of.as_bytes()], HKDF_SHA256)
            .and_then(|okm| okm.fill(secret.as_mut_slice()))
            .expect("HKDF-SHA256 gives 32 bytes (RFC 5869 section 2.3)");
        Zeroizing::new(format!("{PREFIX}{}", BASE64.encode(secret.as_slice())))
    }

    fn fingerprint(&self) -> String {
        Digest::of(self.derive("handover-fingerprint").as_bytes()).to_string()
    }

    fn draw() -> Result<Self, StartError> {
        let drawn = random();
        drawn.map(Self).map_err(|source| StartError::System { act: "read /dev/urandom", source })
    }

    fn read(path: &Utf8Path) -> Result<Found, StartError> {
        if !path.exists() {
            return Ok(Found::Nothing);
        }
        let text = keys::read_secret(path)?;
        if text.trim().is_empty() {
            return Ok(Found::Empty);
        }
        let bytes = BASE64.decode(text.trim()).ok().map(Zeroizing::new);
        let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        key.map(|key| Found::Key(Self(Zeroizing::new(key)))).ok_or_else(|| StartError::KeyDamaged {
            path: Utf8PathBuf::from(path),
            why: "it is not 32 bytes in base64url".to_owned(),
        })
    }

    fn write(&self, path: &Utf8Path) -> Result<(), StartError> {
        let text = Zeroizing::new(format!("{}\n", BASE64.encode(self.0.as_slice())));
        Ok(files::write(path, text.as_bytes(), 0o600)?)
    }
}

impl std::fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use handover_model::{IdGen, Timestamp};

    use super::*;

    #[test]
    fn every_webhook_and_every_check_has_a_secret_of_its_own() {
        let key = WebhookKey(Zeroizing::new([7; 32]));
        let mut ids = IdGen::new([1; 32]);
        let at = Timestamp::from_micros(0);
        let (one, other) = (WebhookId::mint(&mut ids, at), WebhookId::mint(&mut ids, at));
        let rollout = RolloutId::mint(&mut ids, at);
        assert_eq!(key.of_webhook(one), key.of_webhook(one));
        assert_ne!(key.of_webhook(one), key.of_webhook(other));
        assert_ne!(key.of_check(rollout, "a"), key.of_check(rollout, "b"));
        assert_ne!(
            key.of_webhook(one),
            WebhookKey(Zeroizing::new([8; 32])).of_webhook(one),
            "another key gives other secrets"
        );
        assert_eq!(format!("{key:?}"), "[secret]");
    }
}
