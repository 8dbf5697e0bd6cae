//! `handover repo`: the key ceremony, and what keeps a repository fresh.

mod error;
mod keys;
mod publish;
mod shelf;
mod status;

use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::Subcommand;
use handover_model::{ComponentName, Millis};

use crate::output::Out;
use crate::secret::PassphraseArgs;

pub(crate) use error::RepoError;
pub(crate) use publish::{missing_signatures, publish};
pub(crate) use shelf::Shelf;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key pair: FILE.pem (encrypted) stays with its holder, FILE.pub goes to the
    /// repository.
    NewKey {
        /// The private key's file; the public key is written beside it with the ending `.pub`.
        file: Utf8PathBuf,
        /// Whose key it is, for people.
        #[arg(long)]
        owner: Option<String>,
        /// Protect it by the file's mode alone.
        #[arg(long)]
        no_passphrase: bool,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Make a repository. Its first root and targets role then wait for signatures.
    Init {
        /// The directory.
        directory: Utf8PathBuf,
        /// Public keys that sign root and targets; repeat it for each holder.
        #[arg(long = "root-key", required = true, value_name = "FILE.pub")]
        root_keys: Vec<Utf8PathBuf>,
        /// How many of them must sign.
        #[arg(long, default_value_t = 1)]
        threshold: u32,
        /// How long signatures of a role hold, as ROLE=LENGTH, such as `timestamp=48h`.
        #[arg(long = "valid", value_name = "ROLE=LENGTH", value_parser = parse_lifetime)]
        lifetimes: Vec<(String, Millis)>,
        /// Encrypt the online keys too; then a person must refresh the repository.
        #[arg(long)]
        encrypt_online_keys: bool,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Say who may sign a component's releases, and how many must. The change waits for the
    /// root keys' signatures.
    AddKey {
        /// The repository's directory.
        directory: Utf8PathBuf,
        /// The component.
        #[arg(long)]
        component: ComponentName,
        /// Public keys to add.
        #[arg(long = "key", value_name = "FILE.pub")]
        add: Vec<Utf8PathBuf>,
        /// Keys to remove, by the beginning of their ids.
        #[arg(long, value_name = "ID")]
        remove: Vec<String>,
        /// How many must sign.
        #[arg(long)]
        threshold: Option<u32>,
        /// Take the whole role away: nothing of this component is trusted any more.
        #[arg(long, conflicts_with_all = ["add", "remove", "threshold"])]
        remove_role: bool,
    },
    /// Prepare the next root: other keys, another threshold, a later expiry. It waits for the
    /// signatures of the old threshold and of the new.
    RotateRoot {
        /// The repository's directory.
        directory: Utf8PathBuf,
        /// Public keys to add.
        #[arg(long = "add", value_name = "FILE.pub")]
        add: Vec<Utf8PathBuf>,
        /// Keys to remove, by the beginning of their ids.
        #[arg(long, value_name = "ID")]
        remove: Vec<String>,
        /// How many must sign.
        #[arg(long)]
        threshold: Option<u32>,
        /// Replace the online keys by new ones.
        #[arg(long)]
        online: bool,
        /// Encrypt the new online keys too.
        #[arg(long, requires = "online")]
        encrypt_online_keys: bool,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Show what expires when, who may sign what, and which signatures are awaited. Exits with 1
    /// when something has expired or will before long.
    Status {
        /// The repository's directory.
        directory: Utf8PathBuf,
        /// Warn about what expires within this length; by default the last quarter of each
        /// role's validity.
        #[arg(long, value_name = "LENGTH")]
        within: Option<Millis>,
    },
    /// Sign snapshot and timestamp anew, so that hosts know that nothing is held back. Run it
    /// from a timer, at least twice as often as the timestamp expires.
    Refresh {
        /// The repository's directory.
        directory: Utf8PathBuf,
        /// Then bring it to the control plane.
        #[arg(long)]
        server: bool,
    },
}

impl Command {
    /// The repository that goes to the control plane once the command is done.
    pub(crate) fn upload(&self) -> Option<Utf8PathBuf> {
        match self {
            Self::Refresh { directory, server: true } => Some(directory.clone()),
            Self::Refresh { server: false, .. }
            | Self::NewKey { .. }
            | Self::Init { .. }
            | Self::AddKey { .. }
            | Self::RotateRoot { .. }
            | Self::Status { .. } => None,
        }
    }
}

/// Runs one.
pub(crate) fn run(command: Command, out: &Out) -> Result<ExitCode, RepoError> {
    match command {
        Command::NewKey { file, owner, no_passphrase, passphrase } => {
            let protect = (!no_passphrase).then_some(&passphrase);
            keys::new_key(&file, owner, protect, out)?;
        }
        Command::Init {
            directory,
            root_keys,
            threshold,
            lifetimes,
            encrypt_online_keys,
            passphrase,
        } => {
            let protect = encrypt_online_keys.then_some(&passphrase);
            let ceremony = keys::Ceremony { directory: &directory, protect, out };
            ceremony.init(&root_keys, threshold, &lifetimes)?;
        }
        Command::AddKey { directory, component, add, remove, threshold, remove_role } => {
            let ceremony = keys::Ceremony { directory: &directory, protect: None, out };
            if remove_role {
                ceremony.remove_component(&component)?;
            } else {
                ceremony.change_component(&component, &add, &remove, threshold)?;
            }
        }
        Command::RotateRoot {
            directory,
            add,
            remove,
            threshold,
            online,
            encrypt_online_keys,
            passphrase,
        } => {
            let protect = encrypt_online_keys.then_some(&passphrase);
            let ceremony = keys::Ceremony { directory: &directory, protect, out };
            ceremony.rotate_root(&add, remove, threshold, online)?;
        }
        Command::Status { directory, within } => return status::status(&directory, within, out),
        Command::Refresh { directory, .. } => publish::refresh(&directory, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_lifetime(text: &str) -> Result<(String, Millis), String> {
    let (role, length) = text.split_once('=').ok_or("write ROLE=LENGTH")?;
    if !["root", "targets", "component", "snapshot", "timestamp"].contains(&role) {
        return Err("a role is root, targets, component, snapshot or timestamp".to_owned());
    }
    length
        .parse()
        .map(|length| (role.to_owned(), length))
        .map_err(|error: handover_model::MillisError| error.to_string())
}
