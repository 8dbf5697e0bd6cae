//! Ed25519 keys (RFC 8032) and their files: PKCS#8 PEM (RFC 5958), encrypted by PBES2 with scrypt
//! (RFC 8018, RFC 7914), as `openssl pkey` reads and writes them.
//!
//! Secrets are wiped when dropped, print as `[secret]` and are never serialised but by
//! [`SigningKey::to_pem`].

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use handover_model::ErrorClass;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo, SecretDocument};
use serde::{Deserialize, Serialize};
use sigstore_tuf::{Key, canonical_json};
use zeroize::Zeroizing;

/// DER before the seed of an Ed25519 key in PKCS#8 version 1 (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The label of an encrypted key file.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// A key file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither a plain nor an encrypted PKCS#8 PEM file, or damaged.
    #[error("the key file is not PKCS#8 PEM, or damaged")]
    Parse,
    /// Encrypted, and no passphrase was given.
    #[error("the key file is encrypted and needs its passphrase")]
    NeedsPassphrase,
    /// The passphrase does not open it.
    #[error("the passphrase does not open the key file, or the file is damaged")]
    Passphrase,
    /// A key of another algorithm.
    #[error("the key is not an Ed25519 key")]
    Algorithm,
    /// The library refused to encrypt.
    #[error("the key could not be encrypted")]
    Encrypt,
    /// A public key file that does not parse, or whose key is no Ed25519 point.
    #[error("the public key file is damaged")]
    Public,
}

impl KeyError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NeedsPassphrase | Self::Passphrase => ErrorClass::Retry,
            Self::Parse | Self::Algorithm | Self::Public => ErrorClass::Permanent,
            Self::Encrypt => ErrorClass::Bug,
        }
    }
}

/// How a key file is protected.
#[derive(Clone, Copy)]
pub enum Protection<'a> {
    /// By the file's mode alone: for keys that a machine must use by itself.
    FileMode,
    /// By a passphrase; salt and vector come from the caller's dice and are never used twice.
    Passphrase {
        /// The passphrase.
        phrase: &'a [u8],
        /// The salt of scrypt.
        salt: &'a [u8; 16],
        /// The initialisation vector of AES-256-CBC.
        iv: &'a [u8; 16],
    },
}

impl fmt::Debug for Protection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileMode => f.write_str("FileMode"),
            Self::Passphrase { .. } => f.write_str("Passphrase([secret])"),
        }
    }
}

/// A private key.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, [secret])", self.public().id())
    }
}

impl SigningKey {
    /// The key of a seed from the caller's dice.
    ///
    /// # Errors
    /// [`KeyError::Algorithm`] if the library refuses the seed, which no 32 bytes are known to
    /// cause.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .map_err(|_rejected| KeyError::Algorithm)?;
        Ok(Self { seed, pair })
    }

    /// Reads a key file; `passphrase` is asked for only when the file is encrypted.
    ///
    /// # Errors
    /// Any [`KeyError`] but `Encrypt` and `Public`.
    pub fn from_pem(text: &str, passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let (label, der) =
            SecretDocument::from_pem(text.trim()).map_err(|_source| KeyError::Parse)?;
        if label != ENCRYPTED {
            return Self::from_der(der.as_bytes());
        }
        let phrase = passphrase.ok_or(KeyError::NeedsPassphrase)?;
        let sealed =
            EncryptedPrivateKeyInfo::try_from(der.as_bytes()).map_err(|_source| KeyError::Parse)?;
        let open = sealed.decrypt(phrase).map_err(|_source| KeyError::Passphrase)?;
        Self::from_der(open.as_bytes())
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfo::try_from(der).map_err(|_source| KeyError::Parse)?;
        if info.algorithm.oid != pkcs8::ObjectIdentifier::new_unwrap("1.3.101.112") {
            return Err(KeyError::Algorithm);
        }
        let seed = info.private_key.strip_prefix(&[0x04, 0x20]).ok_or(KeyError::Parse)?;
        let seed: [u8; 32] = seed.try_into().map_err(|_source| KeyError::Parse)?;
        Self::from_seed(Zeroizing::new(seed))
    }

    /// The key file's text.
    ///
    /// # Errors
    /// [`KeyError::Encrypt`].
    pub fn to_pem(&self, protection: Protection<'_>) -> Result<Zeroizing<String>, KeyError> {
        let mut der = Zeroizing::new(Vec::with_capacity(48));
        der.extend_from_slice(&PKCS8_HEAD);
        der.extend_from_slice(self.seed.as_slice());
        let failed = |_source| KeyError::Encrypt;
        let info = PrivateKeyInfo::try_from(der.as_slice()).map_err(failed)?;
        match protection {
            Protection::FileMode => SecretDocument::try_from(info)
                .map_err(failed)?
                .to_pem("PRIVATE KEY", LineEnding::LF)
                .map_err(|_source| KeyError::Encrypt),
            Protection::Passphrase { phrase, salt, iv } => {
                // N = 2^14, r = 8: the most memory that openssl's own limit lets it read (16 MiB
                // of 32); p = 5 makes up in time.
                let cost = scrypt::Params::new(14, 8, 5, 32).map_err(|_e| KeyError::Encrypt)?;
                let parameters = pbes2::Parameters::scrypt_aes256cbc(cost, salt, iv)
                    .map_err(|_source| KeyError::Encrypt)?;
                info.encrypt_with_params(parameters, phrase)
                    .map_err(failed)?
                    .to_pem(ENCRYPTED, LineEnding::LF)
                    .map_err(|_source| KeyError::Encrypt)
            }
        }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey {
            keytype: Ed25519Tag::Ed25519,
            scheme: Ed25519Tag::Ed25519,
            keyval: KeyValue { public: hex::encode(self.pair.public_key().as_ref()) },
            owner: None,
        }
    }

    /// Signs; hexadecimal, as metadata has it.
    pub fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.pair.sign(bytes).as_ref())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ed25519Tag {
    Ed25519,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeyValue {
    public: String,
}

/// A public key as metadata writes it (TUF 1.0.34, 4.2.1), and as its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    keytype: Ed25519Tag,
    scheme: Ed25519Tag,
    keyval: KeyValue,
    /// Whose it is, for people.
    #[serde(default, rename = "x-handover-owner", skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

impl PublicKey {
    /// Reads a public key's file.
    ///
    /// # Errors
    /// [`KeyError::Public`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let key: Self = serde_json::from_slice(bytes).map_err(|_source| KeyError::Public)?;
        match hex::decode(&key.keyval.public) {
            Ok(raw) if raw.len() == 32 => Ok(key),
            Ok(_) | Err(_) => Err(KeyError::Public),
        }
    }

    /// The same key with its owner's name.
    #[must_use]
    pub fn owned_by(mut self, owner: Option<String>) -> Self {
        self.owner = owner;
        self
    }

    /// Whose it is, where that is known.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Its id: the digest that securesystemslib computes, over type, scheme and value alone.
    pub fn id(&self) -> String {
        let core = serde_json::json!({
            "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": self.keyval.public },
        });
        // Only numbers can fail to be canonical, and there are none.
        let bytes = canonical_json::to_canonical_bytes(&core).unwrap_or_default();
        handover_model::Digest::of(&bytes).to_string()
    }

    /// Whether `signature` (hexadecimal) is this key's over `bytes`.
    pub fn has_signed(&self, bytes: &[u8], signature: &str) -> bool {
        verifies(&self.keyval.public, bytes, signature)
    }
}

/// Keys by id.
pub type Keys = BTreeMap<String, PublicKey>;

/// Whether `signature` (hexadecimal) is `key`'s over `bytes`. Only Ed25519 keys speak here.
pub(crate) fn is_signed(key: &Key, bytes: &[u8], signature: &str) -> bool {
    key.scheme == "ed25519" && verifies(&key.keyval.public, bytes, signature)
}

fn verifies(public: &str, bytes: &[u8], signature: &str) -> bool {
    let (Ok(public), Ok(raw)) = (hex::decode(public), hex::decode(signature)) else {
        return false;
    };
    UnparsedPublicKey::new(&ED25519, public).verify(bytes, &raw).is_ok()
}

#[cfg(test)]
mod tests;
