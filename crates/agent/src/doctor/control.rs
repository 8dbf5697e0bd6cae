//! What lies under `control/`, and the record of orders.

use super::Examination;
use crate::control::desk::{ledger_path, load_ledger};
use crate::control::identity::ControlFiles;
use crate::failure::chain;

pub(super) fn examine(seen: &mut Examination<'_>) {
    let files = ControlFiles::of(&seen.agent.home);
    let again = "make a token on the control plane and run `handover-agent enroll --again TOKEN`; \
                 until then this host follows its policy";
    let identity = match files.identity() {
        Ok(None) => return,
        Ok(Some(identity)) => identity,
        Err(error) => {
            seen.note("control.identity", &files.path("identity.json"), chain(&error), again);
            return;
        }
    };
    if identity.signing_key().is_none() {
        let what = "it holds no key that signs".to_owned();
        seen.note("control.identity", &files.path("identity.json"), what, again);
    }
    let kept = [
        ("ca.json", files.ca().map(|ca| ca.is_some())),
        ("order-keys.json", files.order_keys().map(|keys| keys.is_some())),
    ];
    for (name, read) in kept {
        let what = match read {
            Ok(true) => continue,
            Ok(false) => "it is gone".to_owned(),
            Err(error) => chain(&error),
        };
        seen.note("control.incomplete", &files.path(name), what, again);
    }
    if let Err(error) = load_ledger(&seen.agent.home) {
        let way_out = "which orders were carried out is not known any more: wait until every order \
                       for this host has expired, move the file away, then enrol again with \
                       `handover-agent enroll --again TOKEN`";
        seen.note("control.orders", &ledger_path(&seen.agent.home), chain(&error), way_out);
    }
}
