//! Which paths and links a package may hold. Pure: no file system is asked.

use std::collections::BTreeMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::entries::FoundKind;
use super::error::Unsafe;

/// The longest path in a package, in bytes.
const LONGEST_PATH: usize = 1024;
/// The longest single name, in bytes (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// A checked path inside the package, without `.` parts; empty for the package itself.
pub(super) fn parse_path(bytes: &[u8]) -> Result<Utf8PathBuf, Unsafe> {
    let text = std::str::from_utf8(bytes).map_err(|_source| Unsafe::Name)?;
    if text.is_empty() || text.len() > LONGEST_PATH || text.chars().any(char::is_control) {
        return Err(Unsafe::Name);
    }
    let mut clean = Utf8PathBuf::new();
    for part in Utf8Path::new(text).components() {
        match part {
            Utf8Component::Normal(name) if name.len() <= LONGEST_NAME => clean.push(name),
            Utf8Component::Normal(_) => return Err(Unsafe::Name),
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => return Err(Unsafe::Climbs),
            Utf8Component::RootDir | Utf8Component::Prefix(_) => return Err(Unsafe::Absolute),
        }
    }
    Ok(clean)
}

/// What the package has brought so far.
#[derive(Debug, Default)]
pub(super) struct Tree {
    entries: BTreeMap<Utf8PathBuf, Kind>,
    /// Lower-cased path to the path as written.
    folded: BTreeMap<String, Utf8PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    File,
    Link(Utf8PathBuf),
    /// A directory, and whether the archive listed it itself.
    Directory {
        listed: bool,
    },
}

impl Tree {
    /// Takes in one entry and returns the directories to make for it, outermost first.
    pub(super) fn add(
        &mut self,
        path: &Utf8Path,
        kind: &FoundKind,
    ) -> Result<Vec<Utf8PathBuf>, Unsafe> {
        let mut fresh = Vec::new();
        let mut parents: Vec<_> =
            path.ancestors().skip(1).filter(|parent| !parent.as_str().is_empty()).collect();
        parents.reverse();
        for parent in parents {
            match self.entries.get(parent) {
                Some(Kind::Directory { .. }) => {}
                Some(Kind::File | Kind::Link(_)) => return Err(Unsafe::ThroughLink),
                None => {
                    self.insert(parent, Kind::Directory { listed: false })?;
                    fresh.push(parent.to_owned());
                }
            }
        }
        let kind = match kind {
            FoundKind::File { .. } => Kind::File,
            FoundKind::Link(target) => Kind::Link(target.clone()),
            FoundKind::Directory => Kind::Directory { listed: true },
        };
        let is_directory = matches!(kind, Kind::Directory { .. });
        match self.entries.get_mut(path) {
            // A directory that its children made necessary may be listed afterwards, once.
            Some(Kind::Directory { listed }) if is_directory && !*listed => *listed = true,
            Some(_) => return Err(Unsafe::Duplicate),
            None => {
                self.insert(path, kind)?;
                if is_directory {
                    fresh.push(path.to_owned());
                }
            }
        }
        Ok(fresh)
    }

    fn insert(&mut self, path: &Utf8Path, kind: Kind) -> Result<(), Unsafe> {
        if self.folded.insert(path.as_str().to_lowercase(), path.to_owned()).is_some() {
            return Err(Unsafe::CaseClash);
        }
        self.entries.insert(path.to_owned(), kind);
        Ok(())
    }

    /// All directories, parents before children.
    pub(super) fn directories(&self) -> impl DoubleEndedIterator<Item = &Utf8Path> {
        self.entries
            .iter()
            .filter(|(_, kind)| matches!(kind, Kind::Directory { .. }))
            .map(|(path, _)| path.as_path())
    }

    /// Checks every link once all entries are known, since what a link passes through may come
    /// later in the archive than the link.
    pub(super) fn check_links(&self) -> Result<(), (Utf8PathBuf, Unsafe)> {
        for (path, kind) in &self.entries {
            if let Kind::Link(target) = kind
                && !self.stays_inside(path, target)
            {
                return Err((path.clone(), Unsafe::LinkOut));
            }
        }
        Ok(())
    }

    /// Whether a link's target, followed part by part, stays in the package. No part but the
    /// last may itself be a link: behind one, `..` would mean another directory than it reads.
    fn stays_inside(&self, link: &Utf8Path, target: &Utf8Path) -> bool {
        let mut at = link.parent().unwrap_or(Utf8Path::new("")).to_owned();
        let mut parts = target.components().peekable();
        while let Some(part) = parts.next() {
            match part {
                Utf8Component::CurDir => {}
                Utf8Component::Normal(name) => at.push(name),
                Utf8Component::ParentDir => {
                    if !at.pop() {
                        return false;
                    }
                }
                Utf8Component::RootDir | Utf8Component::Prefix(_) => return false,
            }
            let through_link = matches!(self.entries.get(&at), Some(Kind::Link(_)));
            if through_link && parts.peek().is_some() {
                return false;
            }
        }
        true
    }
}
