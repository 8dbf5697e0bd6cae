//! Detached OpenPGP signatures, checked by `gpgv`, in addition to the repository's own.

use std::process::{Command, Stdio};

use camino::Utf8Path;

use crate::failure::Failure;

/// Checks `signature` over `archive` against the keys of `keyring`.
///
/// # Errors
/// [`Failure::Refused`] with code `openpgp.no-gpgv`, `openpgp.no-keyring` or `openpgp.bad`.
pub fn verify(keyring: &Utf8Path, signature: &Utf8Path, archive: &Utf8Path) -> Result<(), Failure> {
    if !keyring.is_file() {
        let reason = format!("the policy's OpenPGP keyring {keyring} is not there");
        return Err(Failure::Refused { code: "openpgp.no-keyring", reason });
    }
    let output = Command::new("gpgv")
        .arg("--keyring")
        .arg(keyring)
        .arg(signature)
        .arg(archive)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().last().unwrap_or("gpgv said nothing").trim();
            let reason = format!(
                "the package's OpenPGP signature is not valid by {keyring}: {}",
                crate::voice::plain(said, 200)
            );
            Err(Failure::Refused { code: "openpgp.bad", reason })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::Refused {
            code: "openpgp.no-gpgv",
            reason: "the policy demands OpenPGP signatures and this host has no gpgv: install \
                     the package `gpgv`, or take `openpgp` out of the policy"
                .to_owned(),
        }),
        Err(source) => Err(Failure::Stream { act: "run gpgv", source }),
    }
}
