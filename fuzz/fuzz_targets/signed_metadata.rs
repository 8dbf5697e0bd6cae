//! Metadata whose signatures hold and whose content is anything: keyholders make mistakes, and
//! keys are stolen. Floors never go down, and an earlier catalog never comes back. The first byte
//! says which role the document is of.
#![no_main]

use handover_fuzz::{HONEST, files_of, follow, renew, signed, web};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (which, bytes) = input;
    let Ok(document) = serde_json::from_slice(bytes) else { return };
    let honest = &*HONEST;
    let mut serves = honest.serves.clone();
    let owners = ["root-a", "root-b"];
    match which % 5 {
        0 => {
            let Some(bytes) = signed(&document, &["web-a", "web-b"]) else { return };
            serves.roles.insert("component-web".into(), bytes);
            renew(&mut serves);
        }
        1 => {
            let Some(bytes) = signed(&document, &owners) else { return };
            serves.roles.insert("targets".into(), bytes);
            renew(&mut serves);
        }
        2 => serves.snapshot = signed(&document, &["snapshot"]),
        3 => serves.timestamp = signed(&document, &["timestamp"]),
        _ => {
            let Some(bytes) = signed(&document, &owners) else { return };
            serves.roots.insert(2, bytes);
        }
    }
    let mut memory = honest.host.clone();
    let before = memory.floors.clone();
    let outcome = follow(&files_of(&serves), &mut memory);
    let after = memory.floors.clone();
    let version =
        |seen: &Option<handover_trust::Seen>| seen.as_ref().map_or(0, |seen| seen.version);
    assert!(version(&after.root) >= version(&before.root), "the root's floor went down");
    if let Ok(found) = outcome {
        assert_eq!(found.floors, after, "what was found was not kept");
        for package in found.catalog.packages(&web()) {
            assert_eq!(package.facts.component, web());
            assert!(package.target.path.starts_with("web/") && !package.target.path.contains(".."));
        }
    }
});
