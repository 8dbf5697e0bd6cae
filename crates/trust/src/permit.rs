//! Permits: signed leave to go back further than a release itself allows (DESIGN 5.5).

use std::collections::BTreeSet;

use handover_model::{AgentName, ComponentName, Permit, Timestamp};

use crate::{Catalog, Envelope, ReleaseKeys, Verified, VerifyError};

/// How many bytes a permit file may have.
const LIMIT: usize = 64 * 1024;

/// Checks a permit file for `agent` and `component` at `now`. That it is spent at most once is
/// the caller's ledger's business.
///
/// # Errors
/// [`VerifyError`] with code `malformed`, `unknown_role`, `unsigned`, `under_threshold`,
/// `duplicate_signature`, `foreign_component`, `foreign_agent` or `expired`.
pub fn verify_permit(
    bytes: &[u8],
    catalog: &Verified<Catalog>,
    component: &ComponentName,
    agent: &AgentName,
    now: Timestamp,
) -> Result<Verified<Permit>, VerifyError> {
    if bytes.len() > LIMIT {
        return Err(VerifyError::Endless { subject: subject(), limit: 64 * 1024 });
    }
    let document = Envelope::parse(bytes).map_err(of_permit)?;
    let releases = catalog
        .components
        .get(component)
        .ok_or_else(|| VerifyError::UnknownRole { role: crate::catalog::role_of(component) })?;
    check_signatures(&document, &releases.keys, component)?;
    let permit: Permit = document.document().map_err(of_permit)?;
    if permit.type_ != Permit::TYPE {
        return Err(malformed(format!("its _type is {:?}", permit.type_).into()));
    }
    if permit.component != *component {
        return Err(VerifyError::ForeignComponent {
            wanted: component.clone(),
            found: permit.component,
        });
    }
    if !permit.agents.contains(agent) {
        return Err(VerifyError::ForeignAgent { agent: agent.clone() });
    }
    if permit.expires <= now {
        return Err(VerifyError::Expired { subject: subject(), expired_at: permit.expires, now });
    }
    Ok(Verified::new(permit))
}

fn check_signatures(
    document: &Envelope,
    keys: &ReleaseKeys,
    component: &ComponentName,
) -> Result<(), VerifyError> {
    let signed = document.canonical().map_err(of_permit)?;
    let (mut seen, mut good) = (BTreeSet::new(), BTreeSet::new());
    for signature in &document.signatures {
        let Some(key) = keys.keys.get(&signature.keyid) else { continue };
        if !seen.insert(&signature.keyid) {
            return Err(VerifyError::DuplicateSignature {
                subject: subject(),
                key: signature.keyid.clone(),
            });
        }
        if crate::keys::is_signed(key, &signed, &signature.sig) {
            good.insert(&key.keyval.public); // one key under two ids counts once
        }
    }
    let role = crate::catalog::role_of(component);
    match good.len() {
        0 => Err(VerifyError::Unsigned { subject: subject(), role }),
        found if found < keys.threshold => Err(VerifyError::UnderThreshold {
            subject: subject(),
            role,
            need: keys.threshold,
            found,
        }),
        _enough => Ok(()),
    }
}

fn subject() -> String {
    "the permit".to_owned()
}

fn malformed(source: Box<dyn std::error::Error + Send + Sync>) -> VerifyError {
    VerifyError::Malformed { subject: subject(), source }
}

/// The same complaint, naming the permit.
fn of_permit(error: VerifyError) -> VerifyError {
    malformed(Box::new(error))
}
