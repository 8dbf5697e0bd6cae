//! Framed files: damaged ones are refused by name, whole ones open to what was sealed. The first
//! byte says whether the rest is a file, or a body to be sealed.
#![no_main]

use handover_engine::floors::{Floors, Ledger};
use handover_model::{open_framed, seal_framed};
use handover_trust::VersionFloors;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (is_file, at, bytes) = input;
    if is_file {
        open_all(bytes);
        return;
    }
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return };
    for kind in ["floors", "ledger", "slots"] {
        let mut sealed = seal_framed(kind, 1, &body).expect("a value can be sealed");
        open_all(&sealed);
        let opened: Value = open_framed(kind, 1, &sealed).expect("what was sealed opens");
        // As text: a number may be spelt longer than it is kept.
        assert_eq!(opened.to_string(), reread(&body).to_string());
        let at = usize::from(at) % sealed.len();
        sealed[at] ^= 1;
        assert!(open_framed::<Value>(kind, 1, &sealed).is_err(), "a changed byte at {at} passed");
        assert!(open_framed::<Value>(kind, 1, &sealed[..at]).is_err(), "a cut at {at} passed");
    }
});

fn reread(body: &Value) -> Value {
    serde_json::from_str(&serde_json::to_string_pretty(body).expect("it prints"))
        .expect("it parses")
}

fn open_all(bytes: &[u8]) {
    if let Ok(floors) = Floors::open(bytes) {
        assert_eq!(Floors::open(&floors.seal().expect("it seals")).ok(), Some(floors));
    }
    if let Ok(ledger) = Ledger::open(bytes) {
        assert_eq!(Ledger::open(&ledger.seal().expect("it seals")).ok(), Some(ledger));
    }
    if let Ok(versions) = VersionFloors::open(Some(bytes)) {
        let sealed = versions.seal().expect("it seals");
        assert_eq!(VersionFloors::open(Some(&sealed)).ok(), Some(versions));
    }
}
