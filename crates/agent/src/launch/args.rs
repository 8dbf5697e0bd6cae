//! The launcher's command line, read by hand: it is small, and so is the launcher.

use camino::Utf8PathBuf;
use handover_model::ComponentName;

/// Where a host's root is unless said otherwise.
const DEFAULT_ROOT: &str = "/var/lib/handover";

/// What `--help` prints.
pub(super) const HELP: &str = "\
Runs a component of this host as its slots say, and returns to the last good release by itself.

Usage: handover-launch [--root DIRECTORY] COMPONENT
       handover-launch --self-test

Options:
  --root DIRECTORY  the host's root [default: /var/lib/handover]
  --self-test       try everything that starting a component needs, and exit
  --version         print the version and the launcher protocol
  --help            print this

Exit codes: 0 asked to end, 1 failed, 2 usage, 6 damaged slots file, 7 another launcher runs.
";

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Launch this component under this root.
    Launch(Utf8PathBuf, ComponentName),
    /// Be the exec stage.
    ExecStage,
    /// Try everything out.
    SelfTest,
    /// Say which version this is.
    Version,
    /// Print [`HELP`].
    Help,
}

/// Reads the arguments, the program's own name not among them.
///
/// # Errors
/// In words, for the person who typed them.
pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Wanted, String> {
    let mut root = Utf8PathBuf::from(DEFAULT_ROOT);
    let mut component = None;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            super::exec_stage::ARGUMENT => return Ok(Wanted::ExecStage),
            "--self-test" => return Ok(Wanted::SelfTest),
            "--version" | "-V" => return Ok(Wanted::Version),
            "--help" | "-h" => return Ok(Wanted::Help),
            "--root" => root = arguments.next().ok_or("--root needs a directory")?.into(),
            other => match other.strip_prefix("--root=") {
                Some(directory) => root = directory.into(),
                None if other.starts_with('-') => return Err(format!("unknown option {other}")),
                None if component.is_some() => {
                    return Err(format!("one component at a time; {other} is one too many"));
                }
                None => component = Some(other.parse().map_err(|error| format!("{error}"))?),
            },
        }
    }
    let component = component.ok_or("which component? see --help")?;
    // Recipes hold absolute paths, and so do our own messages.
    let root = std::path::absolute(&root)
        .ok()
        .and_then(|root| Utf8PathBuf::from_path_buf(root).ok())
        .ok_or_else(|| format!("{root} can't be a root directory"))?;
    Ok(Wanted::Launch(root, component))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Wanted, String> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_component_and_a_root_are_read_in_any_order() {
        let wanted = Wanted::Launch("/r".into(), "web".parse().unwrap());
        for text in ["web --root /r", "--root=/r web", "--root /r web"] {
            assert_eq!(words(text).as_ref(), Ok(&wanted), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", "--root", "web db", "--colour web", "../etc"] {
            assert!(words(text).is_err(), "{text}");
        }
        assert_eq!(words("web"), Ok(Wanted::Launch(DEFAULT_ROOT.into(), "web".parse().unwrap())));
    }
}
