//! The control planes that a person can speak to, in `contexts.json`: addresses, a secret each,
//! and the CA certificates that a server must show. Mode 0600, written aside and renamed.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;
use handover_model::Digest;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ControlError;

/// The format of the file that this build writes.
const FORMAT: u32 = 1;
/// The longest name of a context, in characters.
const LONGEST_NAME: usize = 40;

/// A secret that prints as `[secret]` and is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps one.
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: for a header or a file, never for a message.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// The one place where a secret is written: the file that is for its owner alone.
mod on_disk {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.reveal())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

/// One control plane, and who one is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    /// Base addresses, the first one tried first.
    pub(crate) addresses: Vec<String>,
    /// The API token's secret.
    #[serde(with = "on_disk")]
    pub(crate) secret: Secret,
    /// The CA certificates (PEM) that a server's certificate must rest on; none: the system's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) certificates: Vec<String>,
    /// SHA-256 of the repository's first root, as it was when one logged in: what `self-update`
    /// trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trusted_root: Option<Digest>,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contexts {
    format: u32,
    /// The name of the one that is used unless another is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// All, by name.
    #[serde(rename = "contexts")]
    pub(crate) known: BTreeMap<String, Context>,
}

/// Where the file lies.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    directory: Utf8PathBuf,
}

impl Place {
    /// `$XDG_CONFIG_HOME/handover`, or `~/.config/handover` (XDG Base Directory 0.8).
    pub(crate) fn find() -> Result<Self, ControlError> {
        let of = |name: &str| {
            std::env::var(name).ok().filter(|text| text.starts_with('/')).map(Utf8PathBuf::from)
        };
        let config = of("XDG_CONFIG_HOME").or_else(|| of("HOME").map(|home| home.join(".config")));
        let directory = config.ok_or(ControlError::NoHome)?.join("handover");
        Ok(Self { directory })
    }

    /// One in a directory of the caller's choice.
    #[cfg(test)]
    pub(crate) fn at(directory: &Utf8Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The directory, which other files of a person's `handover` lie in too.
    pub(crate) fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// The file.
    pub(crate) fn file(&self) -> Utf8PathBuf {
        self.directory.join("contexts.json")
    }

    /// What the file says; nothing is there before the first login.
    pub(crate) fn load(&self) -> Result<Contexts, ControlError> {
        let path = self.file();
        let Some(bytes) = disk::read(&path)?.map(Zeroizing::new) else {
            return Ok(Contexts::empty());
        };
        let contexts: Contexts = serde_json::from_slice(&bytes)
            .map_err(|source| ControlError::DamagedContexts { path: path.clone(), source })?;
        if contexts.format == FORMAT {
            Ok(contexts)
        } else {
            Err(ControlError::NewContexts { path, format: contexts.format })
        }
    }

    /// Changes the file; two commands at once never lose each other's change.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Contexts) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        disk::make_dir_mode(&self.directory, 0o700)?;
        let _lock = disk::Lock::try_take(&self.directory.join("contexts.lock"))?
            .ok_or_else(|| ControlError::ContextsBusy { path: self.file() })?;
        let mut contexts = self.load()?;
        let made = change(&mut contexts)?;
        let text = serde_json::to_vec_pretty(&contexts)
            .map(Zeroizing::new)
            .map_err(|source| ControlError::DamagedContexts { path: self.file(), source })?;
        disk::write(&self.file(), &text, 0o600)?;
        Ok(made)
    }
}

impl Contexts {
    fn empty() -> Self {
        Self { format: FORMAT, current: None, known: BTreeMap::new() }
    }

    /// The one that is `wanted`, or else the current one, with its name.
    pub(crate) fn pick(&self, wanted: Option<&str>) -> Result<(String, Context), ControlError> {
        let name = match (wanted, &self.current) {
            (Some(name), _) => name,
            (None, Some(name)) => name,
            (None, None) => return Err(ControlError::NotLoggedIn),
        };
        match self.known.get(name) {
            Some(context) => Ok((name.to_owned(), context.clone())),
            None => Err(self.unknown(name)),
        }
    }

    /// The repository root that a context has trusted since its first login.
    pub(crate) fn root_of(&self, name: &str) -> Option<Digest> {
        self.known.get(name).and_then(|context| context.trusted_root)
    }

    /// Adds or replaces one and makes it current.
    pub(crate) fn put(&mut self, name: &str, context: Context) {
        self.known.insert(name.to_owned(), context);
        self.current = Some(name.to_owned());
    }

    /// Makes another one current.
    pub(crate) fn choose(&mut self, name: &str) -> Result<(), ControlError> {
        if !self.known.contains_key(name) {
            return Err(self.unknown(name));
        }
        self.current = Some(name.to_owned());
        Ok(())
    }

    /// Forgets one. Nothing else becomes current by itself: the next command must not reach
    /// another control plane than the person thinks.
    pub(crate) fn remove(&mut self, name: &str) -> Result<Context, ControlError> {
        let context = self.known.remove(name).ok_or_else(|| self.unknown(name))?;
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        Ok(context)
    }

    fn unknown(&self, name: &str) -> ControlError {
        let known: Vec<_> = self.known.keys().cloned().collect();
        ControlError::NoContext { name: name.chars().take(LONGEST_NAME).collect(), known }
    }
}

/// A name for a context, as typed.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let fits = (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("use 1 to {LONGEST_NAME} letters, digits, `-`, `_` and `.`"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn context(secret: &str) -> Context {
        Context {
            addresses: vec!["https://control.example.com:8443".to_owned()],
            secret: Secret::new(secret.to_owned()),
            certificates: Vec::new(),
            trusted_root: None,
        }
    }

    #[test]
    fn contexts_read_back_and_nobody_else_may_read_them() {
        let directory = tempfile::tempdir().unwrap();
        let directory = Utf8Path::from_path(directory.path()).unwrap().join("handover");
        let place = Place::at(&directory);
        place
            .change(|contexts| {
                contexts.put("home", context("one"));
                contexts.put("work", context("two"));
                Ok(())
            })
            .unwrap();
        let mode = |path: &Utf8Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&place.file())), (0o700, 0o600));
        let contexts = place.load().unwrap();
        assert_eq!(contexts.pick(None).unwrap().1.secret.reveal(), "two");
        assert_eq!(contexts.pick(Some("home")).unwrap().1.secret.reveal(), "one");
        assert!(!format!("{contexts:?}").contains("two"));
    }

    #[test]
    fn a_removed_context_leaves_none_in_its_place() {
        let mut contexts = Contexts::empty();
        contexts.put("home", context("one"));
        contexts.put("work", context("two"));
        contexts.remove("work").unwrap();
        assert!(matches!(contexts.pick(None), Err(ControlError::NotLoggedIn)));
        assert!(matches!(contexts.pick(Some("work")), Err(ControlError::NoContext { .. })));
        assert!(contexts.remove("work").is_err());
    }

    #[test]
    fn a_damaged_or_newer_file_is_never_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(Utf8Path::from_path(directory.path()).unwrap());
        for (text, newer) in [("{", false), (r#"{"format":2,"contexts":{}}"#, true)] {
            disk::write(&place.file(), text.as_bytes(), 0o600).unwrap();
            let error = place.load().unwrap_err();
            assert_eq!(matches!(error, ControlError::NewContexts { .. }), newer, "{error}");
        }
    }
}
