//! Permits. The first byte says whether the rest is a file, which nobody signed, or a document,
//! which the component's keyholders sign here.
#![no_main]

use handover_fuzz::{HONEST, now, round_trip, signed, web};
use handover_model::Permit;
use handover_trust::{Envelope, verify_permit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_file, bytes) = input;
    let agent = "host-1".parse().expect("a name");
    let check = |file: &[u8]| verify_permit(file, &HONEST.found.catalog, &web(), &agent, now());
    if is_file {
        if let Ok(envelope) = Envelope::parse(bytes) {
            round_trip(&envelope);
        }
        assert!(check(bytes).is_err(), "nobody signed this");
        return;
    }
    let Ok(document) = serde_json::from_slice(bytes) else { return };
    let Some(one) = signed(&document, &["web-a"]) else { return };
    assert!(check(&one).is_err(), "one signature of two");
    let Some(two) = signed(&document, &["web-a", "web-b"]) else { return };
    if let Ok(permit) = check(&two) {
        let permit: &Permit = &permit;
        round_trip(permit);
        assert_eq!((permit.type_.as_str(), &permit.component), (Permit::TYPE, &web()));
        assert!(permit.agents.contains(&agent) && permit.expires > now());
    }
});
