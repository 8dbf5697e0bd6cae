//! Private key files and their passphrases. A passphrase comes from a file, the environment or a
//! prompt, in that order, and is wiped after use.

use std::io::IsTerminal as _;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;
use handover_trust::keys::{KeyError, Protection, SigningKey};
use zeroize::Zeroizing;

use crate::real_world;
use crate::repo::RepoError;

/// Where a passphrase comes from.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PassphraseArgs {
    /// A file whose first line is the passphrase.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<Utf8PathBuf>,
}

/// The variable that may hold a passphrase.
const VARIABLE: &str = "HANDOVER_PASSPHRASE";

impl PassphraseArgs {
    /// The passphrase that `key` was or will be protected with.
    fn ask(&self, key: &Utf8Path, repeat: bool) -> Result<Zeroizing<String>, RepoError> {
        if let Some(path) = &self.passphrase_file {
            let bytes = Zeroizing::new(read(path)?);
            let text = String::from_utf8_lossy(&bytes);
            return Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()));
        }
        if let Ok(phrase) = std::env::var(VARIABLE) {
            return Ok(Zeroizing::new(phrase));
        }
        if !std::io::stdin().is_terminal() {
            return Err(RepoError::NoPassphrase { path: key.to_owned() });
        }
        let prompt =
            |text: String| {
                rpassword::prompt_password(text).map(Zeroizing::new).map_err(|source| {
                    RepoError::Io { act: "read the passphrase of", path: key.to_owned(), source }
                })
            };
        let phrase = prompt(format!("Passphrase of {key}: "))?;
        if repeat && *prompt("Again: ".to_owned())? != *phrase {
            return Err(RepoError::Refused { what: "the two passphrases differ".to_owned() });
        }
        Ok(phrase)
    }
}

/// Reads a private key file, asking for its passphrase when it has one.
pub(crate) fn load_key(path: &Utf8Path, args: &PassphraseArgs) -> Result<SigningKey, RepoError> {
    let text = Zeroizing::new(String::from_utf8_lossy(&read(path)?).into_owned());
    let key = match SigningKey::from_pem(&text, None) {
        Err(KeyError::NeedsPassphrase) => {
            let phrase = args.ask(path, false)?;
            SigningKey::from_pem(&text, Some(phrase.as_bytes()))
        }
        opened => opened,
    };
    key.map_err(|source| RepoError::Key { path: path.to_owned(), source })
}

/// Makes a key and writes it, mode 0600. Never over another file.
pub(crate) fn create_key(
    path: &Utf8Path,
    protect: Option<&PassphraseArgs>,
) -> Result<SigningKey, RepoError> {
    let dice = |source| RepoError::Io { act: "draw a key for", path: path.to_owned(), source };
    let failed = |source| RepoError::Key { path: path.to_owned(), source };
    let key = SigningKey::from_seed(real_world::random().map_err(dice)?).map_err(failed)?;
    let text = match protect {
        None => key.to_pem(Protection::FileMode).map_err(failed)?,
        Some(args) => {
            let phrase = args.ask(path, true)?;
            if phrase.is_empty() {
                let what = format!("{path} needs a passphrase, or --no-passphrase");
                return Err(RepoError::Refused { what });
            }
            let (salt, iv) =
                (real_world::random().map_err(dice)?, real_world::random().map_err(dice)?);
            key.to_pem(Protection::Passphrase { phrase: phrase.as_bytes(), salt: &salt, iv: &iv })
                .map_err(failed)?
        }
    };
    if disk::write_new(path, text.as_bytes(), 0o600)? {
        Ok(key)
    } else {
        Err(RepoError::Exists { path: path.to_owned() })
    }
}

/// A small file that must be there.
pub(crate) fn read(path: &Utf8Path) -> Result<Vec<u8>, RepoError> {
    disk::read(path)?.ok_or_else(|| RepoError::NotFound { path: path.to_owned() })
}
