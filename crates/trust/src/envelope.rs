//! A signed document: the signed part, and signatures over its canonical form beside it. Metadata,
//! permits and what keyholders pass from machine to machine all have this shape, so that everyone
//! signs the same bytes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sigstore_tuf::canonical_json;

use crate::VerifyError;
use crate::keys::{Keys, SigningKey};

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The id of the key.
    pub keyid: String,
    /// The signature, hexadecimal.
    pub sig: String,
}

/// A document with its signatures; nothing about it is proved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// One signature per key.
    pub signatures: Vec<Signature>,
    /// What is signed, over its canonical form.
    pub signed: Value,
}

impl Envelope {
    /// A document that nobody has signed yet.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`] when it has no canonical form (a number with a fraction).
    pub fn unsigned<T: Serialize>(document: &T) -> Result<Self, VerifyError> {
        let signed = serde_json::to_value(document).map_err(|e| malformed(e.into()))?;
        let envelope = Self { signatures: Vec::new(), signed };
        envelope.canonical()?;
        Ok(envelope)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, VerifyError> {
        serde_json::from_slice(bytes).map_err(|e| malformed(e.into()))
    }

    /// The signed part as `T`; proved by nobody.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn document<T: DeserializeOwned>(&self) -> Result<T, VerifyError> {
        T::deserialize(&self.signed).map_err(|e| malformed(e.into()))
    }

    /// The bytes that signatures cover.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn canonical(&self) -> Result<Vec<u8>, VerifyError> {
        canonical_json::to_canonical_bytes(&self.signed).map_err(|e| malformed(e.into()))
    }

    /// Adds `key`'s signature, in place of an earlier one of the same key.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), VerifyError> {
        let (keyid, sig) = (key.public().id(), key.sign(&self.canonical()?));
        self.signatures.retain(|signature| signature.keyid != keyid);
        self.signatures.push(Signature { keyid, sig });
        Ok(())
    }

    /// Which of `keys` signed this content validly.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn signers(&self, keys: &Keys) -> Result<BTreeSet<String>, VerifyError> {
        let bytes = self.canonical()?;
        Ok(self
            .signatures
            .iter()
            .filter(|signature| {
                keys.get(&signature.keyid).is_some_and(|key| key.has_signed(&bytes, &signature.sig))
            })
            .map(|signature| signature.keyid.clone())
            .collect())
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// None in practice: what was parsed or built can be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, VerifyError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| malformed(e.into()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn malformed(source: Box<dyn std::error::Error + Send + Sync>) -> VerifyError {
    VerifyError::Malformed { subject: "the document".to_owned(), source }
}
