//! What this program was asked.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::table::Group;

/// Which part of the measurement this process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Measures and writes the table.
    Measure,
    /// Generates load, by a job on standard input.
    Load,
    /// Serves as the peer that does nothing but TLS and HTTP.
    Bare,
}

/// What was asked.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// Which part to play.
    pub(crate) role: Role,
    /// Only this group; the others' rows stay as they are.
    pub(crate) only: Option<Group>,
    /// Where the programs lie, when they shall not be built.
    pub(crate) programs: Option<PathBuf>,
    /// Divides sizes and times, for trying the measurement itself out.
    pub(crate) scale: u32,
}

impl Arguments {
    /// Reads them: `[load|bare] [--only GROUP] [--programs DIRECTORY] [--scale N]`.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut parsed = Self { role: Role::Measure, only: None, programs: None, scale: 1 };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} wants a value"));
            match word.as_str() {
                "load" => parsed.role = Role::Load,
                "bare" => parsed.role = Role::Bare,
                "--only" => parsed.only = Some(Group::named(&value()?)?),
                "--programs" => parsed.programs = Some(value()?.into()),
                "--scale" => parsed.scale = value()?.parse::<u32>()?.max(1),
                other => {
                    bail!("{other:?} is not known: --only GROUP, --programs DIRECTORY, --scale N")
                }
            }
        }
        Ok(parsed)
    }
}
