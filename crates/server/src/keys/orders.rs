//! The keys that sign orders, and the chain of signed documents by which agents learn of a new
//! one. While two overlap, the newer signs and both are believed.

use std::sync::{Arc, PoisonError, RwLock};

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::wire::SignedDoc;
use handover_model::{Timestamp, seal_framed};
use handover_trust::control::{self, OrderKeys};
use handover_trust::keys::SigningKey;
use serde::{Deserialize, Serialize};

use super::{PUBLIC, fresh_signing_key, read_framed, read_signing_key, write_signing_key};
use crate::{StartError, files};

const KIND: &str = "order-keys";
const FORMAT: u32 = 1;

/// On disk: the chain, and whose file signs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Chain {
    /// Every document from the first on.
    documents: Vec<SignedDoc>,
    /// The id of the key that signs.
    signing: String,
    /// The id of the key that it replaces, while both are believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retiring: Option<String>,
    /// When the newest rotation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotated_at: Option<Timestamp>,
    /// The person's wish that was carried out last, so that none is carried out twice.
    #[serde(default)]
    wish: u64,
}

/// The keys, as they stand.
#[derive(Debug)]
pub(crate) struct Ring {
    chain: Chain,
    key: SigningKey,
}

/// The keys that sign orders.
#[derive(Debug)]
pub(crate) struct OrderRing {
    dir: Utf8PathBuf,
    now: RwLock<Arc<Ring>>,
}

impl OrderRing {
    pub(super) fn open(dir: &Utf8Path) -> Result<Self, StartError> {
        let ring = load(dir, read_framed(&file(dir), KIND, FORMAT)?)?;
        Ok(Self { dir: dir.to_owned(), now: RwLock::new(Arc::new(ring)) })
    }

    /// How they stand.
    pub(crate) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every document from the first on.
    #[cfg(test)]
    pub(crate) fn documents(&self) -> Vec<SignedDoc> {
        self.ring().chain.documents.clone()
    }

    /// Begins a rotation: a new key signs from now on, and both are believed until
    /// [`OrderRing::finish`]. One that is under way is finished first.
    pub(crate) fn rotate(&self, wish: u64, now: Timestamp) -> Result<(), StartError> {
        self.finish()?;
        let held = self.ring();
        let fresh = fresh_signing_key()?;
        let keys = vec![fresh.public(), held.key.public()];
        write_signing_key(&key_file(&self.dir, &fresh.public().id()), &fresh)?;
        let document = sign(&OrderKeys::new(held.number() + 1, keys), &held.key)?;
        self.store(Chain {
            documents: [held.chain.documents.clone(), vec![document]].concat(),
            signing: fresh.public().id(),
            retiring: Some(held.key.public().id()),
            rotated_at: Some(now),
            wish,
        })
    }

    /// Ends a rotation: the older key is believed no more. Says whether there was one.
    pub(crate) fn finish(&self) -> Result<bool, StartError> {
        let held = self.ring();
        let Some(retired) = &held.chain.retiring else { return Ok(false) };
        let document =
            sign(&OrderKeys::new(held.number() + 1, vec![held.key.public()]), &held.key)?;
        self.store(Chain {
            documents: [held.chain.documents.clone(), vec![document]].concat(),
            retiring: None,
            ..held.chain.clone()
        })?;
        files::remove(&key_file(&self.dir, retired))?;
        Ok(true)
    }

    /// Takes over what another replica wrote; says whether that was anything.
    pub(crate) fn reload(&self) -> Result<bool, StartError> {
        let ring = load(&self.dir, read_framed(&file(&self.dir), KIND, FORMAT)?)?;
        let is_newer = ring.number() > self.ring().number();
        if is_newer {
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        }
        Ok(is_newer)
    }

    fn store(&self, chain: Chain) -> Result<(), StartError> {
        write(&self.dir, &chain)?;
        let ring = load(&self.dir, chain)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        Ok(())
    }
}

impl Ring {
    /// The key that signs.
    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The number of the newest document.
    pub(crate) fn number(&self) -> u64 {
        u64::try_from(self.chain.documents.len()).unwrap_or(u64::MAX)
    }

    /// Every document from the first on.
    pub(crate) fn documents(&self) -> &[SignedDoc] {
        &self.chain.documents
    }

    /// Documents after the one with `number`.
    pub(crate) fn after(&self, number: u64) -> &[SignedDoc] {
        let from = usize::try_from(number).unwrap_or(usize::MAX);
        self.chain.documents.get(from..).unwrap_or_default()
    }

    /// When the overlap of two keys began, if they overlap.
    pub(crate) fn rotating_since(&self) -> Option<Timestamp> {
        self.chain.retiring.as_ref().and(self.chain.rotated_at)
    }

    /// Whether what the key with this id signed is believed.
    pub(crate) fn believes(&self, id: &str) -> bool {
        self.chain.signing == id || self.chain.retiring.as_deref() == Some(id)
    }

    /// The wish that was carried out last.
    pub(crate) fn wish(&self) -> u64 {
        self.chain.wish
    }
}

/// Makes the first key in `dir`.
pub(super) fn make(dir: &Utf8Path) -> Result<(), StartError> {
    let key = fresh_signing_key()?;
    let id = key.public().id();
    write_signing_key(&key_file(dir, &id), &key)?;
    let document = sign(&OrderKeys::new(1, vec![key.public()]), &key)?;
    let documents = vec![document];
    write(dir, &Chain { documents, signing: id, retiring: None, rotated_at: None, wish: 0 })
}

fn load(dir: &Utf8Path, chain: Chain) -> Result<Ring, StartError> {
    let path = key_file(dir, &chain.signing);
    let key = read_signing_key(&path)?;
    if key.public().id() == chain.signing {
        return Ok(Ring { chain, key });
    }
    Err(StartError::KeyDamaged { path, why: "it is another key than order-keys.json says".into() })
}

fn sign(document: &OrderKeys, key: &SigningKey) -> Result<SignedDoc, StartError> {
    control::sign(document, key)
        .map_err(|source| StartError::Crypto { act: "sign order keys", source: Box::new(source) })
}

fn write(dir: &Utf8Path, chain: &Chain) -> Result<(), StartError> {
    let bytes = seal_framed(KIND, FORMAT, chain).map_err(|source| StartError::Crypto {
        act: "write order keys",
        source: Box::new(source),
    })?;
    Ok(files::write(&file(dir), &bytes, PUBLIC)?)
}

fn file(dir: &Utf8Path) -> Utf8PathBuf {
    dir.join("order-keys.json")
}

fn key_file(dir: &Utf8Path, id: &str) -> Utf8PathBuf {
    dir.join(format!("order-{}.key", id.get(..8).unwrap_or(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_slept_through_two_rotations_walks_forward() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        make(dir).unwrap();
        let ring = OrderRing::open(dir).unwrap();
        let mut held = control::first_order_keys(&ring.ring().documents()[0]).unwrap().into_inner();
        ring.rotate(1, Timestamp::from_micros(0)).unwrap();
        ring.rotate(1, Timestamp::from_micros(0)).unwrap();
        ring.finish().unwrap();
        let now = OrderRing::open(dir).unwrap().ring(); // as after a kill
        for document in now.after(held.number) {
            held = control::next_order_keys(&held, document).unwrap().into_inner();
        }
        assert_eq!((held.number, held.keys), (5, vec![now.key().public()]));
        assert_eq!(now.rotating_since(), None);
    }
}
