//! The state: one JSON file with a schema number, replaced whole. Schema 1 holds one note,
//! schema 2 a list of them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// What the service remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Store {
    path: PathBuf,
    schema: u32,
    /// How many visits were counted.
    pub(crate) visits: u64,
    /// Notes that visitors left, oldest first; schema 1 keeps the last one.
    pub(crate) notes: Vec<String>,
}

impl Store {
    /// Reads the state in `directory`, or begins one. State of another schema is refused: it is
    /// for `migrate` to change it, never for a start.
    pub(crate) fn open(directory: &Path, schema: u32) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("could not make {}", directory.display()))?;
        let path = directory.join("store.json");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, schema, visits: 0, notes: Vec::new() });
            }
            read => read.with_context(|| format!("could not read {}", path.display()))?,
        };
        let value: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged", path.display()))?;
        let found = value["schema"].as_u64();
        if found != Some(u64::from(schema)) {
            bail!("{} has schema {found:?}, this version needs {schema}", path.display());
        }
        let texts: Vec<&Value> = match &value["notes"] {
            Value::Array(many) => many.iter().collect(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => {
                vec![&value["note"]]
            }
        };
        let notes = texts.into_iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self { path, schema, visits: value["visits"].as_u64().unwrap_or(0), notes })
    }

    /// The schema that it is written in.
    pub(crate) fn schema(&self) -> u32 {
        self.schema
    }

    /// Replaces the file: write aside, fsync, rename, fsync the directory.
    pub(crate) fn save(&self) -> io::Result<()> {
        let value = match self.schema {
            1 => json!({"schema": 1, "visits": self.visits, "note": self.notes.last()}),
            schema => json!({"schema": schema, "visits": self.visits, "notes": self.notes}),
        };
        let aside = self.path.with_extension("json.new");
        let mut file = File::create(&aside)?;
        file.write_all(value.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)?;
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Migrates the state in `directory`. State that is at `to` already stays as it is, so that a
    /// migration that was cut short can simply run again.
    pub(crate) fn migrate(directory: &Path, from: u32, to: u32) -> anyhow::Result<()> {
        if Self::open(directory, to).is_ok() {
            return Ok(());
        }
        let mut store = Self::open(directory, from)?;
        store.schema = to;
        store.save().with_context(|| format!("could not write {}", store.path.display()))
    }

    /// Whether a crash was noted in `directory`; notes one.
    pub(crate) fn note_crash(directory: &Path) -> io::Result<()> {
        File::create(directory.join("crashed"))?.sync_all()
    }

    /// Whether a crash was noted in `directory`.
    pub(crate) fn has_crashed(directory: &Path) -> bool {
        directory.join("crashed").exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_a_migration_up_and_down() {
        let state = tempfile::tempdir().unwrap();
        let mut store = Store::open(state.path(), 1).unwrap();
        (store.visits, store.notes) = (7, vec!["hello".to_owned()]);
        store.save().unwrap();

        Store::migrate(state.path(), 1, 2).unwrap();
        Store::migrate(state.path(), 1, 2).unwrap();
        assert!(Store::open(state.path(), 1).is_err(), "an old version must not read new state");
        let mut newer = Store::open(state.path(), 2).unwrap();
        assert_eq!((newer.visits, newer.notes.len()), (7, 1));
        newer.notes.push("again".to_owned());
        newer.save().unwrap();

        Store::migrate(state.path(), 2, 1).unwrap();
        assert_eq!(Store::open(state.path(), 1).unwrap().notes, ["again"]);
    }

    #[test]
    fn damaged_state_is_never_taken_for_none() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), 1).unwrap();
        store.save().unwrap();
        File::create(state.path().join("store.json")).unwrap().write_all(b"{\"sch").unwrap();
        assert!(Store::open(state.path(), 1).is_err());
        assert!(Store::migrate(state.path(), 1, 2).is_err());
    }
}
