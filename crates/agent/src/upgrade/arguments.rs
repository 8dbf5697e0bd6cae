//! The command line, by hand: the program must stay small.

use camino::Utf8PathBuf;
use handover_model::{ComponentName, ErrorClass, RunId};

/// What is asked of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arguments {
    /// `run --contract N --order FILE`
    Run {
        /// The contract that the caller speaks.
        contract: u32,
        /// The order's file.
        order: Utf8PathBuf,
    },
    /// `resume --root R --component C --run ID`
    Resume(Which),
    /// `revert --root R --component C --run ID --reason TEXT`
    Revert {
        /// Which run.
        which: Which,
        /// Why, for people.
        reason: String,
    },
    /// `watch`: internal; what `run` leaves behind.
    Watch {
        /// Which run.
        which: Which,
        /// Whether it must first leave the session that it was started in.
        detach: bool,
    },
    /// `--version`
    Version,
}

/// A run of a component under a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    /// The root.
    pub root: Utf8PathBuf,
    /// The component.
    pub component: ComponentName,
    /// The run.
    pub run: RunId,
}

/// A command line that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}; it takes `run --contract 1 --order FILE`, `resume|revert --root DIR --component NAME \
     --run ID [--reason TEXT]` or `--version`"
)]
pub struct ArgumentError {
    /// What is wrong.
    pub what: String,
}

impl ArgumentError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

impl Arguments {
    /// Reads a command line, the program's own name left out. Unknown words are refused, so that a
    /// misspelt one is not taken for consent.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, ArgumentError> {
        let mut words = words.collect::<Vec<_>>().into_iter();
        let verb = words.next().ok_or_else(|| wrong("a verb is missing"))?;
        let mut options = Options::default();
        while let Some(word) = words.next() {
            if word == "--detach" {
                options.detach = true;
                continue;
            }
            let value = words.next().ok_or_else(|| wrong(format!("{word} needs a value")))?;
            let place = match word.as_str() {
                "--contract" => &mut options.contract,
                "--order" => &mut options.order,
                "--root" => &mut options.root,
                "--component" => &mut options.component,
                "--run" => &mut options.run,
                "--reason" => &mut options.reason,
                _ => return Err(wrong(format!("{word:?} is unknown"))),
            };
            if place.replace(value).is_some() {
                return Err(wrong(format!("{word} is given twice")));
            }
        }
        match verb.as_str() {
            "run" => Ok(Self::Run {
                contract: parsed("--contract", options.contract)?,
                order: parsed("--order", options.order)?,
            }),
            "resume" => Ok(Self::Resume(options.which()?)),
            "revert" => {
                let reason = options.reason.clone();
                let reason = reason.unwrap_or_else(|| "a person took it back".to_owned());
                Ok(Self::Revert { which: options.which()?, reason })
            }
            "watch" => {
                let detach = options.detach;
                Ok(Self::Watch { which: options.which()?, detach })
            }
            "--version" => Ok(Self::Version),
            other => Err(wrong(format!("{other:?} is unknown"))),
        }
    }
}

#[derive(Default)]
struct Options {
    contract: Option<String>,
    order: Option<String>,
    root: Option<String>,
    component: Option<String>,
    run: Option<String>,
    reason: Option<String>,
    detach: bool,
}

impl Options {
    fn which(self) -> Result<Which, ArgumentError> {
        let root: Utf8PathBuf = parsed("--root", self.root)?;
        if !root.is_absolute() {
            return Err(wrong("--root must be an absolute path"));
        }
        let component = parsed("--component", self.component)?;
        Ok(Which { root, component, run: parsed("--run", self.run)? })
    }
}

fn parsed<T: std::str::FromStr>(name: &str, text: Option<String>) -> Result<T, ArgumentError>
where
    T::Err: std::fmt::Display,
{
    let text = text.ok_or_else(|| wrong(format!("{name} is missing")))?;
    text.parse().map_err(|source: T::Err| wrong(format!("{name}: {source}")))
}

fn wrong(what: impl Into<String>) -> ArgumentError {
    ArgumentError { what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn the_contracts_command_line_is_understood_in_any_order() {
        let wanted = Arguments::Run { contract: 1, order: "/x/order.json".into() };
        assert_eq!(parse("run --contract 1 --order /x/order.json"), Ok(wanted.clone()));
        assert_eq!(parse("run --order /x/order.json --contract 1"), Ok(wanted));
    }

    #[test]
    fn what_is_missing_unknown_or_doubled_is_named() {
        for (line, what) in [
            ("", "\"\" is unknown"),
            ("run --contract 1", "--order is missing"),
            ("run --contract one --order x", "--contract"),
            ("run --contract 1 --order x --force y", "--force"),
            ("run --contract 1 --contract 1 --order x", "given twice"),
            ("run --contract", "needs a value"),
            ("resume --root r --component c --run x", "absolute"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(what), "{line}: {error}");
        }
    }
}
