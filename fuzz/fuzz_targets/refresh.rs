//! A repository, or a disk, whose every file may be anybody's bytes: what nobody signed changes
//! nothing that a host believes. An input says which honest file is changed, where, how many bytes
//! of it go, and what comes in their place.
#![no_main]

use handover_fuzz::{Files, HONEST, follow};
use handover_trust::Memory;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u16, u16, &[u8])| {
    let (which, at, gone, bytes) = input;
    let change = |honest: &[u8]| {
        let at = usize::from(at).min(honest.len());
        let rest = at.saturating_add(usize::from(gone)).min(honest.len());
        [&honest[..at], bytes, &honest[rest..]].concat()
    };
    let honest = &*HONEST;
    let (mut files, mut memory): (Files, Memory) = (honest.files.clone(), honest.host.clone());
    let served: Vec<&String> = honest.files.keys().collect();
    let kept: Vec<&String> = honest.host.files.keys().collect();
    let which = usize::from(which) % (served.len() + kept.len() + 1);
    if let Some(name) = served.get(which) {
        files.insert((*name).clone(), change(&honest.files[*name]));
    } else if let Some(name) = kept.get(which - served.len()) {
        memory.files.insert((*name).clone(), change(&honest.host.files[*name]));
    } else {
        files.insert("2.root.json".to_owned(), change(&honest.host.pinned_root));
    }
    let outcome = follow(&files, &mut memory);
    if let Ok(found) = outcome {
        assert_eq!(found.catalog, honest.found.catalog, "unsigned bytes were believed");
    }
    // Whatever came of it, the honest repository is still followed from here.
    let found = follow(&honest.files, &mut memory).expect("an honest repository is followed");
    assert_eq!(found.catalog, honest.found.catalog);
});
