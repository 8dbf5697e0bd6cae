//! A keyholder's part, on a machine of their own: see what a document says, then sign it.

use std::fmt::Write as _;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;
use handover_model::{AgentName, ComponentName, IdGen, Millis, OrderId, Permit, Version};
use handover_trust::Envelope;
use handover_trust::author::{RootDoc, TargetsDoc};

use super::ReleaseError;
use crate::output::{Out, plain};
use crate::real_world;
use crate::repo::RepoError;
use crate::secret::{self, PassphraseArgs};

/// Shows each document, and signs it.
pub(super) fn sign(
    files: &[Utf8PathBuf],
    key: &Utf8Path,
    passphrase: &PassphraseArgs,
    out: &Out,
) -> Result<(), ReleaseError> {
    let mut documents = Vec::new();
    for path in files {
        let envelope = Envelope::parse(&secret::read(path)?)?;
        out.say(&format!("{}:\n{}", plain(path.as_str()), describe(path, &envelope)?));
        documents.push((path, envelope));
    }
    let key = secret::load_key(key, passphrase)?;
    for (path, envelope) in &mut documents {
        envelope.sign(&key)?;
        disk::write(path, &envelope.to_bytes()?, 0o644)?;
    }
    let shown = serde_json::json!({ "signed": files, "key": key.public().id() });
    out.result(&shown, |_| {
        let names: Vec<_> = files.iter().map(ToString::to_string).collect();
        format!("signed {} with key {}", names.join(", "), key.public().id())
    });
    Ok(())
}

/// What a keyholder is about to vouch for. A document that can't be described can't be signed.
fn describe(path: &Utf8Path, envelope: &Envelope) -> Result<String, ReleaseError> {
    let kind = envelope.signed.get("_type").and_then(serde_json::Value::as_str);
    let signatures = format!("  signatures so far: {}", envelope.signatures.len());
    let text = match kind {
        Some("root") => describe_root(&envelope.document()?),
        Some("targets") => describe_targets(&envelope.document()?),
        Some(Permit::TYPE) => describe_permit(&envelope.document()?),
        Some(_) | None => {
            let what = "it is neither root, targets nor permit, and is not signed".to_owned();
            return Err(ReleaseError::Payload { path: path.to_owned(), what });
        }
    };
    Ok(format!("{text}\n{signatures}"))
}

fn describe_root(root: &RootDoc) -> String {
    let mut text = format!("  root version {}, until {}", root.version, root.expires.0);
    for (role, keys) in &root.roles {
        let _infallible = write!(text, "\n  {}: {} of", plain(role), keys.threshold);
        for (id, key) in root.keys_of(role) {
            let owner = plain(key.owner().unwrap_or_default());
            let _infallible = write!(text, " {} {owner}", plain(&id));
        }
    }
    text
}

fn describe_targets(targets: &TargetsDoc) -> String {
    let mut text = format!("  targets version {}, until {}", targets.version, targets.expires.0);
    for component in targets.components() {
        let keys = targets.keys_of(&component);
        let ids: Vec<_> = keys.keys().map(|id| plain(id)).collect();
        let threshold = targets.threshold_of(&component);
        let _infallible =
            write!(text, "\n  component {component}: {threshold} of {}", ids.join(" "));
    }
    for (path, facts) in targets.releases() {
        let digest = targets.targets.get(path).map(|target| target.hashes.sha256.to_string());
        let _infallible = write!(text, "\n  {}  sequence {}", plain(path), facts.sequence);
        let _infallible = write!(text, "  sha256 {}", digest.unwrap_or_default());
        if let Some(reason) = facts.revoked {
            let _infallible = write!(text, "  REVOKED: {}", plain(&reason));
        }
    }
    text
}

fn describe_permit(permit: &Permit) -> String {
    let agents: Vec<_> = permit.agents.iter().map(AgentName::as_str).collect();
    format!(
        "  permit for {} to go to {} {}, until {}\n  reason: {}",
        agents.join(", "),
        permit.component,
        permit.to,
        permit.expires,
        plain(&permit.reason)
    )
}

/// Makes an armoured detached signature beside each package.
pub(super) fn sign_openpgp(
    packages: &[Utf8PathBuf],
    keyid: &str,
    out: &Out,
) -> Result<(), ReleaseError> {
    for package in packages {
        let signature = Utf8PathBuf::from(format!("{package}.asc"));
        let done = Command::new("gpg")
            .args(["--detach-sign", "--armor", "--yes", "--local-user", keyid, "--output"])
            .arg(&signature)
            .arg(package)
            .output()
            .map_err(ReleaseError::io("run gpg for", package))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(ReleaseError::OpenPgp { path: package.clone(), said });
        }
        out.result(&serde_json::json!({ "signature": signature }), |_| signature.to_string());
    }
    Ok(())
}

/// What a permit is to say.
pub(super) struct AskedPermit {
    pub(super) component: ComponentName,
    pub(super) to: Version,
    pub(super) agents: Vec<AgentName>,
    pub(super) reason: String,
    pub(super) valid: Millis,
}

/// Writes a permit that nobody has signed yet.
pub(super) fn write_permit(
    asked: AskedPermit,
    file: &Utf8Path,
    out: &Out,
) -> Result<(), ReleaseError> {
    let now = real_world::now();
    let seed = real_world::random().map_err(ReleaseError::io("draw an id for", file))?;
    let permit = Permit {
        type_: Permit::TYPE.to_owned(),
        id: OrderId::mint(&mut IdGen::new(*seed), now),
        component: asked.component,
        agents: asked.agents,
        to: asked.to,
        reason: asked.reason,
        expires: now.after(asked.valid.duration()),
    };
    let envelope = Envelope::unsigned(&permit)?;
    if !disk::write_new(file, &envelope.to_bytes()?, 0o644)? {
        return Err(RepoError::Exists { path: file.to_owned() }.into());
    }
    out.result(&permit, |permit| {
        format!("{file}: {} waits for release signatures, until {}", permit.id, permit.expires)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_document_says_can_not_pass_for_what_we_say() {
        let permit = Permit {
            type_: Permit::TYPE.to_owned(),
            id: OrderId::mint(&mut IdGen::new([1; 32]), handover_model::Timestamp::from_micros(0)),
            component: "web".parse().unwrap(),
            agents: vec!["host-1".parse().unwrap()],
            to: Version::new(1, 0, 0),
            reason: "well\u{1b}[2K\r  permit for\n  nobody\u{9b}1A \u{202e}ti \u{2028}".to_owned(),
            expires: handover_model::Timestamp::from_micros(0),
        };
        let envelope = Envelope::unsigned(&permit).unwrap();
        let shown = describe("permit.json".into(), &envelope).unwrap();
        let reason =
            "well\\u{1b}[2K\\u{d}  permit for\\u{a}  nobody\\u{9b}1A \\u{202e}ti \\u{2028}";
        assert!(shown.contains(reason), "{shown:?}");
        assert_eq!(shown.lines().count(), 3, "{shown:?}");
        assert!(shown.chars().all(|c| c == '\n' || plain(&c.to_string()) == c.to_string()));
    }
}
