//! The server's keys, in `keys/` of the data directory: the channel's authorities, the keys that
//! sign orders, the key that signs checkpoints of the audit trail. No release key is ever here.
//!
//! Invariant: keys appear all at once, in a directory that is renamed into place, and are never
//! made again beside a database that knows others: agents trust them.

mod channel;
mod orders;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::Timestamp;
use handover_trust::keys::{Protection, SigningKey};

use crate::files::{self, FileError};
use crate::real_world::random;
use crate::{StartError, ca};

pub(crate) use channel::{Channel, issuer_file};
pub(crate) use orders::{OrderRing, Ring};

/// The mode of what only the server may read.
const SECRET: u32 = 0o600;
/// The mode of what everybody may read.
const PUBLIC: u32 = 0o644;

/// All keys of a server.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The channel's authorities.
    pub(crate) channel: Channel,
    /// What signs orders.
    pub(crate) orders: OrderRing,
    /// What signs checkpoints.
    pub(crate) checkpoint: SigningKey,
}

impl Keys {
    /// Reads the keys, or makes them in a data directory that has neither keys nor a database.
    pub(crate) fn open(
        data: &Utf8Path,
        has_database: bool,
        now: Timestamp,
    ) -> Result<Self, StartError> {
        let dir = data.join("keys");
        if !dir.is_dir() {
            if has_database {
                return Err(StartError::KeyMissing { path: dir });
            }
            make(data, &dir, now)?;
        }
        Ok(Self {
            channel: Channel::open(&dir)?,
            orders: OrderRing::open(&dir)?,
            checkpoint: read_signing_key(&dir.join("checkpoint.key"))?,
        })
    }
}

/// Makes every key in a directory aside, then renames it: a kill leaves all or nothing.
fn make(data: &Utf8Path, dir: &Utf8Path, now: Timestamp) -> Result<(), StartError> {
    let aside = data.join("keys.making");
    if aside.is_dir() {
        std::fs::remove_dir_all(&aside).map_err(|source| FileError {
            act: "remove",
            path: aside.clone(),
            source,
        })?;
    }
    files::make_private_dir(&aside)?;
    channel::make(&aside, now)?;
    orders::make(&aside)?;
    let checkpoint = fresh_signing_key()?;
    write_signing_key(&aside.join("checkpoint.key"), &checkpoint)?;
    files::rename(&aside, dir)?;
    Ok(())
}

/// A new Ed25519 key.
fn fresh_signing_key() -> Result<SigningKey, StartError> {
    let seed =
        random().map_err(|source| StartError::System { act: "read /dev/urandom", source })?;
    SigningKey::from_seed(seed)
        .map_err(|source| StartError::Crypto { act: "make a key", source: Box::new(source) })
}

fn write_signing_key(path: &Utf8Path, key: &SigningKey) -> Result<(), StartError> {
    let pem = key
        .to_pem(Protection::FileMode)
        .map_err(|source| StartError::Crypto { act: "write a key", source: Box::new(source) })?;
    Ok(files::write(path, pem.as_bytes(), SECRET)?)
}

fn read_signing_key(path: &Utf8Path) -> Result<SigningKey, StartError> {
    let pem = read_secret(path)?;
    SigningKey::from_pem(&pem, None)
        .map_err(|source| StartError::KeyDamaged { path: path.to_owned(), why: source.to_string() })
}

/// The text of a file that nobody else may be able to read.
pub(crate) fn read_secret(path: &Utf8Path) -> Result<zeroize::Zeroizing<String>, StartError> {
    let text = zeroize::Zeroizing::new(read_text(path)?);
    let mode = files::mode(path)?;
    if mode & 0o077 != 0 {
        return Err(StartError::KeyMode { path: path.to_owned(), mode });
    }
    Ok(text)
}

fn read_text(path: &Utf8Path) -> Result<String, StartError> {
    let bytes = files::read(path)?
        .ok_or_else(|| StartError::KeyMissing { path: Utf8PathBuf::from(path) })?;
    String::from_utf8(bytes).map_err(|_source| StartError::KeyDamaged {
        path: path.to_owned(),
        why: "it is not text".to_owned(),
    })
}

/// Reads a framed document beside the keys.
fn read_framed<T: serde::de::DeserializeOwned>(
    path: &Utf8Path,
    kind: &'static str,
    format: u32,
) -> Result<T, StartError> {
    let text = read_text(path)?;
    handover_model::open_framed(kind, format, text.as_bytes()).map_err(|source| {
        let why = crate::problem::Chain(&source).to_string();
        StartError::KeyDamaged { path: path.to_owned(), why }
    })
}

fn write_authority(dir: &Utf8Path, authority: &ca::Authority) -> Result<(), FileError> {
    let id = authority.pin.short();
    files::write(&dir.join(format!("ca-{id}.key")), authority.key_pem().as_bytes(), SECRET)?;
    files::write(&dir.join(format!("ca-{id}.pem")), authority.pem.as_bytes(), PUBLIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }

    fn keys_in(data: &Utf8Path) -> Result<Keys, StartError> {
        Keys::open(data, data.join("handover.db").exists(), now())
    }

    #[test]
    fn keys_are_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = Utf8Path::from_path(dir.path()).unwrap();
        let made = keys_in(data).unwrap();
        let found = keys_in(data).unwrap();
        assert_eq!(made.channel.pins(), found.channel.pins());
        assert_eq!(made.orders.documents(), found.orders.documents());
        assert_eq!(made.checkpoint.public(), found.checkpoint.public());
    }

    #[test]
    fn keys_that_are_missing_beside_a_database_are_never_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = Utf8Path::from_path(dir.path()).unwrap();
        std::fs::File::create(data.join("handover.db")).unwrap();
        assert!(matches!(keys_in(data), Err(StartError::KeyMissing { .. })));
        assert!(!data.join("keys").exists());
    }

    #[test]
    fn what_a_kill_left_of_the_first_start_is_made_anew_whole() {
        let dir = tempfile::tempdir().unwrap();
        let data = Utf8Path::from_path(dir.path()).unwrap();
        files::make_private_dir(&data.join("keys.making")).unwrap();
        files::write(&data.join("keys.making/checkpoint.key"), b"half", 0o600).unwrap();
        keys_in(data).unwrap();
        assert!(!data.join("keys.making").exists());
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_damaged_or_gone_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let data = Utf8Path::from_path(dir.path()).unwrap();
        keys_in(data).unwrap();
        let path = data.join("keys/checkpoint.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(keys_in(data), Err(StartError::KeyMode { mode: 0o640, .. })));
        files::write(&path, b"junk", 0o600).unwrap();
        assert!(matches!(keys_in(data), Err(StartError::KeyDamaged { .. })));
        files::remove(&path).unwrap();
        assert!(matches!(keys_in(data), Err(StartError::KeyMissing { .. })));
    }
}
