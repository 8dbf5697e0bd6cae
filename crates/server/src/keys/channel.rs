//! The channel's certificate authorities: the one in use, its standby, and, while a rotation is
//! under way, the one that retires. `channel.json` says which files are which, so that a rotation
//! is one atomic write.

use std::sync::{Arc, PoisonError, RwLock};

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::wire::ChannelCa;
use handover_model::{Digest, Timestamp, seal_framed};
use serde::{Deserialize, Serialize};

use super::{PUBLIC, read_framed, read_secret, read_text, write_authority};
use crate::ca::Authority;
use crate::{StartError, files};

const KIND: &str = "channel-authorities";
const FORMAT: u32 = 1;

/// Which authority is what; on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Roles {
    /// The number of the document that agents get.
    number: u64,
    /// Issues the next leaf once nobody who is online needs `retiring` any more.
    current: Digest,
    /// Known to agents already; takes over at the next rotation.
    standby: Digest,
    /// Still issues the leaf, until agents hold `number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retiring: Option<Digest>,
    /// The person's wish that was carried out last, so that none is carried out twice.
    #[serde(default)]
    wish: u64,
}

/// The authorities, as they stand.
#[derive(Debug)]
pub(crate) struct Authorities {
    roles: Roles,
    current: Authority,
    standby: Authority,
    retiring: Option<Authority>,
}

/// The channel's authorities.
#[derive(Debug)]
pub(crate) struct Channel {
    dir: Utf8PathBuf,
    now: RwLock<Arc<Authorities>>,
}

impl Channel {
    pub(super) fn open(dir: &Utf8Path) -> Result<Self, StartError> {
        let authorities = load(dir, read_framed(&file(dir), KIND, FORMAT)?)?;
        Ok(Self { dir: dir.to_owned(), now: RwLock::new(Arc::new(authorities)) })
    }

    /// How they stand.
    pub(crate) fn authorities(&self) -> Arc<Authorities> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What tokens pin: the authority in use and its standby.
    pub(crate) fn pins(&self) -> Vec<Digest> {
        let now = self.authorities();
        vec![now.current.pin, now.standby.pin]
    }

    /// Begins a rotation: the standby becomes current, with a new standby. The leaf stays with
    /// the old one until [`Channel::finish`]. One that is under way is finished first.
    pub(crate) fn rotate(&self, wish: u64, now: Timestamp) -> Result<(), StartError> {
        self.finish()?;
        let fresh = Authority::make(now)?;
        write_authority(&self.dir, &fresh)?;
        let held = self.authorities();
        self.store(Roles {
            number: held.roles.number + 1,
            current: held.roles.standby,
            standby: fresh.pin,
            retiring: Some(held.roles.current),
            wish,
        })
    }

    /// Ends a rotation: the retiring authority is forgotten. Says whether there was one.
    pub(crate) fn finish(&self) -> Result<bool, StartError> {
        let held = self.authorities();
        let Some(retired) = held.roles.retiring else { return Ok(false) };
        let number = held.roles.number + 1;
        self.store(Roles { number, retiring: None, ..held.roles.clone() })?;
        let id = retired.short();
        files::remove(&self.dir.join(format!("ca-{id}.key")))?;
        files::remove(&self.dir.join(format!("ca-{id}.pem")))?;
        Ok(true)
    }

    /// Takes over what another replica wrote; says whether that was anything.
    pub(crate) fn reload(&self) -> Result<bool, StartError> {
        let authorities = load(&self.dir, read_framed(&file(&self.dir), KIND, FORMAT)?)?;
        let is_newer = authorities.number() > self.authorities().number();
        if is_newer {
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authorities);
        }
        Ok(is_newer)
    }

    fn store(&self, roles: Roles) -> Result<(), StartError> {
        write(&self.dir, &roles)?;
        let authorities = load(&self.dir, roles)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authorities);
        Ok(())
    }
}

impl Authorities {
    /// What agents get to trust.
    pub(crate) fn document(&self) -> ChannelCa {
        let known = [Some(&self.current), Some(&self.standby), self.retiring.as_ref()];
        ChannelCa {
            type_: ChannelCa::TYPE.to_owned(),
            number: self.roles.number,
            certificates: known.into_iter().flatten().map(|ca| ca.pem.clone()).collect(),
        }
    }

    /// The number of the document.
    pub(crate) fn number(&self) -> u64 {
        self.roles.number
    }

    /// Who issues the leaf.
    pub(crate) fn issuer(&self) -> &Authority {
        self.retiring.as_ref().unwrap_or(&self.current)
    }

    /// The wish that was carried out last.
    pub(crate) fn wish(&self) -> u64 {
        self.roles.wish
    }

    /// Whether a rotation waits for agents.
    pub(crate) fn is_rotating(&self) -> bool {
        self.retiring.is_some()
    }
}

/// Makes the first two authorities in `dir`.
pub(super) fn make(dir: &Utf8Path, now: Timestamp) -> Result<(), StartError> {
    let (current, standby) = (Authority::make(now)?, Authority::make(now)?);
    write_authority(dir, &current)?;
    write_authority(dir, &standby)?;
    write(
        dir,
        &Roles { number: 1, current: current.pin, standby: standby.pin, retiring: None, wish: 0 },
    )
}

fn load(dir: &Utf8Path, roles: Roles) -> Result<Authorities, StartError> {
    let read = |pin: Digest| {
        let path = dir.join(format!("ca-{}.pem", pin.short()));
        let pem = read_text(&path)?;
        let key = read_secret(&path.with_extension("key"))?;
        let damaged = |why: String| StartError::KeyDamaged { path: path.clone(), why };
        let authority =
            Authority::read(&pem, &key).map_err(|source| damaged(source.to_string()))?;
        if authority.pin == pin {
            return Ok(authority);
        }
        Err(damaged("it is another certificate than channel.json says".to_owned()))
    };
    Ok(Authorities {
        current: read(roles.current)?,
        standby: read(roles.standby)?,
        retiring: roles.retiring.map(read).transpose()?,
        roles,
    })
}

fn write(dir: &Utf8Path, roles: &Roles) -> Result<(), StartError> {
    let bytes = seal_framed(KIND, FORMAT, roles).map_err(|source| StartError::Crypto {
        act: "write which authority is which",
        source: Box::new(source),
    })?;
    Ok(files::write(&file(dir), &bytes, PUBLIC)?)
}

fn file(dir: &Utf8Path) -> Utf8PathBuf {
    dir.join("channel.json")
}

/// Where the issuing certificate is kept, for messages.
pub(crate) fn issuer_file(data: &Utf8Path, issuer: &Authority) -> Utf8PathBuf {
    data.join("keys").join(format!("ca-{}.pem", issuer.pin.short()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }

    #[test]
    fn a_rotation_keeps_the_leafs_issuer_until_it_is_finished_and_survives_a_kill() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        make(dir, now()).unwrap();
        let channel = Channel::open(dir).unwrap();
        let [first, standby] = channel.pins()[..] else { panic!("two pins") };
        channel.rotate(1, now()).unwrap();
        let channel = Channel::open(dir).unwrap(); // as after a kill
        let held = channel.authorities();
        assert_eq!((held.number(), held.issuer().pin), (2, first));
        assert_eq!(held.document().certificates.len(), 3, "agents still trust the retiring one");
        assert_eq!(channel.pins()[0], standby);
        assert!(channel.finish().unwrap());
        assert!(!channel.finish().unwrap());
        let held = channel.authorities();
        assert_eq!((held.number(), held.issuer().pin), (3, standby));
        assert_eq!(held.document().certificates.len(), 2);
        assert!(!dir.join(format!("ca-{}.key", first.short())).exists());
    }
}
