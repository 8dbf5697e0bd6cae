//! A file tree in memory.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::{Entry, EntryKind};
use handover_model::{Digest, Hasher};

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir {
        /// Permission bits.
        mode: u32,
        /// Whose it is; empty: root's.
        owner: String,
    },
    /// A file.
    File {
        /// Its content.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// Whose it is; empty: root's.
        owner: String,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        to: String,
    },
}

/// All files of a machine, by absolute path. Parents are always there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    nodes: BTreeMap<Utf8PathBuf, Node>,
}

impl Tree {
    /// What lies at `path`.
    pub fn node(&self, path: &Utf8Path) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The content of a file.
    pub fn file(&self, path: &Utf8Path) -> Option<&[u8]> {
        match self.nodes.get(path)? {
            Node::File { bytes, .. } => Some(bytes),
            Node::Dir { .. } | Node::Link { .. } => None,
        }
    }

    /// Whether a directory is there.
    pub fn is_dir(&self, path: &Utf8Path) -> bool {
        matches!(self.nodes.get(path), Some(Node::Dir { .. }))
    }

    /// All paths with what lies there.
    pub fn iter(&self) -> impl Iterator<Item = (&Utf8PathBuf, &Node)> {
        self.nodes.iter()
    }

    /// Makes a directory and its parents.
    pub fn make_dir(&mut self, path: &Utf8Path) {
        for part in path.ancestors().filter(|part| !part.as_str().is_empty()) {
            let fresh = Node::Dir { mode: 0o755, owner: String::new() };
            self.nodes.entry(part.to_owned()).or_insert(fresh);
        }
    }

    /// Makes a directory of mode 0750, and its parents as [`Self::make_dir`] does.
    pub fn make_private_dir(&mut self, path: &Utf8Path) {
        if self.is_dir(path) {
            return;
        }
        self.make_dir(path);
        self.nodes.insert(path.to_owned(), Node::Dir { mode: 0o750, owner: String::new() });
    }

    /// Puts a file, with the directories that it needs. An owner stays.
    pub fn put(&mut self, path: impl AsRef<Utf8Path>, bytes: impl Into<Vec<u8>>, mode: u32) {
        let path = path.as_ref();
        if let Some(parent) = path.parent() {
            self.make_dir(parent);
        }
        let node = Node::File { bytes: bytes.into(), mode, owner: String::new() };
        self.nodes.insert(path.to_owned(), node);
    }

    /// Puts anything, its parents with it.
    pub fn set(&mut self, path: &Utf8Path, node: Node) {
        if let Some(parent) = path.parent() {
            self.make_dir(parent);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// Removes what lies at `path` and below.
    pub fn remove(&mut self, path: &Utf8Path) {
        self.nodes.retain(|found, _| !found.starts_with(path));
    }

    /// Copies what lies at `from` and below.
    pub fn copy(&mut self, from: &Utf8Path, to: &Utf8Path) {
        let copied: Vec<_> =
            self.below(from).map(|(path, node)| (moved(path, from, to), node.clone())).collect();
        self.nodes.extend(copied);
    }

    /// Moves what lies at `from` and below.
    pub fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) {
        self.copy(from, to);
        self.remove(from);
    }

    /// Gives everything at `path` and below to `user`.
    pub fn chown(&mut self, path: &Utf8Path, user: &str) {
        for (_, node) in self.nodes.iter_mut().filter(|(found, _)| found.starts_with(path)) {
            match node {
                Node::Dir { owner, .. } | Node::File { owner, .. } => user.clone_into(owner),
                Node::Link { .. } => {}
            }
        }
    }

    /// What `path` holds, sorted by name; `None` when it is no directory.
    pub fn list(&self, path: &Utf8Path) -> Option<Vec<Entry>> {
        self.is_dir(path).then(|| {
            let inside = self.below(path).filter(|(found, _)| found.parent() == Some(path));
            inside.map(|(found, node)| entry(found, node)).collect()
        })
    }

    /// What lies at `path` itself.
    pub fn stat(&self, path: &Utf8Path) -> Option<Entry> {
        self.nodes.get(path).map(|node| entry(path, node))
    }

    /// A digest over everything at `path` and below.
    pub fn digest(&self, path: &Utf8Path) -> Option<Digest> {
        if let Some(bytes) = self.file(path) {
            return Some(Digest::of(bytes));
        }
        self.nodes.contains_key(path).then(|| {
            let mut hasher = Hasher::default();
            for (found, node) in self.below(path) {
                let name = found.strip_prefix(path).unwrap_or(found);
                hasher.update(format!("{name} {node:?}\n").as_bytes());
            }
            hasher.finish()
        })
    }

    /// Undoes every second change that `self` has over `before`: a cut in the middle.
    pub(crate) fn half_way_from(&mut self, before: &Self) {
        let mut changed: Vec<Utf8PathBuf> = self
            .nodes
            .iter()
            .filter(|(path, node)| before.nodes.get(*path) != Some(node))
            .map(|(path, _)| path.clone())
            .collect();
        changed.extend(before.nodes.keys().filter(|p| !self.nodes.contains_key(*p)).cloned());
        changed.sort();
        for path in changed.iter().skip(1).step_by(2) {
            match before.nodes.get(path) {
                Some(node) => {
                    self.nodes.insert(path.clone(), node.clone());
                }
                None => self.remove(path),
            }
        }
    }

    fn below<'a>(&'a self, top: &'a Utf8Path) -> impl Iterator<Item = (&'a Utf8PathBuf, &'a Node)> {
        self.nodes.iter().filter(move |(path, _)| path.starts_with(top))
    }
}

fn moved(path: &Utf8Path, from: &Utf8Path, to: &Utf8Path) -> Utf8PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_outside) => path.to_owned(),
    }
}

fn entry(path: &Utf8Path, node: &Node) -> Entry {
    let (kind, len, mode) = match node {
        Node::Dir { mode, .. } => (EntryKind::Directory, 0, *mode),
        Node::File { bytes, mode, .. } => {
            (EntryKind::File, u64::try_from(bytes.len()).unwrap_or(u64::MAX), *mode)
        }
        Node::Link { .. } => (EntryKind::Link, 0, 0o777),
    };
    Entry { name: path.file_name().unwrap_or("/").to_owned(), kind, len, mode }
}
