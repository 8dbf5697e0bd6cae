//! What agents and the control plane sign for each other: orders, cancels, order keys, the
//! channel's CA, reports and proofs of possession. Pure checks; who spends, remembers or executes
//! something is the caller's business.
//!
//! Invariant: a document is believed only under the `_type` that it was made for, and only for
//! the agent that it names.

use handover_model::api::Checkpoint;
use handover_model::wire::{
    AgentOrder, Cancel, ChannelCa, EnrolProof, HostState, Report, SignedDoc,
};
use handover_model::{AgentId, Digest, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::keys::{PublicKey, SigningKey};
use crate::{Envelope, Verified, VerifyError};

/// The keys that sign orders: a numbered document, each signed by a key of the one before, so
/// that an agent that slept through several walks forward. The first is signed by its own key and
/// comes with enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderKeys {
    /// Always [`OrderKeys::TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// Counts up by one from 1.
    pub number: u64,
    /// The keys that may sign from now on: one, or two while they overlap.
    pub keys: Vec<PublicKey>,
}

impl OrderKeys {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-order-keys";

    /// A document.
    pub fn new(number: u64, keys: Vec<PublicKey>) -> Self {
        Self { type_: Self::TYPE.to_owned(), number, keys }
    }
}

/// Signs a document for the wire.
///
/// # Errors
/// [`VerifyError::Malformed`] when it has no canonical form.
pub fn sign<T: Serialize>(document: &T, key: &SigningKey) -> Result<SignedDoc, VerifyError> {
    let mut envelope = Envelope::unsigned(document)?;
    envelope.sign(key)?;
    serde_json::to_value(&envelope).map(SignedDoc).map_err(|e| VerifyError::Malformed {
        subject: "the document".to_owned(),
        source: e.into(),
    })
}

/// Checks the first order keys of all, which an enrolment brought over a channel that the token
/// vouches for.
///
/// # Errors
/// [`VerifyError`] with code `malformed` or `unsigned`.
pub fn first_order_keys(doc: &SignedDoc) -> Result<Verified<OrderKeys>, VerifyError> {
    let subject = "the order keys";
    let envelope = parse(subject, doc)?;
    let offered: OrderKeys = content(subject, &envelope)?;
    check_shape(&offered)?;
    if offered.number != 1 {
        return Err(malformed(subject, "the first one has number 1"));
    }
    signed(subject, "order keys", &envelope, &offered.keys)?;
    Ok(Verified::new(offered))
}

/// Walks one document forward from the keys that are held. An older or equal one is refused, and
/// so is one that skips a number: the ones between are to be asked for.
///
/// # Errors
/// [`VerifyError`] with code `malformed`, `unsigned`, `rollback` or `root_gap`.
pub fn next_order_keys(
    held: &OrderKeys,
    doc: &SignedDoc,
) -> Result<Verified<OrderKeys>, VerifyError> {
    let subject = "the order keys";
    let envelope = parse(subject, doc)?;
    let offered: OrderKeys = content(subject, &envelope)?;
    check_shape(&offered)?;
    signed(subject, "order keys", &envelope, &held.keys)?;
    let wanted = held.number.saturating_add(1);
    if offered.number < wanted {
        return Err(VerifyError::Rollback {
            subject: subject.to_owned(),
            offered: offered.number,
            trusted: held.number,
        });
    }
    if offered.number > wanted {
        return Err(VerifyError::RootGap {
            subject: subject.to_owned(),
            offered: offered.number,
            wanted,
        });
    }
    Ok(Verified::new(offered))
}

/// Checks an order for `agent`, at `now` by the host's clock.
///
/// # Errors
/// [`VerifyError`] with code `malformed`, `unsigned`, `other_agent` or `order_expired`.
pub fn verify_order(
    doc: &SignedDoc,
    keys: &OrderKeys,
    agent: AgentId,
    now: Timestamp,
) -> Result<Verified<AgentOrder>, VerifyError> {
    let order = verify_order_of(doc, keys, agent)?;
    if order.expires <= now {
        return Err(VerifyError::OrderExpired { expired_at: order.expires, now });
    }
    Ok(order)
}

/// Checks that an order is genuine and for `agent`, whenever it was. Whoever takes it looks at its
/// expiry: one that is genuine and too late is answered with that reason.
///
/// # Errors
/// [`VerifyError`] with code `malformed`, `unsigned` or `other_agent`.
pub fn verify_order_of(
    doc: &SignedDoc,
    keys: &OrderKeys,
    agent: AgentId,
) -> Result<Verified<AgentOrder>, VerifyError> {
    let subject = "the order";
    let envelope = parse(subject, doc)?;
    signed(subject, "order keys", &envelope, &keys.keys)?;
    let order: AgentOrder = content(subject, &envelope)?;
    check_type(subject, &order.type_, AgentOrder::TYPE)?;
    check_agent(subject, agent, order.agent)?;
    Ok(Verified::new(order))
}

/// Checks a cancel for `agent`.
///
/// # Errors
/// [`VerifyError`] with code `malformed`, `unsigned` or `other_agent`.
pub fn verify_cancel(
    doc: &SignedDoc,
    keys: &OrderKeys,
    agent: AgentId,
) -> Result<Verified<Cancel>, VerifyError> {
    let subject = "the cancel";
    let envelope = parse(subject, doc)?;
    signed(subject, "order keys", &envelope, &keys.keys)?;
    let cancel: Cancel = content(subject, &envelope)?;
    check_type(subject, &cancel.type_, Cancel::TYPE)?;
    check_agent(subject, agent, cancel.agent)?;
    Ok(Verified::new(cancel))
}

/// Checks a newer channel CA against the order keys; `held` is the number of the one in use.
///
/// # Errors
/// [`VerifyError`] with code `malformed`, `unsigned` or `rollback`.
pub fn verify_channel_ca(
    doc: &SignedDoc,
    keys: &OrderKeys,
    held: u64,
) -> Result<Verified<ChannelCa>, VerifyError> {
    let subject = "the channel CA";
    let envelope = parse(subject, doc)?;
    signed(subject, "order keys", &envelope, &keys.keys)?;
    let ca: ChannelCa = content(subject, &envelope)?;
    check_type(subject, &ca.type_, ChannelCa::TYPE)?;
    if ca.number <= held {
        let (offered, trusted) = (ca.number, held);
        return Err(VerifyError::Rollback { subject: subject.to_owned(), offered, trusted });
    }
    Ok(Verified::new(ca))
}

/// Checks a report of `agent`, whose key is `key`.
///
/// # Errors
/// [`VerifyError`] with code `malformed`, `unsigned` or `other_agent`.
pub fn verify_report(
    doc: &SignedDoc,
    key: &PublicKey,
    agent: AgentId,
) -> Result<Verified<Report>, VerifyError> {
    let subject = "the report";
    let envelope = parse(subject, doc)?;
    signed(subject, "the agent's key", &envelope, std::slice::from_ref(key))?;
    let report: Report = content(subject, &envelope)?;
    check_type(subject, &report.type_, Report::TYPE)?;
    check_agent(subject, agent, report.agent)?;
    Ok(Verified::new(report))
}

/// Checks a checkpoint of the audit trail against the control plane's checkpoint key, which its
/// reader has kept apart from the control plane.
///
/// # Errors
/// [`VerifyError`] with code `malformed` or `unsigned`.
pub fn verify_checkpoint(
    doc: &SignedDoc,
    key: &PublicKey,
) -> Result<Verified<Checkpoint>, VerifyError> {
    let subject = "the checkpoint";
    let envelope = parse(subject, doc)?;
    signed(subject, "the checkpoint key", &envelope, std::slice::from_ref(key))?;
    let checkpoint: Checkpoint = content(subject, &envelope)?;
    check_type(subject, &checkpoint.type_, Checkpoint::TYPE)?;
    Ok(Verified::new(checkpoint))
}

/// Checks that whoever enrols holds the private half of `key`.
///
/// # Errors
/// [`VerifyError`] with code `malformed` or `unsigned`.
pub fn verify_enrolment(
    doc: &SignedDoc,
    key: &PublicKey,
) -> Result<Verified<EnrolProof>, VerifyError> {
    let subject = "the enrolment's proof";
    let envelope = parse(subject, doc)?;
    signed(subject, "the agent's key", &envelope, std::slice::from_ref(key))?;
    let proof: EnrolProof = content(subject, &envelope)?;
    check_type(subject, &proof.type_, EnrolProof::TYPE)?;
    Ok(Verified::new(proof))
}

/// The digest by which both sides name a host's state ([`handover_model::wire::SyncRequest`]):
/// SHA-256 of its canonical form.
///
/// # Errors
/// [`VerifyError::Malformed`] when it has no canonical form.
pub fn state_digest(state: &HostState) -> Result<Digest, VerifyError> {
    Ok(Digest::of(&Envelope::unsigned(state)?.canonical()?))
}

fn parse(subject: &str, doc: &SignedDoc) -> Result<Envelope, VerifyError> {
    Envelope::deserialize(&doc.0)
        .map_err(|e| VerifyError::Malformed { subject: subject.to_owned(), source: e.into() })
}

fn content<T: DeserializeOwned>(subject: &str, envelope: &Envelope) -> Result<T, VerifyError> {
    T::deserialize(&envelope.signed)
        .map_err(|e| VerifyError::Malformed { subject: subject.to_owned(), source: e.into() })
}

/// One valid signature of one of `keys` is enough: these keys are online and act alone.
fn signed(
    subject: &str,
    role: &str,
    envelope: &Envelope,
    keys: &[PublicKey],
) -> Result<(), VerifyError> {
    let keys = keys.iter().map(|key| (key.id(), key.clone())).collect();
    if envelope.signers(&keys)?.is_empty() {
        return Err(VerifyError::Unsigned { subject: subject.to_owned(), role: role.to_owned() });
    }
    Ok(())
}

fn check_shape(offered: &OrderKeys) -> Result<(), VerifyError> {
    check_type("the order keys", &offered.type_, OrderKeys::TYPE)?;
    if !(1..=2).contains(&offered.keys.len()) {
        return Err(malformed("the order keys", "they hold one key or two"));
    }
    Ok(())
}

fn check_type(subject: &str, found: &str, wanted: &str) -> Result<(), VerifyError> {
    if found == wanted {
        return Ok(());
    }
    Err(malformed(subject, &format!("its _type is {found:?}, not {wanted:?}")))
}

fn check_agent(subject: &str, wanted: AgentId, found: AgentId) -> Result<(), VerifyError> {
    if wanted == found {
        return Ok(());
    }
    Err(VerifyError::OtherAgent { subject: subject.to_owned(), wanted, found })
}

fn malformed(subject: &str, what: &str) -> VerifyError {
    VerifyError::Malformed { subject: subject.to_owned(), source: what.to_owned().into() }
}

#[cfg(test)]
mod tests;
